"""Reads before their condition is known, in virtual time: sooner, never in the way, never beyond the budget."""

from pathlib import Path
from typing import Any

import anyio
import pytest
import virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TOYS, plans
from yard import plan, ref

from shuntyard.events import Event, Speculated, StepDone
from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.validate import complete
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Failure, Limits, Plan, Step, StepResult, ToolSpec

SCHEMA = {"type": "object", "properties": {}}


def spec(name: str, seconds: float, **more: Any) -> ToolSpec:
    return ToolSpec(name=name, description="", parameters=SCHEMA, seconds=seconds, **{"stability": "stable", **more})


SPECS = [
    spec("check", 3, stability="fresh"),
    spec("look", 2),
    spec("pure", 2, stability="pure"),
    spec("clock", 2, stability="fresh"),
    spec("paid", 2, cost=1),
    spec("narrow", 2, limit=1),
    spec("write", 2, effect=Effect.WRITE),
]
TAKES = {each.name: each.seconds for each in SPECS}


class Played:
    """A plan run in virtual time, with what happened when."""

    def __init__(
        self, whole: Plan, *, speculate: float = 100, workers: int = 4, holds: bool = True, **more: Any
    ) -> None:
        self.events: list[Event] = []
        self.calls: list[tuple[str, float, bool]] = []
        self.results: dict[str, StepResult] = {}
        self._holds, self._more = holds, more
        limits = Limits(concurrency=workers, speculate=speculate, **more.get("limits", {}))

        async def go() -> float:
            ctx = Ctx(run="r", workspace=Path("/"), emit=self.events.append, limits=limits)
            self.results = await Scheduler(self._handle, ctx, SPECS).run(whole)
            return anyio.current_time()

        self.seconds = virtual.run(go)

    async def _handle(self, step: Step, ctx: Ctx) -> StepResult:
        self.calls.append((step.key.path, anyio.current_time(), step.guess))
        if step.guess and self._more.get("asks"):
            return StepResult(status="cancelled")
        await anyio.sleep(step.args.get("takes", TAKES[step.name]))
        if step.guess and self._more.get("fails"):
            return StepResult(status="failed", failure=Failure(code="x", message="no"))
        return StepResult(value=self._holds if step.name == "check" else step.key.path)

    @property
    def guessed(self) -> list[str]:
        return [path for path, _, guess in self.calls if guess]

    def statuses(self) -> dict[str, str]:
        return {id: result.status for id, result in sorted(self.results.items())}

    @property
    def wasted(self) -> float:
        return sum(event.seconds for event in self.events if isinstance(event, Speculated) and not event.needed)

    @property
    def saved(self) -> float:
        return sum(event.seconds for event in self.events if isinstance(event, Speculated) and event.needed)


def gated(tool: str = "look", **more: Any) -> Plan:
    """A slow condition before a slow read, and a read after it."""
    return plan(
        {"tool": "check"}, {"tool": tool, "when": ref("n1"), **more}, {"tool": "pure", "args": {"x": ref("n2")}}
    )


def test_a_slow_condition_before_a_slow_read_costs_the_longer_of_the_two() -> None:
    before, after = Played(gated(), speculate=0), Played(gated())
    assert (before.seconds, after.seconds) == (7.0, 5.0)
    assert after.saved == pytest.approx(2) and after.wasted == 0
    assert before.statuses() == after.statuses() == {"n1": "done", "n2": "done", "n3": "done"}
    assert after.results["n2"].ahead == pytest.approx(3) and before.results["n2"].ahead == 0
    assert [path for path, _, _ in after.calls] == ["n1", "n2", "n3"], "nothing is called twice"
    assert [event.path for event in after.events if isinstance(event, StepDone)] == ["n1", "n2", "n3"]


def test_a_read_that_is_still_on_its_way_goes_on_when_it_is_needed() -> None:
    slow = Played(gated(args={"takes": 10}))
    assert slow.seconds == 12.0 and len(slow.calls) == 3 and slow.saved == pytest.approx(3)


