"""What a failure means for its node and for the others: the four policies, in virtual time."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import virtual
from pydantic import ValidationError
from yard import SPECS, Yard, args, context, plan, ref, statuses

from shuntyard.events import Event, StepDone
from shuntyard.planner.join import _messages
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx
from shuntyard.steps import Failure, Label, NodePolicy, Plan, Step, StepResult, Verdict


def play(
    *nodes: dict[str, Any], yard: Yard | None = None, events: list[Event] | None = None
) -> Mapping[str, StepResult]:
    async def go() -> Mapping[str, StepResult]:
        return await Scheduler(yard or Yard(), context(events=events), SPECS).run(plan(*nodes))

    return virtual.run(go)


def policy(on_failure: str, **more: Any) -> dict[str, Any]:
    return {"policy": {"on_failure": on_failure, **more}}


@pytest.mark.parametrize("on_failure", ["isolate", "stop", "substitute", "ask"])
def test_no_policy_loses_a_sibling_that_runs(on_failure: str) -> None:
    siblings = [args(sleep=0.02) for _ in range(9)]
    results = play({**args(fail="raise"), **policy(on_failure)}, *siblings)
    assert sum(results[f"n{at}"].value == f"n{at}" for at in range(2, 11)) == 9


# --- substitute ----------------------------------------------------------------------------------


def test_a_substitute_goes_on_in_place_of_the_value_and_the_failure_stays_visible() -> None:
    events: list[Event] = []
    results = play(
        {**args(fail="raise"), **policy("substitute", substitute={"rows": [7]})},
        args(value=ref("n1.rows[0]")),
        events=events,
    )
    first = results["n1"]
    assert statuses(dict(results)) == {"n1": "done", "n2": "done"} and results["n2"].value == 7
    assert first.substituted and not results["n2"].substituted
    assert first.failure is not None and first.failure.message == (
        "a substitute stands in its place: read raised RuntimeError: boom"
    )
    assert first.label == Label(sources=("substitute",))
    assert "substitute" in results["n2"].label.sources
    told = [event for event in events if isinstance(event, StepDone) and event.path == "n1"]
    assert [(event.status, event.failure is not None) for event in told] == [("done", True)]


def test_a_substitute_comes_after_the_attempts_and_never_for_a_refusal() -> None:
    yard = Yard()
    results = play(
        {**args(fail="retry", times=9), **policy("substitute", substitute=0, retries=2)},
        {**args(status="denied"), **policy("substitute", substitute=0)},
        yard=yard,
    )
    spent = play({**args(status="spent"), **policy("substitute", substitute=0)})
    assert yard.starts.count("n1") == 3 and results["n1"].value == 0
    assert results["n2"].status == "denied" and spent["n1"].status == "spent"


def test_in_a_map_the_failed_element_is_replaced() -> None:
    results = play(
        args(value=[None, "raise", None]),
        {"over": ref("n1"), **args(fail=ref("item")), **policy("substitute", substitute="?")},
        {"over": ref("n9"), **policy("substitute", substitute="?"), "after": []},
    )
    assert results["n2"].value == ["n2[0]", "?", "n2[2]"] and results["n2"].substituted
    assert results["n2"].failure is not None and "1 of 3 elements failed; n2[1]" in results["n2"].failure.message
    assert {"substitute", "tool"} <= set(results["n2"].label.sources)
    assert results["n3"].status == "failed"


def test_whoever_answers_sees_that_it_is_a_substitute() -> None:
    whole = plan({**args(fail="raise"), **policy("substitute", substitute=42)})

    async def go() -> dict[str, StepResult]:
        return await Scheduler(Yard(), context(), SPECS).run(whole)

    shown = _messages("t", whole, virtual.run(go), offer=False)[1].content
    assert "| 42" in shown and "! a substitute stands in its place" in shown and "Line 1 failed" in shown


def test_a_substitute_that_no_policy_uses_is_an_error_and_survives_storing() -> None:
    with pytest.raises(ValidationError, match="never used with on_failure = 'isolate'"):
        NodePolicy(substitute=3)
    for made in (NodePolicy(), NodePolicy(on_failure="substitute"), NodePolicy(on_failure="substitute", substitute=3)):
        assert NodePolicy.model_validate_json(made.model_dump_json()) == made


# --- ask -----------------------------------------------------------------------------------------


def test_asking_holds_the_dependents_and_says_how_to_go_on() -> None:
    results = play({**args(fail="raise"), **policy("ask")}, args(x=ref("n1")), args(sleep=0.01), args(x=ref("n3")))
    assert statuses(dict(results)) == {"n1": "waiting", "n2": "cancelled", "n3": "done", "n4": "done"}
    failure = results["n1"].failure
    assert failure is not None and failure.exit_code == 5
    assert "n1 failed: read raised RuntimeError: boom" in failure.message
    assert "shuntyard resume r --assume n1=failed" in failure.message


def test_a_call_that_was_never_made_asks_nobody() -> None:
    results = play(args(value={"a": 1}), {**args(x=ref("n1.b")), **policy("ask")})
    assert results["n2"].status == "failed"


class Past:
    """A journal's answer to attempt 1, then the call itself."""

    def __init__(self, *, by_person: bool = False) -> None:
        self.calls: Counter[int] = Counter()
        self.verdict = Verdict(decision="deny", rule="assume", reason="", by="person") if by_person else None

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        if step.attempt == 1:
            failure = Failure(code="tool_error", message="boom")
            return StepResult(status="failed", failure=failure, replayed=True, verdict=self.verdict)
        self.calls[step.attempt] += 1
        return StepResult(value="now", attempts=step.attempt)


@pytest.mark.parametrize("by_person", [False, True])
def test_resuming_tries_again_unless_the_person_said_that_it_failed(by_person: bool) -> None:
    past, whole = Past(by_person=by_person), plan({**args(), **policy("ask")}, args(x=ref("n1")))

    async def go() -> dict[str, StepResult]:
        return await Scheduler(past, context(), SPECS).run(Plan(task="t", nodes=whole.nodes[:1]))

    results = virtual.run(go)
    assert results["n1"].status == ("failed" if by_person else "done")
    assert past.calls == ({} if by_person else {2: 1})
