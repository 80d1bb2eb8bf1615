import dataclasses
import threading
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Optional

import anyio
import pytest
from pydantic import BaseModel

from shuntyard.errors import ArgumentsInvalid, ToolError, ToolRetry, UnknownName, UsageError
from shuntyard.protocols import Ctx, Pending
from shuntyard.steps import Bound, Effect, Step, StepKey, ToolSpec
from shuntyard.tools import FunctionTool, Registry, tool

pytestmark = pytest.mark.anyio


class Item(BaseModel):
    name: str
    price: Decimal = Decimal("1.5")


@dataclasses.dataclass
class Point:
    x: int
    y: float


@tool
def mixed(
    ctx: Ctx, step: Step, a: int, kind: Literal["p", "q"] = "p", items: list[int] | None = None
) -> dict[str, Any]:
    """Return what came in.

    More text.

    Args:
        a: A number
            on two lines.
        kind: Which kind.
    """
    return {"a": a, "kind": kind, "items": items, "run": ctx.run, "path": step.key.path}


async def call(some: FunctionTool[..., Any], ctx: Ctx, /, **args: Any) -> Any:
    return await Registry([some]).call(Step(StepKey("run", 0, "n1"), "tool", some.spec.name, args), ctx)


async def test_a_spec_comes_from_annotations_and_docstring() -> None:
    spec = mixed.spec
    assert spec.description == "Return what came in. More text."
    assert list(spec.parameters["properties"]) == ["a", "kind", "items"]
    assert spec.parameters["required"] == ["a"]
    assert spec.parameters["properties"]["a"] == {"type": "integer", "description": "A number on two lines."}
    assert spec.parameters["properties"]["kind"]["enum"] == ["p", "q"]
    assert spec.effect is Effect.READ


async def test_a_tool_is_still_the_function(ctx: Ctx) -> None:
    @tool(effect="write", idempotent=True, seconds=2, cost="0.5", timeout=3, name="double")
    def twice(x: float) -> float:
        """Return the double."""
        return 2 * x

    assert twice(4) == 8
    assert twice.__doc__ == "Return the double."
    assert twice.spec.effect is Effect.WRITE and twice.spec.idempotent and twice.spec.cost == Decimal("0.5")
    assert (twice.spec.name, twice.spec.timeout, twice.spec.returns) == ("double", 3, {"type": "number"})
    assert await call(twice, ctx, x="1.5") == 3


@pytest.mark.parametrize(
    ("given", "received"),
    [("3", 3), (3.0, 3), ([3], 3), ([{"n": 3}], 3), ({"n": "3"}, 3)],
)
async def test_arguments_are_coerced_gently(given: Any, received: int, ctx: Ctx) -> None:
    assert (await call(mixed, ctx, a=given))["a"] == received


async def test_one_value_becomes_a_list_and_rows_of_one_column_too(ctx: Ctx) -> None:
    assert (await call(mixed, ctx, a=1, items="4"))["items"] == [4]
    assert (await call(mixed, ctx, a=1, items=[{"n": 4}, {"n": 5}]))["items"] == [4, 5]
    assert (await call(mixed, ctx, a=1))["path"] == "n1"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"b": 1, "a": 1}, "mixed: argument 'b' is unknown; the parameters are a, kind, items"),
        ({}, "mixed: argument 'a' is missing; the parameters are a, kind, items"),
        ({"a": "many"}, "mixed: argument 'a' = 'many' should be a valid integer"),
        ({"a": 1, "kind": "z"}, "mixed: argument 'kind' = 'z' should be 'p' or 'q'"),
        ({"a": [1, 2]}, "mixed: argument 'a' = [1, 2] should be a valid integer"),
        ({"a": 1, "ctx": 1}, "mixed: argument 'ctx' is unknown"),
    ],
)
async def test_errors_say_how_to_mend(args: dict[str, Any], message: str, ctx: Ctx) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        await call(mixed, ctx, **args)
    assert caught.value.message.startswith(message)
    assert (await Registry([mixed]).check("mixed", args, ctx))[0].startswith(message)


async def test_check_skips_what_is_still_to_come(ctx: Ctx) -> None:
    registry = Registry([mixed])
    assert await registry.check("mixed", {"a": Pending("$1")}, ctx) == []
    assert await registry.check("mixed", {"a": 1, "items": [1, Pending("$1")]}, ctx) == []
    assert len(await registry.check("mixed", {"a": Pending("$1"), "kind": "z", "zz": 1}, ctx)) == 2
    assert len(await registry.check("mixed", {"a": 1, "zz": Pending("$1")}, ctx)) == 1
    assert await registry.check("mixd", {}, ctx) == ["there is no tool mixd; the tools are mixed"]


async def test_unknown_tool(ctx: Ctx) -> None:
    with pytest.raises(UnknownName, match="did you mean mixed"):
        await Registry([mixed]).call(Step(StepKey("run", 0, "n1"), "tool", "mixd"), ctx)


