"""Worked examples, chosen for a catalogue: some plans, a plan of one line and two refusals.

They are worth more than any wording of the rules (1.5B, exact plans: 23 % without, 87 % with). They show
only tools that are there.
The choice depends on the catalogue alone, so that the prompt's prefix is the same for every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..steps import Plan, ToolSpec
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
    "- diary (folder diary, one row per text, 3): name text ['april.md', 'june.md', 'may.md'], path text, words int, "
    "text text (all of it)\n"
    "- diary_lines (the lines of the texts in folder diary, 61 rows): name text, line int, text text"
)
_YSTAD = "FROM trips JOIN drivers ON trips.driver = drivers.id WHERE drivers.base = 'Ystad'"
_STORMS = "SELECT source, count(*) AS storms FROM station WHERE message LIKE '%heavy storm%' GROUP BY source"
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
        f'5. query(sql="{_STORMS}")\n'
        "return $4, $5",
        links="- 'Varberg' is in tides.harbour\n- 'heavy storm' is a part of station.message\n"
        "- 'alarm' names the columns limits.alarm_height\n- alarm.txt is to be written",
    ),
    Shot(
        _DIARY,
        "How many words do all diaries have together? Save the longest one as long.txt; light.txt should hold all "
        "lines that mention a lighthouse, and how many they are.",
        '1. query(sql="SELECT sum(words) FROM diary")\n'
        '2. query(sql="SELECT path, text FROM diary ORDER BY words DESC LIMIT 1")\n'
        '3. write_file(path="long.txt", content=$2.text)\n'
        "4. query(sql=\"SELECT text FROM diary_lines WHERE text LIKE '%lighthouse%'\")\n"
        "5. query(sql=\"SELECT count(*) FROM diary_lines WHERE text LIKE '%lighthouse%'\")\n"
        '6. write_file(path="light.txt", content=[$4, $5])\n'
        "return $1, $3, $6",
        links="- long.txt is to be written\n- light.txt is to be written",
    ),
    Shot(
        _TRIPS,
        "What percentage of all km did drivers from Ystad drive in March, and what did their coast trips cost at the "
        "fee per km in fees.json? Save the trips and km of each month in m.csv.",
        f"1. query(sql=\"SELECT sum(trips.km) {_YSTAD} AND strftime(trips.day, '%m') = '03'\")\n"
        '2. query(sql="SELECT sum(km) FROM trips")\n'
        '3. calculator(expression="round($1 / $2 * 100, 1)")\n'
        f"4. query(sql=\"SELECT sum(trips.km) {_YSTAD} AND trips.kind = 'coast'\")\n"
        '5. query(sql="SELECT per_km FROM fees")\n'
        '6. calculator(expression="$4 * $5")\n'
        f'7. query(sql="{_EACH}")\n'
        '8. write_file(path="m.csv", content=$7)\n'
        "return $3, $6, $8",
        links="- 'Ystad' is in drivers.base\n- 'coast' is in trips.kind\n- m.csv is to be written",
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
    """Return at most ``count`` examples that use tools of ``specs`` only, then a plan of one line and two refusals.

    Nothing for a catalogue that no example of the bank fits (``foreign.py`` says how a model is asked then).

    Those that show most tools are preferred. The short ones stand last: they tell a model when to stop.
    """
    usable = {shot: tools for shot in BANK if (tools := _tools(shot, specs))}
    chosen: list[Shot] = []
    seen: set[str] = set()
    while usable and len(chosen) < count:
        best = max(usable, key=lambda shot: (len(usable[shot] - seen), -BANK.index(shot)))
        seen |= usable.pop(best)
        chosen.append(best)
    if not chosen:
        return ()
    ordered = sorted(chosen, key=BANK.index)
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
