"""The recorded search: facts found by subject and quantity, with a latency that is counted and never waited for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ....errors import ToolError
from ....planner.dag import critical_path
from ....planner.lines import write_value
from ....steps import Node, Plan
from ....tools.spec import tool
from .facts import SUBJECTS, UNITS
from .label import Search

ASKED = {
    "density": "density densely",
    "population": "population populations people inhabitants populous",
    "depth": "depth depths deep deeper deepest",
    "speed": "speed velocity fast faster fastest sprint pace",
    "height": "height heights high higher highest tall taller tallest elevation",
    "length": "length lengths long longer longest",
    "area": "area areas land surface covers cover",
}
"""By quantity, the words that ask for it; the first quantity with a word in the query is the one."""
QUICKEST, SLOWEST = 0.3, 1.2
"""Seconds that a search takes: a live Wikipedia search took 0.6 on average in the published runs, 1.1 at most."""

_KEYS = {word: key for key, subject in SUBJECTS.items() for word in subject.words}
_SUBJECT = re.compile(rf"\b(?:{'|'.join(sorted(_KEYS, key=len, reverse=True))})s?\b")


@tool(seconds=0.6)
def search(query: str) -> dict[str, Any]:
    """Return a fact about one subject from an encyclopaedia, such as "height of the Eiffel Tower", with its number.

    In an expression $1 is that number: m for heights and depths, km for lengths, km² for areas, km/h for speeds,
    single people for populations.

    Args:
        query: One subject and one quantity.
    """
    found = next(asked(query), None)
    if found is None:
        raise ToolError(f"no article fits {query!r:.100}; name one subject and what you want to know of it.")
    subject = SUBJECTS[found.subject]
    if found.quantity not in subject.facts:
        return {"title": subject.name, "text": subject.text}
    return article(found, subject.facts[found.quantity])


def article(found: Search, number: float) -> dict[str, Any]:
    """Return what a search gives: the article's text, and the number that was asked for."""
    subject = SUBJECTS[found.subject]
    return {"title": subject.name, "text": subject.text, "number": number, "unit": UNITS[found.quantity][0]}


def asked(query: str) -> Iterator[Search]:
    """Yield what a query asks for, one fact for every subject in it; without a quantity, that of the article."""
    text = plain(query)
    words = set(text.split())
    quantity = next((name for name, signs in ASKED.items() if words & set(signs.split())), "")
    for key in mentioned(text):
        yield Search(key, quantity or next(iter(SUBJECTS[key].facts)))


def mentioned(text: str) -> list[str]:
    """Return the keys of the subjects that a text names, each once, in order."""
    names = (match.group() for match in _SUBJECT.finditer(plain(text)))
    return list(dict.fromkeys(_KEYS.get(name) or _KEYS[name.removesuffix("s")] for name in names))


def plain(text: str) -> str:
    """Return ``text`` in small letters, with single spaces for everything that is no letter or digit."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def query_of(node: Node) -> str:
    """Return what a search of a plan asks, as far as it is written in the plan."""
    return write_value(node.args.get("query", ""))


def latency(query: str) -> float:
    """Return the seconds that a search would take: the same for the same query, on every machine."""
    drawn = int.from_bytes(hashlib.sha256(plain(query).encode()).digest()[:4]) / 2**32
    return round(QUICKEST + drawn * (SLOWEST - QUICKEST), 3)


def waiting(plan: Plan) -> dict[str, float]:
    """Return the seconds that the searches of a plan take ``sequential``ly and on its ``critical`` path.

    Only searches count; a plan without barriers could not be faster than the critical path.
    """
    seconds = {node.id: latency(query_of(node)) for node in plan.nodes if node.tool == search.spec.name}
    return {"sequential": total(seconds.values()), "critical": round(critical_path(plan, seconds)[1], 3)}


def total(seconds: Iterable[float]) -> float:
    """Add seconds up, to the millisecond."""
    return round(sum(seconds), 3)
