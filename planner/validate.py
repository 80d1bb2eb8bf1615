"""The rules of a plan, and what to say when one is broken so that a model can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from ..steps import Body, Effect, Node, Plan, ToolSpec, inside
from .values import given, parents, parse_ref, parts_in, ref_in, refs

MOST = 64
"""Calls that a model may write."""
Specs: TypeAlias = Mapping[str, ToolSpec] | Iterable[ToolSpec]
"""Tools by name, or just the tools."""


def named(specs: Specs) -> Mapping[str, ToolSpec]:
    """The tools by name."""
    return specs if isinstance(specs, Mapping) else {spec.name: spec for spec in specs}


def complete(plan: Plan, specs: Specs) -> Plan:
    """Return ``plan`` with the effect of every node taken from its tool; unknown tools are left alone.

    An effect that is written after a call that may end the plan waits for it.
    """
    known = named(specs)
    nodes = [_completed(node, known) for node in plan.nodes]
    last: list[str] = []
    for at, node in enumerate(nodes):
        if node.effect is not Effect.READ and (free := [id for id in last if id not in parents(node)]):
            nodes[at] = node.model_copy(update={"after": (*node.after, *free)})
        if node.ends:
            last.append(node.id)
    return plan.model_copy(update={"nodes": tuple(nodes)})


def _completed(node: Node, specs: Mapping[str, ToolSpec]) -> Node:
    if node.body is not None:
        inner = tuple(_completed(each, specs) for each in node.body.nodes)
        body = node.body if inner == node.body.nodes else node.body.model_copy(update={"nodes": inner})
        return node.model_copy(update={"body": body, "effect": gravest(node, specs)})
    effect = specs[node.tool].effect if node.tool in specs else node.effect
    return node if effect == node.effect else node.model_copy(update={"effect": effect})


def gravest(node: Node, specs: Mapping[str, ToolSpec]) -> Effect:
    """The effect of the tool of ``node``, or the gravest in its body; an unknown tool reads."""
    found = {spec.effect for each in inside((node,)) if (spec := specs.get(each.tool)) is not None}
    return next((effect for effect in (Effect.EXTERNAL, Effect.WRITE) if effect in found), Effect.READ)


def problems(plan: Plan, specs: Specs, *, max_nodes: int = MOST, known: Collection[str] = ()) -> list[str]:
    """Return what is wrong with ``plan``, one sentence each with its mend; empty when it may run.

    ``known`` are ids outside the plan that have a result already (an earlier revision's). Literals are
    checked against each tool's schema; references satisfy every type. An effect that
    is written down must be the tool's; one that is not is filled in by ``complete``.
    """
    tools = named(specs)
    if plan.refusal:
        return ["the plan refuses and has nodes as well; do one of the two."] if plan.nodes else []
    if not plan.nodes:
        return ["the plan is empty; write at least one call, or refuse with a reason."]
    found: list[str] = []
    if (count := len(list(plan.every()))) > max_nodes:
        found.append(f"the plan has {count} nodes, at most {max_nodes} are allowed; use fewer calls.")
    order: dict[str, int] = {}
    seen = set(known)
    for node in plan.every():
        if node.id in seen:
            found.append(f"{node.id}: this id is used twice; give every call a number of its own.")
        seen.add(node.id)
    for at, node in enumerate(plan.nodes):
        order.setdefault(node.id, at)
    looped = _looped(plan)
    if looped:
        found.append(f"{', '.join(looped)} wait for one another; let each use earlier results only.")
    for id in plan.answers:
        if id not in order and id not in known:
            found.append(f"answers: names {id}, which does not exist; use ids of the plan.")
    within = {inner.id: node.id for node in plan.nodes if node.body for inner in inside(node.body.nodes)}
    checker = _checker()
    for at, node in enumerate(plan.nodes):
        sight = _Sight(at, order, known, looped, within)
        found += _references(node, sight)
        found += _call(node, tools, checker) if node.body is None else _body(node, sight, tools, checker)
    return found


class _Sight(NamedTuple):
    """What a call can refer to."""

    at: int
    """Its own place."""
    order: Mapping[str, int]
    """Place by id, of the calls beside it."""
    known: Collection[str]
    """Ids that stand before all of them."""
    looped: Collection[str] = ()
    within: Mapping[str, str] = {}
    """The node in whose body a call stands, for those that cannot be seen from here."""
    names: Collection[str] = ()
    """``item`` and ``last``, where a body has them."""

    @property
    def earlier(self) -> list[str]:
        """Ids before it, those that are known last."""
        return [id for id, place in self.order.items() if place < self.at] + list(self.known)


def _body(node: Node, sight: _Sight, tools: Mapping[str, ToolSpec], checker: Any) -> Iterator[str]:
    """What is wrong with the body of ``node``, and with the node for having one."""
    body = node.body
    assert body is not None
    yield from _bounds(node, body)
    if node.effect != (effect := gravest(node, tools)) and "effect" in node.model_fields_set:
        yield f"{node.id}: the effect is {node.effect.value!r}, but the gravest in its body is {effect.value!r}."
    order = {inner.id: at for at, inner in enumerate(body.nodes)}
    names = {*sight.names, "last", *(["item"] if node.over is not None else [])}
    known = sight.earlier
    below = {id: holder for id, holder in sight.within.items() if holder != node.id}
    below |= {other.id: each.id for each in body.nodes if each.body for other in inside(each.body.nodes)}
    for at, inner in enumerate(body.nodes):
        inner_sight = _Sight(at, order, known, (), below, names)
        yield from _references(inner, inner_sight)
        yield from _call(inner, tools, checker) if inner.body is None else _body(inner, inner_sight, tools, checker)
        if inner.ends:
            yield f"{inner.id}: only a call of the plan itself can end it; use 'until' to end the turns of {node.id}."
    end = _Sight(len(order), order, known, (), below, names)
    for text in dict.fromkeys(given(body)):
        yield from _reference(node, text, end)


def _bounds(node: Node, body: Body) -> Iterator[str]:
    """Fields of a node and its body that do not go together."""
    if node.tool or node.args:
        yield f"{node.id}: has a body and calls {node.tool or 'nothing'!r}; put the call into the body, or drop one."
    if not body.nodes and body.result is None:
        yield f"{node.id}: its body has no call and no result; write one of them."
    if node.over is None and body.until is not None and body.most is None:
        yield f"{node.id}: 'until' without a bound might never end; set 'most' to the most turns that you allow."
    if node.over is not None and body.most is not None:
        yield f"{node.id}: 'over' and 'most' both say how many turns there are; drop 'most', or loop without a list."
    if body.until is not None and ref_in(body.until) is None:
        yield f'{node.id}: \'until\' must be a reference, as {{"$ref": "n5.ok"}}.'
    if body.pause and body.most is None:
        yield f"{node.id}: pause = {body.pause:g} is for loops; set 'most', or drop it."
    own = node.policy.model_fields_set & {"timeout", "retries"}
    if own or node.policy.on_failure == "ask":
        what = ", ".join(sorted(own)) or "on_failure = 'ask'"
        yield f"{node.id}: {what} is for one call; set it on the calls in the body."


def _looped(plan: Plan) -> list[str]:
    """Ids on a cycle or behind one, in the plan's order; a node that waits for itself is not counted."""
    here = {node.id for node in plan.nodes}
    waits = {node.id: {id for id in parents(node) if id in here and id != node.id} for node in plan.nodes}
    children: dict[str, list[str]] = {}
    for id, ids in waits.items():
        for parent in ids:
            children.setdefault(parent, []).append(id)
    count = {id: len(ids) for id, ids in waits.items()}
    ready = [id for id, number in count.items() if number == 0]
    while ready:
        for child in children.get(ready.pop(), ()):
            count[child] -= 1
            if count[child] == 0:
                ready.append(child)
    return [id for id, number in count.items() if number > 0]


def _references(node: Node, sight: _Sight) -> Iterator[str]:
    own = node if node.body is None else node.model_copy(update={"body": None})
    names = {*sight.names, *(["item"] if node.over is not None and node.body is None else [])}
    start = [] if node.body is None else refs(own.model_copy(update={"args": {"start": node.body.start}}))
    for text in dict.fromkeys([*refs(own), *start]):
        yield from _named(node, text, names)
    for name, value in (("when", node.when), ("over", node.over)):
        said = ref_in(value)
        if value is not None and (said is None or (said.startswith(("item", "last")) and not sight.names)):
            yield f'{node.id}: {name!r} must be a reference to an earlier call, as {{"$ref": "n1"}}.'
    for id in parents(node):
        yield from _parent(node, id, sight)


def _reference(node: Node, text: str, sight: _Sight) -> Iterator[str]:
    """What is wrong with one reference."""
    yield from _named(node, text, sight.names)
    if text.startswith("n"):
        yield from _parent(node, parse_ref(text).head, sight)


def _named(node: Node, text: str, names: Collection[str]) -> Iterator[str]:
    try:
        head = parse_ref(text).head
    except ValueError as error:
        yield f"{node.id}: {error}."
        return
    if head == "item" and head not in names:
        yield f"{node.id}: {text!r} has no meaning here; only a call that maps over a list has an item."
    if head == "last" and head not in names:
        yield f"{node.id}: {text!r} has no meaning here; only the calls of a body have a turn before."


def _parent(node: Node, id: str, sight: _Sight) -> Iterator[str]:
    order, earlier = sight.order, sight.earlier
    offer = f"use one of {', '.join(earlier[-8:])}" if earlier else "nothing comes before it: write the value itself"
    if id == node.id:
        yield f"{node.id}: refers to its own result; {offer}."
    elif id in sight.within:
        yield f"{node.id}: refers to {id}, which is in the body of {sight.within[id]}; refer to {sight.within[id]}."
    elif id not in order and id not in sight.known:
        yield f"{node.id}: refers to {id}, which does not exist; {offer}."
    elif id in order and order[id] > sight.at and not (id in sight.looped and node.id in sight.looped):
        yield f"{node.id}: refers to {id}, which comes later; {offer}."


def _call(node: Node, tools: Mapping[str, ToolSpec], checker: Any) -> Iterator[str]:
    spec = tools.get(node.tool)
    if spec is None:
        near = difflib.get_close_matches(node.tool, tools, n=3, cutoff=0.5) or sorted(tools)[:12]
        yield f"{node.id}: unknown tool {node.tool!r}; use one of {', '.join(near) or 'none: no tool is there'}."
        return
    if node.effect != spec.effect and "effect" in node.model_fields_set:
        yield f"{node.id}: the effect is {node.effect.value!r}, but {spec.name} is {spec.effect.value!r}; write that."
    takes = ", ".join(spec.parameters.get("properties") or {}) or "no arguments"
    for error in sorted(checker(spec.parameters).iter_errors(node.args), key=lambda each: list(map(str, each.path))):
        yield f"{node.id}: {_worded(error, spec, takes)}"


def _worded(error: Any, spec: ToolSpec, takes: str) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)[1:]
    if error.validator == "required" and not where:
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{spec.name} needs {' and '.join(map(repr, missing))}; it takes {takes}."
    if error.validator == "additionalProperties" and not where:
        extra = [name for name in error.instance if name not in (error.schema.get("properties") or {})]
        return f"{spec.name} has no argument {', '.join(map(repr, extra))}; it takes {takes}."
    given = repr(error.instance)
    given = given if len(given) <= 80 else given[:79] + "…"
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        return f"{where} = {given} must be of type {kinds}; write one, or refer to a call that gives one."
    if error.validator == "enum":
        return f"{where} = {given} is not allowed; use one of {', '.join(map(repr, error.validator_value))}."
    detail = (
        error.message if len(error.message) <= 200 else f"breaks {error.validator}: {error.validator_value!r}"[:200]
    )
    return f"{where or spec.name} = {given}: {detail}; correct it."


def _checker() -> Any:
    """A JSON schema validator to whom references are of every type and text around them is a string."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    through = {"type", "anyOf", "oneOf", "allOf", "$ref", "$dynamicRef"}

    def lenient(name: str, keyword: Any) -> Any:
        def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            if ref_in(instance) is not None:
                return
            if parts_in(instance) is not None:
                if name not in through:
                    return
                if name == "type":
                    instance = "" if "string" in value else instance
                    if instance == "":
                        return
            yield from keyword(validator, value, instance, schema) or ()

        return check

    return extend(
        Draft202012Validator,
        {name: lenient(name, keyword) for name, keyword in Draft202012Validator.VALIDATORS.items()},
    )
