"""References and their values: what a node needs, and the arguments it gets.

A reference is data, ``{"$ref": "n2.rows[0].name"}``; it is followed once, in the plan as written.
What it yields is put in place as a value and never looked at again, so a result that contains
``$1`` or ``{"$ref": ...}`` stays what it is: data.

Conveniences, most for results that are tables (lists of row objects):

* ``n1.name`` on one row is that row's field; on many rows, the list of that column. Where a list is
  wanted (``over``, a parameter of type array, or an index next: ``n1.name[0]``) one row is a list too.
* a table of one row and one column counts as its only cell inside ``$text``, in ``when`` and for a
  parameter of a scalar type.
* ``n1.text`` of a result that is a text is that text.
* everything else is taken as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import ArgumentsInvalid
from ..steps import Body, Bound, Effect, Label, Node, Plan, StepResult, ToolSpec, inside

_HEAD = re.compile(r"n[1-9][0-9]*|item|last")
_PART = re.compile(r"""\.([^.\[\]"'\s]+)|\[(-?[0-9]+)\]|\["([^"]+)"\]|\['([^']+)'\]""")
_SCALARS = {"string", "integer", "number", "boolean"}
_NOWHERE = Label()
_OUTSIDE: Any = object()
"""Stands for the element where there is none of the node's own."""


class Ref(NamedTuple):
    """A parsed reference."""

    text: str
    """As written."""
    head: str
    """A node id, ``item``, or ``last``."""
    path: tuple[str | int, ...] = ()
    """Keys and indices, from the outside in."""

    @property
    def name(self) -> str:
        """A name that is safe inside SQL and expressions: ``n1.rows[0]`` is ``$1_rows_0``."""
        first = self.head.removeprefix("n")
        return "$" + re.sub(r"[^A-Za-z0-9_]", "_", "_".join([first, *map(str, self.path)]))


class Resolved(NamedTuple):
    """Arguments with values in place of references, and where each argument came from."""

    args: dict[str, Any]
    labels: dict[str, Label]


@lru_cache(maxsize=4096)
def parse_ref(text: str) -> Ref:
    """Read ``n2.rows[0].name`` or ``item.name``; ValueError, with what is right, when it is none."""
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(f"reference {text!r} does not begin with a node id or 'item'; write 'n1' or 'n1.field[0]'")
    at, path = head.end(), list[str | int]()
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"reference {text!r} cannot be read from {text[at:]!r} on; write 'n1.field[0]'")
        key, index, *quoted = part.groups()
        path.append(int(index) if index is not None else key or quoted[0] or quoted[1])
        at = part.end()
    return Ref(text, head.group(), tuple(path))


def ref_in(value: object) -> str | None:
    """The text of a ``{"$ref": ...}`` object, None for anything else."""
    if isinstance(value, dict) and len(value) == 1:
        text = value.get("$ref")
        if isinstance(text, str):
            return text
    return None


def parts_in(value: object) -> list[Any] | None:
    """The parts of a ``{"$text": [...]}`` object, None for anything else."""
    if isinstance(value, dict) and len(value) == 1:
        parts = value.get("$text")
        if isinstance(parts, list):
            return parts
    return None


def refs(node: Node) -> Iterator[str]:
    """Every reference text of ``node``: in its arguments, then ``when``, then ``over``, then its body."""
    for value in (node.args, node.when, node.over):
        if value:
            yield from _refs(value)
    if node.body is not None:
        yield from _refs(node.body.start)
        yield from given(node.body)
        for inner in node.body.nodes:
            yield from refs(inner)


def given(body: Body) -> Iterator[str]:
    """Every reference text in what a turn of ``body`` gives and in the condition that ends it."""
    yield from _refs(body.result)
    yield from _refs(body.until)


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        text = ref_in(value)
        if text is not None:
            yield text
            return
        for child in value.values():
            yield from _refs(child)
    elif isinstance(value, list):
        for child in value:
            yield from _refs(child)


def parents(node: Node) -> tuple[str, ...]:
    """Ids that ``node`` waits for (references, ``when``, ``over``, ``after``), each once, in order of mention.

    A node with a body waits for all that its calls need from outside before its first turn begins.
    """
    found: dict[str, None] = {}
    for text in refs(node):
        head = _HEAD.match(text)
        if head is not None and head.group()[0] == "n":
            found[head.group()] = None
    found.update(dict.fromkeys(node.after))
    if node.body is not None:
        for inner in inside(node.body.nodes):
            found.update(dict.fromkeys(inner.after))
        for inner in inside(node.body.nodes):
            found.pop(inner.id, None)
    return tuple(found)


def ends(plan: Plan) -> list[Node]:
    """Nodes whose results are what the plan was made for: its ``answers``, or all whose value no other uses.

    An effect whose value nobody uses is always one. Calls that only come ``after`` do not use a value.
    """
    used = {parse_ref(text).head for node in plan.nodes for text in refs(node)}
    return [
        node
        for node in plan.nodes
        if node.id in plan.answers or (node.id not in used and not (plan.answers and node.effect is Effect.READ))
    ]


def lean(node: Node) -> Node:
    """``node`` without what ``after`` only repeats of its references, so that equal plans compare equal."""
    body = node.body and node.body.model_copy(update={"nodes": tuple(map(lean, node.body.nodes))})
    used = parents(node.model_copy(update={"after": ()}))
    after = tuple(dict.fromkeys(id for id in node.after if id not in used))
    return node.model_copy(update={"after": after, "body": body})


def cell(value: Any) -> Any:
    """The only cell of a table of one row and one column; any other value as it is."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and len(value[0]) == 1:
        return next(iter(value[0].values()))
    return value


def resolve(node: Node, results: Mapping[str, StepResult], spec: ToolSpec, *, item: Any = None) -> Resolved:
    """Return the arguments of ``node`` with every reference replaced by its value, and their labels.

    ``item`` is the current element of a node with ``over``. For parameters in ``spec.binds`` text
    around references becomes a ``Bound``. For parameters in ``spec.paths`` a row with a ``path`` counts as
    that path. Raises ArgumentsInvalid when a reference leads nowhere, naming it and what is there instead.
    """
    fill = _Fill(node, results, item if node.over is not None else _OUTSIDE)
    args: dict[str, Any] = {}
    labels: dict[str, Label] = {}
    origin = _origins(node)
    properties = spec.parameters.get("properties") or {}
    for name, value in node.args.items():
        fill.seen = []
        kind = _kind(properties.get(name))
        if isinstance(value, (dict, list)):
            value = fill.value(value, kind=kind, bind=name in spec.binds)
        if name in spec.paths and not isinstance(value, str):
            value = _path(value, node, name)
        args[name] = value
        own = Label(sources=origin[name]) if name in origin else _NOWHERE
        labels[name] = own.join(*fill.seen) if fill.seen else own
    return Resolved(args, labels)


def _path(value: Any, node: Node, name: str) -> Any:
    """The path that a hit or a file's row stands for; several different ones are an error that says how to go on."""
    rows = value if isinstance(value, list) else [value]
    paths = dict.fromkeys(row.get("path") if isinstance(row, dict) else row for row in rows)
    if len(paths) == 1 and isinstance(path := next(iter(paths)), str):
        return path
    what = "nothing" if not rows else f"{len(paths)} different paths" if all(paths) else _brief(value)
    raise ArgumentsInvalid(
        f"{node.id}: {name} takes one path, but is given {what}; name one path, or take one element, as in $1[0].path.",
        ids={"node": node.id},
    )


def holds(node: Node, results: Mapping[str, StepResult]) -> bool:
    """True when ``node`` has no ``when``, or its value is true, non-zero, non-empty."""
    text = ref_in(node.when)
    return text is None or bool(cell(_Fill(node, results).follow(text)))


def elements(node: Node, results: Mapping[str, StepResult]) -> list[Any]:
    """The list that ``node`` maps over; ArgumentsInvalid when ``over`` does not lead to a list."""
    text = ref_in(node.over)
    value = _Fill(node, results).follow(text, listed=True) if text is not None else None
    if isinstance(value, list):
        return value
    raise ArgumentsInvalid(
        f"{node.id} runs once per element of {text!r}, but that is {_brief(value)}; refer to a list, or drop 'over'.",
        ids={"node": node.id},
    )


def label_of(node: Node, results: Mapping[str, StepResult]) -> Label:
    """The label of the elements that ``node`` maps over."""
    source = results.get(parse_ref(ref_in(node.over) or "").head)
    return source.label if source else Label(sources=("tool",))


def begun_with(node: Node, results: Mapping[str, StepResult]) -> StepResult:
    """What ``last`` is in the first turn of a body: its ``start`` with values in place of references."""
    assert node.body is not None
    fill = _Fill(node, results)
    value = fill.value(node.body.start)
    own = Label(sources=_origins(node).get("start", ()))
    return StepResult(value=value, label=own.join(*fill.seen))


def given_by(node: Node, results: Mapping[str, StepResult]) -> tuple[Any, Label]:
    """The value that a finished turn of the body of ``node`` gives, and its label; ``results`` are the turn's."""
    body = node.body
    assert body is not None
    fill = _Fill(node, results)
    fill.lenient = True
    last = {"$ref": body.nodes[-1].id} if body.nodes else None
    value = fill.value(last if body.result is None else body.result)
    return value, Label().join(*fill.seen)


def ended(node: Node, results: Mapping[str, StepResult]) -> bool:
    """True when the ``until`` of the body of ``node`` holds in the turn of ``results``; a skipped call is false."""
    assert node.body is not None
    fill = _Fill(node, results)
    fill.lenient = True
    return bool(cell(fill.value(node.body.until)))


class _Fill:
    """Follows references for one node and notes the labels of what it saw."""

    __slots__ = ("item", "lenient", "node", "results", "seen")

    def __init__(self, node: Node, results: Mapping[str, StepResult], item: Any = _OUTSIDE) -> None:
        self.node = node
        self.results = results
        self.item = item
        self.seen: list[Label] = []
        self.lenient = False
        """References to what its condition skipped give null."""

    def value(self, value: Any, *, kind: str = "", bind: bool = False) -> Any:
        text = ref_in(value)
        if text is not None:
            if self.lenient and self.skipped(text):
                return None
            found = self.follow(text, listed=kind == "array")
            return cell(found) if kind in _SCALARS else found
        parts = parts_in(value)
        if parts is not None:
            return self.bound(parts) if bind else "".join(self.plain(part) for part in parts)
        if isinstance(value, dict):
            return {key: self.value(child, bind=bind) for key, child in value.items()}
        if isinstance(value, list):
            return [self.value(child, bind=bind) for child in value]
        return value

    def skipped(self, text: str) -> bool:
        result = self.results.get(parse_ref(text).head)
        return result is not None and result.status == "skipped" and result.failure is None

    def plain(self, part: Any) -> str:
        text = ref_in(part)
        found = part if text is None else cell(self.follow(text))
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=str)

    def bound(self, parts: list[Any]) -> Bound | str:
        literals = [part for part in parts if isinstance(part, str)]
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        text = ""
        for part in parts:
            ref = ref_in(part)
            if ref is None:
                literal = part if isinstance(part, str) else self.plain(part)
                glued = text[-1:].isalnum() and bool(names) and text.endswith(tuple(names.values()))
                # "$1" followed by "0" would read as "$10", another name.
                text += (" " if glued and re.match(r"\w", literal) else "") + literal
                continue
            if ref not in names:
                names[ref] = _unique(parse_ref(ref).name, taken=values, literals=literals)
                values[names[ref]] = cell(self.follow(ref))
            text += names[ref]
        return Bound(text=text, values=values) if values else text

    def follow(self, text: str, *, listed: bool = False) -> Any:
        try:
            ref = parse_ref(text)
        except ValueError as error:
            raise self.wrong(f"{error}.") from None
        return _walk(self.start(ref), ref, listed=listed, wrong=self.wrong)

    def start(self, ref: Ref) -> Any:
        if ref.head == "item" and self.item is not _OUTSIDE:
            self.seen.append(label_of(self.node, self.results))
            return self.item
        result = self.results.get(ref.head)
        if result is None and ref.head == "item":
            raise self.wrong(f"refers to {ref.text!r} but maps over nothing; set 'over', or refer to a node.")
        if result is None or not result.ok:
            state = "has no result" if result is None else f"is {result.status}"
            raise self.wrong(f"refers to {ref.text!r}, but {ref.head} {state}; refer to a node that has finished.")
        self.seen.append(result.label if result.label.sources else Label(sources=("tool",)))
        return result.value

    def wrong(self, message: str) -> ArgumentsInvalid:
        return ArgumentsInvalid(f"{self.node.id}: {message}", ids={"node": self.node.id})


