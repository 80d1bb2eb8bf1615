"""Logs of runs: what a kill leaves behind, how a run is named, and who may write."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shuntyard.errors import DataInvalid, StoreUnwritable, UnknownName, UsageError
from shuntyard.evals import log as logs
from shuntyard.evals.case import Output, Score
from shuntyard.evals.figures import figures
from shuntyard.evals.log import Configuration, LogWriter, RunEnd, RunHeader, RunRow, RunSession, Selection

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def header(run: str = "demo-1", *, suite: str = "demo", days: int = 0, **made: str) -> RunHeader:
    configuration = Configuration(solver="model", **made)  # type: ignore[arg-type]
    return RunHeader(run=run, suite=suite, version=1, configuration=configuration, started=AT + timedelta(days=days))


def session(*dropped: str) -> RunSession:
    return RunSession(at=AT, selection=Selection(), cases=3, kept=0, concurrency=1, dropped=dropped)


def row(name: str, *, value: float = 1.0, epoch: int = 0, error: str = "") -> RunRow:
    return RunRow(
        id=name, digest=f"d{name}", split="test", epoch=epoch, output=Output(text="x", error=error),
        score=Score(value=value), at=AT,
    )  # fmt: skip


def end() -> RunEnd:
    return RunEnd(at=AT, rows=2, seconds=1.5)


def put(place: Path, *lines: object, run: str = "demo-1") -> Path:
    writer = LogWriter(place / f"{run}.jsonl")
    writer.write(*lines)  # type: ignore[arg-type]
    writer.close()
    return writer.path


def test_a_log_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    given = (header(model="m"), session(), row("a"), row("b", value=0.5, epoch=1), end())
    found = logs.read(put(tmp_path, *given))
    assert (found.header, *found.sessions, *found.rows, found.end) == given
    assert found.finished and found.title == "m · model" and found.size == found.path.stat().st_size


def test_every_cut_of_a_log_keeps_the_rows_before_it(tmp_path: Path) -> None:
    path = put(tmp_path, header(), session(), row("a"), row("b"), end())
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0], len(whole)):
        path.write_bytes(whole[:cut])
        found = logs.read(path)
        lines = sum(place <= cut for place in ends)
        assert len(found.rows) == min(max(lines - 2, 0), 2) and not found.finished
        writer = LogWriter(path, size=found.size)
        writer.write(row("c"))
        writer.close()
        assert [each.id for each in logs.read(path).rows] == [*["a", "b"][: max(lines - 2, 0)], "c"]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, header(), row("a"), row("b"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"type": "row", "id": 3}\n' + lines[2])
    with pytest.raises(DataInvalid, match=r"demo-1\.jsonl' line 2.*remove that line"):
        logs.read(path)
    path.write_bytes(b"")
    with pytest.raises(DataInvalid, match="no header"):
        logs.read(path)
    newer = header().model_dump_json().replace('"format":1', '"format":2,"colour":"red"')
    path.write_text(newer + "\n")
    with pytest.raises(DataInvalid, match="newer version"):
        logs.read(path)


def test_the_later_of_two_rows_counts_and_a_session_after_the_end_reopens(tmp_path: Path) -> None:
    path = put(tmp_path, header(), session(), row("a", value=0), end(), session(), row("a"), row("a", epoch=1))
    found = logs.read(path)
    assert [(each.id, each.epoch, each.score.value) for each in found.rows] == [("a", 0, 1.0), ("a", 1, 1.0)]
    assert not found.finished and len(found.sessions) == 2


def test_rows_of_cases_that_the_suite_lost_do_not_count(tmp_path: Path) -> None:
    path = put(tmp_path, header(), session(), row("a"), row("b"), session("da"), row("c"))
    assert [each.id for each in logs.read(path).rows] == ["b", "c"]


def test_cases_without_a_category_have_a_name_only_beside_others(tmp_path: Path) -> None:
    named = row("b").model_copy(update={"category": "sums"})
    assert [each.category for each in logs.read(put(tmp_path, header(), row("a"))).rows] == [""]
    both = put(tmp_path, header(), row("a"), named, run="both")
    assert [each.category for each in logs.read(both).rows] == ["none", "sums"]
    assert [figure.category for figure in figures(logs.read(both).rows)] == ["none", "sums", ""]


def test_only_an_unreachable_model_is_tried_again() -> None:
    assert row("a", error="model_unavailable: nobody answers").unsolved
    assert not row("a", error="timeout: no answer").unsolved and not row("a").unsolved


def test_runs_are_found_by_id_beginning_suite_or_file(tmp_path: Path) -> None:
    for number, (suite, days) in enumerate([("demo", 0), ("demo", 2), ("demo", 1), ("other", 0)]):
        put(tmp_path, header(f"{suite}-{number}", suite=suite, days=days), run=f"{suite}-{number}")
    (tmp_path / "torn.jsonl").write_bytes(b'{"type": "hea')
    assert [each.run for each in logs.headers(tmp_path)] == ["demo-1", "demo-2", "other-3", "demo-0"]
    assert logs.find("demo", tmp_path).header.run == "demo-1", "a suite's newest"
    assert logs.find("demo-0", tmp_path).header.run == "demo-0"
    assert logs.find("oth", tmp_path).header.run == "other-3"
    assert logs.find(str(tmp_path / "demo-2.jsonl"), tmp_path).header.run == "demo-2"
    with pytest.raises(UsageError, match="demo-1, demo-2, demo-0"):
        logs.find("demo-", tmp_path)
    with pytest.raises(UnknownName, match="'nothing'"):
        logs.find("nothing", tmp_path)
    found = logs.latest(tmp_path, "demo", 1, Configuration(solver="model"))
    assert found is not None and found.header.run == "demo-1"
    assert logs.latest(tmp_path, "demo", 2, Configuration(solver="model")) is None
    assert logs.latest(tmp_path, "demo", 1, Configuration(solver="model", seed=1)) is None


def test_ids_sort_by_time_and_never_repeat(tmp_path: Path) -> None:
    made = Configuration(solver="model")
    first = logs.new_id("demo", made, AT, tmp_path)
    put(tmp_path, header(first), run=first)
    second = logs.new_id("demo", made, AT, tmp_path)
    put(tmp_path, header(second), run=second)
    third = logs.new_id("demo", made, AT, tmp_path)
    assert len({first, second, third}) == 3 and first.startswith("demo-20260102-030405-")
    assert logs.new_id("demo", made, AT + timedelta(seconds=1), tmp_path) > third


def test_every_condition_makes_another_digest() -> None:
    base = Configuration(solver="s")
    others = [
        base.model_copy(update={key: value})
        for key, value in {
            "solver": "t", "model": "m", "model_sha256": "1", "temperature": 0.5, "seed": 1, "engine": "e",
            "shuntyard": "2",
        }.items()
    ]  # fmt: skip
    assert len({each.digest for each in (base, *others)}) == len(Configuration.model_fields) + 1


def test_of_two_claims_the_second_is_refused_and_a_freed_one_is_not(tmp_path: Path) -> None:
    made = Configuration(solver="model", model="m")
    with logs.claim(tmp_path, "demo", 1, made):
        with pytest.raises(UsageError, match=f"process {os.getpid()} since"):
            logs.claim(tmp_path, "demo", 1, made).__enter__()
        with logs.claim(tmp_path, "demo", 2, made):
            pass
    with logs.claim(tmp_path, "demo", 1, made):
        pass


def test_a_row_that_a_full_disk_cut_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter(tmp_path / "demo-1.jsonl")
    writer.write(header(), row("a"))
    real, room = os.write, [40]

    def full(file: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        size, room[0] = real(file, data[: room[0]]), 0
        return size

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreUnwritable, match=r"No space left.*rows before it are kept.*SHUNTYARD_HOME") as caught:
        writer.write(row("b"))
    monkeypatch.setattr(os, "write", real)
    assert caught.value.exit_code == 1
    assert [each.id for each in logs.read(writer.path).rows] == ["a"]
    assert writer.path.read_bytes().endswith(b"\n")
    writer.write(row("c"))
    writer.close()
    assert [each.id for each in logs.read(writer.path).rows] == ["a", "c"]
