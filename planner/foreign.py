"""How a planner is asked when the tools are a person's own and no worked example of ours shows them.

Every example carries its own tools, as the task does, so that a model learns to read a list of tools instead of
copying calls; and what comes before the task's tools is the same for every catalogue, so that its KV prefix stays
warm across them. Parameters are explained to the model, which must know them to fill them in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..messages import Message
from ..steps import Effect, ToolSpec
from .lines import OUTSIDE
from .wording import signature, summary

_RULES = f"""\
You turn a task into calls of tools. Write numbered lines, each one call, such as 1. tool(name=value), then return and \
the lines that answer the task.
Rules:
- One call for each thing that is asked for: the same tool several times for several things, one call alone for one \
thing, by the one tool that fits best.
- Take values from the task, in the form that the tool asks for. Leave out arguments that have a default unless the \
task speaks of them.
- $1 is the result of line 1; use it only where a later call needs that result.
- Use only the tools listed with the task. When none of them does what is asked, write only {OUTSIDE}(reason="...")"""


class Lesson(NamedTuple):
    """One worked example with the tools that it is about."""

    specs: tuple[ToolSpec, ...]
    task: str
    plan: str


def _tool(name: str, about: str, *required: str, effect: Effect = Effect.READ, **parameters: Any) -> ToolSpec:
    schema = {"type": "object", "properties": parameters, "required": list(required)}
    binds = ("expression",) if "expression" in parameters else ()
    return ToolSpec(name=name, description=about, parameters=schema, effect=effect, binds=binds)


def _of(kind: str, about: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "description": about, **more}


_FERRIES = (
    _tool(
        "ferry_times", "Departures of ferries from a harbour on a day.", "harbour", "day",
        harbour=_of("string", "Harbour and country, such as 'Ystad, Sweden'"),
        day=_of("string", "Day in the format YYYY-MM-DD"),
        with_car=_of("boolean", "Only ferries that take cars", default=False),
    ),
)  # fmt: skip
_TREES = (
    _tool(
        "tree_height", "Height of a tree of a species at an age, in metres.", "species", "years",
        species=_of("string", "Name of the species"), years=_of("integer", "Age of the tree"),
    ),
)  # fmt: skip
_HOUSE = (
    _tool(
        "paint_litres", "Litres of paint for a wall.", "area",
        area=_of("number", "Area of the wall in square metres"), coats=_of("integer", "Number of coats", default=2),
    ),
    _tool(
        "tile_count", "Number of tiles for a floor.", "floor", "tile",
        floor=_of("number", "Area of the floor in square metres"),
        tile=_of("array", "Length and width of a tile in metres", items={"type": "number"}),
        spare=_of("number", "Share of spare tiles", default=0.1),
    ),
    _tool(
        "lawn_seed", "Kilograms of seed for a lawn.", "area", "kind",
        area=_of("number", "Area in square metres"), kind={"enum": ["shade", "sport"]},
    ),
)  # fmt: skip
_WORDS = (
    _tool(
        "word_origin", "Where a word comes from.", "word",
        word=_of("string", "The word"), language={"type": "string", "default": "English"},
    ),
)  # fmt: skip
_CREW = (
    _tool("find_person", "Name, e-mail and phone of the person in an office.", "office",
          office=_of("string", "The office, in small letters")),
    _tool("tide_table", "Tides of a harbour on a day, as text.", "harbour", "day",
          harbour=_of("string", "Name of the harbour"), day=_of("string", "Day in the format YYYY-MM-DD")),
    _tool("send_mail", "Send an e-mail.", "to", "text", effect=Effect.EXTERNAL,
          to=_of("string", "Address"), text=_of("string", "The text"), urgent=_of("boolean", "", default=False)),
)  # fmt: skip
_SUMS = (
    _tool("look_up", "One figure of a thing from an encyclopedia.", "question",
          question=_of("string", "Thing and quantity, such as 'length of the Elbe'")),
    _tool("calculator", "Value of an arithmetic expression.", "expression",
          expression=_of("string", "Numbers and results of earlier lines with + - * / ( ), round, min, max, abs")),
    _tool("choose", "One of two values by a condition.", "condition", "yes", "no",
          condition=_of("string", "A comparison of earlier results"), yes={}, no={}),
)  # fmt: skip
_SONGS = (
    _tool(
        "song_lyrics", "Lyrics of a song.", "title",
        title=_of("string", "Title of the song"), artist={"type": "string"},
    ),
    _tool(
        "concert_dates", "Concerts of an artist in a year.", "artist", "year",
        artist=_of("string", "Name of the artist"), year=_of("integer", "Year"),
        country={"type": "string", "default": "any"},
    ),
    _tool(
        "ticket_price", "Price of tickets for a concert.", "artist", "seats",
        artist=_of("string", "Name of the artist"), seats=_of("integer", "Number of seats"),
        category={"enum": ["floor", "balcony"], "default": "floor"},
    ),
)  # fmt: skip

LESSONS: tuple[Lesson, ...] = (
    Lesson(
        _FERRIES,
        "When do ferries leave from Ystad and from Rønne in Denmark on 3 May 2021, and from Ystad the day after?",
        '1. ferry_times(harbour="Ystad, Sweden", day="2021-05-03")\n'
        '2. ferry_times(harbour="Rønne, Denmark", day="2021-05-03")\n'
        '3. ferry_times(harbour="Ystad, Sweden", day="2021-05-04")\nreturn $1, $2, $3',
    ),
    Lesson(
        _SONGS,
        "Find the concerts of Abba in 1979 and of Roxette in 1991, and what three balcony seats for Roxette cost.",
        '1. concert_dates(artist="Abba", year=1979)\n2. concert_dates(artist="Roxette", year=1991)\n'
        '3. ticket_price(artist="Roxette", seats=3, category="balcony")\nreturn $1, $2, $3',
    ),
    Lesson(
        _CREW,
        "Mail the tides of Varberg on 3 May 2021 to the harbour master.",
        '1. find_person(office="harbour master")\n2. tide_table(harbour="Varberg", day="2021-05-03")\n'
        "3. send_mail(to=$1.email, text=$2)\nreturn $3",
    ),
    Lesson(_WORDS, "What is the population of Malta?", f'{OUTSIDE}(reason="no tool knows populations")'),
    Lesson(
        _TREES,
        "How much does a spruce of 20 years weigh?",
        f'{OUTSIDE}(reason="tree_height gives heights, not weights")',
    ),
    Lesson(
        _HOUSE,
        "How many tiles of 20 by 30 cm does a floor of 12 square metres take, with 5% to spare?",
        "1. tile_count(floor=12, tile=[0.2, 0.3], spare=0.05)\nreturn $1",
    ),
)
SUMS: tuple[Lesson, ...] = (
    Lesson(
        _SUMS,
        "If the Elbe were a tenth longer, and the Oder twice and the Weser three times as long, how much would the "
        "longest be longer than the shortest, and would the Elbe still be longer than the Oder?",
        '1. look_up(question="length of the Elbe")\n2. look_up(question="length of the Oder")\n'
        '3. look_up(question="length of the Weser")\n'
        '4. calculator(expression="max($1 * 1.1, $2 * 2, $3 * 3) - min($1 * 1.1, $2 * 2, $3 * 3)")\n'
        '5. choose(condition="$1 * 1.1 > $2 * 2", yes="Elbe", no="Oder")\nreturn $4, $5',
    ),
)
"""Shown first where the catalogue has a tool that calculates with earlier results."""


def lessons(specs: Sequence[ToolSpec]) -> tuple[Lesson, ...]:
    """Return the worked examples for a catalogue of which no example of ours shows a tool."""
    return (*SUMS, *LESSONS) if any(spec.binds for spec in specs) else LESSONS


def opening(specs: Sequence[ToolSpec], *, rules: str = _RULES, said: Callable[[str], str] = str) -> list[Message]:
    """Return the turns before the task's own: rules, then each lesson with its tools, its plan as ``said`` words it."""
    turns = [Message(role="system", content=rules)]
    for lesson in lessons(specs):
        asked = f"TOOLS\n{explained(lesson.specs)}\n\nTASK\n{lesson.task}"
        turns += [Message(role="user", content=asked), Message(role="assistant", content=said(lesson.plan))]
    return turns


def explained(specs: Sequence[ToolSpec]) -> str:
    """Return the tools, each as its signature with what it does, and a line for every parameter that is explained."""
    return "\n".join(_explained(spec) for spec in specs)


def _explained(spec: ToolSpec) -> str:
    lines = [f"{signature(spec)} - {summary(spec.description)}"]
    for name, schema in (spec.parameters.get("properties") or {}).items():
        about = schema.get("description") if isinstance(schema, dict) else None
        if isinstance(about, str) and about.strip():
            lines.append(f"  {name}: {summary(about, 200)}")
    return "\n".join(lines)
