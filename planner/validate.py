"""The rules of a plan, and what to say when one is broken so that a model can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from ..steps import Node, Plan, ToolSpec
from .values import parents, parse_ref, parts_in, ref_in, refs

Specs: TypeAlias = Mapping[str, ToolSpec] | Iterable[ToolSpec]
"""Tools by name, or just the tools."""


def named(specs: Specs) -> Mapping[str, ToolSpec]:
    """The tools by name."""
    return specs if isinstance(specs, Mapping) else {spec.name: spec for spec in specs}


def complete(plan: Plan, specs: Specs) -> Plan:
    """Return ``plan`` with the effect of every node taken from its tool; unknown tools are left alone."""
    known = named(specs)
    nodes = tuple(
        node.model_copy(update={"effect": known[node.tool].effect})
        if node.tool in known and node.effect != known[node.tool].effect
        else node
        for node in plan.nodes
    )
    return plan.model_copy(update={"nodes": nodes})


def problems(plan: Plan, specs: Specs, *, max_nodes: int = 64, known: Collection[str] = ()) -> list[str]:
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
    if len(plan.nodes) > max_nodes:
        found.append(f"the plan has {len(plan.nodes)} nodes, at most {max_nodes} are allowed; use fewer calls.")
    order: dict[str, int] = {}
    for at, node in enumerate(plan.nodes):
        if node.id in order or node.id in known:
            found.append(f"{node.id}: this id is used twice; give every call a number of its own.")
        order.setdefault(node.id, at)
    looped = _looped(plan)
    if looped:
        found.append(f"{', '.join(looped)} wait for one another; let each use earlier results only.")
    for id in plan.answers:
        if id not in order and id not in known:
            found.append(f"answers: names {id}, which does not exist; use ids of the plan.")
    checker = _checker()
    for at, node in enumerate(plan.nodes):
        found += _references(node, at, order, known, looped)
        found += _call(node, tools, checker)
    return found


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


def _references(
    node: Node, at: int, order: Mapping[str, int], known: Collection[str], looped: Collection[str]
) -> Iterator[str]:
    for text in dict.fromkeys(refs(node)):
        try:
            ref = parse_ref(text)
        except ValueError as error:
            yield f"{node.id}: {error}."
            continue
        if ref.head == "item" and node.over is None:
            yield f"{node.id}: {text!r} has no meaning here; only a call that maps over a list has an item."
    for name, value in (("when", node.when), ("over", node.over)):
        if value is not None and (ref_in(value) or "item").startswith("item"):
            yield f'{node.id}: {name!r} must be a reference to an earlier call, as {{"$ref": "n1"}}.'
    earlier = [id for id, place in order.items() if place < at] + list(known)
    offer = f"use one of {', '.join(earlier[-8:])}" if earlier else "nothing comes before it: write the value itself"
    for id in parents(node):
        if id == node.id:
            yield f"{node.id}: refers to its own result; {offer}."
        elif id not in order and id not in known:
            yield f"{node.id}: refers to {id}, which does not exist; {offer}."
        elif id in order and order[id] > at and not (id in looped and node.id in looped):
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
