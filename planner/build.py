"""Write a plan by hand, in Python.

p = PlanBuilder("Which country has the most people?")
rows = p.query(sql="select name, people from 'world.csv' order by people desc limit 1")
p.write_file(path="answer.md", content=p.text("It is ", rows["name"], "."))
plan = p.build()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import JsonValue

from ..errors import PlanInvalid, UsageError
from ..steps import Node, NodePolicy, Plan
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
        raise TypeError(f"{self!r} has no length yet; use p.call(...).over(ref) to run once per element")

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
        node = self._builder._nodes[self.id]
        return self._change(after=(*node.after, *(call.id for call in calls)))

    def when(self, ref: Ref) -> Call:
        """Run only if the value is true, non-zero, non-empty."""
        return self._change(when=ref.json)

    def over(self, ref: Ref) -> Call:
        """Run once per element of a list; ``p.item`` is the element, the result is the list of results."""
        return self._change(over=ref.json)

    def policy(self, **changes: Any) -> Call:
        """Set ``timeout``, ``retries``, ``on_failure`` or ``substitute``."""
        return self._change(policy=NodePolicy(**changes))

    def _change(self, **changes: Any) -> Call:
        nodes = self._builder._nodes
        nodes[self.id] = nodes[self.id].model_copy(update=changes)
        return self


class PlanBuilder:
    """Builds a ``Plan``: every method that is not listed here is a tool of that name.

    A tool called ``call``, ``text``, ``item`` or ``build`` is reached by ``call``. Draws itself in notebooks.
    """

    item = Ref("item")
    """The current element inside a call with ``over``."""

    def __init__(self, task: str, *, specs: Specs = ()) -> None:
        """Begin a plan for ``task``; with ``specs`` calls are checked when the plan is built."""
        self._task = task
        self._specs = named(specs)
        self._nodes: dict[str, Node] = {}

    def call(self, tool: str, /, **args: Any) -> Call:
        """Add a call of ``tool``; arguments may be values, references and ``text``."""
        id = f"n{len(self._nodes) + 1}"
        written = {name: _json(value) for name, value in args.items()}
        sources = {name: "person" for name, value in written.items() if ref_in(value) is None}
        self._nodes[id] = Node.model_validate({"id": id, "tool": tool, "args": written, "sources": sources})
        return Call(self, id)

    def text(self, *parts: Any) -> dict[str, JsonValue]:
        """Text around references, put together when their values are known."""
        return {"$text": [_json(part) for part in parts]}

    def build(self, *, answers: Sequence[Call] = ()) -> Plan:
        """Return the plan; ``answers`` are the calls whose results answer the task, by default all that none uses.

        Raises PlanInvalid when specs were given and it breaks their rules.
        """
        nodes, ids = tuple(map(lean, self._nodes.values())), tuple(call.id for call in answers)
        plan = Plan(task=self._task, nodes=nodes, origin="person", answers=ids)
        if self._specs:
            plan = complete(plan, self._specs)
            found = problems(plan, self._specs, max_nodes=max(64, len(plan.nodes)))
            if found:
                raise PlanInvalid(found)
        return plan

    def _repr_svg_(self) -> str:
        from .render import svg

        return svg(self.build())

    def __getattr__(self, tool: str) -> Callable[..., Call]:
        """A tool by its name: ``p.query(sql=...)``."""
        if tool.startswith("_"):
            raise AttributeError(tool)
        return lambda **args: self.call(tool, **args)


def _json(value: Any) -> JsonValue:
    if isinstance(value, Ref):
        try:
            parse_ref(value._text)
        except ValueError as error:
            raise UsageError(f"{error}.") from None
        return value.json
    if isinstance(value, dict):
        return {str(key): _json(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(child) for child in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise UsageError(f"{value!r} is no JSON value; give text, a number, a list, an object or a reference.")
