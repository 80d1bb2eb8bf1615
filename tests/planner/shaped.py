"""Plans with bodies, loops and early ends, a world to run them in, and a naive interpreter of them."""

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anyio
from hypothesis import strategies as st
from yard import ref

from shuntyard.planner.validate import complete
from shuntyard.planner.values import parents
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Node, Plan, Step, StepResult, ToolSpec

_ANY = {"type": "object", "properties": {"in": {}, "add": {}}}
SPECS = [
    ToolSpec(name="mix", description="", parameters=_ANY),
    ToolSpec(name="some", description="", parameters=_ANY),
    ToolSpec(name="odd", description="", parameters=_ANY),
    ToolSpec(name="weak", description="", parameters=_ANY),
    ToolSpec(name="put", description="", parameters=_ANY, effect=Effect.WRITE),
]


class Broken(Exception):
    """What a weak tool raises."""


def called(tool: str, args: Mapping[str, Any]) -> Any:
    """The value of a call: a function of the call alone."""
    number = zlib.crc32(json.dumps([tool, args], sort_keys=True).encode())
    if tool == "weak" and number % 4 == 0:
        raise Broken("broken")
    return {"some": list(range(number % 4)), "odd": bool(number % 3 == 0)}.get(tool, number % 50)


class World:
    """Makes calls after a moment that depends on the call, and remembers which."""

    def __init__(self, *, slow: float = 0.0) -> None:
        self.made: Counter[str] = Counter()
        self.puts: Counter[str] = Counter()
        self.now = 0
        self.most = 0
        self._slow = slow

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        path = step.key.path
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if step.effect is not Effect.READ:
                await step.before_effect()
            await anyio.sleep(self._slow * (zlib.crc32(path.encode()) % 5))
            value = called(step.name, step.args)
        finally:
            self.now -= 1
        self.made[path] += 1
        if step.effect is not Effect.READ:
            self.puts[path] += 1
        return StepResult(value=value)


class Seen(NamedTuple):
    """What the naive interpreter says of a node."""

    status: str
    """``done``, ``failed``, ``skipped`` (by a condition), ``lost`` (behind a failure)."""
    value: Any = None


