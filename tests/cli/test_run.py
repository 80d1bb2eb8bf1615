"""Runs through the command line, against a model behind a URL that answers from a script."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Call
from servers import ScriptedServer

from shuntyard.events import read_event

Serve = Callable[..., ScriptedServer]

SUM = '1. query(sql="SELECT sum(amount) AS total FROM sales")\n2. calculator(expression="$1 * 2")\n'
WRITE = '1. write_file(path="out.txt", content="hello")\n'


@pytest.fixture(autouse=True)
def sales(folder: Path) -> None:
    (folder / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")


def scripted(plan: str, answer: str = "ANSWER: 84") -> list[str]:
    return [plan, answer]


def test_the_answer_alone_is_on_stdout(call: Call, serve: Serve) -> None:
    server = serve(scripted(SUM))
    done = call("run", "twice the sum of the amounts")
    assert (done.code, done.out) == (0, "84\n"), done
    assert "n1 = query(" in done.err and "n2 calculator: done" in done.err
    assert "done · 2 steps" in done.err and "· run " in done.err
    assert len(server.requests) == 2


def test_json_is_one_object_with_everything(call: Call, serve: Serve) -> None:
    serve(scripted(SUM))
    done = call("run", "twice the sum of the amounts", "--json", "--quiet")
    body = done.json
    assert (done.code, done.err) == (0, "")
    assert (body["status"], body["answer"], body["exit_code"]) == ("done", "84", 0)
    assert body["results"]["n2"]["value"] == 84
    assert [node["id"] for node in body["plan"]["nodes"]] == ["n1", "n2"]
    assert body["usage"]["completion"] > 0 and body["run"]


def test_events_are_jsonl_and_the_result_is_last(call: Call, serve: Serve) -> None:
    serve(scripted(SUM))
    done = call("run", "twice the sum of the amounts", "--events", "--quiet")
    events = [read_event(line) for line in done.out.splitlines()]
    assert events[0].type == "run_started" and events[-1].type == "run_done"
    assert getattr(events[-1], "answer", "") == "84"


def test_the_task_may_come_from_stdin(
    call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(scripted(SUM))
    task = tmp_path / "task.txt"
    task.write_text("twice the sum\n")
    with task.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert call("run", "-", "--quiet").out == "84\n"


def test_a_refusal_says_why_and_exits_1(call: Call, serve: Serve) -> None:
    serve(['1. outside(reason="no tool sends mail")\n'])
    done = call("run", "send a mail")
    assert done.code == 1 and done.out == ""
    assert "refused: " in done.err and "mail" in done.err


def test_a_write_waits_is_approved_and_goes_on(call: Call, serve: Serve, folder: Path) -> None:
    serve([WRITE, "ANSWER: out.txt is written"])
    waiting = call("run", "write hello to out.txt")
    assert waiting.code == 5 and waiting.out == "", waiting
    assert "waiting: n1 write_file" in waiting.err
    assert "shuntyard approve " in waiting.err and "shuntyard resume " in waiting.err
    (question,) = call("approve", "--json").json["open"]
    run = question["run"]
    assert call("approve", question["id"]).code == 0
    assert "no open questions" in call("approve").err
    done = call("resume", run)
    assert (done.code, done.out) == (0, "out.txt is written\n"), done
    assert (folder / "out.txt").read_text().strip() == "hello"


def test_a_denied_question_exits_3(call: Call, serve: Serve, folder: Path) -> None:
    serve([WRITE, "ANSWER: written"])
    assert call("run", "write hello to out.txt").code == 5
    (question,) = call("approve", "--json").json["open"]
    assert call("approve", question["id"], "--deny").out.startswith("denied")
    assert call("resume", "last").code == 3
    assert not (folder / "out.txt").exists()


@pytest.mark.parametrize("flag", [["--approve", "write_file"], ["--yes"]])
def test_a_flag_approves(call: Call, serve: Serve, folder: Path, flag: list[str]) -> None:
    serve([WRITE, "ANSWER: written"])
    assert call("run", "write hello to out.txt", *flag).code == 0
    assert (folder / "out.txt").exists()


def test_a_rule_denies_with_exit_3(call: Call, serve: Serve) -> None:
    rule = '[[rules]]\ntool = "write_file"\ndecision = "deny"\nreason = "reports are read-only here"\n'
    serve([WRITE], toml=rule)
    done = call("run", "write hello to out.txt", "--yes")
    assert done.code == 3 and "denied: " in done.err and "read-only here" in done.err


def test_no_tokens_means_exit_4_before_any_call(call: Call, serve: Serve) -> None:
    server = serve(scripted(SUM))
    done = call("run", "twice the sum", "--max-tokens", "0")
    assert done.code == 4 and "budget: " in done.err
    assert server.requests == []


def test_the_deadline_exits_4(call: Call, serve: Serve) -> None:
    serve(lambda request: "x" * 4000, delay=0.05)
    began = time.monotonic()
    done = call("run", "twice the sum", "--deadline", "1")
    assert done.code == 4 and "deadline" in done.err
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("broken", [{"status": 500}, {"die_after": 0}])
def test_a_dead_model_exits_6(call: Call, serve: Serve, broken: dict[str, Any]) -> None:
    serve(scripted(SUM), **broken)
    done = call("run", "twice the sum")
    assert done.code == 6, done
    assert "error: " in done.err and "scripted" in done.err and "Traceback" not in done.err


def test_an_unknown_model_exits_2(call: Call, serve: Serve) -> None:
    serve(scripted(SUM))
    done = call("run", "twice the sum", "--model", "scriptd")
    assert done.code == 2 and "scriptd" in done.err and "scripted" in done.err


def test_own_tools_and_their_prints_stay_off_stdout(call: Call, serve: Serve, folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from shuntyard import tool\n\n\n@tool\ndef shout(text: str) -> str:\n"
        '    """Return the text in capitals.\n\n    Args:\n        text: What to shout.\n    """\n'
        "    print('noise')\n    return text.upper()\n"
    )
    serve(['1. shout(text="hey")\n', "ANSWER: HEY"])
    done = call("run", "shout hey", "--tools", "mine.py")
    assert (done.code, done.out) == (0, "HEY\n"), done
    assert "noise" in done.err
    listed = call("tools", "--tools", "mine.py", "--json").json
    assert "shout" in [spec["name"] for spec in listed]
    shown = call("tools", "show", "shout", "--tools", "mine.py", "--executor", "processes").out
    assert shown.endswith("runs in a worker process\n")
    serve(['1. shout(text="hey")\n', "ANSWER: HEY"])
    done = call("run", "shout hey", "--tools", "mine.py", "--executor", "processes", "--no-memory")
    assert (done.code, done.out) == (0, "HEY\n"), done


def test_plan_prints_the_dag_and_runs_nothing(call: Call, serve: Serve, folder: Path) -> None:
    serve(lambda request: SUM + '3. write_file(path="out.txt", content=$2)\n')
    done = call("plan", "write twice the sum to out.txt", "--json")
    body = done.json
    assert done.code == 0
    assert [(node["id"], node["tool"], node["after"]) for node in body["nodes"]] == [
        ("n1", "query", []),
        ("n2", "calculator", ["n1"]),
        ("n3", "write_file", ["n2"]),
    ]
    assert body["models"] == {"compile": "scripted", "join": "scripted"}
    assert body["estimate"]["seconds"] > 0
    assert body["estimate"]["calls"] == 3 and body["estimate"]["ranges"]["calls"]["high"] > 3
    assert not (folder / "out.txt").exists()
    text = call("plan", "write twice the sum to out.txt", "--svg", "dag.svg", "-o", "plan.json")
    assert "estimate" in text.out and "query" in text.out
    assert (folder / "dag.svg").read_text().lstrip().startswith("<svg")
    assert call("plan", "write twice the sum", "--mermaid").out.startswith(("graph", "flowchart"))


def test_plan_tells_what_the_passes_changed(call: Call, serve: Serve) -> None:
    twice = SUM.splitlines()[0]
    serve(lambda request: SUM + twice.replace("1.", "3.") + '\n4. calculator(expression="$3 + $2")\n')
    text = call("plan", "twice the sum and the sum", "--passes").out
    assert "n3 merged into n1: the same query call as n1" in text and "nothing to do" in text
    body = call("plan", "twice the sum and the sum", "--json").json
    assert [node["id"] for node in body["nodes"]] == ["n1", "n2", "n4"]
    changes = {each["name"]: [change["node"] for change in each["changes"]] for each in body["passes"]}
    assert changes["merge"] == ["n3"] and changes["dead"] == []
    assert "merged" not in call("plan", "twice the sum and the sum").out


def test_a_plan_can_be_written_edited_and_run(call: Call, serve: Serve, folder: Path) -> None:
    serve([SUM])
    assert call("plan", "twice the sum", "-o", "plan.json").code == 0
    edited = (folder / "plan.json").read_text().replace("* 2", "* 3")
    (folder / "plan.json").write_text(edited)
    serve(["ANSWER: 126"])
    done = call("run", "--plan", "plan.json", "--json", "-q")
    assert done.code == 0, done
    assert done.json["results"]["n2"]["value"] == 126
    assert done.json["task"] == "twice the sum"


def test_show_and_runs_tell_what_happened(call: Call, serve: Serve) -> None:
    serve(scripted(SUM))
    run = call("run", "twice the sum", "--json", "-q").json["run"]
    text = call("show", run[:8]).out
    for part in (run, "done", "twice the sum", "query", "calculator", "model scripted", "answer", "84"):
        assert part in text, part
    assert "\nguess  " in text and "\ntook   " in text and "2 calls" in text
    body = call("show", "--json").json
    assert body["run"] == run
    assert body["took"]["calls"] == body["predicted"]["calls"] == 2
    assert body["predicted"]["lower"] <= body["predicted"]["makespan"] <= body["predicted"]["upper"]
    assert body["predicted"]["ranges"]["tokens"]["low"] < body["predicted"]["ranges"]["tokens"]["high"]
    assert {"compile", "join", "n1", "n2"} <= {step["path"] for step in body["steps"]}
    (row,) = call("runs", "--json").json
    assert row["run"] == run and row["status"] == "done"
    assert run in call("runs").out
    assert "pruned 1 run" in call("runs", "prune", "--keep", "0").out
    assert call("runs", "--json").json == []


def test_ctrl_c_says_how_to_resume_and_resume_finishes(serve: Serve, folder: Path) -> None:
    server = serve(scripted(SUM), delay=0.4)
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "shuntyard", "run", "twice the sum"],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, (out, err)
    assert out == "" and "resume with: shuntyard resume " in err and "Traceback" not in err
    run = err.rpartition("shuntyard resume ")[2].split()[0]
    server.answers, server.delay = [SUM, SUM, "ANSWER: 84"], 0.0
    done = subprocess.run(
        [sys.executable, "-m", "shuntyard", "resume", run, "--json", "-q"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["answer"] == "84"


def test_limits_of_the_flags_are_added_to_those_of_the_file(call: Call, serve: Serve, folder: Path) -> None:
    serve(scripted(SUM))
    with (folder / "shuntyard.toml").open("a") as file:
        file.write("\n[limit]\nnetwork = 3\nquery = 5\n")
    done = call("run", "twice the sum of the amounts", "--limit", "query=1", "--limit", "calculator=2")
    assert (done.code, done.out) == (0, "84\n"), done
    with (folder / "shuntyard.toml").open("a") as file:
        file.write("calculater = 2\n")
    refused = call("run", "twice the sum of the amounts", "--limit", "query=1")
    assert refused.code == 2 and "unknown tool or resource 'calculater'; did you mean calculator" in refused.err


def test_a_failure_that_asks_says_how_to_go_on_and_can_be_settled(call: Call, serve: Serve, folder: Path) -> None:
    node = {"tool": "query", "args": {"sql": "SELECT nothing FROM nowhere"}, "policy": {"on_failure": "ask"}}
    (folder / "plan.json").write_text(json.dumps({"task": "sum", "nodes": [node]}))
    serve(["ANSWER: nothing", "ANSWER: nothing"])
    waiting = call("run", "sum", "--plan", "plan.json")
    assert waiting.code == 5 and "n1 failed:" in waiting.err and "--assume n1=failed" in waiting.err
    assert "shuntyard approve" not in waiting.err
    settled = call("resume", "last", "--assume", "n1=failed")
    assert settled.code == 1 and "nowhere" in settled.err