def test_in_vain_it_is_dropped_and_said() -> None:
    played = Played(gated(args={"takes": 10}), holds=False)
    assert played.statuses() == {"n1": "done", "n2": "skipped", "n3": "skipped"} and played.seconds == 3.0
    result = played.results["n2"]
    assert result.value is None and result.failure is None
    assert (result.ahead, result.seconds, played.wasted) == (pytest.approx(3), pytest.approx(3), pytest.approx(3))
    assert played.saved == 0


@pytest.mark.parametrize("tool", ["clock", "paid", "write"])
def test_effects_paid_and_unrepeatable_calls_wait(tool: str) -> None:
    played = Played(gated(tool))
    assert played.guessed == [] and played.seconds == 7.0


def test_what_reads_the_condition_itself_or_comes_after_it_waits() -> None:
    assert Played(gated(args={"x": ref("n1")})).guessed == []
    assert Played(gated(after=["n1"])).guessed == []


@pytest.mark.parametrize(("tool", "guessed"), [("look", []), ("pure", ["n3"])])
def test_what_an_effect_may_change_waits_for_it(tool: str, guessed: list[str]) -> None:
    whole = plan({"tool": "write"}, {"tool": "check", "after": ["n1"]}, {"tool": tool, "when": ref("n2")})
    played = Played(whole)
    assert [path for path, start, guess in played.calls if guess and start < 2] == guessed


def test_a_read_is_guessed_as_soon_as_the_effects_before_its_condition_are_over() -> None:
    whole = plan({"tool": "write"}, {"tool": "check", "after": ["n1"]}, {"tool": "look", "when": ref("n2")})
    played = Played(whole)
    assert ("n3", 2.0, True) in played.calls and played.seconds == 5.0


def test_a_real_call_that_becomes_ready_takes_the_place_of_a_guess() -> None:
    # The guess runs beside the condition and the first read, until two others are ready and one worker is free.
    whole = plan(
        {"tool": "check", "args": {"takes": 10}},
        {"tool": "look", "args": {"takes": 1}},
        {"tool": "look", "args": {"takes": 20}, "when": ref("n1")},
        {"tool": "look", "args": {"takes": 4}, "after": ["n2"]},
        {"tool": "look", "args": {"takes": 4}, "after": ["n2"]},
    )
    with_, without = Played(whole, workers=3), Played(whole, workers=3, speculate=0)
    assert with_.guessed == ["n3"] and with_.wasted == pytest.approx(1)
    assert [call for call in with_.calls if not call[2]] == without.calls and with_.seconds == without.seconds


def test_a_guess_leaves_a_limited_tool_when_a_call_that_is_needed_wants_it() -> None:
    whole = plan(
        {"tool": "check", "args": {"takes": 10}},
        {"tool": "narrow", "args": {"takes": 9}, "when": ref("n1")},
        {"tool": "look", "args": {"takes": 1}},
        {"tool": "narrow", "args": {"takes": 2}, "after": ["n3"]},
    )
    played = Played(whole)
    assert played.guessed == ["n2"] and ("n4", 1.0, False) in played.calls
    assert played.wasted == pytest.approx(1) and played.seconds == 19.0


def test_the_budget_ends_guesses_under_way() -> None:
    gates = [{"tool": "check", "args": {"takes": 30}}]
    whole = plan(*gates, *({"tool": "look", "args": {"takes": 20}, "when": ref("n1")} for _ in range(3)))
    played = Played(whole, speculate=6, holds=False)
    assert sorted(played.guessed) == ["n2", "n3", "n4"] and played.wasted == pytest.approx(6)
    assert Played(whole, speculate=1).guessed == [], "its typical time does not fit"


