"""A person's yes to other arguments: checked, judged again, told; never a way around a deny."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from guard_parts import SPECS, Calls, MemoryApprovals, context, step

from shuntyard.events import ApprovalAsked, Event
from shuntyard.guard import PolicyGate, default_rules, guarded
from shuntyard.protocols import Ctx, Edited
from shuntyard.steps import Label, Step, StepResult, ToolSpec, Verdict

pytestmark = pytest.mark.anyio
GATE = PolicyGate(default_rules())


async def check(tool: str, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
    unknown = [name for name in args if name not in ("path", "text")]
    return [f"{tool}: argument {name!r} is unknown; the parameters are path, text" for name in unknown]


class Editor:
    """A person who gives the same answers in order."""

    def __init__(self, *answers: Edited | bool | None) -> None:
        self.answers = list(answers)
        self.reasons: list[str] = []

    async def decide(self, step: Step, spec: ToolSpec, verdict: Verdict, preview: str) -> Edited | bool | None:
        self.reasons.append(verdict.reason)
        return self.answers.pop(0)


async def decided(tmp_path: Path, call: Step, editor: Editor, calls: Calls) -> StepResult:
    return await guarded(GATE, SPECS, MemoryApprovals(), editor, check=check)(calls)(call, context(tmp_path))


async def test_the_edited_call_is_made_and_both_calls_are_told(tmp_path: Path) -> None:
    calls, labels = Calls(), {"text": Label(sources=("tool",), tools=("search",))}
    call = step("write_file", path="a.txt", text="x", labels=labels)
    result = await decided(tmp_path, call, Editor(Edited({"path": "b.txt"}, by="ann")), calls)
    (made,) = calls.steps
    assert result.ok and made.args == {"path": "b.txt", "text": "x"} and call.args["path"] == "a.txt"
    assert made.labels["path"] == Label(sources=("person",)) and made.labels["text"] == labels["text"]
    assert "person" in result.label.sources
    verdict = result.verdict
    assert verdict is not None and (verdict.decision, verdict.by) == ("allow", "person")
    edit = verdict.edit
    assert edit is not None and (edit.by, edit.was, edit.now) == ("ann", 'path="a.txt"', 'path="b.txt"')
    assert (edit.before, edit.after) == (call.digest, made.digest) and edit.before != edit.after
    assert verdict.args_digest == made.digest


async def test_whole_arguments_drop_the_others(tmp_path: Path) -> None:
    calls = Calls()
    call = step("write_file", path="a.txt", text="x")
    result = await decided(tmp_path, call, Editor(Edited({"path": "b.txt"}, whole=True)), calls)
    assert calls.steps[0].args == {"path": "b.txt"}
    assert result.verdict is not None and result.verdict.edit is not None
    assert "text=" in result.verdict.edit.was and "text=" not in result.verdict.edit.now


async def test_an_edit_that_changes_nothing_is_a_plain_yes(tmp_path: Path) -> None:
    result = await decided(tmp_path, step("write_file", path="a"), Editor(Edited({"path": "a"})), Calls())
    assert result.ok and result.verdict is not None and result.verdict.edit is None


async def test_a_deny_stays_a_deny_and_a_wrong_edit_is_asked_for_again(tmp_path: Path) -> None:
    calls = Calls()
    editor = Editor(Edited({"path": "../out"}), Edited({"pth": "b"}), Edited({"path": "b"}))
    result = await decided(tmp_path, step("write_file", path="a"), editor, calls)
    assert result.ok and [made.args["path"] for made in calls.steps] == ["b"]
    assert "denied by rule 'outside-workspace'" in editor.reasons[1] and "use a path inside" in editor.reasons[1]
    assert "argument 'pth' is unknown; the parameters are path, text" in editor.reasons[2]


async def test_after_three_wrong_edits_the_question_waits_and_nothing_was_called(tmp_path: Path) -> None:
    calls, approvals, events = Calls(), MemoryApprovals(), list[Event]()
    editor = Editor(*[Edited({"path": "../out"})] * 3)
    road = guarded(GATE, SPECS, approvals, editor, check=check)(calls)
    result = await road(step("write_file", path="a"), context(tmp_path, events))
    assert result.status == "waiting" and calls.steps == [] and len(approvals.asked) == 1
    assert result.failure is not None and "outside-workspace" in result.failure.message
    assert [event.approval for event in events if isinstance(event, ApprovalAsked)] == ["a1"]


async def test_a_recorded_edit_that_no_longer_holds_opens_the_question_again(tmp_path: Path) -> None:
    approvals, calls = MemoryApprovals(), Calls()
    call = step("write_file", path="a.txt")
    approvals.answers[(call.key, call.digest)] = Edited({"path": ".git/config"})
    road = guarded(GATE, SPECS, approvals, check=check)(calls)
    result = await road(call, context(tmp_path))
    assert result.status == "waiting" and calls.steps == []
    assert result.failure is not None and ".git" in result.failure.message
    assert approvals.answers[(call.key, call.digest)] is None
    approvals.answers[(call.key, call.digest)] = Edited({"path": "ok.txt"})
    assert (await road(call, context(tmp_path))).ok and calls.steps[0].args["path"] == "ok.txt"


async def test_what_a_person_said_of_this_call_outranks_the_flag(tmp_path: Path) -> None:
    approvals, calls = MemoryApprovals(), Calls()
    first, second = step("write_file", path="a.txt"), step("write_file", "n2", path="b.txt")
    approvals.answers[(first.key, first.digest)] = Edited({"path": "c.txt"})
    approvals.answers[(second.key, second.digest)] = False
    road = guarded(GATE, SPECS, approvals, approve=["*"], check=check)(calls)
    assert (await road(first, context(tmp_path))).ok
    assert (await road(second, context(tmp_path))).status == "denied"
    assert [made.args["path"] for made in calls.steps] == ["c.txt"]


async def test_secrets_of_an_edit_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "s3cr3t-value-1")
    call = step("write_file", path="a", text="x")
    result = await decided(tmp_path, call, Editor(Edited({"text": "s3cr3t-value-1"})), Calls())
    assert result.ok and "s3cr3t" not in result.model_dump_json()
