"""What a model's plan is put right in without asking, what is found fault with, and how that is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ..protocols import Pending
from ..steps import Bound, Node, Source, ToolSpec
from .lines import OUTSIDE, write, write_value
from .values import parse_ref, parts_in, ref_in

Shape: TypeAlias = Mapping[str, str] | None
"""Columns and types of the rows that a call gives; None when that is not known."""


def dressed(node: Node, spec: ToolSpec | None, *, task: str, memory: str = "") -> Node:
    """Return ``node`` with its tool's effect, values tidied, and the provenance of every literal.

    Idempotent and a function of the node alone, so that a line that started early is the line of the plan.
    """
    if node.body is not None:
        inner = tuple(dressed(each, None, task=task, memory=memory) for each in node.body.nodes)
        known = _norm(task), _norm(memory)
        start = {path: _source(value, *known) for path, value in literals(node.body.start, "start")}
        return node.model_copy(update={"body": node.body.model_copy(update={"nodes": inner}), "sources": start})
    if spec is None:
        known = _norm(task), _norm(memory)
        found = {
            path: _source(value, *known) for name, value in node.args.items() for path, value in literals(value, name)
        }
        return node.model_copy(update={"sources": found})
    properties = spec.parameters.get("properties") or {}
    args = {name: _tidy(value, name, spec, properties.get(name)) for name, value in node.args.items()}
    known = _norm(task), _norm(memory)
    sources = {path: _source(value, *known) for name, value in args.items() for path, value in literals(value, name)}
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


def literals(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every literal of an argument with its path; of text around references, the text."""
    if ref_in(value) is not None:
        return
    if (parts := parts_in(value)) is not None:
        text = " ".join(part for part in parts if isinstance(part, str) and part.strip())
        if text:
            yield path, text
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from literals(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from literals(item, f"{path}[{index}]")
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


def planned(node: Node, spec: ToolSpec, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Return the arguments as a check may see them before the plan has run: earlier results are ``Pending``.

    ``shapes`` has, by node id, what is known of the rows that earlier calls will give.
    """
    return {name: _pending(value, shapes, bind=name in spec.binds) for name, value in node.args.items()}


def _pending(value: Any, shapes: Mapping[str, Shape], *, bind: bool) -> Any:
    if (ref := ref_in(value)) is not None:
        return Pending(write_value({"$ref": ref}), shapes.get(parse_ref(ref).head))
    if (parts := parts_in(value)) is not None:
        names = {parse_ref(ref).name: _pending(part, shapes, bind=False) for part in parts if (ref := ref_in(part))}
        if not bind:
            return next(iter(names.values()))
        text = "".join(parse_ref(ref).name if (ref := ref_in(part)) else str(part) for part in parts)
        return Bound(text=text, values=names)
    if isinstance(value, dict):
        return {key: _pending(item, shapes, bind=False) for key, item in value.items()}
    if isinstance(value, list):
        return [_pending(item, shapes, bind=False) for item in value]
    return value


def for_model(problem: str) -> str:
    """Return a problem with node ids as the model knows them: ``line 2`` and ``$1``."""
    text = re.sub(r"^n(\d+): ", r"line \1: ", problem)
    return re.sub(r"(?<![\w.'\"])n(\d+)\b", r"$\1", text)


def worded(
    problems: Sequence[str],
    nodes: Sequence[Node],
    *,
    noun: str = "plan",
    line: Callable[[Node], str] = write,
    named: Callable[[str], str] = for_model,
) -> str:
    """Return the paragraph that asks for another plan: which lines were right, what was wrong, how it may be mended.

    A line that was wrong is not shown: small models copy what they see, word for word. So the lines before it are.
    ``noun``, ``line`` and ``named`` are the plan, a call of it and a problem as the model writes them.
    """
    lines = "\n".join(f"- {named(problem)}" for problem in dict.fromkeys(problems[:6]))
    wrong = [int(match[1]) for problem in problems if (match := re.match(r"n(\d+): ", problem))]
    right = [line(node) for node in nodes if wrong and int(node.id[1:]) < min(wrong)]
    kept = "\nThese lines were right, begin with them:\n" + "\n".join(right) if right else ""
    return (
        f"A FIRST {noun.upper()} WAS WRONG\n{lines}{kept}\n"
        f"Write a better {noun}. Take each value from its own table with a line of its own. If DATA does not hold what "
        f'the task asks for, write only {OUTSIDE}(reason="...").'
    )
