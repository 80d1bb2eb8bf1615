from pathlib import Path

import anyio
import pytest
from guard_parts import SPECS, Calls, MemoryApprovals, context, step

from shuntyard.events import ApprovalAsked, Event, Guarded
from shuntyard.guard import FlagApprover, PolicyGate, default_rules, guarded
from shuntyard.messages import Message, ModelRequest
from shuntyard.protocols import Ctx
from shuntyard.steps import Bound, Label, Step, StepKey, StepResult, ToolSpec, Verdict

pytestmark = pytest.mark.anyio
GATE = PolicyGate(default_rules())


class Person:
    def __init__(self, answer: bool | None) -> None:
        self.answer = answer
        self.seen: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def decide(self, step: Step, spec: ToolSpec, verdict: Verdict, preview: str) -> bool | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.sleep(0.005)
        self.at_once -= 1
        self.seen.append(preview)
        return self.answer


async def test_an_allowed_call_passes_and_carries_its_verdict(tmp_path: Path) -> None:
    events: list[Event] = []
    calls = Calls()
    result = await guarded(GATE, SPECS, MemoryApprovals())(calls)(
        step("read_file", path="a"), context(tmp_path, events)
    )
    assert result.ok and result.verdict is not None and result.verdict.rule == "read"
    assert [type(event) for event in events] == [Guarded] and len(calls.steps) == 1


async def test_a_denied_call_never_runs_and_exits_three(tmp_path: Path) -> None:
    calls = Calls()
    road = guarded(GATE, SPECS, MemoryApprovals(), Person(True), approve=["*"])(calls)
    result = await road(step("write_file", path="../x"), context(tmp_path))
    assert result.status == "denied" and result.failure is not None and calls.steps == []
    assert (result.failure.code, result.failure.exit_code) == ("policy_denied", 3)
    assert "outside-workspace" in result.failure.message and "use a path inside" in result.failure.message
    unknown = await road(step("nobody"), context(tmp_path))
    assert unknown.status == "denied" and "nobody" in unknown.failure.message  # type: ignore[union-attr]


async def test_a_call_that_needs_a_person_waits_and_names_both_commands(tmp_path: Path) -> None:
    events: list[Event] = []
    approvals, calls = MemoryApprovals(), Calls()
    road = guarded(GATE, SPECS, approvals, Person(None))(calls)
    call = step("write_file", path="a.txt", text="x")
    first = await road(call, context(tmp_path, events))
    assert first.status == "waiting" and first.failure is not None and calls.steps == []
    assert (first.failure.code, first.failure.exit_code) == ("approval_needed", 5)
    assert "shuntyard approve a1" in first.failure.message and "shuntyard resume r1" in first.failure.message
    asked = [event for event in events if isinstance(event, ApprovalAsked)]
    assert len(asked) == 1 and asked[0].preview == 'path="a.txt"\ntext="x"'
    assert "a1" in (await road(call, context(tmp_path))).failure.message  # type: ignore[union-attr]

    approvals.answers[(call.key, call.digest)] = True
    approved = await road(call, context(tmp_path))
    assert approved.ok and approved.verdict is not None
    assert (approved.verdict.decision, approved.verdict.by, approved.verdict.rule) == ("allow", "person", "write")
    # The yes holds for exactly these arguments at exactly this place.
    assert (await road(step("write_file", path="b.txt", text="x"), context(tmp_path))).status == "waiting"
    assert (await road(step("write_file", "n2", path="a.txt", text="x"), context(tmp_path))).status == "waiting"


async def test_a_recorded_no_denies_without_asking_again(tmp_path: Path) -> None:
    approvals, person = MemoryApprovals(), Person(True)
    call = step("write_file", path="a.txt")
    approvals.answers[(call.key, call.digest)] = False
    result = await guarded(GATE, SPECS, approvals, person)(Calls())(call, context(tmp_path))
    assert result.status == "denied" and "said no" in result.failure.message and person.seen == []  # type: ignore[union-attr]


async def test_the_flag_answers_before_anybody_is_asked(tmp_path: Path) -> None:
    person, approvals = Person(False), MemoryApprovals()
    road = guarded(GATE, SPECS, approvals, person, approve=["write_*"])(Calls())
    result = await road(step("write_file", path="a.txt"), context(tmp_path))
    assert result.ok and result.verdict is not None and result.verdict.by == "flag"
    assert person.seen == [] and approvals.asked == []
    denied = await road(step("http_get", url="x"), context(tmp_path))
    assert denied.status == "denied" and denied.verdict is not None and denied.verdict.by == "person"
    assert await FlagApprover(["*"]).decide(step("x"), SPECS["move"], result.verdict, "") is True
    assert await FlagApprover(["mov"]).decide(step("x"), SPECS["move"], result.verdict, "") is None


async def test_one_question_at_a_time(tmp_path: Path) -> None:
    person, calls = Person(True), Calls()
    road = guarded(GATE, SPECS, MemoryApprovals(), person)(calls)
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(road, step("write_file", f"n{number + 1}", path=f"{number}.txt"), context(tmp_path))
    assert person.most_at_once == 1 and len(person.seen) == len(calls.steps) == 5


@pytest.mark.parametrize("broken", ["gate", "take", "ask", "approver", "redact"])
async def test_whatever_breaks_denies(tmp_path: Path, broken: str) -> None:
    async def boom(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    def boom_now(text: str) -> str:
        raise RuntimeError("boom")

    gate, approvals, person, calls = PolicyGate(default_rules()), MemoryApprovals(), Person(None), Calls()
    target = {"gate": gate, "take": approvals, "ask": approvals, "approver": person}.get(broken)
    if target is not None:
        setattr(target, {"gate": "judge", "approver": "decide"}.get(broken, broken), boom)
    road = guarded(gate, SPECS, approvals, person, redact=boom_now if broken == "redact" else None)(calls)
    result = await road(step("write_file", path="a.txt"), context(tmp_path))
    assert result.status == "denied" and result.verdict is not None and result.verdict.rule == "fails-closed"
    assert calls.steps == []


async def test_a_failing_tool_is_not_taken_for_a_failing_guard(tmp_path: Path) -> None:
    async def breaks(step: Step, ctx: Ctx) -> StepResult:
        raise RuntimeError("from below")

    with pytest.raises(RuntimeError, match="from below"):
        await guarded(GATE, SPECS, MemoryApprovals())(breaks)(step("read_file", path="a"), context(tmp_path))


async def test_model_calls_pass(tmp_path: Path) -> None:
    calls = Calls()
    request = ModelRequest(messages=(Message(role="user", content="x"),))
    call = Step(StepKey("r1", 0, "join"), "model", "join", request=request)
    assert (await guarded(GATE, {}, MemoryApprovals())(calls)(call, context(tmp_path))).verdict is None
    assert len(calls.steps) == 1


async def test_the_preview_shows_where_content_comes_from_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "s3cr3t-value-1")
    approvals = MemoryApprovals()
    labels = {"text": Label(sources=("tool",), tools=("read_file", "search"))}
    text = "x" * 395 + "s3cr3t-value-1" + "y" * 500
    call = step("write_file", path="a", text=text, sum=Bound("$1 + 1", {"$1": 4}), labels=labels)
    result = await guarded(GATE, SPECS, approvals)(Calls())(call, context(tmp_path))
    assert result.status == "waiting"
    (preview,) = approvals.asked
    assert "s3cr" not in preview and len(preview) < 700
    assert "(content comes from read_file, search)" in preview and '"$1": 4' in preview
