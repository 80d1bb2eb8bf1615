"""Prompts of the measurements: small, fixed, and written for this."""

from __future__ import annotations

ASKED = (
    ("What is the capital of France?", ("Paris",)),
    ("What is 17 + 25?", ("42",)),
    ("What is 9 * 7?", ("63",)),
    ("Which keyword defines a function in Python?", ("def",)),
    ("What does len('hello') return in Python?", ("5",)),
    ("Which list method of Python adds one element at the end?", ("append",)),
    ("Which HTTP status code means that a page was not found?", ("404",)),
    ("Which SQL keyword removes duplicate rows from a SELECT?", ("DISTINCT",)),
    ("Which planet of the solar system is the largest?", ("Jupiter",)),
    ("What is the chemical symbol of gold?", ("Au",)),
    ("In Python, what is the value of sorted([3, 1, 2])[0]?", ("1",)),
    ("Which git command shows the history of commits?", ("log",)),
)

LONG = tuple(
    f"Explain in a few sentences {what}."
    for what in (
        "what a hash table is",
        "why the sky is blue",
        "how a bicycle stays upright",
        "what a deadlock is",
        "how bread rises",
        "what recursion is",
        "why leaves turn red",
        "what a compiler does",
        "how a lock of a canal works",
        "what inflation is",
        "why ice floats",
        "how a vaccine works",
        "what a queue is in programming",
        "why the moon has phases",
        "how glass is made",
        "what an index of a database is for",
    )
)

LOOPS = (
    "one two three four " * 8,
    "The cat sat on the mat. " * 5,
    "0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1,",
    "- [ ] buy milk\n" * 6,
)

BEGINNING = "<|im_start|>user\nRead these notes.\n"
NOTES = (
    "Note 1. The observatory on Mount Ferro was built by Ida Lund in 1911, and its dome is made of copper. ",
    "Note 2. The river Osk rises below Mount Ferro, runs past the town of Brell, and ends in Lake Tarn. ",
    "Note 3. The mayor of Brell is Otto Reiss, who was a baker before, and his sister Mira keeps the ferry. ",
    "Note 4. On Lake Tarn a ferry runs every hour; the night ferry costs nine crowns, the day ferry four. ",
)
QUESTIONS = (
    ("Who built the observatory?", "The observatory was built by"),
    ("Where does the river Osk end?", "The river Osk ends in Lake"),
    ("Who keeps the ferry?", "The ferry is kept by"),
    ("What does the night ferry cost?", "The night ferry costs"),
)

NEEDLE = "The secret word of the harbour is marzipan. "
HAY = "The wind came from the west, the boats lay still, and the gulls waited on the wall for the evening. "
SEEK = "\nWhat is the secret word of the harbour?<|im_end|>\n<|im_start|>assistant\nThe secret word of the harbour is"


def question(asked: str, begun: str) -> str:
    """Return the end of a prompt about the notes, with the answer begun."""
    return f"\n{asked}<|im_end|>\n<|im_start|>assistant\n{begun}"
