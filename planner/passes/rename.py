"""References moved from one result to another: what every pass that takes a node away needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...steps import Body, Node, Plan
from ..values import ends, lean, parse_ref, ref_in


def renamed_node(node: Node, places: Mapping[str, str]) -> Node:
    """``node`` with every reference to an id of ``places`` led to that place; the same object when it has none."""
    args = {name: _moved(value, places) for name, value in node.args.items()}
    when, over = _moved(node.when, places), _moved(node.over, places)
    after = tuple(dict.fromkeys(parse_ref(places.get(id, id)).head for id in node.after))
    body = node.body and renamed_body(node.body, places)
    if (args, when, over, after, body) == (node.args, node.when, node.over, node.after, node.body):
        return node
    return lean(node.model_copy(update={"args": args, "when": when, "over": over, "after": after, "body": body}))


def renamed_body(body: Body, places: Mapping[str, str]) -> Body:
    """``body`` with every reference to an id of ``places`` led to that place."""
    given = {name: _moved(getattr(body, name), places) for name in ("result", "until", "start")}
    return body.model_copy(update={**given, "nodes": tuple(renamed_node(node, places) for node in body.nodes)})


def renamed_plan(plan: Plan, kept: tuple[Node, ...], places: Mapping[str, str]) -> Plan:
    """``plan`` with the nodes ``kept`` only, every reference led to its place, and the same answers."""
    wanted = tuple(dict.fromkeys(parse_ref(places.get(node.id, node.id)).head for node in ends(plan)))
    nodes = tuple(renamed_node(node, places) for node in kept)
    answers = tuple(dict.fromkeys(parse_ref(places.get(id, id)).head for id in plan.answers))
    made = plan.model_copy(update={"nodes": nodes, "answers": answers})
    if {node.id for node in ends(made)} == set(wanted):
        return made
    # An answer that another call uses now would no longer be told from what is on the way.
    return made.model_copy(update={"answers": wanted})


def moved(ref: str, places: Mapping[str, str]) -> str:
    """The reference ``ref`` after its head has moved: ``n2.name`` with n2 at ``n1[1]`` is ``n1[1].name``."""
    head = parse_ref(ref).head
    return places[head] + ref[len(head) :] if head in places else ref


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    text = ref_in(value)
    if text is not None:
        return {"$ref": moved(text, places)}
    if isinstance(value, dict):
        return {key: _moved(child, places) for key, child in value.items()}
    if isinstance(value, list):
        return [_moved(child, places) for child in value]
    return value
