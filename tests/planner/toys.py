"""A small world with tools of every kind, and plans over it in which no read races with an effect."""

import json
import zlib
from typing import Any, NamedTuple

import anyio
from hypothesis import strategies as st
from yard import Yard, context, ref

from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.validate import complete
from shuntyard.planner.values import parse_ref
from shuntyard.steps import Effect, Plan, Step, StepResult, ToolSpec


def spec(name: str, *params: str, **more: Any) -> ToolSpec:
    schema = {"type": "object", "properties": {param: {} for param in params}, "additionalProperties": False}
    return ToolSpec(name=name, description="", parameters=schema, **more)


TOYS = [
    spec("get", "path", paths=("path",), stability="stable", seconds=1.0),
    spec("digest", "of", stability="pure", seconds=0.5),
    spec("toss", seconds=2.0),
    spec("many", stability="stable", seconds=1.0),
    spec("price", "item", "unit", batches="item", stability="stable", seconds=3.0),
    spec("put", "path", "value", effect=Effect.WRITE, paths=("path",), seconds=1.0),
    spec("note", "value", effect=Effect.WRITE, seconds=1.0),
    spec("call", "value", effect=Effect.EXTERNAL, seconds=1.0),
]


class World(Yard):
    """Paths with values, changed by ``put`` only; ``toss`` gives what no other call gives."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] = {}
        self.puts: list[tuple[str, Any]] = []

    async def act(self, step: Step) -> Any:
        args: dict[str, Any] = dict(step.args)
        match step.name:
            case "get":
                return {"value": self.held.get(args["path"], 1)}
            case "digest":
                return {"value": zlib.crc32(json.dumps(args["of"], sort_keys=True).encode()) % 3}
            case "toss":
                return {"value": zlib.crc32(step.key.path.encode()) % 2}
            case "many":
                return [1, 2]
            case "price":
                items, unit = args["item"], args.get("unit", "")
                found = [
                    {"value": len(str(one)) + len(unit)} for one in (items if isinstance(items, list) else [items])
                ]
                return found if isinstance(items, list) else found[0]
            case "put":
                self.held[args["path"]] = args["value"]
                self.puts.append((args["path"], args["value"]))
                return {"value": 1}
        return {"value": 2}


class Ran(NamedTuple):
    results: dict[str, StepResult]
    world: World

    def at(self, place: str) -> tuple[str, Any]:
        """Status and value behind a reference that has indices only."""
        place = parse_ref(place)
        result = self.results[place.head]
        value: Any = result.value
        for index in place.path if result.ok else ():
            value = value[index]
        return result.status, value


def made(*nodes: dict[str, Any], **more: Any) -> Plan:
    numbered = [{"id": f"n{at + 1}", "tool": "toss", **node} for at, node in enumerate(nodes)]
    return complete(Plan.model_validate({"task": "t", "nodes": numbered, **more}), TOYS)


def run_plan(plan: Plan, *, concurrency: int = 4) -> Ran:
    async def go() -> Ran:
        world = World()
        with anyio.fail_after(20):
            return Ran(await Scheduler(world, context(concurrency=concurrency, speculate=0), TOYS).run(plan), world)

    return anyio.run(go)


def of_path(puts: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    # Per path: effects that touch different ones have no order.
    return {path: [value for other, value in puts if other == path] for path, _ in puts}


@st.composite
def plans(draw: st.DrawFn, *, races: bool = False) -> Plan:
    """Plans of up to 12 calls; without ``races`` every access to a path waits for the ones it would race with."""
    nodes: list[dict[str, Any]] = []
    touched: dict[str, list[tuple[str, bool]]] = {}
    size = draw(st.integers(1, 12))
    for at in range(size):
        earlier = [f"n{i + 1}" for i in range(at)]
        single = [id for id, node in zip(earlier, nodes, strict=True) if "over" not in node and node["tool"] != "many"]
        node = draw(_calls(earlier, single))
        if node["tool"] in ("get", "put"):
            path, writes = node["args"]["path"], node["tool"] == "put"
            seen = touched.setdefault(path, [])
            if not races:
                node["after"] = [*node["after"], *(id for id, wrote in seen if wrote or writes)]
            seen.append((f"n{at + 1}", writes))
        nodes.append(node)
    answers = draw(st.lists(st.sampled_from([f"n{i + 1}" for i in range(size)]), max_size=2, unique=True))
    origin = draw(st.sampled_from(["model", "memory", "person"]))
    return made(*nodes, answers=tuple(answers), origin=origin)


@st.composite
def _calls(draw: st.DrawFn, earlier: list[str], single: list[str]) -> dict[str, Any]:
    some = st.sampled_from(single).map(lambda id: ref(f"{id}.value")) if single else st.just(7)
    whole = st.sampled_from(earlier).map(ref) if earlier else st.just(7)
    text = st.tuples(st.sampled_from(["a", "bb"]), some).map(
        lambda pair: {"$text": [pair[0], pair[1] if isinstance(pair[1], dict) else "!"]}
    )
    tool = draw(st.sampled_from(["get", "digest", "digest", "toss", "many", "price", "price", "put", "note", "call"]))
    wanted: dict[str, dict[str, Any]] = {
        "get": {"path": st.sampled_from(["a", "b"])},
        "digest": {"of": st.one_of(whole, st.integers(0, 1), text)},
        "price": {"item": st.one_of(st.sampled_from(["x", "yy"]), text), "unit": st.sampled_from(["", "u"])},
        "put": {"path": st.sampled_from(["a", "b", "dir/c"]), "value": st.one_of(some, st.integers(0, 2))},
        "note": {"value": some},
        "call": {"value": some},
    }
    node: dict[str, Any] = {"tool": tool, "args": {name: draw(each) for name, each in wanted.get(tool, {}).items()}}
    node["after"] = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
    if single and draw(st.integers(0, 3)) == 0:
        node["when"] = draw(st.sampled_from(single).map(lambda id: ref(f"{id}.value")))
    lists = [id for id in earlier if id not in single]
    if lists and tool in ("digest", "note", "toss") and draw(st.booleans()):
        node["over"] = ref(draw(st.sampled_from(lists)))
    return node
