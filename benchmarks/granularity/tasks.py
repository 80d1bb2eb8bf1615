"""The three tasks: a part of so many items, what a model is asked, and how wrong its answer is."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ...messages import Message, ModelRequest

Score: TypeAlias = Callable[[str], float]
"""How wrong an answer is, 0 to 1."""

_COLOURS = ("red", "blue", "green", "black", "white", "brown")
_NAMES = ("amber", "birch", "cedar", "delta", "ember", "falcon", "garnet", "hazel", "iris", "juniper")


@dataclass(frozen=True, slots=True)
class Part:
    """One call."""

    request: ModelRequest
    loss: Score


@dataclass(frozen=True, slots=True)
class Kind:
    """A task: its parts add up, so the whole is as wrong as its parts are on average."""

    make: Callable[[int, int], Part]
    """A part of so many items, from a seed."""
    means: str
    """What its error is."""


def _ask(system: str, text: str, tokens: int) -> ModelRequest:
    messages = (Message(role="system", content=system), Message(role="user", content=text))
    return ModelRequest(messages=messages, max_tokens=tokens)


def count(size: int, seed: int) -> Part:
    """How often is a word among ``size`` words? Off by as many as there are words is quite wrong."""
    chance = random.Random(f"count {size} {seed}")
    words = [chance.choice(_COLOURS) if chance.random() < 0.6 else "red" for _ in range(size)]
    right = words.count("red")

    def loss(text: str) -> float:
        found = re.search(r"\d+", text)
        return min(1.0, abs(int(found.group()) - right) / size) if found else 1.0

    system = "You count words. Answer with one number and nothing else."
    return Part(_ask(system, f"How many times is the word red in this list?\n{' '.join(words)}", 6), loss)


def sort(size: int, seed: int) -> Part:
    """Sort ``size`` numbers; wrong is the share of places at which another number stands."""
    chance = random.Random(f"sort {size} {seed}")
    numbers = [chance.randint(10, 99) for _ in range(size)]

    def loss(text: str) -> float:
        found = [int(word) for word in re.findall(r"\d+", text)[:size]]
        return sum(at >= len(found) or found[at] != one for at, one in enumerate(sorted(numbers))) / size

    system = "You sort numbers. Answer with the sorted numbers, separated by spaces, and nothing else."
    text = f"Sort from smallest to largest: {' '.join(map(str, numbers))}"
    return Part(_ask(system, text, 4 * size + 8), loss)


def find(size: int, seed: int) -> Part:
    """Find the value of a name among ``size`` lines, of which one has it."""
    chance = random.Random(f"find {size} {seed}")
    names = [f"{chance.choice(_NAMES)}-{number}" for number in chance.sample(range(100, 1000), k=size)]
    values = [chance.randint(1000, 9999) for _ in names]
    at = chance.randrange(size)
    lines = "\n".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))

    def loss(text: str) -> float:
        found = re.search(r"\d{4,}", text)
        return float(found is None or int(found.group()) != values[at])

    system = "You look values up. Answer with the number and nothing else."
    return Part(_ask(system, f"{lines}\n\nWhat is the value of {names[at]}?", 12), loss)


KINDS: Mapping[str, Kind] = {
    "counting": Kind(count, "how far off, as a share of the words"),
    "sorting": Kind(sort, "share of places with another number"),
    "retrieval": Kind(find, "share of values not found"),
}