@pytest.mark.parametrize("how", ["asks", "fails"])
def test_what_the_guard_does_not_allow_or_fails_is_called_when_it_is_needed(how: str) -> None:
    played = Played(gated(), **{how: True})
    assert played.statuses() == {"n1": "done", "n2": "done", "n3": "done"}
    assert [(path, guess) for path, _, guess in played.calls] == [
        ("n1", False), ("n2", True), ("n2", False), ("n3", False),
    ]  # fmt: skip
    assert played.seconds == 7.0
    vain = Played(gated(), holds=False, **{how: True})
    assert vain.statuses()["n2"] == "skipped" and vain.results["n2"].ahead == 0


def test_a_failed_condition_and_a_stop_leave_no_guess_behind() -> None:
    whole = plan(
        {"tool": "check", "args": {"takes": 1}, "policy": {"on_failure": "stop"}},
        {"tool": "look", "args": {"takes": 50}, "when": ref("n1")},
    )

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        await anyio.sleep(step.args["takes"])
        return StepResult(status="failed", failure=Failure(code="x", message="because"))

    async def go() -> tuple[dict[str, StepResult], float]:
        ctx = Ctx(run="r", workspace=Path("/"), emit=lambda event: None, limits=Limits(speculate=9))
        return await Scheduler(handle, ctx, SPECS).run(whole), anyio.current_time()

    results, seconds = virtual.run(go)
    assert results["n1"].status == "failed" and results["n2"].status in ("skipped", "cancelled") and seconds == 1.0


# --- any plan ------------------------------------------------------------------------------------


class Toyland:
    """The toys' answers after the typical time of each; effects and reads in the order of their start."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}
        self.effects: list[tuple[str, bool]] = []
        self.events: list[Event] = []

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        if step.effect is not Effect.READ:
            self.effects.append((step.key.path, step.guess))
        await anyio.sleep(next(each.seconds for each in TOYS if each.name == step.name))
        args = dict(step.args)
        if step.name == "put":
            self.held[args["path"]] = args["value"]
        answers: dict[str, Any] = {
            "get": {"value": self.held.get(args.get("path", ""), 1)},
            "digest": {"value": len(str(args)) % 3},
            "toss": {"value": int(step.key.path[1]) % 2},
            "many": [1, 2],
        }
        item = args.get("item")
        if step.name == "price":
            return StepResult(value=[{"value": 1}] * len(item) if isinstance(item, list) else {"value": 1})
        return StepResult(value=answers.get(step.name, {"value": 2}))


def play(whole: Plan, workers: int, speculate: float) -> tuple[dict[str, StepResult], Toyland, float]:
    land = Toyland()

    async def go() -> tuple[dict[str, StepResult], float]:
        limits = Limits(concurrency=workers, speculate=speculate)
        ctx = Ctx(run="r", workspace=Path("/"), emit=land.events.append, limits=limits)
        return await Scheduler(land, ctx, TOYS).run(whole), anyio.current_time()

    results, seconds = virtual.run(go)
    return results, land, seconds


@settings(max_examples=80, deadline=None)
@given(plans(), st.integers(1, 5), st.sampled_from([0.5, 2.0, 5.0, 1000.0]))
def test_same_results_as_without_no_effect_guessed_and_waste_within_the_budget(
    whole: Plan, workers: int, budget: float
) -> None:
    whole = complete(whole, TOYS)
    plain, _, _ = play(whole, workers, 0)
    guessed, land, _ = play(whole, workers, budget)
    assert {id: (r.status, r.value) for id, r in guessed.items()} == {
        id: (r.status, r.value) for id, r in plain.items()
    }
    assert not any(guess for _, guess in land.effects)
    told = [event for event in land.events if isinstance(event, Speculated)]
    assert sum(event.seconds for event in told if not event.needed) <= budget + 1e-6
    assert {event.path for event in told if event.needed} <= {id for id, result in guessed.items() if result.ahead}


@settings(max_examples=50, deadline=None)
@given(plans())
def test_with_workers_enough_it_is_never_slower(whole: Plan) -> None:
    whole = complete(whole, TOYS)
    assert play(whole, 50, 1000)[2] <= play(whole, 50, 0)[2] + 1e-6
