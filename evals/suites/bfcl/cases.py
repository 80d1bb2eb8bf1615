"""The single-turn cases of BFCL v4, streamed from the published files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from ....errors import DataInvalid
from ....messages import Message
from ...case import Case
from ...data import Data, DataSource
from .literals import Language

SOURCE = DataSource(
    name="bfcl",
    licence="Apache-2.0",
    folder="bfcl",
    package="bfcl_eval",
    package_folder="data",
    install="pip install --no-deps bfcl-eval==2026.3.23",
    url="https://raw.githubusercontent.com/ShishirPatil/gorilla/6ea57973c7a6097fd7c5915698c54c17c5b1b6c8/"
    "berkeley-function-call-leaderboard/bfcl_eval/data",
)

CATEGORIES = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
"""As published, in the order in which cases come."""


def answered(category: str) -> bool:
    """Return whether there are published answers; without them it only counts whether a call is made."""
    return not category.endswith("relevance")


def language(category: str) -> Language:
    """Return the language whose types the functions of a category have."""
    return "java" if category == "simple_java" else "javascript" if category == "simple_javascript" else "python"


def cases(data: Data) -> Iterator[Case]:
    """Yield every case. ``input``: ``question`` (a list of turns, each a list of messages) and ``functions``.

    ``target`` is the list of wanted calls, ``[{function: {argument: [acceptable values]}}]``; empty where no
    answers are published. Raises DataMissing; DataInvalid for a file that is cut, broken or does not fit its answers.
    """
    for category in CATEGORIES:
        file = f"BFCL_v4_{category}.json"
        questions = data.lines(SOURCE.name, file)
        answers = data.lines(SOURCE.name, f"possible_answer/{file}") if answered(category) else None
        for number, (entry, answer) in enumerate(_beside(questions, answers), start=1):
            yield _case(entry, answer, category=category, place=f"{file!r}, entry {number}")


def _beside(questions: Iterator[Any], answers: Iterator[Any] | None) -> Iterator[tuple[Any, Any]]:
    if answers is None:
        return ((entry, {}) for entry in questions)
    return zip_longest(questions, answers)


def _case(entry: Any, answer: Any, *, category: str, place: str) -> Case:
    if not isinstance(entry, Mapping) or not {"id", "question", "function"} <= entry.keys():
        raise DataInvalid(f"{place} has no id, question and function: {str(entry)[:80]!r}; put the whole file there.")
    if not isinstance(answer, Mapping) or answer.get("id", entry["id"]) != entry["id"]:
        raise DataInvalid(
            f"{place} is {entry['id']!r}, but its answer is for {str(answer)[:60]!r}; put both files of one "
            "version there."
        )
    if answered(category) and "ground_truth" not in answer:
        raise DataInvalid(f"{place} has no ground_truth in its answer; put the whole file there.")
    return Case(
        id=entry["id"],
        category=category,
        input={"question": entry["question"], "functions": entry["function"]},
        target=answer.get("ground_truth", []),
        meta={"language": language(category), "category": category},
    )


def functions(case: Case) -> list[dict[str, Any]]:
    """Return the functions on offer, in BFCL's own dialect of JSON schema."""
    found: Any = case.input
    return list(found["functions"])


def conversation(case: Case) -> tuple[Message, ...]:
    """Return what was said so far; the last message asks for the calls."""
    found: Any = case.input
    return tuple(Message(role=each["role"], content=each["content"]) for turn in found["question"] for each in turn)
