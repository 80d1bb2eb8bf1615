"""Fixed prompts of the four classes that agents ask for: what gates, tuner and benchmark measure on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["plan", "json", "echo", "chat"]
"""Class of a request: a plan, an answer with a grammar, an answer that repeats what it is given, anything else."""


@dataclass(frozen=True, slots=True)
class Text:
    """A conversation to be answered."""

    kind: Kind
    system: str
    user: str

    @property
    def said(self) -> tuple[tuple[str, str], ...]:
        """As (role, content)."""
        return ("system", self.system), ("user", self.user)


_TOOLS = """You plan tasks as numbered tool calls, one a line; $N is the result of call N.
read_file(path) returns the text of a file.
search(query) returns the best passage of the web.
calculator(expression) returns a number.
send_mail(to, body) sends a letter.
Task: Add the populations of Oslo and Bergen.
1. search(query="population of Oslo")
2. search(query="population of Bergen")
3. calculator(expression="$1 + $2")
4. join()"""
_RECORDS = "You answer with one JSON object and nothing else."
_CODE = '''def total(rows, key):
    """Sum one column of a table."""
    result = 0
    for row in rows:
        if key in row:
            result += row[key]
    return result


def mean(rows, key):
    """Mean of one column of a table."""
    found = [row[key] for row in rows if key in row]
    return sum(found) / len(found)'''
_ORDERS = """order 1041: 3 lamps for Ada Moreau, sent to Lyon on 2 March
order 1042: 12 chairs for Tomas Lind, sent to Uppsala on 2 March
order 1043: 1 table for Ines Prado, returned on 5 March
order 1044: 6 lamps for Jun Mori, sent to Kobe on 6 March"""

TEXTS = (
    Text("plan", _TOOLS, "Task: How many more people live in Paris than in Rome and Milan together?"),
    Text("plan", _TOOLS, "Task: Read a.txt and b.txt and mail the longer one to eva@example.org."),
    Text(
        "json",
        _RECORDS,
        f"Orders:\n{_ORDERS}\nReturn an object with the key orders: a list of objects with id, item, count and name.",
    ),
    Text(
        "json",
        _RECORDS,
        "Fill {city, country, river, bridges} for Budapest, where the Danube is crossed by eleven bridges.",
    ),
    Text("echo", "You edit text.", f"Rename the parameter key to column everywhere and return the code:\n{_CODE}"),
    Text("echo", "You edit text.", f"Return these lines unchanged, but with lamps written as lanterns:\n{_ORDERS}"),
    Text(
        "chat",
        "You are a helpful assistant.",
        "Explain in three sentences why the sky is blue and red at night.",
    ),
    Text("chat", "You are a helpful assistant.", "Write a Python function that tells whether a word is a palindrome."),
)
"""In an order in which the first few show every class but the last."""

_TOWNS = ("Lisbon", "Ghent", "Turin", "Malmo", "Porto", "Graz", "Lyon", "Bonn", "Bilbao", "Tartu", "Split")


def fresh(turn: int) -> tuple[Text, ...]:
    """Return a plan, an edit and a chat that no other turn has: pools that guess from earlier answers gain nothing."""
    one, other = _TOWNS[turn % len(_TOWNS)], _TOWNS[(turn * 3 + 1) % len(_TOWNS)]
    # Longer than most batches that are tried, or their size would make no difference.
    cases = "\n".join(f"case {turn * 9 + n}: {town} has {turn * 977 + n * 31} people" for n, town in enumerate(_TOWNS))
    return (
        Text(
            "plan",
            "Plan as numbered calls of search(query) and calculator(expression). Earlier cases:\n" + cases,
            f"Case {turn}: how many more people live in {one} than in {other}?",
        ),
        Text(
            "echo",
            "You edit text.",
            f"Return these lines with lamps written as lanterns:\norder {turn}: {turn % 9 + 2} lamps for {one}\n"
            f"order {turn + 1}: 12 chairs for {other}",
        ),
        Text("chat", "You are a helpful assistant.", f"Case {turn}: what is {one} known for?"),
    )
