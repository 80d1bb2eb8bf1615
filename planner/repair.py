"""What a model's plan is put right in without asking, what is found fault with, and how that is said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..protocols import Pending
from ..steps import Bound, Node, Plan, Source, ToolSpec
from .lines import OUTSIDE, write_value
from .values import parents, parse_ref, parts_in, ref_in

_COMMON = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "24", "60", "100", "365", "1000", "3600"}
_NUMBER = re.compile(r"(?<![\w.$])\d+(?:\.\d+)?(?![\w.])")


def dressed(node: Node, spec: ToolSpec | None, *, task: str, memory: str = "") -> Node:
    """Return ``node`` with its tool's effect, values tidied, and the provenance of every literal.

    Idempotent and a function of the node alone, so that a line that started early is the line of the plan.
    """
    if spec is None:
        return node
    properties = spec.parameters.get("properties") or {}
    args = {name: _tidy(value, name, spec, properties.get(name)) for name, value in node.args.items()}
    known = _norm(task), _norm(memory)
    sources = {path: _source(value, *known) for name, value in args.items() for path, value in _literals(value, name)}
    return node.model_copy(update={"args": args, "effect": spec.effect, "sources": sources})


def _tidy(value: Any, name: str, spec: ToolSpec, schema: Any) -> Any:
    parts = parts_in(value)
    if parts is None:
        return value
    if name in spec.binds:
        return {"$text": _unquoted(parts)}
    if len(parts) == 1 and ref_in(parts[0]) is not None and (schema or {}).get("type") != "string":
        return parts[0]
    return value


def _unquoted(parts: list[Any]) -> list[Any]:
    """SQL and expressions take values beside the text: ``'$1'`` becomes ``$1``, ``'%$1%'`` a concatenation."""
    out: list[Any] = []
    inside = False
    for place, part in enumerate(parts):
        if isinstance(part, str):
            text = part
            if inside and place:
                text = text[1:] if text.startswith("'") and not text.startswith("''") else f" || '{text}"
            out.append(text)
            inside = (part.count("'") % 2 == 1) != inside
            continue
        if inside:
            before = str(out[-1]) if out and isinstance(out[-1], str) else ""
            if before.endswith("'"):
                out[-1] = before[:-1]
            elif before:
                out[-1] = f"{before}' || "
        out.append(part)
    return [part for part in out if part != ""]


def _literals(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if ref_in(value) is not None:
        return
    if (parts := parts_in(value)) is not None:
        text = " ".join(part for part in parts if isinstance(part, str) and part.strip())
        if text:
            yield path, text
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _literals(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _literals(item, f"{path}[{index}]")
    else:
        yield path, value


def _source(value: Any, task: str, memory: str) -> Source:
    text = _norm(value if isinstance(value, str) else write_value(value))
    if not text or isinstance(value, bool) or value is None:
        return "model"
    found = re.compile(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\d)")
    return "task" if found.search(task) else "memory" if found.search(memory) else "model"


def _norm(text: str) -> str:
    return " ".join(text.casefold().split())


def mended(node: Node, spec: ToolSpec, problems: Sequence[str]) -> Node:
    """Return ``node`` as a check has said it is to be written, where the check said so exactly.

    Two wordings are understood: ``has the value 'Open', not 'open'``, and ``write (SELECT limit FROM setup) for
    limit`` (or ``for setup.column``, which stands for any column of it).
    """
    told = "\n".join(problems)
    swaps = [(re.escape(wrong), right) for right, wrong in re.findall(r"has the value ('[^']*'), not ('[^']*')", told)]
    for column, table, name in re.findall(r"write \(SELECT (\w+) FROM (\w+)\) for ([\w.]+)", told):
        if name == f"{table}.column":
            swaps.append((rf"(?i)\b{table}\.(\w+)", rf"(SELECT \1 FROM {table})"))
        else:
            swaps.append((rf"(?i)(?:\b\w+\.)?\b{column}\b(?! FROM)", f"(SELECT {column} FROM {table})"))
    if not swaps:
        return node
    args = {name: _swapped(value, swaps) if name in spec.binds else value for name, value in node.args.items()}
    return node.model_copy(update={"args": args})


def _swapped(value: Any, swaps: Sequence[tuple[str, str]]) -> Any:
    if (parts := parts_in(value)) is not None:
        return {"$text": [_swapped(part, swaps) for part in parts]}
    for wrong, right in swaps if isinstance(value, str) else ():
        value = re.sub(wrong, right, value)
    return value


def without_echoes(plan: Plan, specs: Mapping[str, ToolSpec]) -> Plan:
    """Return ``plan`` without calls that only hand on one earlier result (``calculator(expression="$1")``)."""
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    for node in plan.nodes:
        args = {name: _renamed(value, alias) for name, value in node.args.items()}
        node = node.model_copy(update={"args": args}) if args != node.args else node
        source = _echo(node, specs.get(node.tool))
        if source and not any(node.id in (*later.after, _head(later.when), _head(later.over)) for later in plan.nodes):
            alias[node.id] = source
        else:
            nodes.append(node)
    return plan.model_copy(update={"nodes": tuple(nodes)}) if alias else plan


def _echo(node: Node, spec: ToolSpec | None) -> str:
    """Return the reference that a call hands on unchanged: its only argument, a bound text of nothing else."""
    if spec is None or spec.effect.value != "read" or len(node.args) != 1 or node.when or node.over:
        return ""
    [(name, value)] = node.args.items()
    parts = parts_in(value) or []
    alone = name in spec.binds and len([part for part in parts if str(part).strip()]) == 1
    return (ref_in(parts[0]) or "") if alone and name == "expression" else ""


def _head(value: Any) -> str:
    return parse_ref(ref).head if (ref := ref_in(value)) else ""


def _renamed(value: Any, alias: Mapping[str, str]) -> Any:
    if not alias:
        return value
    if (ref := ref_in(value)) is not None:
        head = parse_ref(ref).head
        return {"$ref": alias[head] + ref[len(head) :]} if head in alias else value
    if isinstance(value, dict):
        return {key: _renamed(item, alias) for key, item in value.items()}
    return [_renamed(item, alias) for item in value] if isinstance(value, list) else value


def planned(node: Node, spec: ToolSpec) -> dict[str, Any]:
    """Return the arguments as a check may see them before the plan has run: earlier results are ``Pending``."""
    return {name: _pending(value, bind=name in spec.binds) for name, value in node.args.items()}


def _pending(value: Any, *, bind: bool) -> Any:
    if (ref := ref_in(value)) is not None:
        return Pending(write_value({"$ref": ref}))
    if (parts := parts_in(value)) is not None:
        names = [(part, parse_ref(ref).name if (ref := ref_in(part)) else "") for part in parts]
        if not bind:
            first = next(part for part, name in names if name)
            return Pending(write_value(first))
        text = "".join(name or str(part) for part, name in names)
        return Bound(text=text, values={name: Pending(write_value(part)) for part, name in names if name})
    if isinstance(value, dict):
        return {key: _pending(item, bind=False) for key, item in value.items()}
    if isinstance(value, list):
        return [_pending(item, bind=False) for item in value]
    return value


def lint(plan: Plan, specs: Mapping[str, ToolSpec], known: str) -> list[str]:
    """Return suspicions, worded for a model: a literal where a reference is due, a dropped operand.

    They are worth one more try of the model, never a refusal of the plan: ``known`` is all the text that
    the model had (task, data, earlier results), and a number may well come from common sense.
    """
    found = []
    used = {id for node in plan.nodes for id in parents(node)}
    said = set(_NUMBER.findall(known))
    for place, node in enumerate(plan.nodes):
        spec = specs.get(node.tool)
        spare = [earlier.id for earlier in plan.nodes[:place] if earlier.id not in used]
        if spec is None:
            continue
        made = [text for text in _numbers(node, spec) if text not in said and text not in _COMMON]
        if made and spare:
            found.append(
                f"{node.id}: {made[0]} stands neither in the task nor in the data; refer to the result that it should "
                f"come from, such as {spare[-1]}."
            )
        found += _undefined(node, spec, place)
    return found + list(_dropped(plan, specs, used)) + list(_codes(plan, known))


def _dropped(plan: Plan, specs: Mapping[str, ToolSpec], used: set[str]) -> Iterator[str]:
    """A calculation at the end that leaves out one of several results of the same kind."""
    last = plan.nodes[-1] if plan.nodes else None
    if last is None or last.tool not in specs or len(plan.nodes) < 3 or not parents(last):
        return
    dropped = [node.id for node in plan.nodes[:-1] if node.id not in used and node.tool == plan.nodes[0].tool]
    if dropped and specs[last.tool].binds and last.tool != plan.nodes[0].tool:
        yield (
            f"{last.id}: does not use the result of {', '.join(dropped)}; use it, or leave that line out when "
            "it is not needed."
        )


def _codes(plan: Plan, known: str) -> Iterator[str]:
    """A key of another table where the task asks for names."""
    if not re.search(r"\bnames?\b", plan.task, re.IGNORECASE):
        return
    for many, column, one, key in re.findall(r"\b(\w+)\.(\w+) = (\w+)\.(\w+)", _joins(known)):
        named = re.search(rf"^- {one} \([^\n]*\bname text", known, re.MULTILINE)
        texts = [text for node in plan.nodes for _, text in _literals(dict(node.args), "") if isinstance(text, str)]
        taken = [text for text in texts if re.search(rf"(?i)^\s*select\s+(\w+\.)?{column}\b.*\bfrom\s+{many}\b", text)]
        if named and key != "name" and taken and not any(re.search(rf"\b{one}\b", text) for text in texts):
            yield (
                f"n1: {many}.{column} is only a key; for the name select {one}.name and add "
                f"JOIN {one} ON {many}.{column} = {one}.{key}."
            )


def _joins(known: str) -> str:
    return "\n".join(line for line in known.splitlines() if line.startswith("- tables join ON "))


def _numbers(node: Node, spec: ToolSpec) -> list[str]:
    """Numbers in bound texts (SQL, expressions) and in numeric arguments."""
    out: list[str] = []
    for name, value in node.args.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            out.append(write_value(value))
        elif name in spec.binds:
            parts = parts_in(value) or [value]
            for part in parts:
                if isinstance(part, str):
                    out += _NUMBER.findall(re.sub(r"'[^']*'", "''", part))
    return out


def _undefined(node: Node, spec: ToolSpec, place: int) -> Iterator[str]:
    for name in spec.binds:
        for part in parts_in(node.args.get(name)) or [node.args.get(name)]:
            for number in re.findall(r"\$(\d+)", re.sub(r"'[^']*'", "''", part) if isinstance(part, str) else ""):
                offer = f"refer to lines 1 to {place}" if place else "write the value itself"
                yield f"{node.id}: {name} mentions line {number}, which does not come before it; {offer}."


def elsewhere(problem: str, node: Node, plan: Plan) -> str:
    """Return where a column that a problem misses is: in the result of an earlier line that named it so."""
    missing = re.search(r"there is no column (\w+)", problem)
    for earlier in plan.nodes if missing else ():
        if earlier.id == node.id:
            break
        texts = [text for _, text in _literals(dict(earlier.args), "") if isinstance(text, str)]
        if missing and any(re.search(rf"(?i)\bAS {missing[1]}\b", text) for text in texts):
            return f"; {missing[1]} is in the result of line {earlier.id[1:]}: write FROM ${earlier.id[1:]}"
    return ""


def worded(text: str, problems: Sequence[str]) -> str:
    """Return the paragraph that sends a plan back: what it was, each problem, and what may be written instead."""
    said = text.strip() if len(text) <= 3000 else text[:3000] + "..."
    lines = "\n".join(f"- {for_model(problem)}" for problem in dict.fromkeys(problems[:6]))
    return (
        f"REJECTED PLAN\n{said}\nWHY\n{lines}\n"
        "Do not write it again: write the whole corrected plan. Use only tables and columns of DATA; join tables "
        "where a column is in another one. If DATA does not hold what the task asks for, write only "
        f'{OUTSIDE}(reason="...").'
    )


def for_model(problem: str) -> str:
    """Return a problem with node ids as the model knows them: ``line 2`` and ``$1``."""
    text = re.sub(r"^n(\d+): ", r"line \1: ", problem)
    return re.sub(r"(?<![\w.'\"])n(\d+)\b", r"$\1", text)
