"""Data of suites: where it is looked for, what is told when it is absent or broken."""

import gzip
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from shuntyard.errors import DataInvalid, DataMissing, UnknownName
from shuntyard.evals.data import Data, DataSource
from shuntyard.settings import Settings

ROWS = [{"a": 1}, {"a": "zwölf"}]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "data"
    (place / "fruit").mkdir(parents=True)
    monkeypatch.setenv("SHUNTYARD_DATA", str(place))
    return place


def source(**more: str) -> DataSource:
    return DataSource(name="fruit", licence="MIT", folder="fruit", **more)


def put(folder: Path, name: str, rows: list[object]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_lines_are_read_and_their_file_is_told_with_hash_and_licence(root: Path, name: str) -> None:
    path = put(root / "fruit", name, [*ROWS])
    data = Data([source()])
    assert list(data.lines("fruit", name)) == ROWS
    assert list(data.lines("fruit", name)) == ROWS
    (used,) = data.used
    assert used.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (used.source, used.file, used.origin, used.licence) == ("fruit", name, "SHUNTYARD_DATA", "MIT")
    assert used.bytes == path.stat().st_size


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_cut_last_line_is_named_by_its_number(root: Path, cut: int) -> None:
    path = put(root / "fruit", "rows.jsonl", [*ROWS])
    path.write_bytes(path.read_bytes()[: -1 - cut])
    read = Data([source()]).lines("fruit", "rows.jsonl")
    assert next(read) == ROWS[0]
    with pytest.raises(DataInvalid, match=r"rows\.jsonl.*line 2") as caught:
        next(read)
    assert caught.value.exit_code == 2


def test_a_cut_gz_file_is_told_and_its_whole_lines_are_not_passed_off_as_all(root: Path) -> None:
    path = put(
        root / "fruit",
        "rows.jsonl.gz",
        [{"n": at, "x": hashlib.sha256(str(at).encode()).hexdigest()} for at in range(500)],
    )
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataInvalid, match=r"rows\.jsonl\.gz.*after line \d+"):
        list(Data([source()]).lines("fruit", "rows.jsonl.gz"))
    with pytest.raises(DataInvalid, match=r"rows\.jsonl\.gz"):
        Data([source()]).text("fruit", "rows.jsonl.gz")


def test_broken_json_is_named_by_its_line(root: Path) -> None:
    (root / "fruit" / "all.json").write_text('{"a": 1,\n "b": [1, 2\n')
    with pytest.raises(DataInvalid, match=r"all\.json.*line 3"):
        Data([source()]).json("fruit", "all.json")
    (root / "fruit" / "all.json").write_text('{"a": 1}')
    assert Data([source()]).json("fruit", "all.json") == {"a": 1}


def test_absent_data_names_the_variable_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHUNTYARD_DATA", raising=False)
    data = Data([source(package="no_such_fruit", install="pip install fruit-data")])
    with pytest.raises(DataMissing) as caught:
        data.path("fruit", "rows.jsonl")
    for part in ("SHUNTYARD_DATA", "fruit/rows.jsonl", "pip install fruit-data", "'rows.jsonl'"):
        assert part in caught.value.message
    assert caught.value.exit_code == 2 and data.used == []
    with pytest.raises(UnknownName, match="apples"):
        data.path("apples", "rows.jsonl")


def test_an_installed_package_is_read_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    package = tmp_path / "site" / "fruit_data"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    put(package / "inner", "rows.jsonl", [{"from": "package"}])
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    given = source(package="fruit_data", package_folder="inner")
    data = Data([given])
    assert list(data.lines("fruit", "rows.jsonl")) == [{"from": "package"}]
    assert data.used[0].origin == "fruit_data" and "fruit_data" not in sys.modules
    put(root / "fruit", "rows.jsonl", [{"from": "folder"}])
    assert list(Data([given]).lines("fruit", "rows.jsonl")) == [{"from": "folder"}]


@pytest.fixture
def served() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b'{"from": "web"}\n'
            self.send_response(200 if self.path.endswith("rows.jsonl") else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/at/abc123", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_downloaded_once_and_its_url_is_told(
    served: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHUNTYARD_DATA", raising=False)
    url, asked = served
    settings = Settings(cache=tmp_path / "cache")
    for _ in range(2):
        data = Data([source(url=url)], settings=settings)
        assert list(data.lines("fruit", "rows.jsonl")) == [{"from": "web"}]
        assert data.used[0].origin == f"{url}/rows.jsonl"
    assert asked == ["/at/abc123/rows.jsonl"]
    with pytest.raises(DataMissing, match="404"):
        Data([source(url=url)], settings=settings).path("fruit", "other.jsonl")
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["rows.jsonl"]


def test_an_unreachable_server_is_told_as_absent_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHUNTYARD_DATA", raising=False)
    data = Data([source(url="http://127.0.0.1:9/x")], settings=Settings(cache=tmp_path))
    with pytest.raises(DataMissing, match="SHUNTYARD_DATA"):
        data.path("fruit", "rows.jsonl")
