"""Any order of lines, waits, replacements and cancelling over tools that raise, hang, are late or return 50 MB."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from virtual import VirtualLoop
from yard import SPECS, context, ref

from shuntyard.errors import ToolRetry, ToolTimeout
from shuntyard.events import Event, StepDone, StepStarted
from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.values import parents
from shuntyard.protocols import Ctx
from shuntyard.steps import Body, Node, NodePolicy, Plan, Step, StepResult

BIG = "x" * 50_000_000
KINDS = ["ok", "late", "raises", "hangs", "again", "big", "swallows"]
POLICIES = [
    NodePolicy(timeout=5),
    NodePolicy(timeout=5, on_failure="substitute", substitute="instead"),
    NodePolicy(timeout=5, on_failure="ask"),
]
AT_ONCE = 3


def call(node: Node) -> Node:
    """What a node calls, itself or in its body."""
    return node if node.body is None else node.body.nodes[0]


class Tools:
    """Does what ``args['kind']`` says and counts what is in flight."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.effects: Counter[str] = Counter()

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return StepResult(value=await self._act(step, str(step.args["kind"])))
        finally:
            self.now -= 1

    async def _act(self, step: Step, kind: str) -> Any:
        if step.name == "write":
            self.effects[step.key.path] += 1
        if kind == "raises":
            raise RuntimeError("boom")
        if kind == "again" and step.attempt == 1:
            raise ToolRetry("once more")
        if kind == "hangs":
            with anyio.move_on_after(step.timeout):
                await anyio.sleep_forever()
            raise ToolTimeout("too slow")
        if kind == "swallows":
            # A tool that does not let itself be cancelled comes back all the same.
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
        await anyio.sleep(4 if kind == "late" else 0.1)
        return BIG if kind == "big" else f"{step.key.path} {kind}"


class Machine(RuleBasedStateMachine):
    """A plan that is being written, replaced, waited for, finished or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.nodes: dict[str, Node] = {}
        self.tools = Tools()
        self.events: list[Event] = []
        self.scheduler = Scheduler(self.tools, context(concurrency=AT_ONCE, events=self.events), SPECS)
        self.orders: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self.over = False
        self.driver = self.loop.create_task(self._drive())
        self._pass(0)

    async def _drive(self) -> None:
        # Scopes belong to the task that entered them, so one task does everything.
        with anyio.CancelScope() as scope:
            self.cancel = lambda: self.loop.call_soon(scope.cancel)
            async with self.scheduler:
                while not self.over:
                    await (await self.orders.get())()

    def _pass(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def _do(self, order: Callable[[], Awaitable[None]]) -> None:
        self.orders.put_nowait(order)
        self._pass(0)

    @precondition(lambda self: not self.over and len(self.nodes) < 12)
    @rule(data=st.data())
    def write_a_line(self, data: st.DataObject) -> None:
        self._offer(f"n{len(self.nodes) + 1}", data, list(self.nodes))

    @precondition(lambda self: not self.over and self.nodes)
    @rule(data=st.data())
    def write_a_line_again(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(list(self.nodes)))
        self._offer(id, data, list(self.nodes)[: list(self.nodes).index(id)])

    def _offer(self, id: str, data: st.DataObject, before: list[str]) -> None:
        used = data.draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
        node = Node(
            id=id,
            tool=data.draw(st.sampled_from(["read", "read", "write"])),
            args={"kind": data.draw(st.sampled_from(KINDS)), "in": [ref(one) for one in used]},
            policy=data.draw(st.sampled_from(POLICIES)),
        )
        if data.draw(st.integers(0, 3)) == 0:
            # The call twice, one turn after the other.
            inner = node.model_copy(update={"id": f"{id}00"})
            pause = data.draw(st.sampled_from([0, 2]))
            node = Node(id=id, effect="write", body=Body(nodes=(inner,), most=2, pause=pause))
        self.nodes[id] = node

        async def order() -> None:
            self.scheduler.offer(node)

        self._do(order)

    @precondition(lambda self: self.over)
    @rule()
    def nothing_more_happens(self) -> None:
        told = len(self.events)
        self._pass(100)
        assert len(self.events) == told

    @precondition(lambda self: not self.over)
    @rule(seconds=st.sampled_from([0, 0.05, 1, 3, 10]))
    def wait(self, seconds: float) -> None:
        self._pass(seconds)

    @precondition(lambda self: not self.over and self.nodes)
    @rule()
    def stop_from_outside(self) -> None:
        kept = dict(self.scheduler.results)
        self.over = True
        self.cancel()
        self._pass(5)
        assert self.driver.done() and self.driver.exception() is None
        assert all(self.scheduler.results[id] == result for id, result in kept.items())
        for id, result in self.scheduler.results.items():
            held = {self.scheduler.results[parent].status for parent in parents(self.nodes[id])}
            assert result.status != "cancelled" or held & {"waiting", "cancelled"}, id

    @precondition(lambda self: not self.over and self.nodes)
    @rule()
    def close_the_plan(self) -> None:
        plan = Plan(task="t", nodes=tuple(self.nodes.values()))

        async def order() -> None:
            self.over = True
            results = await self.scheduler.finish(plan)
            self._complete(results)

        self._do(order)
        self.loop.run_until_complete(asyncio.wait([self.driver]))
        assert self.driver.exception() is None, self.driver.exception()

    def _complete(self, results: dict[str, StepResult]) -> None:
        assert list(results) == [id for id in self.scheduler.results if id in self.nodes]
        assert set(results) == set(self.nodes)
        for id, node in self.nodes.items():
            assert results[id].status in self._expected(node, results), (id, results[id])
            if results[id].ok and not results[id].substituted:
                kind = call(node).args["kind"]
                path = id if node.body is None else f"{id}[1].{id}00"
                assert results[id].value == (BIG if kind == "big" else f"{path} {kind}")

    def _expected(self, node: Node, results: dict[str, StepResult]) -> set[str]:
        held = {results[id].status for id in parents(node)}
        if held - {"done"}:
            return {"skipped"} if held <= {"done", "failed", "skipped"} else {"skipped", "cancelled"}
        if call(node).args["kind"] not in ("raises", "hangs"):
            return {"done"}
        return {{"isolate": "failed", "substitute": "done", "ask": "waiting"}[call(node).policy.on_failure]}

    @invariant()
    def never_more_than_allowed_and_no_effect_twice(self) -> None:
        assert self.tools.most <= AT_ONCE
        for path, count in self.tools.effects.items():
            assert count <= (2 if call(self.nodes[path.partition("[")[0]]).args["kind"] == "again" else 1)

    @invariant()
    def what_ended_had_begun_and_ended_once(self) -> None:
        begun = Counter(event.path for event in self.events if isinstance(event, StepStarted))
        # What waits for another is told again when the line it waits for is written again.
        never = {"skipped", "waiting"}
        ended = Counter(
            event.path for event in self.events if isinstance(event, StepDone) and event.status not in never
        )
        assert not self.over or all(ended[path] <= begun[path] + 1 for path in ended)

    def teardown(self) -> None:
        if not self.driver.done():
            self.cancel()
            self._pass(10)
        assert self.driver.done() and self.tools.now == 0
        self.loop.close()


Machine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
test_machine = Machine.TestCase
