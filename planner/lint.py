"""What a plan is doubted for: worth one more try of the model, never a reason to refuse it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from ..steps import Effect, Node, Plan, ToolSpec
from .lines import write_value
from .mend import LINK
from .repair import literals
from .targets import targets
from .values import parents, parts_in
from .writes import missing

_COMMON = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "24", "60", "100", "365", "1000", "3600"}
_NUMBER = re.compile(r"(?<![\w.$])\d+(?:\.\d+)?(?![\w.])")


_WANTED = (
    (
        r"\b(in total|total|sum of|altogether|combined|all together)\b",
        (r"sum\(|count\(|total|\+|bytes|lines|stats", "sum(...), with GROUP BY for each or for the most"),
    ),
    (r"\b(average|mean)\b", (r"avg\(|mean|average|median|/", "avg(...)")),
)
"""Words of a task, what computes it, and what to use when nothing does."""


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
        if made and spare and spec.binds:
            found.append(
                f"{node.id}: {made[0]} stands neither in the task nor in the data; refer to the result that it should "
                f"come from, such as {spare[-1]}."
            )
        found += _undefined(node, spec, place)
    return [
        *found, *_dropped(plan, specs, used), *_codes(plan, known), *_aggregates(plan, specs),
        *_unasked(plan, known), *_invented(plan, known), *_unread(plan, known), *_unwritten(plan, specs, known),
    ]  # fmt: skip


def _unwritten(plan: Plan, specs: Mapping[str, ToolSpec], known: str) -> Iterator[str]:
    """A file that the task wants written (``into x.md``, ``save it as x.md``) and no line writes."""
    writers = [spec for spec in specs.values() if spec.effect is Effect.WRITE and spec.paths]
    if not writers or not plan.nodes:
        return
    told = " ".join(write_value(value) for node in plan.nodes for value in node.args.values() if isinstance(value, str))
    for name in targets(plan.task, known.removeprefix(plan.task)):
        if name not in told:
            last = plan.nodes[-1].id[1:]
            yield (
                f"the task wants {name} written; add a line {writers[0].name}({writers[0].paths[0]}={name!r}, ...) "
                f"with what belongs into it, such as ${last}."
            )


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
        texts = [text for node in plan.nodes for _, text in literals(dict(node.args), "") if isinstance(text, str)]
        taken = [text for text in texts if re.search(rf"(?i)^\s*select\s+(\w+\.)?{column}\b.*\bfrom\s+{many}\b", text)]
        if named and key != "name" and taken and not any(re.search(rf"\b{one}\b", text) for text in texts):
            yield (
                f"n1: {many}.{column} is only a key; for the name select {one}.name and add "
                f"JOIN {one} ON {many}.{column} = {one}.{key}."
            )


def _joins(known: str) -> str:
    return "\n".join(line for line in known.splitlines() if line.startswith("- tables join ON "))


_TABLE = re.compile(r"^- (\w+) \((?:folder )?([\w./-]+),", re.MULTILINE)


def _unread(plan: Plan, known: str) -> Iterator[str]:
    """A file, or a table by its name, that the task speaks of and no line reads."""
    told = json.dumps([node.args for node in plan.nodes]).casefold()
    task = plan.task.casefold()
    files: dict[str, list[str]] = {}
    for table, path in _TABLE.findall(known):
        files.setdefault(path.casefold().rsplit("/", 1)[-1], []).append(table)
    for file, tables in files.items():
        said = [
            table for table in tables if len(table) >= 5 and re.search(rf"\b{re.escape(table)}(?:s|ed|ing)?\b", task)
        ]
        if not (said or file in task) or any(re.search(rf"\b{re.escape(name)}", told) for name in (*tables, file)):
            continue
        yield f"the task speaks of {file if file in task else said[0]}, but no line reads it; add a line for it."


_EQUAL = re.compile(r"(?i)\b([\w.]+)\s*=\s*'([^'%]+)'")


def _invented(plan: Plan, known: str) -> Iterator[str]:
    """A condition on a value of the data that the task says nothing of."""
    said = plan.task.casefold()
    linked = {value.casefold() for value, _ in LINK.findall(known)}
    for node in plan.nodes:
        for _, text in literals(dict(node.args), ""):
            for column, value in _EQUAL.findall(text) if isinstance(text, str) else ():
                word = value.casefold()
                strange = word not in said and word.rstrip("s")[:5] not in said and word not in linked
                if strange and word in _values(known, column):
                    yield f"the task does not speak of '{value}'; leave the condition {column} = '{value}' out."


def _values(known: str, column: str) -> set[str]:
    """The values that the data shows of a text column."""
    name = column.rpartition(".")[2]
    found = re.findall(rf"\b{re.escape(name)} text (?:\[([^\]]*)\]|e\.g\. ('[^']*'))", known)
    return {value.casefold() for some in found for value in re.findall(r"'([^']+)'", "".join(some))}


def _unasked(plan: Plan, known: str) -> Iterator[str]:
    """A value that the task names, of a table that a line reads, and that no line asks for or lists."""
    texts = [text for node in plan.nodes for _, text in literals(dict(node.args), "") if isinstance(text, str)]
    told = "\n".join(texts)
    for value, places in LINK.findall(known):
        for place in places.split(", "):
            table, _, column = place.rpartition(".")
            reading = [text for text in texts if re.search(rf"(?i)\b(from|join)\s+\"?{re.escape(table)}\b", text)]
            if not reading or value.casefold() in told.casefold():
                continue
            if not re.search(rf"(?i)\bgroup by\b.*\b{re.escape(column)}\b", told):
                yield f"the task speaks of '{value}', but no line asks for it; add the condition {place} = '{value}'."
                break


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


def _aggregates(plan: Plan, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    """A total or a mean that nothing computes, and groups of which there is only one."""
    sql = {
        node.id: text
        for node in plan.nodes
        if node.tool in specs and "sql" in specs[node.tool].binds
        for part in (parts_in(node.args.get("sql")) or [node.args.get("sql")])
        if isinstance(text := part, str)
    }
    if not sql:
        return
    whole = "\n".join(json.dumps(node.args) for node in plan.nodes).casefold()
    last = list(sql)[-1]
    for asked, made in _WANTED:
        if re.search(asked, plan.task.casefold()) and not re.search(made[0], whole):
            yield f"{last}: nothing computes what the task asks for; use {made[1]}."
            return
    for id, text in sql.items():
        largest = re.search(r"(?i)\bmax\((\w[\w.]*)\).*\bgroup by\b", text)
        # "The longest of each group" is what max(...) with GROUP BY gives.
        each = re.search(r"\b(each|every|per)\b", plan.task.casefold()) or "arg_max" in text.casefold()
        if largest and not each and re.search(r"\b(most|biggest|largest|highest|best)\b", plan.task.casefold()):
            yield (
                f"{id}: max({largest[1]}) is the largest single row of each group; for the group that has most in all "
                f"use sum({largest[1]}), and end with ORDER BY 2 DESC LIMIT 1."
            )
        fixed = re.search(r"(?i)\b(\w+) = '[^']*'.*\bGROUP BY \1\b(?!\s*,)", text)
        if fixed:
            yield f"{id}: {fixed[1]} has one value there; GROUP BY the column that the task asks for."


def expected(problem: str, brief: str) -> bool:
    """True when a problem is only that a file is not there which the task names: the run is to say so."""
    return any(
        re.search(rf"there is no (?:table|file) '?{re.escape(name)}\b|never '(?:[\w/.-]*/)?{re.escape(base)}'", problem)
        for name in missing(brief)
        for base in [name.rpartition("/")[2]]
    )


def absent(problems: Sequence[str], task: str, brief: str) -> str:
    """Return why a plan that could not be mended is a refusal: it needs what the task names and no data has.

    Empty when the data may well hold it: then the plan is just wrong.
    """
    known = brief.casefold()
    for name in re.findall(r"there is no (?:column|table) (\w+)", "\n".join(problems)):
        words = [word.casefold()[:5] for word in name.split("_") if len(word) >= 4]
        asked = [stem for stem in words if stem in task.casefold()]
        if brief and asked and not any(stem in known for stem in asked):
            return f"the data has no {name.replace('_', ' ')}"
    return ""
