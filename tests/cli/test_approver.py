import io
import sys

import pytest

from shuntyard.cli.approver import TerminalApprover, printable
from shuntyard.protocols import Edited
from shuntyard.steps import Effect, Step, StepKey, ToolSpec, Verdict

pytestmark = pytest.mark.anyio

SPEC = ToolSpec(name="write_file", description="Write.", parameters={"type": "object"}, effect=Effect.WRITE)
STEP = Step(key=StepKey("r", 0, "n1"), kind="tool", name="write_file", effect=Effect.WRITE)
ASK = Verdict(decision="ask", rule="writes-ask", reason="it changes the workspace")


@pytest.mark.parametrize(
    ("typed", "decided"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("what\nno\n", False), ("", None), ("a\nb\nc\nd\n", None)],
)
async def test_a_person_decides(
    typed: str, decided: bool | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert await TerminalApprover().decide(STEP, SPEC, ASK, "path='a\x1b[2Jb.txt'") is decided
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "n1 wants to call write_file (write): it changes the workspace" in shown.err
    assert "\x1b" not in shown.err and "\\x1b[2J" in shown.err


EDITS = [
    ('e\npath="b.txt"\ncount=3\n\n', {"path": "b.txt", "count": 3}),
    ("edit\nwhat\npath=b.txt\n\n", {"path": "b.txt"}),
]


@pytest.mark.parametrize(("typed", "given"), EDITS)
async def test_a_person_gives_other_arguments(
    typed: str, given: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert await TerminalApprover().decide(STEP, SPEC, ASK, "path='a'") == Edited(given)
    assert ("'what\\n' is not NAME=VALUE" in capsys.readouterr().err) is ("what" in typed)


@pytest.mark.parametrize(("typed", "decided"), [("e\n\ny\n", True), ("e\npath=b\n", None), ("e\n", None)])
async def test_an_edit_that_is_not_ended_is_none(
    typed: str, decided: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert await TerminalApprover().decide(STEP, SPEC, ASK, "path='a'") is decided


def test_nobody_is_asked_without_a_terminal() -> None:
    assert not TerminalApprover.possible()


def test_printable_spells_out_what_could_hide() -> None:
    assert printable("a\u202eb\tc") == "a\\u202eb\\tc"
