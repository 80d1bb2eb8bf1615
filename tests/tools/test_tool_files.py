import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shuntyard.errors import PathRefused, ToolError
from shuntyard.protocols import Ctx
from shuntyard.tools import Registry
from shuntyard.tools.workspace import open_read, resolve, walk, write_atomic

Call = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.anyio


async def test_list_read_search(call: Call) -> None:
    assert await call("list_files") == ["app.log", "data/sales.csv", "notes.md", "setup.json"]
    assert await call("list_files", pattern="*.csv") == ["data/sales.csv"]
    assert await call("list_files", folder="data", pattern="**/*.csv") == ["data/sales.csv"]
    assert await call("read_file", path="notes.md") == "# Notes\n\nBuy milk.\n"
    assert await call("read_file", path="app.log", first="2", last=2) == "b INFO two\n"
    assert await call("search_files", text="ERROR") == [{"path": "app.log", "line": 1, "text": "a ERROR one"}]
    assert [hit["line"] for hit in await call("search_files", text="error", pattern="*.log")] == [1, 3]
    assert [hit["line"] for hit in await call("search_files", text="^[ab] [A-Z]+", regex=True)] == [1, 2]


async def test_a_regular_expression_cannot_hang(call: Call, workspace: Path) -> None:
    (workspace / "app.log").write_text("a" * 5000 + "!\n")
    assert await call("search_files", text="(a+)+$", regex=True) == []
    with pytest.raises(ToolError, match="not valid"):
        await call("search_files", text="(", regex=True)


async def test_hidden_and_generated_folders_are_skipped(call: Call, workspace: Path) -> None:
    for folder in (".git", ".venv", "node_modules", "__pycache__", "a/.hidden"):
        (workspace / folder).mkdir(parents=True)
        (workspace / folder / "x.csv").write_text("a\n1\n")
    (workspace / ".secret.md").write_text("x")
    assert await call("list_files", pattern="*.csv") == ["data/sales.csv"]
    assert await call("search_files", text="1", pattern="x.csv") == []


async def test_missing_files_name_their_neighbours(call: Call) -> None:
    with pytest.raises(ToolError, match=r"did you mean data/sales\.csv"):
        await call("read_file", path="sales.csv")
    with pytest.raises(PathRefused, match="no folder"):
        await call("list_files", folder="dta")
    with pytest.raises(PathRefused, match="is a folder"):
        await call("read_file", path="data")


@pytest.mark.parametrize(
    "path", ["../out.txt", "/etc/passwd", "data/../../out.txt", "a\0b", "", " ", "..", "/", "x" * 5000]
)
async def test_no_way_out(path: str, call: Call, registry: Registry, ctx: Ctx) -> None:
    for name, more in (("read_file", {}), ("write_file", {"content": "x"})):
        with pytest.raises(PathRefused):
            await call(name, path=path, **more)
    if len(path) < 5000:
        assert await registry.check("read_file", {"path": path}, ctx)


