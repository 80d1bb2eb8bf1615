"""Worked examples, chosen for a catalogue: two plans and a refusal.

They are worth more than any wording of the rules (1.5B, exact plans: 23 % without, 87 % with). They show
only tools that are there: when the bank has nothing for a catalogue, an example is made from its specs.
The choice depends on the catalogue alone, so that the prompt's prefix is the same for every task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..steps import Effect, Plan, ToolSpec
from .lines import OUTSIDE, Refusal, parse_line
from .validate import complete, problems


class Shot(NamedTuple):
    """One worked example: what there was, what was asked, the lines."""

    data: str
    task: str
    plan: str


_TRIPS = (
    "Tables that query can read:\n"
    "- trips (trips.csv, 412 rows): driver text e.g. 'd07', km double, day date 2022-01-03..2022-12-30, "
    "kind text ['city', 'coast']\n"
    "- drivers (drivers.csv, 9 rows): id text e.g. 'd07', name text e.g. 'Eva', born date, "
    "base text ['Lund', 'Ystad']\n"
    "- tables join ON trips.driver = drivers.id"
)
_TIDES = (
    "Tables that query can read:\n"
    "- tides (tides.csv, 60 rows): harbour text ['Varberg', 'Smygehuk'], height double, at timestamp\n"
    "- limits (limits.json, 1 row): alarm_height double = 2.1, office text = 'Malmo'\n"
    '- station (station.log, 88 lines): line int, text text; begins "07:10 storm over Varberg"'
)
_COAST = "SELECT count(*) FROM trips JOIN drivers ON trips.driver = drivers.id WHERE drivers.base = 'Ystad'"
_EACH = (
    "SELECT strftime(day, '%Y-%m') AS month, count(*) AS trips, sum(km) AS km FROM trips GROUP BY month ORDER BY month"
)

BANK: tuple[Shot, ...] = (
    Shot(
        _TIDES,
        "If the highest tide of Varberg is above the alarm height in limits.json, name the harbour with the lowest "
        "tide, otherwise say calm. Also count the lines of station.log that mention storm.",
        "1. query(sql=\"SELECT max(height) FROM tides WHERE harbour = 'Varberg'\")\n"
        '2. query(sql="SELECT alarm_height FROM limits")\n'
        '3. query(sql="SELECT harbour FROM tides ORDER BY height LIMIT 1")\n'
        '4. choose(condition="$1 > $2", yes=$3, no="calm")\n'
        "5. query(sql=\"SELECT count(*) FROM station WHERE text LIKE '%storm%'\")\n"
        "return $4, $5",
    ),
    Shot(
        _TRIPS,
        "What percentage of all trips did drivers based in Ystad make, to one decimal? Put the number and the km "
        "of all trips per month into m.csv; which month has the most km?",
        f'1. query(sql="{_COAST}")\n'
        '2. query(sql="SELECT count(*) FROM trips")\n'
        '3. calculator(expression="round($1 / $2 * 100, 1)")\n'
        f'4. query(sql="{_EACH}")\n'
        '5. write_file(path="m.csv", content=$4)\n'
        '6. query(sql="SELECT month FROM $4 ORDER BY km DESC LIMIT 1")\n'
        "return $3, $5, $6",
    ),
)

SHORT: tuple[Shot, ...] = (
    Shot(
        "- files (one row per file of the workspace, 3): path text, name text, lines int\n"
        "  paths: diary/june.md, diary/may.md, pier.jpg",
        "Which diary mentions a lighthouse, and what does it say? How many words has the diary of May?",
        '1. search_files(text="lighthouse", pattern="diary/*.md")\n'
        '2. read_file(path="diary/may.md")\n'
        "3. text_stats(text=$2)\n"
        "return $1, $3",
    ),
    Shot(
        _TRIPS,
        "What is the name of the driver with the longest trip of all, and how long was it?",
        '1. query(sql="SELECT drivers.name, trips.km FROM trips JOIN drivers ON trips.driver = drivers.id'
        ' ORDER BY trips.km DESC LIMIT 1")\nreturn $1',
    ),
    Shot(_TRIPS, "How much fuel did Eva use in March?", 'outside(reason="no table has the use of fuel")'),
    Shot("", "Book a table for two at the harbour inn tonight.", 'outside(reason="no tool can book a table")'),
)


def choose_shots(specs: Sequence[ToolSpec], *, count: int = 2) -> tuple[Shot, ...]:
    """Return at most ``count`` examples that use tools of ``specs`` only, then a plan of one line and a refusal.

    Those that show most tools are preferred. The short ones stand last: they tell a model when to stop.
    """
    usable = {shot: tools for shot in BANK if (tools := _tools(shot, specs))}
    chosen: list[Shot] = []
    seen: set[str] = set()
    while usable and len(chosen) < count:
        best = max(usable, key=lambda shot: (len(usable[shot] - seen), -BANK.index(shot)))
        seen |= usable.pop(best)
        chosen.append(best)
    if not chosen and (made := made_from(specs)) is not None:
        chosen.append(made)
    ordered = sorted(chosen, key=lambda shot: BANK.index(shot) if shot in BANK else 0)
    short = [shot for shot in SHORT if not shot.plan.startswith(OUTSIDE) and _tools(shot, specs)]
    seen_data = {shot.data for shot in (*ordered, *short)} | {""}
    short += [shot for shot in SHORT if shot.plan.startswith(OUTSIDE) and shot.data in seen_data]
    return (*ordered, *short)


def shown_tools(specs: Sequence[ToolSpec]) -> set[str]:
    """Return the names of the tools that the worked examples for a catalogue use."""
    return set().union(*(_tools(shot, specs) for shot in choose_shots(specs)))


def _tools(shot: Shot, specs: Sequence[ToolSpec]) -> set[str]:
    """Names of the tools that ``shot`` shows, or nothing when it is no valid plan over ``specs``."""
    parsed = [parse_line(line, task=shot.task) for line in shot.plan.splitlines() if line[0] in "123456789"]
    nodes = tuple(node for node in parsed if not isinstance(node, Refusal))
    plan = complete(Plan(task=shot.task, nodes=nodes), specs)
    return set() if problems(plan, specs) else {node.tool for node in nodes}


def made_from(specs: Sequence[ToolSpec]) -> Shot | None:
    """Return an example made from the specs alone: one call twice, then a call that uses both results."""
    readers = [spec for spec in specs if spec.effect is Effect.READ and _words(spec)]
    if not readers:
        return None
    first = min(readers, key=lambda spec: len(_words(spec)))
    then = next((spec for spec in specs if spec is not first and _words(spec)), None)
    name = _words(first)[0]
    task = f"Use {first.name} with the {name} alpha, and again with beta."
    lines = [f"{at}. {_call(first, {name: json.dumps(text)})}" for at, text in ((1, "alpha"), (2, "beta"))]
    if then is not None:
        task += f" Then use {then.name} on what came out."
        refs = dict(zip(_words(then), ("$1", "$2"), strict=False))
        lines.append(f"3. {_call(then, refs)}")
    shot = Shot("", task, "\n".join([*lines, f"return ${len(lines)}" if then else "return $1, $2"]))
    return shot if _tools(shot, specs) else None


def _words(spec: ToolSpec) -> list[str]:
    """Parameters that take a text, the required ones first."""
    properties: Mapping[str, Any] = spec.parameters.get("properties") or {}
    required = list(spec.parameters.get("required") or ())
    texts = [name for name, schema in properties.items() if isinstance(schema, dict) and schema.get("type") == "string"]
    free = [name for name in texts if "enum" not in properties[name] and "const" not in properties[name]]
    return [name for name in free if name in required] or (free if not required else [])


def _call(spec: ToolSpec, given: Mapping[str, str]) -> str:
    properties: Mapping[str, Any] = spec.parameters.get("properties") or {}
    required = set(spec.parameters.get("required") or ())
    args = [
        f"{name}={given.get(name) or _sample(schema)}"
        for name, schema in properties.items()
        if name in given or name in required
    ]
    return f"{spec.name}({', '.join(args)})"


def _sample(schema: Any) -> str:
    schema = schema if isinstance(schema, dict) else {}
    if "const" in schema:
        return json.dumps(schema["const"])
    if schema.get("enum"):
        return json.dumps(schema["enum"][0], ensure_ascii=False)
    samples = {"integer": "3", "number": "2.5", "boolean": "true", "array": "[]", "object": "{}"}
    return samples.get(str(schema.get("type")), '"gamma"')
