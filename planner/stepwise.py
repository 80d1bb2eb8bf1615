"""Worked examples of doing a task one call at a time, with the results that came back."""

from __future__ import annotations

from typing import NamedTuple

from .foreign import LESSONS, Lesson, explained
from .shots import BANK, SHORT, Shot


class Turn(NamedTuple):
    """What a model was told, and what it said."""

    told: str
    said: str


def _played(opening: str, *steps: str) -> tuple[Turn, ...]:
    """Turns from what was said and, between that, the results."""
    told = (opening, *(f"RESULT\n{result}" for result in steps[1::2]))
    return tuple(Turn(each, said) for each, said in zip(told, steps[::2], strict=True))


def _trips() -> tuple[Turn, ...]:
    shot: Shot = BANK[-1]
    calls = shot.plan.splitlines()
    return _played(
        f"DATA\n{shot.data}\n\nTASK\n{shot.task}",
        f"Thought: I need the driver with the most km in total.\n{calls[0]}",
        '| {"driver": "d04", "km": 3120.0}',
        f"Thought: That is a key; the task asks who, so I need the name.\n{calls[1]}",
        '| {"name": "Eva"}',
        f"Thought: For km per trip I need the number of trips of that driver.\n{calls[2]}",
        '| {"count_star()": 52}',
        f"Thought: Now I divide.\n{calls[3]}",
        "| 60.0",
        "Thought: Everything that is asked is there.\nANSWER: Eva drove the most, 3120 km in total; 60 km per trip.",
    )


def _refused(shot: Shot) -> tuple[Turn, ...]:
    return (Turn(f"DATA\n{shot.data}\n\nTASK\n{shot.task}", f"Thought: No tool gives that.\n{shot.plan}"),)


def _mail() -> tuple[Turn, ...]:
    lesson: Lesson = next(lesson for lesson in LESSONS if "send_mail" in lesson.plan)
    calls = lesson.plan.splitlines()
    return _played(
        f"TOOLS\n{explained(lesson.specs)}\n\nTASK\n{lesson.task}",
        f"Thought: I need the address of the harbour master.\n{calls[0]}",
        '| {"name": "Åsa Lind", "email": "harbour@varberg.example", "phone": "0340-1"}',
        f"Thought: Now the tides.\n{calls[1]}",
        '| "high 04:10 and 16:35"',
        f"Thought: Both are there; I send them.\n{calls[2]}",
        '| "sent"',
        "Thought: It is done.\nANSWER: The tides of Varberg on 3 May 2021 were mailed to harbour@varberg.example.",
    )


def _lesson_refused() -> tuple[Turn, ...]:
    lesson = next(lesson for lesson in LESSONS if lesson.plan.startswith("outside"))
    said = f"Thought: No tool gives that.\n{lesson.plan}"
    return (Turn(f"TOOLS\n{explained(lesson.specs)}\n\nTASK\n{lesson.task}", said),)


EXAMPLES: tuple[tuple[Turn, ...], ...] = (_trips(), _refused(SHORT[1]))
"""Over the built-in tools."""
OWN_EXAMPLES: tuple[tuple[Turn, ...], ...] = (_mail(), _lesson_refused())
"""Carry their own tools, for catalogues that no example of ours shows."""