async def test_links_out_are_refused_and_links_inside_work(call: Call, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (workspace / "door").symlink_to(tmp_path / "outside")
    (workspace / "window.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (workspace / "inner.md").symlink_to("notes.md")
    for path in ("door/secret.txt", "window.txt"):
        with pytest.raises(PathRefused, match="leads out"):
            await call("read_file", path=path)
        with pytest.raises(PathRefused, match="leads out"):
            await call("write_file", path=path, content="x")
    with pytest.raises(PathRefused):
        await call("list_files", folder="door")
    assert (await call("read_file", path="inner.md")).startswith("# Notes")
    assert await call("search_files", text="secret") == []
    assert (tmp_path / "outside" / "secret.txt").read_text() == "secret"


def test_a_link_swapped_in_after_the_check_is_not_followed(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "sales.csv").write_text("secret")
    real = os.path.realpath

    def swap(path: Any, **options: Any) -> Any:
        result = real(path, **options)
        if str(path).endswith("sales.csv"):
            (workspace / "data").rename(workspace / "old")
            (workspace / "data").symlink_to(tmp_path / "secret")
        return result

    monkeypatch.setattr("shuntyard.tools.workspace.os.path.realpath", swap)
    with pytest.raises(PathRefused):
        open_read(workspace, "data/sales.csv")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "data", "link", "a b", "~", "//", "\\", "ü", "x.csv"]), min_size=1, max_size=6
    )
)
def test_no_path_resolves_outside(parts: list[str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True, exist_ok=True)
    if not (root / "link").exists():
        (root / "link").symlink_to("data")
    try:
        inside = resolve(root, "/".join(parts))
    except PathRefused:
        return
    assert (root / inside).resolve().is_relative_to(root.resolve())


async def test_special_and_binary_files(call: Call, workspace: Path) -> None:
    os.mkfifo(workspace / "pipe.txt")
    with pytest.raises(PathRefused, match="regular file"):
        await call("read_file", path="pipe.txt")
    (workspace / "b.txt").write_bytes(b"\0\1\2")
    with pytest.raises(ToolError, match="binary file of 3 bytes"):
        await call("read_file", path="b.txt")
    assert await call("search_files", text="\x01") == []
    (workspace / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "caf" in await call("read_file", path="latin.txt")
    assert "pipe.txt" not in await call("list_files")


async def test_a_50_megabyte_file(call: Call, workspace: Path) -> None:
    (workspace / "big.log").write_bytes(b"line of text that is rather long, in fact fifty...\n" * 1_000_000)
    text = await call("read_file", path="big.log")
    assert len(text) < 210_000 and "bytes in all" in text
    assert (await call("read_file", path="big.log", first=999_999, last=999_999)).startswith("line of")
    with pytest.raises(ToolError, match="larger than"):
        await call("search_files", text="line", pattern="*.log")
    assert await call("query", sql="select lines from files where name = 'big.log'") == 1_000_000


@pytest.mark.parametrize(
    ("path", "content", "text"),
    [
        ("r.txt", "plain", "plain\n"),
        ("r.md", [{"a": 1, "b": "x|y"}, {"a": 2.0, "b": None}], "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |\n"),
        ("r.csv", [{"a": 1, "b": "x,y"}], 'a,b\n1,"x,y"\n'),
        ("r.csv", "a,b\n1,2\n", "a,b\n1,2\n"),
        ("r.json", {"a": [1]}, '{\n  "a": [\n    1\n  ]\n}\n'),
        ("r.jsonl", [{"a": 1}, {"a": 2}], '{"a": 1}\n{"a": 2}\n'),
        ("r.txt", ["x", 2, None], "x\n2\n\n"),
        ("r.txt", [{"a": "x", "b": 2}], "x, 2\n"),
        ("r.md", ["x", 2], "- x\n- 2\n"),
        ("r.txt", 12.0, "12\n"),
        ("r.md", {"total": 3, "rows": [{"a": 1}]}, "- total: 3\n## rows\n\n| a |\n| --- |\n| 1 |\n"),
        ("r.md", ["Intro", [{"a": 1}]], "Intro\n\n| a |\n| --- |\n| 1 |\n"),
        ("r.csv", [], ""),
    ],
)
async def test_content_is_rendered_by_the_ending(
    path: str, content: Any, text: str, call: Call, workspace: Path
) -> None:
    assert await call("write_file", path=f"new/deep/{path}", content=content) == {
        "path": f"new/deep/{path}",
        "bytes": len(text.encode()),
    }
    assert (workspace / "new" / "deep" / path).read_text() == text


async def test_a_title_and_a_failed_write_leave_nothing_half_done(
    call: Call, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call("write_file", path="t.md", content="x", title="Head")
    assert (workspace / "t.md").read_text() == "# Head\n\nx\n"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shuntyard.tools.workspace.os.fsync", full)
    with pytest.raises(PathRefused, match="No space"):
        write_atomic(workspace, "t.md", b"other")
    assert (workspace / "t.md").read_text() == "# Head\n\nx\n"
    assert not [name for name in os.listdir(workspace) if name.endswith(".part")]
    with pytest.raises(PathRefused, match="folder"):
        write_atomic(workspace, "data", b"x")


def test_an_empty_workspace(tmp_path: Path) -> None:
    assert walk(tmp_path) == []