class Naive:
    """Runs a plan one call after the other, in the written order, as a loop in Python would."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def run(self, plan: Plan) -> dict[str, Seen]:
        results: dict[str, Seen] = {}
        ended = False
        for node in plan.nodes:
            results[node.id] = Seen("skipped") if ended else self._node(node, results, "")
            ended = ended or (node.ends and results[node.id].status == "done")
        return results

    def _node(self, node: Node, scope: Mapping[str, Seen], path: str) -> Seen:
        states = {id: scope[id].status for id in parents(node)}
        if {"failed", "lost"} & set(states.values()):
            return Seen("lost")
        used = parents(node.model_copy(update={"after": ()}))
        if any(states[id] == "skipped" for id in used):
            return Seen("skipped")
        if node.when is not None and not self._value(node.when, scope):
            return Seen("skipped")
        path += node.id
        if node.over is None:
            return self._turns(node, scope, path, None) if node.body else self._call(node, scope, path)
        items = self._value(node.over, scope)
        if node.body:
            return self._turns(node, scope, path, items)
        return listed(
            [self._call(node, {**scope, "item": Seen("done", x)}, f"{path}[{at}]") for at, x in enumerate(items)]
        )

    def _call(self, node: Node, scope: Mapping[str, Seen], path: str) -> Seen:
        self.made.add(path)
        try:
            return Seen(
                "done", called(node.tool, {name: self._value(value, scope) for name, value in node.args.items()})
            )
        except Broken:
            return Seen("failed")

    def _turns(self, node: Node, scope: Mapping[str, Seen], path: str, items: list[Any] | None) -> Seen:
        body = node.body
        assert body is not None
        parts: list[Seen] = []
        last, held = Seen("done", self._value(body.start, scope)), 0
        carries = '"last"' in json.dumps(body.model_dump(mode="json"))
        for at in range(len(items) if items is not None else body.most or 1):
            inner = {**scope, "last": last}
            if items is not None:
                inner["item"] = Seen("done", items[at])
            numbered = items is not None or body.most is not None
            for each in body.nodes:
                inner[each.id] = self._node(each, inner, f"{path}[{at}]." if numbered else f"{path}.")
            bad = any(inner[each.id].status in ("failed", "lost") for each in body.nodes)
            part = Seen("failed") if bad else Seen("done", self._value(body.result, inner))
            parts.append(part)
            if not bad and body.until is not None and self._value(body.until, inner):
                held += 1
            if held >= body.enough or (bad and (items is None or carries)):
                break
            last = part
        if items is not None:
            return listed(parts)
        unmet = body.until is not None and not held and body.unmet == "fail"
        return parts[-1] if not unmet else Seen("failed")

    def _value(self, value: Any, scope: Mapping[str, Seen]) -> Any:
        if isinstance(value, dict):
            if set(value) == {"$ref"}:
                return scope[value["$ref"]].value
            return {key: self._value(each, scope) for key, each in value.items()}
        return [self._value(each, scope) for each in value] if isinstance(value, list) else value


def listed(parts: Sequence[Seen]) -> Seen:
    status = "failed" if any(part.status == "failed" for part in parts) else "done"
    return Seen(status, [part.value for part in parts])


class _Writer:
    """Draws nodes with ids that are unique in the plan."""

    def __init__(self, draw: st.DrawFn, twins: bool) -> None:
        self.draw = draw
        self.twins = twins
        self.count = 0

    def id(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def level(self, size: int, around: Sequence[str], lists: Sequence[str], names: Sequence[str], depth: int) -> Any:
        """Some nodes, all of whose ids and names can be used; returns them with those of lists."""
        nodes: list[dict[str, Any]] = []
        seen, lists = list(around), list(lists)
        for _ in range(size):
            node = self.node(seen, lists, names, depth)
            nodes.append(node)
            seen.append(node["id"])
            if node.get("tool") == "some" and "over" not in node and "when" not in node:
                lists.append(node["id"])
        return nodes

    def node(self, seen: Sequence[str], lists: Sequence[str], names: Sequence[str], depth: int) -> dict[str, Any]:
        draw = self.draw
        node: dict[str, Any] = {"id": self.id()}
        if seen and draw(st.integers(0, 5)) == 0:
            node["when"] = ref(draw(st.sampled_from(list(seen))))
        if lists and draw(st.integers(0, 2)) == 0:
            node["over"] = ref(draw(st.sampled_from(list(lists))))
        if depth and draw(st.integers(0, 2)) == 0:
            node["body"] = self.body(seen, lists, names, depth, mapped="over" in node)
            return node
        own = [*seen, *names, *(["item"] if "over" in node and "item" not in names else [])]
        used = draw(st.lists(st.sampled_from(own), max_size=2)) if own else []
        tool = draw(st.sampled_from(["mix", "mix", "some", "odd", "put", "weak"]))
        return {
            **node,
            "tool": tool,
            "args": {"in": [ref(name) for name in used], "add": draw(st.integers(0, 1)) if self.twins else node["id"]},
        }

    def body(
        self, seen: Sequence[str], lists: Sequence[str], names: Sequence[str], depth: int, *, mapped: bool
    ) -> dict[str, Any]:
        draw = self.draw
        carries = draw(st.booleans())
        own = {*names, *(["last"] if carries else []), *(["item"] if mapped else [])} - (set() if carries else {"last"})
        nodes = self.level(draw(st.integers(1, 3)), seen, lists, sorted(own), depth - 1)
        body: dict[str, Any] = {"nodes": nodes, "result": ref(draw(st.sampled_from([node["id"] for node in nodes])))}
        if carries:
            body["start"] = ref(draw(st.sampled_from(list(seen)))) if seen else 7
        if draw(st.booleans()):
            body["until"] = ref(draw(st.sampled_from([node["id"] for node in nodes])))
            body["unmet"] = draw(st.sampled_from(["fail", "keep"]))
            body["enough"] = draw(st.sampled_from([1, 1, 2]))
        if not mapped and ("until" in body or draw(st.booleans())):
            body["most"] = draw(st.integers(1, 4))
            body["pause"] = draw(st.sampled_from([0, 0, 3]))
        return body


@st.composite
def shaped(draw: st.DrawFn, *, ends: bool = False, twins: bool = False) -> Plan:
    """Plans of up to six nodes, some with bodies of up to three, at most two deep; ``twins`` are equal calls."""
    nodes = _Writer(draw, twins).level(draw(st.integers(1, 6)), [], [], [], 2)
    if ends:
        at = draw(st.integers(0, len(nodes) - 1))
        if "body" not in nodes[at]:
            nodes[at].pop("args")
            nodes[at].update(tool="", body={"result": ref(nodes[at - 1]["id"]) if at else 1})
        nodes[at]["body"]["ends"] = True
    return complete(Plan.model_validate({"task": "t", "nodes": nodes}), SPECS)


def mapped(*calls: dict[str, Any], over: str = "n1", **body: Any) -> dict[str, Any]:
    nodes = [{"id": f"n{at + 11}", "tool": "read", **call} for at, call in enumerate(calls)]
    return {"tool": "", "over": ref(over), "body": {"nodes": nodes, **body}}


def looped(*calls: dict[str, Any], most: int, **body: Any) -> dict[str, Any]:
    made = mapped(*calls, most=most, **body)
    return {name: value for name, value in made.items() if name != "over"}
