import errno
from pathlib import Path

import pytest
import typer
from cli_parts import Call

from shuntyard import plugins
from shuntyard.cli import door
from shuntyard.cli.root import TABLE
from shuntyard.errors import BudgetSpent, ShuntyardError, StoreTooNew


def test_every_command_has_help_and_loads(call: Call) -> None:
    for name in TABLE:
        done = call(name, "--help")
        assert done.code == 0, name
        assert "Usage: shuntyard " + name in done.out


def test_no_arguments_show_the_help_and_are_an_error(call: Call) -> None:
    done = call()
    assert done.code == 2 and "Commands:" in done.err and done.out == ""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["rnu"], "Did you mean 'run'"),
        (["run", "x", "--frobnicate"], "--frobnicate"),
        (["run", ""], "the task is empty"),
        (["run", "   "], "the task is empty"),
        (["run", "x", "--max-cost", "-1"], "--max-cost: max_cost = '-1'"),
        (["run", "x", "--max-cost", "cheap"], "--max-cost"),
        (["run", "x", "--concurrency", "0"], "--concurrency"),
        (["run", "x", "--limit", "query"], "--limit 'query' is not NAME=N"),
        (["run", "x", "--limit", "query=0"], "--limit: limit.query = '0'"),
        (["run", "x", "--limit", "qery=2"], "unknown tool or resource 'qery'; did you mean query"),
        (["resume", "last", "--assume", "n2=maybe"], "PATH=failed"),
        (["run", "x", "--deadline", "nan"], "--deadline"),
        (["run", "x", "--executor", "threads"], "'inprocess', 'processes' or 'ray'"),
        (["run", "x", "--workspace", "nowhere"], "the workspace 'nowhere' does not exist"),
        (["run", "x", "-w", "file.txt"], "is not a folder"),
        (["run", "x", "--plan", "none.json"], "the plan 'none.json' cannot be read"),
        (["run", "x", "--tools", "none.py"], "'none.py'"),
        (["resume", "x", "--assume", "n1=perhaps"], "'n1=perhaps'"),
        (["resume", "zzz"], "unknown run 'zzz'"),
        (["show", "zzz"], "unknown run 'zzz'"),
        (["approve", "zzz"], "unknown approval 'zzz'"),
        (["runs", "prune"], "--older-than or --keep"),
        (["runs", "prune", "--older-than", "ages"], "'ages'"),
        (["bench", "zzz"], "unknown benchmark 'zzz'"),
        (["tools", "show", "read_fiel"], "did you mean read_file"),
        (["tools", "show"], "which tool"),
        (["models", "show", "qwen"], "unknown"),
        (["completion", "cobol"], "shell 'cobol' is not one of 'bash', 'zsh', 'fish'; correct it. See: shuntyard "),
        (["serve", "--port", "99999"], "--port '99999' must be at most 65535; correct it. See: shuntyard serve --help"),
        (["serve", "--port", "abc"], "--port 'abc' must be a whole number; correct it. See: shuntyard serve --help"),
        (["models", "tune", "x", "--seconds", "0"], "--seconds '0' must be at least 1; correct it. See: "),
        (["models", "predict", "x", "--prompt", "x"], "--prompt 'x' must be a whole number; correct it. See: "),
        (["models", "pull", "x", "--source", "foo"], "--source 'foo' is not one of 'auto', 'huggingface', 'wheels'; c"),
        (["serve", "--bogus"], "--bogus (Possible options: --host). See: shuntyard serve --help"),
    ],
)
def test_wrong_input_exits_2_and_names_the_mend(call: Call, folder: Path, args: list[str], says: str) -> None:
    (folder / "file.txt").write_text("")
    done = call(*args)
    assert done.code == 2, done
    assert done.out == ""
    assert "error: " in done.err and says in done.err
    assert not any(word in done.err for word in ("Traceback", "Value error", "Input should"))


def test_malformed_settings_name_the_line(call: Call, folder: Path) -> None:
    (folder / "shuntyard.toml").write_text("max_cost = = 3\n")
    done = call("run", "x")
    assert done.code == 2 and "shuntyard.toml" in done.err and "line 1" in done.err


def test_misspelt_settings_are_errors(call: Call, folder: Path) -> None:
    (folder / "shuntyard.toml").write_text("max_cots = 3\n")
    done = call("run", "x", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "settings_invalid"
    assert "max_cost" in done.json["error"]["message"]


def test_a_long_task_is_refused_before_anything_is_sent(call: Call) -> None:
    done = call("run", "word " * 50_000, "--no-memory")
    assert done.code == 2 and "50000 words" in done.err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BudgetSpent("spent 3 of 2; raise --max-cost."), 4, "spent 3 of 2"),
        (StoreTooNew("database from version 9; upgrade."), 2, "version 9"),
        (ExceptionGroup("tasks", [ValueError("x"), BudgetSpent("spent")]), 4, "spent"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 1, "free some space"),
        (KeyError("thing"), 1, "unexpected KeyError: 'thing'"),
    ],
)
def test_every_error_leaves_by_the_same_door(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, says: str
) -> None:
    def explode() -> None:
        raise error

    monkeypatch.setattr(door, "root", explode)
    plain = call("run", "x")
    assert plain.code == code and plain.out == ""
    assert says in plain.err and plain.err.count("\n") == 1
    as_json = call("run", "x", "--json")
    assert as_json.code == code and says in as_json.json["error"]["message"]
    assert as_json.json["error"]["exit_code"] == code
    assert "Traceback" in call("run", "x", "--debug").err


def test_interrupts_and_aborts_exit_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(door, "root", interrupted)
    assert call("run", "x").code == 130


def test_a_stopped_step_speaks_for_its_failure(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from shuntyard.agents.calls import StepStopped
    from shuntyard.steps import Failure

    def stopped() -> None:
        raise StepStopped(Failure(code="model_unavailable", message="gone", exit_code=6), "failed")

    monkeypatch.setattr(door, "root", stopped)
    assert call("plan", "x", "--json").json["error"] == {
        "code": "model_unavailable",
        "message": "gone",
        "retryable": False,
        "ids": {},
        "exit_code": 6,
    }
    assert issubclass(StepStopped, ShuntyardError)


def test_errors_of_an_event_stream_are_one_json_line(call: Call) -> None:
    done = call("run", "", "--events")
    assert done.code == 2 and done.out.count("\n") == 1
    assert done.json["error"]["code"] == "usage"


def test_a_plugin_adds_a_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def hello(name: str) -> None:
        typer.echo(f"hello {name}")

    monkeypatch.setattr(plugins, "load", lambda group: [("hello", app)] if group == "commands" else [])
    assert call("hello", "you").out == "hello you\n"