def _walk(value: Any, ref: Ref, *, listed: bool, wrong: Callable[[str], ArgumentsInvalid]) -> Any:
    last = len(ref.path) - 1
    for at, part in enumerate(ref.path):
        if isinstance(part, int):
            if not isinstance(value, list):
                raise wrong(f"refers to {ref.text!r}, but there is no list to take [{part}] of: it is {_brief(value)}.")
            if not -len(value) <= part < len(value):
                raise wrong(f"refers to {ref.text!r}, but the list has {len(value)} elements; use a smaller index.")
            value = value[part]
            continue
        as_list = isinstance(ref.path[at + 1], int) if at < last else listed
        value = _field(value, part, ref, as_list=as_list, wrong=wrong)
    return value


def _field(value: Any, key: str, ref: Ref, *, as_list: bool, wrong: Callable[[str], ArgumentsInvalid]) -> Any:
    if isinstance(value, dict) and key in value:
        return value[key]
    rows = value if isinstance(value, list) else []
    if rows and all(isinstance(row, dict) and key in row for row in rows):
        return rows[0][key] if len(rows) == 1 and not as_list else [row[key] for row in rows]
    if value == [] and as_list:
        return []
    if isinstance(value, str) and key in ("text", "content"):
        return value
    raise wrong(f"refers to {ref.text!r}, but there is no {key!r} in {_brief(value)}; use what is there.")


def _brief(value: Any) -> str:
    """What a person or model needs to see of a value to mend a path into it."""
    if isinstance(value, dict):
        keys = ", ".join(repr(key) for key in list(value)[:12])
        return f"an object with the keys {keys}" if keys else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)}, the first being {_brief(value[0])}" if value else "an empty list"
    text = repr(value)
    return f"the {'text' if isinstance(value, str) else 'value'} {text[:60] + '…' if len(text) > 60 else text}"


def _unique(name: str, *, taken: Mapping[str, Any], literals: list[str]) -> str:
    """A name that neither another reference has nor the planner's own text contains."""
    tries, number = name, 2
    while tries in taken or any(re.search(re.escape(tries) + r"(?!\w)", literal) for literal in literals):
        tries, number = f"{name}_{number}", number + 1
    return tries


def _origins(node: Node) -> dict[str, tuple[Any, ...]]:
    found: dict[str, dict[str, None]] = {}
    for path, source in node.sources.items():
        found.setdefault(re.split(r"[.\[]", path, maxsplit=1)[0], {})[source] = None
    return {name: tuple(sources) for name, sources in found.items()}


def _kind(schema: Any) -> str:
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind if isinstance(kind, str) else ""