async def test_nested_types_round_trip(ctx: Ctx) -> None:
    @tool
    def nested(item: Item, points: list[Point], extra: Optional[dict[str, int]] = None) -> list[Any]:  # noqa: UP045
        """Return all of it."""
        assert isinstance(points[0], Point)
        return [item, *points, extra]

    value = await call(nested, ctx, item={"name": "x"}, points=[{"x": 1, "y": 2}])
    assert value == [{"name": "x", "price": "1.5"}, {"x": 1, "y": 2.0}, None]
    with pytest.raises(ArgumentsInvalid, match=r"item\.nme"):
        Item.model_config["extra"] = "forbid"
        Item.model_rebuild(force=True)
        nested_again = tool(nested.function)
        await call(nested_again, ctx, item={"name": "x", "nme": "y"}, points=[])


async def test_parameter_names_of_pydantic_are_free(ctx: Ctx) -> None:
    @tool
    def odd(schema: str, copy: int, json: str = "j") -> list[Any]:
        """Return all."""
        return [schema, copy, json]

    assert await call(odd, ctx, schema="s", copy="2") == ["s", 2, "j"]


async def test_results_become_json(ctx: Ctx) -> None:
    @tool
    def give() -> Any:
        """Return all sorts."""
        return {
            "d": Decimal("1.50"), "i": Decimal(2), "day": date(2024, 1, 2), "at": datetime(2024, 1, 2, 3),
            "p": Path("a/b"), "nan": float("nan"), "t": (1, 2), "m": Item(name="n"), "c": Point(1, 2.5), 3: {"b", "a"},
        }  # fmt: skip

    assert await call(give, ctx) == {
        "d": 1.5, "i": 2, "day": "2024-01-02", "at": "2024-01-02T03:00:00", "p": "a/b", "nan": None, "t": [1, 2],
        "m": {"name": "n", "price": "1.5"}, "c": {"x": 1, "y": 2.5}, "3": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize("bad", [object(), b"x", {"k": [object()]}])
async def test_other_results_are_an_error(bad: Any, ctx: Ctx) -> None:
    @tool
    def give() -> Any:
        """Return it."""
        return bad

    with pytest.raises(ToolError, match="not JSON data"):
        await call(give, ctx)


async def test_a_result_that_contains_itself(ctx: Ctx) -> None:
    @tool
    def give() -> Any:
        """Return a knot."""
        knot: list[Any] = []
        knot.append(knot)
        return knot

    with pytest.raises(ToolError, match="nested deeper"):
        await call(give, ctx)


async def test_sync_runs_in_a_thread_that_cancellation_leaves_behind(ctx: Ctx) -> None:
    release = threading.Event()

    @tool
    def stuck() -> None:
        """Return nothing, late."""
        release.wait(20)

    with anyio.move_on_after(0.1) as scope:
        await call(stuck, ctx)
    assert scope.cancelled_caught
    release.set()


async def test_async_and_retry(ctx: Ctx) -> None:
    @tool
    async def busy() -> None:
        """Return nothing."""
        raise ToolRetry("come back later")

    with pytest.raises(ToolRetry, match="later") as caught:
        await call(busy, ctx)
    assert caught.value.retryable


def _no_annotation(a) -> int:  # type: ignore[no-untyped-def]
    """Return a."""
    return int(a)


def _no_docstring(a: int) -> int:
    return a


def _stars(*a: int) -> int:
    """Return a."""
    return a[0]


@pytest.mark.parametrize(
    ("function", "words"),
    [(_no_annotation, "no annotation"), (_no_docstring, "no docstring"), (_stars, "given by name")],
)
async def test_a_function_that_cannot_be_a_tool(function: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tool(name="t")(function)


async def test_options_are_checked() -> None:
    def plain(a: str) -> str:
        """Return a."""
        return a

    for options in ({"name": "Bad Name"}, {"paths": ("b",)}, {"binds": ("b",)}, {"binds": ("a",)}):
        with pytest.raises(UsageError):
            tool(**options)(plain)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="two tools"):
        Registry([mixed, mixed])


async def test_bound_reaches_the_tool_untouched(ctx: Ctx) -> None:
    @tool(binds=("text",))
    def show(text: str | Bound, n: int = 1) -> str:
        """Return the text."""
        return text.text if isinstance(text, Bound) else text

    assert show.spec.parameters["properties"]["text"] == {"type": "string"}
    assert await call(show, ctx, text=Bound("$1 + 1", {"$1": 2})) == "$1 + 1"
    assert await call(show, ctx, text="plain", n="2") == "plain"


async def test_other_tools_are_checked_by_their_schema(ctx: Ctx) -> None:
    class Other:
        spec = ToolSpec(
            name="other",
            description="x",
            parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        )

        async def call(self, args: Any, ctx: Ctx, step: Step) -> Any:
            return (args["n"],)

        async def check(self, args: Any, ctx: Ctx) -> list[str]:
            return ["own problem"]

    registry = Registry([Other()])
    assert await registry.call(Step(StepKey("r", 0, "n1"), "tool", "other", {"n": 1}), ctx) == [1]
    assert await registry.check("other", {"n": Pending("$1")}, ctx) == ["own problem"]
    problems = await registry.check("other", {"n": "x", "m": 1}, ctx)
    assert problems[1] == "other: argument 'm' is unknown; the parameters are n" and "'x'" in problems[0]
    with pytest.raises(ArgumentsInvalid, match="is missing"):
        await registry.call(Step(StepKey("r", 0, "n1"), "tool", "other"), ctx)
