"""Plans as files that people read, write and edit.

    {
      "task": "Count the orders",
      "nodes": [
        {"id": "n1", "tool": "query", "args": {"sql": "select count(*) as n from 'orders.csv'"}, "after": []},
        {"id": "n2", "tool": "calculator", "args": {"expression": {"$text": [{"$ref": "n1.n"}, " * 2"]}}}
      ]
    }

``{"$ref": "n1.n"}`` is an earlier result, ``$text`` is text around some.
``after`` names every call that must finish first, those whose results are used included. Only ``tool``
or ``body`` is required; ids count up from n1, nodes may stand in any order. Those in a body have ids of their own.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from ..errors import PlanInvalid
from ..steps import Node, NodePolicy, Plan
from .dag import ordered
from .values import lean, parents

_SHAPE = 'write {"task": "...", "nodes": [{"tool": "...", "args": {...}}]}'


def dump(plan: Plan) -> str:
    """Return ``plan`` as JSON with one call per line; ``parse`` reads it back."""
    head: dict[str, Any] = {"task": plan.task}
    if plan.revision:
        head["revision"] = plan.revision
    if plan.refusal:
        head["refusal"] = plan.refusal
    head["origin"] = plan.origin
    if plan.answers:
        head["answers"] = list(plan.answers)
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    nodes = ",\n".join("    " + json.dumps(node_record(node), ensure_ascii=False) for node in plan.nodes)
    body = f"\n{nodes}\n  ]" if nodes else "]"
    return "\n".join(["{", *lines, f'  "nodes": [{body}', "}", ""])


def node_record(node: Node) -> dict[str, Any]:
    """``node`` as it stands in a file: defaults left out, all parents in ``after``."""
    record: dict[str, Any] = {"id": node.id}
    if node.body is None:
        record |= {"tool": node.tool, "args": node.args}
    record["after"] = list(parents(node))
    if "effect" in node.model_fields_set:
        record["effect"] = node.effect.value
    for name in ("when", "over"):
        value = getattr(node, name)
        if value is not None:
            record[name] = value
    if node.body is not None:
        own = node.body.model_dump(mode="json", exclude_defaults=True, exclude={"nodes"})
        record["body"] = {"nodes": [node_record(inner) for inner in node.body.nodes], **own}
    if node.policy != NodePolicy():
        record["policy"] = node.policy.model_dump(exclude_defaults=True)
    if node.sources:
        record["sources"] = node.sources
    return record


def parse(text: str) -> Plan:
    """Read a plan from JSON; nodes come out in an order in which every reference points backwards.

    Raises PlanInvalid, naming the line or the field, the value and what would be right.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        line = (text.splitlines() or [""])[error.lineno - 1 : error.lineno]
        shown = repr(line[0].strip()[:80]) if line else "the end"
        raise PlanInvalid(
            [f"line {error.lineno}, column {error.colno}: {error.msg} at {shown}; correct the JSON there."]
        ) from None
    except RecursionError:
        raise PlanInvalid([f"the JSON is nested too deeply; {_SHAPE}."]) from None
    if not isinstance(data, dict):
        raise PlanInvalid([f"the plan is {type(data).__name__} {str(data)[:60]!r}, not an object; {_SHAPE}."])
    nodes = data.get("nodes", [])
    if not isinstance(nodes, list):
        raise PlanInvalid([f"nodes = {str(nodes)[:60]!r} is not a list; {_SHAPE}."])
    found = list(_unknown(data, set(Plan.model_fields), "the plan"))
    made = []
    for at, record in enumerate(nodes):
        where = f"nodes[{at}]"
        if not isinstance(record, dict):
            found.append(f'{where} = {str(record)[:60]!r} is not an object; write {{"tool": "...", "args": {{...}}}}.')
            continue
        found += _unknown(record, set(Node.model_fields), where)
        if "tool" not in record and "body" not in record:
            found.append(f"{where}.tool is missing; {_SHAPE}.")
        made.append({"id": f"n{at + 1}", **record})
    if found:
        raise PlanInvalid(found)
    try:
        plan = Plan.model_validate({"task": "", "origin": "person", **data, "nodes": made})
    except ValidationError as error:
        raise PlanInvalid(list(_explained(error))) from None
    return ordered(plan.model_copy(update={"nodes": tuple(lean(node) for node in plan.nodes)}))


def _unknown(record: dict[str, Any], fields: set[str], where: str) -> Iterator[str]:
    for key in record:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            mend = f"did you mean {near[0]!r}?" if near else f"it may hold {', '.join(sorted(fields))}."
            yield f"{where} has an unknown field {key!r}; {mend}"


def _explained(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
        if item["type"] == "missing":
            yield f"{where} is missing; {_SHAPE}."
        else:
            given = repr(item["input"])
            yield f"{where} = {given[:80]}: {item['msg']}; correct it."
