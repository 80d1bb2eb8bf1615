"""How many calls are in flight at once: of all, of a tool, of a resource."""

import time
from collections import Counter
from typing import Any

import anyio
import pytest
import virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from yard import args, context, dags, plan, ref

from shuntyard.planner.frontier import Frontier
from shuntyard.planner.ready import Launch, Ready
from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.turns import Frame
from shuntyard.protocols import Ctx
from shuntyard.steps import Limits, Node, Plan, Step, StepResult, ToolSpec

KINDS = {"fetch": "network", "post": "network", "count": "cpu", "read": ""}


def tools(**limits: int) -> list[ToolSpec]:
    schema = {"type": "object", "properties": {}}
    return [
        ToolSpec(name=name, description="", parameters=schema, resource=resource, limit=limits.get(name))
        for name, resource in KINDS.items()
    ]


class Crowd:
    """Sleeps, and notes the most that were ever in flight, by tool, by resource and in all ('*')."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.ends: list[str] = []

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        names = {"*", step.name, KINDS[step.name]}
        self.now.update(names)
        self.most |= self.now
        await anyio.sleep(step.args.get("sleep", 0.01))
        self.now.subtract(names)
        self.ends.append(step.key.path)
        return StepResult(value=step.args.get("value"))


def play(whole: Plan, *, specs: list[ToolSpec], limits: Limits) -> tuple[Crowd, dict[str, StepResult], float]:
    crowd, ctx = Crowd(), context()
    ctx.limits = limits

    async def go() -> tuple[dict[str, StepResult], float]:
        results = await Scheduler(crowd, ctx, specs).run(whole)
        return results, anyio.current_time()

    return crowd, *virtual.run(go)


def test_a_map_over_800_elements_never_becomes_800_calls() -> None:
    whole = plan(args(value=list(range(800))), {"over": ref("n1"), **args(value=ref("item"))})
    crowd, results, took = play(whole, specs=tools(), limits=Limits(concurrency=7))
    assert results["n2"].value == list(range(800))
    assert crowd.most["*"] == 7 and took == pytest.approx(0.01 + 0.01 * 115)


def test_a_tool_and_a_resource_have_limits_of_their_own() -> None:
    nodes = [{"tool": name, **args()} for name in ("fetch", "post", "count", "read") for _ in range(30)]
    limits = Limits(concurrency=50, at_once={"network": 5, "post": 2, "read": 9})
    crowd, results, _ = play(plan(*nodes), specs=tools(count=3, read=20), limits=limits)
    assert all(result.ok for result in results.values())
    assert crowd.most["network"] == 5 and crowd.most["post"] == 2
    assert crowd.most["count"] == 3 and crowd.most["read"] == 9


def test_a_run_cannot_raise_what_a_tool_allows() -> None:
    nodes = [{"tool": "fetch", **args()} for _ in range(9)]
    crowd, _, _ = play(plan(*nodes), specs=tools(fetch=2), limits=Limits(at_once={"fetch": 8}))
    assert crowd.most["fetch"] == 2


def test_what_waits_for_its_resource_holds_up_nobody() -> None:
    slow = [{"tool": "fetch", **args(sleep=1)} for _ in range(40)]
    free = [{"tool": "read", **args(sleep=0.01)} for _ in range(10)]
    crowd, _, took = play(plan(*slow, *free), specs=tools(), limits=Limits(concurrency=4, at_once={"network": 2}))
    assert crowd.ends[:10] == [f"n{at}" for at in range(41, 51)]
    assert crowd.most["*"] == 4 and took == pytest.approx(20)


def test_a_map_gives_way_to_the_longer_path_between_its_elements() -> None:
    whole = plan(
        args(value=list(range(50))),
        {"over": ref("n1"), **args(sleep=0.1)},
        args(sleep=0.05),
        *(args(sleep=0.1, x=ref(f"n{at + 3}")) for at in range(60)),
    )
    crowd, _, _ = play(whole, specs=tools(), limits=Limits(concurrency=2))
    assert crowd.ends.index("n10") < crowd.ends.index("n2[20]")


def test_a_stopped_element_gives_its_room_back() -> None:
    async def go() -> list[str]:
        crowd, ctx = Crowd(), context()
        ctx.limits = Limits(at_once={"network": 1})
        async with Scheduler(crowd, ctx, tools()) as scheduler:
            scheduler.offer(plan({"tool": "fetch", **args(sleep=30)}).nodes[0])
            await anyio.sleep(0.5)
            await scheduler.finish(plan({"tool": "fetch", **args(sleep=0.1)}, {"tool": "post", **args()}))
            assert anyio.current_time() == pytest.approx(0.61)
        return crowd.ends

    assert virtual.run(go) == ["n1", "n2"]


@settings(max_examples=60, deadline=None)
@given(dags(), st.data())
def test_no_limit_is_ever_crossed_and_everything_runs(dag: Plan, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(list(KINDS)), min_size=25, max_size=25))
    nodes = [node.model_copy(update={"tool": name}) for node, name in zip(dag.nodes, names, strict=False)]
    own: dict[str, int] = data.draw(st.dictionaries(st.sampled_from(list(KINDS)), st.integers(1, 3)))
    at_once = data.draw(st.dictionaries(st.sampled_from([*KINDS, "network", "cpu"]), st.integers(1, 3)))
    limits = Limits(concurrency=data.draw(st.integers(1, 5)), at_once=at_once)
    crowd, results, _ = play(Plan(task="t", nodes=tuple(nodes)), specs=tools(**own), limits=limits)
    assert len(results) == len(nodes) and all(result.ok for result in results.values())
    assert crowd.most["*"] <= limits.concurrency
    for name, limit in [*own.items(), *at_once.items()]:
        assert crowd.most[name] <= limit


# --- the heap ------------------------------------------------------------------------------------


def launched(spec: ToolSpec, place: int, tail: float = 0.0) -> Launch:
    frame = Frame(Frontier({}), {}, {})
    return Launch(Node(id=f"n{place + 1}", tool=spec.name), spec, place=place, tail=tail, frame=frame)


def taken(ready: Ready) -> list[int]:
    found: list[int] = []
    while (call := ready.take()) is not None:
        found.append(call[0].place)
    return found


def test_the_longest_path_is_first_and_the_written_order_decides_between_equals() -> None:
    fetch, post, count, _ = tools()
    ready = Ready(Limits(at_once={"network": 9, "post": 9}))
    launches = [
        launched(spec, place, tail)
        for place, (spec, tail) in enumerate([(fetch, 1), (post, 3), (count, 2), (post, 1), (fetch, 3), (count, 9)])
    ]
    for launch in launches:
        ready.push(launch)
    ready.lengthen(launches[0], tail=2.5, place=0)
    ready.remove(launches[2])
    assert taken(ready) == [5, 1, 4, 0, 3]


def test_a_thousand_limited_tools_cost_no_scan_of_them_per_call() -> None:
    def seconds(size: int) -> float:
        specs = [
            ToolSpec(name=f"t{at}", description="", parameters={}, resource="network", limit=1) for at in range(size)
        ]
        ready = Ready(Limits(at_once={"network": 10}))
        for at in range(4 * size):
            ready.push(launched(specs[at % size], at))
        start, done, running = time.process_time(), 0, list[Any]()
        while done < 4 * size:
            while (call := ready.take()) is not None:
                running.append(call[0])
            ready.release(running.pop(0))
            done += 1
        return (time.process_time() - start) / done

    assert min(seconds(2000) for _ in range(3)) < 6 * min(seconds(100) for _ in range(3))
