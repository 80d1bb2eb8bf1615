"""Worked examples, chosen for a catalogue: some plans, a plan of one line and two refusals.

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
    links: str = ""
    """Values that the task names, as a toolset's ``links`` tells them."""


_TRIPS = (
    "Tables that query can read:\n"
    "- trips (trips.csv, 412 rows): driver text e.g. 'd07', km double, day date 2022-01-03..2022-12-30, "
    "kind text ['city', 'coast']\n"
    "- drivers (drivers.csv, 9 rows): id text e.g. 'd07', name text e.g. 'Eva', born date, "
    "base text ['Lund', 'Ystad']\n"
    "- fees (fees.json, 1 row): per_km double = 1.4, office text = 'Malmo'\n"
    "- tables join ON trips.driver = drivers.id"
)
_TIDES = (
    "Tables that query can read:\n"
    "- tides (tides.csv, 60 rows): harbour text ['Varberg', 'Smygehuk'], height double, at timestamp\n"
    "- limits (limits.json, 1 row): alarm_height double = 2.1, sensors int = 4\n"
    "- station (station.log, 88 rows): line int, at timestamp, level text ['INFO', 'WARN'], source text ['east', "
    "'west'], message text e.g. 'heavy storm at sea', wind_ms double, text text"
)
_DIARY = (
    "Tables that query can read:\n"
    "- diary (folder diary, one row per text, 3): name text ['april.md', 'june.md', 'may.md'], path text, lines int, "
    "words int, text text (all of it)"
)
_YSTAD = "FROM trips JOIN drivers ON trips.driver = drivers.id WHERE drivers.base = 'Ystad'"
_EACH = (
    "SELECT strftime(day, '%Y-%m') AS month, count(*) AS trips, sum(km) AS km FROM trips GROUP BY month ORDER BY month"
)

BANK: tuple[Shot, ...] = (
    Shot(
        _TIDES,
        "If the highest tide of Varberg is above the alarm height in limits.json, write to alarm.txt by how much, "
        "otherwise write calm. How often did each source of station.log report a heavy storm?",
        "1. query(sql=\"SELECT max(height) FROM tides WHERE harbour = 'Varberg'\")\n"
        '2. query(sql="SELECT alarm_height FROM limits")\n'
        '3. choose(condition="$1 > $2", yes="$1 - $2", no="calm")\n'
        '4. write_file(path="alarm.txt", content=$3)\n'
        "5. query(sql=\"SELECT source, count(*) AS storms FROM station WHERE message LIKE '%heavy storm%' GROUP BY source\")\n"
        "return $4, $5",
        links="- 'Varberg' is in tides.harbour\n- 'heavy storm' is a part of station.message",
    ),
    Shot(
        _DIARY,
        "Which diary mentions a lighthouse? How many words do all diaries have together? Save the longest one as "
        "long.txt.",
        '1. search_files(text="lighthouse", pattern="diary/*.md")\n'
        '2. query(sql="SELECT sum(words) FROM diary")\n'
        '3. query(sql="SELECT path, text FROM diary ORDER BY words DESC LIMIT 1")\n'
        '4. write_file(path="long.txt", content=$3.text)\n'
        "return $1, $2, $4",
    ),
    Shot(
        _TRIPS,
        "What percentage of all km did drivers from Ystad drive in March, and what did their coast trips cost at the "
        "fee per km in fees.json? Save the trips and km of each month in m.csv.",
        f"1. query(sql=\"SELECT sum(trips.km) {_YSTAD} AND strftime(trips.day, '%m') = '03'\")\n"
        '2. query(sql="SELECT sum(km) FROM trips")\n'
        '3. calculator(expression="round($1 / $2 * 100, 1)")\n'
        f"4. query(sql=\"SELECT sum(trips.km) * (SELECT per_km FROM fees) {_YSTAD} AND trips.kind = 'coast'\")\n"
        f'5. query(sql="{_EACH}")\n'
        '6. write_file(path="m.csv", content=$5)\n'
        "return $3, $4, $6",
        links="- 'Ystad' is in drivers.base\n- 'coast' is in trips.kind",
    ),
    Shot(
        _TRIPS,
        "Who drove the most km in total, and how many km is that per trip of the same driver?",
        '1. query(sql="SELECT driver, sum(km) AS km FROM trips GROUP BY driver ORDER BY km DESC LIMIT 1")\n'
        '2. query(sql="SELECT name FROM drivers WHERE id = $1.driver")\n'
        '3. query(sql="SELECT count(*) FROM trips WHERE driver = $1.driver")\n'
        '4. calculator(expression="$1.km / $3")\n'
        "return $2, $4",
    ),
)

SHORT: tuple[Shot, ...] = (
    Shot(
        _TRIPS,
        "What is the name of the driver with the longest trip of all, and how long was it?",
        '1. query(sql="SELECT drivers.name, trips.km FROM trips JOIN drivers ON trips.driver = drivers.id'
        ' ORDER BY trips.km DESC LIMIT 1")\nreturn $1',
    ),
    Shot(_TRIPS, "How much fuel did Eva use in March?", 'outside(reason="no table has the use of fuel")'),
    Shot("", "Book a table for two at the harbour inn tonight.", 'outside(reason="no tool can book a table")'),
)


def choose_shots(specs: Sequence[ToolSpec], *, count: int = 4) -> tuple[Shot, ...]:
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
