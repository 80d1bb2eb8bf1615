"""``shuntyard replay``, ``runs compact`` and what ``show`` says of runs before and after."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_parts import Call
from servers import ScriptedServer

from shuntyard.memory import values

Serve = Callable[..., ScriptedServer]

PLAN = '1. query(sql="SELECT sum(amount) AS total FROM sales")\n2. calculator(expression="$1 * 2")\n3. now()\n'
BIG = "1. query(sql=\"SELECT range AS id, repeat('x', 20) AS name FROM range(100)\")\n2. now()\n"


@pytest.fixture(autouse=True)
def sales(folder: Path) -> None:
    (folder / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")


@pytest.fixture
def run(call: Call, serve: Serve) -> str:
    serve([PLAN, "ANSWER: 84", "ANSWER: 86"])
    return str(call("run", "twice the sum of the amounts", "--json", "-q").json["run"])


def test_a_replay_from_the_record_is_equal(call: Call, run: str, folder: Path) -> None:
    (folder / "sales.csv").unlink()
    done = call("replay", run)
    assert (done.code, done.err) == (0, f"equal · 3 nodes, 0 of them run, 0 differ · replay of {run}\n"), done
    assert [line.split() for line in done.out.splitlines()] == [
        ["n1", "same"], ["n2", "same"], ["n3", "same"], ["status", "same"], ["answer", "same"],
    ]  # fmt: skip
    assert len(call("runs", "--json").json) == 1


def test_a_replay_from_a_node_tells_what_differs(call: Call, run: str, folder: Path) -> None:
    (folder / "sales.csv").write_text("region,amount\nnorth,10\nsouth,33\n")
    done = call("replay", run, "--from", "n1")
    assert done.code == 1
    assert "n1      changed  42 → 43\n" in done.out
    assert "n2      changed  84 → 86\n        called   expression.values.$1: 42 → 43\n" in done.out
    assert "n3      same" in done.out
    assert "answer  changed  '84" in done.out
    assert "2 of them run, 2 differ" in done.err and "run " in done.err
    child = call("runs", "--json").json[0]["run"]
    assert f"replays a part of run {run}" in call("show", child).out
    assert call("show", child, "--json").json["parent"] == run
    body = call("replay", run, "--json", "-q").json
    same = {"node": "n1", "outcome": "same", "ran": False, "value": None, "call": None}
    assert body["equal"] is True and body["nodes"][0] == same


def test_events_are_jsonl_and_the_comparison_is_last(call: Call, run: str) -> None:
    lines = [json.loads(line) for line in call("replay", run, "--from", "n2", "--events", "-q").out.splitlines()]
    assert lines[0]["type"] == "run_started" and lines[-2]["type"] == "run_done"
    assert lines[-1]["run"] == run and lines[-1]["replay"] == lines[0]["run"]


def test_bad_input_exits_2_and_names_what_is_known(call: Call, run: str) -> None:
    wrong = call("replay", run, "--from", "n7")
    assert wrong.code == 2 and "n1, n2, n3, join" in wrong.err
    assert call("replay", "zzz").code == 2
    assert call("replay", "zzz", "--json").json["error"]["code"] == "unknown_name"


def big_run(call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(values, "BIG", 10**9)
    serve([BIG, "ANSWER: many"])
    run = str(call("run", "all ids", "--json", "-q").json["run"])
    monkeypatch.setattr(values, "BIG", 2000)
    return run


def test_a_compacted_run_shows_and_replays_as_before(call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    run = big_run(call, serve, monkeypatch)
    before = call("show", run), call("show", run, "--json").json
    done = call("runs", "compact", run[:8])
    assert done.code == 0 and "compacted 1 run: 0 attempts dropped, 2 values moved to files" in done.out
    assert (call("show", run), call("show", run, "--json").json) == before
    assert call("runs", "compact", "--json").json["values"] == 0
    assert call("replay", run).code == 0
    assert "1 big value in files" in str(call("doctor", "--json").json["checks"])
    assert "1 file of big values" in call("runs", "prune", "--keep", "0").out
    assert call("runs", "list", run).code == 2
    assert call("runs", "compact", "zzz").code == 2


def test_a_lost_value_is_named_and_the_rest_still_shows(
    call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = big_run(call, serve, monkeypatch)
    call("runs", "compact")
    (file,) = (Path(os.environ["SHUNTYARD_HOME"]) / "blobs").rglob("*.json.gz")
    file.unlink()
    assert call("show", run).code == 0
    whole = call("show", run, "--json")
    assert whole.code == 1 and whole.json["error"]["code"] == "blob_damaged"
    assert str(file) in whole.err and f"shuntyard resume {run}" in whole.err and "'n1'" in whole.err
    assert call("replay", run).code == 1
    assert call("resume", run, "-q").code == 0
    assert file.exists() and call("show", run, "--json").code == 0
    assert call("replay", run).code == 0
