"""``shuntyard eval`` from end to end, against a model behind a URL that answers from a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Call
from servers import ScriptedServer

Serve = Callable[..., ScriptedServer]


def put(folder: Path, count: int = 12) -> None:
    rows = [{"id": f"q{at}", "category": "ab"[at % 2], "input": f"{at}+{at}?", "target": 2 * at} for at in range(count)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def adds(body: dict[str, Any], *, wrong: tuple[str, ...] = ("1+1?", "3+3?")) -> str:
    asked = body["messages"][-1]["content"]
    return "0" if asked in wrong else str(2 * int(asked.partition("+")[0]))


def asked(server: ScriptedServer) -> Counter[str]:
    return Counter(body["messages"][-1]["content"] for body in server.requests)


def test_own_cases_run_once_and_their_figures_are_printed(call: Call, serve: Serve, folder: Path) -> None:
    server = serve(adds)
    put(folder)
    done = call("eval", "run", "sums.jsonl", "--scorer", "number")
    assert done.code == 0, done.err
    head, a, b, whole = done.out.splitlines()
    assert head.split()[:4] == ["CATEGORY", "CASES", "FIGURE", "95"]
    assert a.split()[:4] == ["a", "6", "100.0", "%"] and b.split()[:4] == ["b", "6", "66.7", "%"]
    assert whole.split()[:4] == ["all", "12", "83.3", "%"]
    assert "reading the cases" in done.err and "12/12 · 83.3 %" in done.err and "MAJORITY" in head
    assert "run sums-" in done.err and "eval show sums-" in done.err
    again = call("eval", "run", "sums.jsonl", "--scorer", "number", "--json", "--quiet").json
    assert (again["new"], again["rows"], len(server.requests)) == (0, 12, 12)
    assert again["configuration"]["model"] == "scripted" and again["finished"] is True
    assert again["figures"][-1]["mean"]["value"] == pytest.approx(10 / 12)
    assert again["figures"][-1]["usage"]["completion"] > 0 and again["figures"][-1]["cost"] == "0"
    fresh = call("eval", "run", "sums.jsonl", "--scorer", "number", "--json", "--fresh", "--limit", "4").json
    assert fresh["new"] == 4 and fresh["run"] != again["run"]
    assert {figure["category"]: figure["cases"] for figure in fresh["figures"]} == {"a": 2, "b": 2, "": 4}


def test_a_run_is_shown_by_case_and_as_a_transcript(call: Call, serve: Serve, folder: Path) -> None:
    serve(adds)
    put(folder)
    call("eval", "run", "sums.jsonl", "--scorer", "number")
    assert len(call("eval", "show", "sums").out.splitlines()) == 13
    wrong = call("eval", "show", "sums", "--wrong").out
    assert "q1" in wrong and "q3" in wrong and "q2" not in wrong and "0 is not 2" in wrong
    shown = call("eval", "show", "sums", "q3").out
    for part in ("input     3+3?", "target    6", "assistant 0", "why       0 is not 6", "score   I 0.00"):
        assert part in shown
    rows = call("eval", "show", "sums", "q3", "--json").json["rows"]
    assert [row["output"]["text"] for row in rows] == ["0"]
    missing = call("eval", "show", "sums", "q99")
    assert missing.code == 2 and "'q99'" in missing.err
    assert "sums-" in call("eval", "list").out
    assert [row["suite"] for row in call("eval", "list", "--json").json["runs"]] == ["sums"]


def test_compare_and_gate(call: Call, serve: Serve, folder: Path) -> None:
    server = serve(adds)
    put(folder)
    run = ("eval", "run", "sums.jsonl", "--scorer", "number", "--json", "--quiet")
    first = call(*run).json["run"]
    assert call("eval", "gate", "gates.toml", "--record").code == 0
    held = call("eval", "gate", "gates.toml", "--json")
    assert held.code == 0 and held.json["ok"] is True and len(held.json["gates"]) == 3
    server.answers = lambda body: adds(body, wrong=("6+6?", "1+1?", "2+2?", "4+4?"))
    second = call(*run, "--fresh").json["run"]
    compared = call("eval", "compare", first, second)
    assert compared.code == 0 and "q3  b  0.0 % -> 100.0 %" in compared.out and "q1" not in compared.out
    body = call("eval", "compare", first, second, "--json").json
    assert body["rows"][-1]["difference"]["value"] == pytest.approx(-2 / 12)
    fell = call("eval", "gate", "gates.toml")
    assert fell.code == 1 and "FAIL" in fell.out and "fell below" in fell.err
    marks = {(line.split()[0], line.split()[4]) for line in fell.out.splitlines()[1:]}
    assert marks == {("FAIL", "a"), ("ok", "b"), ("FAIL", "all")}


def test_a_report_is_written(call: Call, serve: Serve, folder: Path) -> None:
    serve(adds)
    put(folder)
    assert call("eval", "report").code == 2
    call("eval", "run", "sums.jsonl", "--scorer", "number")
    body = call("eval", "report", "--out", "pages", "--json").json
    assert "sums" in Path(body["markdown"]).read_text() and "<html" in Path(body["html"]).read_text()[:500].lower()
    assert body["runs"][0]["figures"][-1]["cases"] == 12


def test_runs_become_logs_of_inspect_ai(call: Call, serve: Serve, folder: Path) -> None:
    serve(adds)
    put(folder)
    call("eval", "run", "sums.jsonl", "--scorer", "number")
    done = call("eval", "export", "--out", "logs", "--json")
    if find_spec("inspect_ai") is None:
        assert done.code == 2 and "pip install 'shuntyard[inspect]'" in done.err
    else:
        assert [Path(path).suffix for path in done.json["logs"]] == [".eval"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nosuch",), "unknown suite 'nosuch'"),
        (("none.jsonl",), "no file 'none.jsonl'"),
        (("sums.jsonl", "--solver", "guess"), "unknown solver 'guess'"),
        (("sums.jsonl", "--scorer", "guess"), "--scorer 'guess'"),
        (("sums.jsonl", "--categories", "a,z"), "unknown category 'z'"),
        (("sums.jsonl", "--model", "gpt-7"), "unknown model 'gpt-7'"),
        (("gsm8k", "--scorer", "exact"), "has its own scorer"),
    ],
)
def test_what_cannot_work_exits_2_and_says_why(
    call: Call, serve: Serve, folder: Path, words: tuple[str, ...], told: str
) -> None:
    serve(adds)
    put(folder)
    done = call("eval", "run", *words)
    assert done.code == 2 and told in done.err and done.out == ""


def test_absent_data_exits_2_before_any_model_is_asked(
    call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHUNTYARD_DATA", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    server = serve(adds)
    done = call("eval", "run", "bfcl", "--limit", "40", "--model", "scripted")
    assert done.code == 2 and "SHUNTYARD_DATA" in done.err and server.requests == []


def test_a_model_that_nobody_serves_exits_6_and_the_cases_are_solved_later(
    call: Call, serve: Serve, folder: Path
) -> None:
    server = serve(adds, status=500)
    put(folder, 40)
    done = call("eval", "run", "sums.jsonl", "--scorer", "number", "-j", "2")
    assert done.code == 6 and "cases in a row" in done.err, done.err
    server.status = 200
    body = call("eval", "run", "sums.jsonl", "--scorer", "number", "--json").json
    assert body["figures"][-1]["mean"]["value"] == pytest.approx(38 / 40) and body["figures"][-1]["errors"] == {}


def started(*words: str) -> subprocess.Popen[str]:
    shuntyard = str(Path(sys.executable).with_name("shuntyard"))
    return subprocess.Popen([shuntyard, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(server: ScriptedServer, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(server.requests) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(server.requests) >= count


RUN = ("eval", "run", "sums.jsonl", "--scorer", "number", "-j", "3")


def test_killed_in_the_middle_it_finishes_only_the_rest(call: Call, serve: Serve, folder: Path) -> None:
    server = serve(adds, delay=0.05)
    put(folder, 40)
    process = started(*RUN)
    wait_for(server, 12)
    process.kill()
    process.communicate()
    (log,) = Path(os.environ["SHUNTYARD_HOME"], "evals").glob("*.jsonl")
    finished = {json.loads(line)["input"] for line in log.read_text().splitlines() if '"type":"row"' in line}
    assert len(finished) >= 8
    done = call(*RUN, "--json")
    assert done.code == 0 and done.json["rows"] == 40 and done.json["new"] == 40 - len(finished)
    times = asked(server)
    assert all(times[question] == 1 for question in finished) and len(server.requests) <= 40 + 3


def test_interrupted_it_says_how_to_go_on_and_a_second_run_meanwhile_is_refused(
    call: Call, serve: Serve, folder: Path
) -> None:
    server = serve(adds, delay=0.05)
    put(folder, 60)
    process = started(*RUN)
    wait_for(server, 6)
    refused = call(*RUN)
    assert refused.code == 2 and f"process {process.pid}" in refused.err
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and out == ""
    assert "interrupted; what has ended is kept" in err
    assert call(*RUN, "--json").json["rows"] == 60


def test_a_scorer_that_hangs_ends_with_its_time_and_does_not_keep_the_program(
    call: Call, serve: Serve, folder: Path
) -> None:
    serve(adds)
    put(folder, 2)
    (folder / "my.py").write_text("import time\ndef score(case, output):\n    time.sleep(60)\n")
    (folder / "go.py").write_text(
        "import sys\nfrom dataclasses import replace\n"
        "from shuntyard.cli.door import main\nfrom shuntyard.evals import own\n"
        "made = own.own_suite\nown.own_suite = lambda *a, **k: replace(made(*a, **k), timeout=0.3)\n"
        "sys.exit(main(['eval', 'run', 'sums.jsonl', '--scorer', 'my.py', '--json']))\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "go.py"], capture_output=True, text=True, check=False, timeout=50)
    assert time.monotonic() - began < 20 and done.returncode == 0
    assert json.loads(done.stdout)["figures"][-1]["errors"] == {"scorer_failed": 2}


def test_progress_is_never_silent_for_ten_seconds(call: Call, serve: Serve, folder: Path, monkeypatch: Any) -> None:
    from shuntyard.cli import eval_watch

    serve(adds, delay=1.2)
    put(folder, 1)
    monkeypatch.setattr(eval_watch, "EVERY", 0.1)
    err = call("eval", "run", "sums.jsonl", "--scorer", "number").err
    assert err.count("running: 0/1") >= 2, err
