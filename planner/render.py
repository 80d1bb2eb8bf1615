"""Plans to look at: a text tree, Mermaid source, and an SVG that stands alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from ..steps import Body, Node, Plan, StepResult
from .dag import layers
from .outcomes import summary
from .values import parents, parts_in, ref_in

_MARKS = {
    "done": "✓",
    "failed": "✗",
    "skipped": "·",
    "denied": "⊘",
    "waiting": "?",
    "spent": "$",
    "doubt": "!",
    "cancelled": "-",
}


class Paint(NamedTuple):
    """Fill, line and text colour of a box."""

    fill: str
    line: str
    ink: str


_EFFECTS = {
    "read": Paint("#eef4fb", "#5b8fc7", "#1d3a57"),
    "write": Paint("#fdf3e3", "#d99a2b", "#5c3d08"),
    "external": Paint("#f7ebf7", "#a566a8", "#4a224c"),
}
_GOOD = Paint("#e9f6ec", "#3f9b57", "#17452a")
_BAD = Paint("#fdecea", "#cf4b3f", "#651a13")
_OPEN = Paint("#fff8dc", "#c9a400", "#544400")
_GREY = Paint("#f1f2f4", "#9aa1ab", "#4b525c")
_STATES = {
    "done": _GOOD,
    "failed": _BAD,
    "denied": _BAD,
    "doubt": _BAD,
    "waiting": _OPEN,
    "spent": _OPEN,
    "skipped": _GREY,
    "cancelled": _GREY,
}


def written(value: object) -> str:
    """A planned value for people: references as ``$1.name``, text as it will be put together."""
    text = ref_in(value)
    if text is not None:
        return "$" + text.removeprefix("n")
    parts = parts_in(value)
    if parts is not None:
        joined = "".join(part if isinstance(part, str) else written(part) for part in parts)
        return json.dumps(joined, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(child) for child in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def call_text(node: Node, *, width: int = 100) -> str:
    """``query(sql="select 1")``, with what else the node says, in at most ``width`` characters."""
    args = ", ".join(f"{name}={written(value)}" for name, value in node.args.items())
    text = f"{node.tool}({args})" if node.body is None else _turns(node.body, looped=node.over is None)
    if node.over is not None:
        text += f" for each item of {written(node.over)}"
    if node.when is not None:
        text += f" if {written(node.when)}"
    if node.ends:
        text += ", then the plan ends"
    return _cut(text, width)


def _turns(body: Body, *, looped: bool) -> str:
    """``2 calls until $5.ok, at most 10 times``; of a body without calls its value."""
    count = len(body.nodes)
    text = f"{count} call{'' if count == 1 else 's'}" if count else written(body.result)
    if body.until is not None:
        enough = f" {body.enough} times" if body.enough > 1 else ""
        text += f" until {written(body.until)}{enough}"
    if looped and body.most is not None:
        text += f", at most {body.most} times"
    return text + (f", {body.pause:g} s apart" if body.pause else "")


def tree(plan: Plan, results: Mapping[str, StepResult] | None = None) -> str:
    """Return ``plan`` as a text tree: each node stands below the last node it waits for.

    Other parents are named behind an arrow, the calls of a body stand below its node. With ``results``, by path,
    each line ends in status, time and value, that of a call in a body in how often it ran.
    """
    if plan.refusal:
        return f"{_line(plan.task)}\n└─ refused: {_line(plan.refusal)}"
    by_id = {node.id: node for node in plan.nodes}
    place = {id: at for at, id in enumerate(by_id)}
    below: dict[str, list[str]] = {}
    for node in plan.nodes:
        last_parent = max((id for id in parents(node) if id in place), key=place.__getitem__, default="")
        below.setdefault(last_parent, []).append(node.id)
    lines = [_line(plan.task)]
    often = _often(results or {})
    stack = [(id, "", at == 0) for at, id in enumerate(reversed(below.get("", [])))]
    while stack:
        id, indent, last = stack.pop()
        node = by_id[id]
        others = [parent for parent in parents(node) if parent in by_id and id not in below.get(parent, [])]
        arrow = f"  ← {', '.join(others)}" if others else ""
        lines.append(f"{indent}{'└─' if last else '├─'} {id} {call_text(node)}{arrow}{_state(node, results)}")
        deeper = indent + ("   " if last else "│  ")
        if node.body is not None:
            lines += _inner(node.body, id, deeper, often)
        stack += [(child, deeper, at == 0) for at, child in enumerate(reversed(below.get(id, [])))]
    return "\n".join(lines)


def _inner(body: Body, path: str, indent: str, often: Mapping[str, str]) -> Iterator[str]:
    """The calls of a body, in their order, below the line of its node."""
    for node in body.nodes:
        here = f"{path}.{node.id}"
        yield f"{indent}: {node.id} {call_text(node)}{often.get(here, '')}"
        if node.body is not None:
            yield from _inner(node.body, here, f"{indent}   ", often)


def _often(results: Mapping[str, StepResult]) -> dict[str, str]:
    """How often the calls of bodies ran and what came of them, by path without indices."""
    counts: dict[str, Counter[str]] = {}
    for path, result in results.items():
        if "." in path:
            counts.setdefault(re.sub(r"\[\d+\]", "", path), Counter())[result.status] += 1
    return {
        path: "  " + ", ".join(f"{_MARKS[status]} {number} {status}" for status, number in found.items())
        for path, found in counts.items()
    }


def mermaid(plan: Plan) -> str:
    """Return ``plan`` as a Mermaid flowchart; dotted arrows are order only, without a value, a body is a box."""
    lines = ["flowchart TD"]
    if plan.refusal:
        return "\n".join([*lines, f'    refused["refused: {_mermaid(plan.refusal)}"]'])
    ids = {node.id for node in plan.every()}
    for node in plan.nodes:
        lines += _boxes(node, "    ")
    for node in plan.every():
        used = _used(node)
        within = {inner.id for inner in node.body.nodes} if node.body is not None else set()
        lines += [f"    {id} {'-->' if id in used else '-.->'} {node.id}" for id in parents(node) if id in ids - within]
    lines += [f"    classDef {name} fill:{p.fill},stroke:{p.line},color:{p.ink}" for name, p in _EFFECTS.items()]
    return "\n".join(lines)


def _boxes(node: Node, indent: str) -> Iterator[str]:
    """A node and, in it, the calls of its body."""
    if node.body is not None and node.body.nodes:
        yield f'{indent}subgraph {node.id}["{node.id} {_mermaid(call_text(node))}"]'
        for inner in node.body.nodes:
            yield from _boxes(inner, f"{indent}    ")
        yield f"{indent}end"
        return
    label = f"{node.id} {_mermaid(_name(node))}<br/>{_mermaid(_detail(node, 60))}"
    yield f'{indent}{node.id}["{label}"]:::{node.effect.value}'


def svg(plan: Plan, results: Mapping[str, StepResult] | None = None) -> str:
    """Return ``plan`` as SVG text that needs nothing else: boxes in layers from top to bottom.

    Boxes are coloured by effect, with ``results`` by status; hovering shows the whole call and value. A node with a
    body is a pile; hovering shows its calls.
    All text is escaped.
    """
    places = _places(plan)
    wide = max((box.x for box in places.values()), default=0) + _BOX_W + _MARGIN
    wide = max(wide, 2 * _MARGIN + 360)
    high = max((box.y for box in places.values()), default=_TOP) + _BOX_H + _MARGIN + 20
    body = list(_edges(plan, places))
    for node in plan.nodes:
        body.append(_box(node, places[node.id], (results or {}).get(node.id)))
    legend = _states_used(results) if results else {name: _EFFECTS[name] for name in _EFFECTS}
    for at, (name, paint) in enumerate(legend.items()):
        x = _MARGIN + at * 88
        body.append(
            f'<rect x="{x}" y="{high - 22}" width="10" height="10" rx="3" fill="{paint.fill}" stroke="{paint.line}"/>'
            f'<text x="{x + 15}" y="{high - 13}" font-size="11" fill="#6b7280">{name}</text>'
        )
    head = plan.task if not plan.refusal else f"{plan.task} (refused: {plan.refusal})"
    frame = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'font-family="ui-sans-serif, system-ui, sans-serif" role="img">\n<title>{_xml(plan.task)}</title>\n'
        f'{_TIP}\n<rect width="{wide}" height="{high}" rx="10" fill="#ffffff"/>\n'
        f'<text x="{_MARGIN}" y="30" font-size="14" font-weight="600" fill="#1f2937">'
        f"{_xml(_cut(head, max(40, wide // 8)))}</text>"
    )
    return "\n".join([frame, *body, "</svg>"])


_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="#8a93a0"/></marker></defs>'
)
_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BOX_W, _BOX_H = 208, 48
_GAP_X, _GAP_Y = 22, 46
_MARGIN, _TOP = 20, 48


class _Place(NamedTuple):
    x: int
    y: int


def _places(plan: Plan) -> dict[str, _Place]:
    """Where each box stands: layers centred, inside a layer by the mean place of the parents."""
    rows = layers(plan)
    wide = max((len(row) for row in rows), default=1)
    found: dict[str, _Place] = {}
    for level, row in enumerate(rows):
        start = _MARGIN + (wide - len(row)) * (_BOX_W + _GAP_X) // 2
        row = sorted(row, key=lambda node: _mean([found[id].x for id in parents(node) if id in found]))
        for at, node in enumerate(row):
            found[node.id] = _Place(start + at * (_BOX_W + _GAP_X), _TOP + level * (_BOX_H + _GAP_Y))
    return found


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edges(plan: Plan, places: Mapping[str, _Place]) -> Iterator[str]:
    for node in plan.nodes:
        used = _used(node)
        end = places[node.id]
        for id in parents(node):
            if id not in places:
                continue
            x1, y1 = places[id].x + _BOX_W // 2, places[id].y + _BOX_H
            x2, y2 = end.x + _BOX_W // 2, end.y - 2
            bend = max(24, (y2 - y1) // 2)
            dash = "" if id in used else ' stroke-dasharray="4 4"'
            yield (
                f'<path d="M{x1} {y1} C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}" fill="none" '
                f'stroke="#8a93a0" stroke-width="1.4"{dash} marker-end="url(#tip)"/>'
            )


def _box(node: Node, at: _Place, result: StepResult | None) -> str:
    paint = _EFFECTS[node.effect.value] if result is None else _STATES[result.status]
    top = f"{node.id}  {_name(node)}"
    if result is not None:
        top = f"{_MARKS[result.status]} {top}"
    hover = "\n".join([call_text(node, width=600), *(_inner(node.body, node.id, "", {}) if node.body else ())])
    if result is not None:
        hover += "\n" + (result.failure.message if result.failure else summary(result.value, width=400))
    took = f"{result.seconds * 1000:.0f} ms" if result is not None and result.status == "done" else ""
    below = (
        f'<rect x="{at.x + 5}" y="{at.y + 5}" width="{_BOX_W}" height="{_BOX_H}" rx="8" fill="{paint.fill}" '
        f'stroke="{paint.line}" stroke-width="1.4"/>'
    )
    return (
        f"<g><title>{_xml(hover)}</title>{below if node.body else ''}"
        f'<rect x="{at.x}" y="{at.y}" width="{_BOX_W}" height="{_BOX_H}" rx="8" '
        f'fill="{paint.fill}" stroke="{paint.line}" stroke-width="1.4"/>'
        f'<text x="{at.x + 12}" y="{at.y + 20}" font-size="13" font-weight="600" fill="{paint.ink}">'
        f"{_xml(_cut(top, 22))}</text>"
        f'<text x="{at.x + _BOX_W - 10}" y="{at.y + 20}" font-size="11" text-anchor="end" fill="{paint.ink}">'
        f"{took}</text>"
        f'<text x="{at.x + 12}" y="{at.y + 37}" font-size="11" fill="{paint.ink}" '
        f'font-family="ui-monospace, monospace">{_xml(_cut(_detail(node, 60), 28))}</text></g>'
    )


def _states_used(results: Mapping[str, StepResult]) -> dict[str, Paint]:
    return {result.status: _STATES[result.status] for result in results.values()}


def _used(node: Node) -> set[str]:
    """Parents of which a value is used; the others are order only."""
    return set(parents(node.model_copy(update={"after": ()})))


def _name(node: Node) -> str:
    if node.body is None:
        return node.tool
    return "for each" if node.over is not None else "loop" if node.body.most else "plan" if node.body.nodes else "value"


def _detail(node: Node, width: int) -> str:
    if node.body is not None:
        return _cut(" ".join(_name(inner) for inner in node.body.nodes) or written(node.body.result), width)
    return _cut(", ".join(f"{name}={written(value)}" for name, value in node.args.items()), width)


def _state(node: Node, results: Mapping[str, StepResult] | None) -> str:
    result = (results or {}).get(node.id)
    if result is None:
        return "  [waits]" if results else ""
    text = f"  {_MARKS[result.status]} {result.status}"
    if result.status == "done":
        text += f" {result.seconds * 1000:.0f} ms"
    after = result.failure.message if result.failure is not None else summary(result.value)
    return f"{text}  {_cut(after, 120)}" if after else text


def _cut(text: str, width: int) -> str:
    text = _line(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _line(text: str) -> str:
    """One line without control characters, which a terminal would obey."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _mermaid(text: str) -> str:
    """Text that can neither end a label nor become markup in one."""
    return "".join(f"#{ord(char)};" if char in "\"'<>&#[]{}()|`\\;%" else char for char in _line(text))


def _xml(text: str) -> str:
    """Escaped, without the characters that XML forbids."""
    return escape(_FORBIDDEN.sub("", text))
