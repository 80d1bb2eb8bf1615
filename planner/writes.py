"""Files that a plan writes: one file twice is written once, and the one file that the task wants is not forgotten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..steps import Effect, Node, Plan, ToolSpec
from .targets import targets
from .values import parents

_READS = r"\b(?:of|from|in|does|do|has|have|is|are|read|open|show|print|summari[sz]e)\s+(?:the\s+)?(?:file\s+)?[`'\"]?"
"""What stands before the name of a file that is read."""


def merged_writes(plan: Plan, specs: Mapping[str, ToolSpec]) -> Plan:
    """Return ``plan`` with every later write of a file taken into its first, whose content becomes a list.

    Only for tools that write a literal path and take any content; a write whose result is used stays.
    """
    used = {parent for node in plan.nodes for parent in parents(node)}
    kept: dict[tuple[str, str], Node] = {}
    nodes: list[Node] = []
    for node in plan.nodes:
        place = _place(node, specs.get(node.tool))
        first = kept.get(place) if place else None
        if place is None or first is None or first.id in used or node.id in used:
            if place is not None:
                kept[place] = node
            nodes.append(node)
            continue
        nodes.remove(first)
        content = [*_listed(first.args["content"]), *_listed(node.args["content"])]
        merged = node.model_copy(update={"args": {**first.args, **_untitled(node.args), "content": content}})
        kept[place] = merged
        nodes.append(merged)
    return plan.model_copy(update={"nodes": tuple(nodes)})


def without_unasked(plan: Plan, specs: Mapping[str, ToolSpec], known: str) -> Plan:
    """Return ``plan`` without writes of a file that its task reads from and the data (``known``) does not have.

    To make up the file that a person asks about would hide that it is missing.
    """
    wanted = set(targets(plan.task))
    used = {parent for node in plan.nodes for parent in parents(node)}
    gone = {
        node.id
        for node in plan.nodes
        if node.id not in used
        and (place := _place(node, specs.get(node.tool))) is not None
        and place[1] in missing(known) - wanted
        and re.search(rf"{_READS}{re.escape(place[1])}\b", plan.task, re.IGNORECASE)
    }
    left = tuple(node for node in plan.nodes if node.id not in gone)
    return plan.model_copy(update={"nodes": left}) if gone and left else plan


def missing(known: str) -> set[str]:
    """Return the files that the data (``known``) says are not there although the task names them."""
    lines = re.findall(r"^- there is no file .*$", known, re.MULTILINE)
    return {name for line in lines for name in re.findall(r"no file ([\w/.-]*\w)", line)}


def wanted_write(plan: Plan, specs: Mapping[str, ToolSpec], known: str = "") -> Plan:
    """Return ``plan`` with the one file that its task wants written, where no line writes it: with the last result."""
    tool = next((spec for spec in specs.values() if spec.name == "write_file" and spec.effect is Effect.WRITE), None)
    names = targets(plan.task, known)
    if tool is None or len(names) != 1 or not plan.nodes or any(node.effect is not Effect.READ for node in plan.nodes):
        return plan
    last = plan.nodes[-1].id
    number = max(int(node.id[1:]) for node in plan.nodes) + 1
    node = Node(
        id=f"n{number}",
        tool=tool.name,
        args={"path": names[0], "content": {"$ref": last}},
        effect=Effect.WRITE,
        sources={"path": "task"},
    )
    return plan.model_copy(update={"nodes": (*plan.nodes, node)})


def completed_write(plan: Plan, specs: Mapping[str, ToolSpec], known: str = "") -> Plan:
    """Return ``plan`` with results that nothing uses put into the one file that its task, which asks nothing, wants."""
    writes = [node for node in plan.nodes if node.effect is Effect.WRITE]
    if (
        len(writes) != 1
        or "?" in plan.task
        or len(targets(plan.task, known)) != 1
        or not _place(writes[0], specs.get(writes[0].tool))
    ):
        return plan
    used = {parent for node in plan.nodes for parent in parents(node)}
    spare = [{"$ref": node.id} for node in plan.nodes if node.id not in used and node is not writes[0]]
    if not spare or not parents(writes[0]):
        return plan
    content = [*_listed(writes[0].args["content"]), *spare]
    whole = writes[0].model_copy(update={"args": {**writes[0].args, "content": content}})
    # The write comes last, so that it may refer to all.
    return plan.model_copy(update={"nodes": (*(node for node in plan.nodes if node is not writes[0]), whole)})


def _place(node: Node, spec: ToolSpec | None) -> tuple[str, str] | None:
    """Tool and path of a plain write; None for everything else."""
    if spec is None or spec.effect is not Effect.WRITE or len(spec.paths) != 1 or node.when or node.over:
        return None
    path = node.args.get(spec.paths[0])
    return (node.tool, path) if isinstance(path, str) and "content" in node.args else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _untitled(args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if name != "title"}
