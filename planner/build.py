"""Write a plan by hand, in Python.

p = PlanBuilder("Which country has the most people?")
rows = p.query(sql="select name, people from 'world.csv' order by people desc limit 1")
p.write_file(path="answer.md", content=p.text("It is ", rows["name"], "."))
plan = p.build()

Calls that run in turns stand in a block, ``with p.each(rows) as turns:`` or ``with p.repeat(20) as turns:``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import JsonValue, ValidationError

from ..errors import PlanInvalid, UsageError
from ..steps import Body, Node, NodePolicy, Plan
from .validate import Specs, complete, named, problems
from .values import lean, parse_ref, ref_in


class Ref:
    """A place in a result that does not exist yet: ``rows["name"][0]``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Refer to ``text``, e.g. ``n1.name[0]``."""
        self._text = text

    def __getitem__(self, key: str | int) -> Ref:
        """Go one field or one index deeper."""
        if isinstance(key, int):
            return Ref(f"{self._text}[{key}]")
        plain = key.isidentifier()
        return Ref(f"{self._text}.{key}" if plain else f'{self._text}["{key}"]')

    def __iter__(self) -> Any:
        """Refuse: how long a later result is cannot be known; map over it instead."""
        raise TypeError(
            f"{self!r} has no length yet; use p.call(...).over(ref), or with p.each(ref), to run once per element"
        )

    def __str__(self) -> str:
        """Refuse to be pasted into text, which would lose the reference."""
        raise TypeError(f"{self!r} has no text yet; write p.text('before ', ref, ' after') instead of an f-string")

    def __repr__(self) -> str:
        """``Ref('n1.name')``."""
        return f"Ref({self._text!r})"

    @property
    def json(self) -> dict[str, JsonValue]:
        """The reference as it stands in a plan."""
        return {"$ref": self._text}


class Call(Ref):
    """A call of a plan being built, and a reference to its whole result."""

    __slots__ = ("_builder", "id")

    def __init__(self, builder: PlanBuilder, id: str) -> None:
        """Stand for the node ``id`` of ``builder``."""
        super().__init__(id)
        self._builder = builder
        self.id = id

    def after(self, *calls: Call) -> Call:
        """Wait for ``calls`` although nothing of them is used."""
        builder = self._builder
        for call in calls:
            builder._sight(call, builder._places[self.id])
        node = builder._nodes[self.id]
        return self._change(after=(*node.after, *(call.id for call in calls)))

    def when(self, ref: Ref) -> Call:
        """Run only if the value is true, non-zero, non-empty."""
        return self._change(when=self._builder._written(ref, self._builder._places[self.id]))

    def over(self, ref: Ref) -> Call:
        """Run once per element of a list; ``p.item`` is the element, the result is the list of results."""
        return self._change(over=self._builder._written(ref, self._builder._places[self.id]))

    def policy(self, **changes: Any) -> Call:
        """Set ``timeout``, ``retries``, ``on_failure`` or ``substitute``."""
        return self._change(policy=NodePolicy(**changes))

    def _change(self, **changes: Any) -> Call:
        nodes = self._builder._nodes
        nodes[self.id] = nodes[self.id].model_copy(update=changes)
        return self


class Turns(Call):
    """A body being written, and a reference to what comes of it: to a list behind ``each``, else to the last turn."""

    __slots__ = ()

    def give(self, value: Any) -> Turns:
        """Make ``value`` what a turn gives, by default the result of its last call; null where that was skipped."""
        return self._set(result=self._builder._written(value))

    def until(self, ref: Ref, *, enough: int = 1, unmet: Literal["fail", "keep"] = "fail") -> Turns:
        """Make no further turn once the value was true, non-zero, non-empty in ``enough`` turns.

        A ``repeat`` in which that never was has failed, or with ``keep`` its last turn counts.
        """
        return self._set(until=self._builder._written(ref), enough=enough, unmet=unmet)

    def _set(self, **changes: Any) -> Turns:
        if self.id not in self._builder._open:
            raise UsageError(f"the block of {self.id!r} is closed; say what its turns give, and until when, inside it.")
        body = self._builder._nodes[self.id].body
        assert body is not None
        self._change(body=_body(**{**dict(body), **changes}))
        return self


class PlanBuilder:
    """Builds a ``Plan``: every method that is not listed here is a tool of that name.

    A tool called like one of the methods (``call``, ``text``, ``item``, ``last``, ``each``, ``repeat``, ``end``,
    ``build``) is reached by ``call``. Draws itself in notebooks.
    """

    item = Ref("item")
    """The current element, inside a call with ``over`` or a block of ``each``."""
    last = Ref("last")
    """What the turn before gave, inside a block; in the first turn its ``start``."""

    def __init__(self, task: str, *, specs: Specs = ()) -> None:
        """Begin a plan for ``task``; with ``specs`` calls are checked when the plan is built."""
        self._task = task
        self._specs = named(specs)
        self._nodes: dict[str, Node] = {}
        """Also those of bodies, in the order of writing."""
        self._places: dict[str, tuple[str, ...]] = {}
        """Ids of the bodies that a node stands in, the outermost first."""
        self._open: tuple[str, ...] = ()
        """Of the blocks that are being written."""

    def call(self, tool: str, /, **args: Any) -> Call:
        """Add a call of ``tool``; arguments may be values, references and ``text``."""
        written = {name: self._written(value) for name, value in args.items()}
        sources = {name: "person" for name, value in written.items() if ref_in(value) is None}
        return Call(self, self._add(tool=tool, args=written, sources=sources))

    @contextmanager
    def each(self, items: Ref, *, start: Any = None) -> Iterator[Turns]:
        """Run the calls of the block once per element of a list: ``item`` is the element, the result a list.

        None waits for another, unless one uses ``last``, or ``until`` decides on effects. Raises UsageError where a
        call inside is used outside. A block that ends in an error leaves nothing behind.
        """
        with self._block({}, start, over=self._written(items)) as turns:
            yield turns

    @contextmanager
    def repeat(self, most: int, *, start: Any = None, pause: float = 0.0) -> Iterator[Turns]:
        """Run the calls of the block in turns, at most ``most``; the result is that of the last.

        ``pause`` are seconds between two turns, in which no worker is taken. Raises as ``each`` does.
        """
        with self._block({"most": most, "pause": pause}, start) as turns:
            yield turns

    def end(self, value: Any = None, *, when: Ref) -> Call:
        """End the plan if ``when`` is true, non-zero, non-empty, with ``value``, by default that of ``when``.

        What is written behind it and has not started is skipped then.
        """
        condition = self._written(when)
        result = condition if value is None else self._written(value)
        return Call(self, self._add(when=condition, body=Body(result=result, ends=True)))

    def text(self, *parts: Any) -> dict[str, JsonValue]:
        """Text around references, put together when their values are known."""
        return {"$text": [self._written(part) for part in parts]}

    def build(self, *, answers: Sequence[Call] = ()) -> Plan:
        """Return the plan; ``answers`` are the calls whose results answer the task, by default all that none uses.

        Raises PlanInvalid when specs were given and it breaks their rules, UsageError inside of a block.
        """
        if self._open:
            raise UsageError(f"the block of {self._open[-1]!r} is still open; build the plan behind it.")
        nodes, ids = tuple(map(lean, self._below(()))), tuple(call.id for call in answers)
        plan = Plan(task=self._task, nodes=nodes, origin="person", answers=ids)
        if self._specs:
            plan = complete(plan, self._specs)
            found = problems(plan, self._specs, max_nodes=max(64, len(self._nodes)))
            if found:
                raise PlanInvalid(found)
        return plan

    def _add(self, **made: Any) -> str:
        id = f"n{len(self._nodes) + 1}"
        self._nodes[id] = Node.model_validate({"id": id, **made})
        self._places[id] = self._open
        return id

    @contextmanager
    def _block(self, bounds: dict[str, Any], start: Any, *, over: JsonValue = None) -> Iterator[Turns]:
        begin = self._written(start)
        sources = {"start": "person"} if start is not None and ref_in(begin) is None else {}
        around, before = self._open, len(self._nodes)
        id = self._add(over=over, body=_body(start=begin, **bounds), sources=sources)
        self._open = (*around, id)
        try:
            yield Turns(self, id)
        except BaseException:
            # So that a cell of a notebook can be run again when it is mended.
            for each in list(self._nodes)[before:]:
                del self._nodes[each], self._places[each]
            raise
        finally:
            self._open = around

    def _below(self, place: tuple[str, ...]) -> Iterator[Node]:
        """The nodes that stand in the body ``place``, with their own bodies."""
        for id, node in self._nodes.items():
            if self._places[id] != place:
                continue
            if node.body is not None:
                body = node.body.model_copy(update={"nodes": tuple(self._below((*place, id)))})
                node = node.model_copy(update={"body": body})
            yield node

    def _written(self, value: Any, place: tuple[str, ...] | None = None) -> JsonValue:
        """``value`` as it stands in a plan, written in the body ``place``, by default where the plan is written now."""
        here = self._open if place is None else place
        return _json(value, lambda ref: self._sight(ref, here))

    def _sight(self, ref: Ref, here: tuple[str, ...]) -> None:
        """Raise UsageError for a result that is not there yet, or not any more, where it is used."""
        id = parse_ref(ref._text).head
        place = self._places.get(id, ())
        if id in here:
            raise UsageError(
                f"{ref!r} is not there before its block is done; use p.last for what the turn before gave."
            )
        if place != here[: len(place)]:
            raise UsageError(
                f"{ref!r} is seen only in the block of {place[-1]!r}; give it there, and use what the block gives."
            )

    def _repr_svg_(self) -> str:
        from .render import svg

        return svg(self.build())

    def __getattr__(self, tool: str) -> Callable[..., Call]:
        """A tool by its name: ``p.query(sql=...)``."""
        if tool.startswith("_"):
            raise AttributeError(tool)
        return lambda **args: self.call(tool, **args)


def _body(**fields: Any) -> Body:
    try:
        return Body.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]} = {first['input']!r}: {first['msg']}.") from None


def _json(value: Any, check: Callable[[Ref], None]) -> JsonValue:
    if isinstance(value, Ref):
        try:
            parse_ref(value._text)
        except ValueError as error:
            raise UsageError(f"{error}.") from None
        check(value)
        return value.json
    if isinstance(value, dict):
        return {str(key): _json(child, check) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(child, check) for child in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise UsageError(f"{value!r} is no JSON value; give text, a number, a list, an object or a reference.")
