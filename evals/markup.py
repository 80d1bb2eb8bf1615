"""HTML by construction: whatever is not ``Markup`` already is escaped, so that no text of a model becomes a tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_VOID = frozenset({"meta", "br", "hr"})
SEEN = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}
"""Control characters become their pictures."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Markup:
    """Return an element. Children are escaped unless they are Markup; ``class_`` and ``for_`` lose the underscore."""
    given = "".join(f' {_attribute(key)}="{escape(value)}"' for key, value in attributes.items())
    inner = join(children)
    return Markup(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{inner}</{name}>")


def join(parts: Iterable[str], between: str = "") -> Markup:
    """Return parts as one, each escaped unless it is Markup."""
    return Markup(between.join(part if isinstance(part, Markup) else escape(part.translate(SEEN)) for part in parts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, last: str = "") -> Markup:
    """Return a table whose first ``words`` columns are words and the rest numbers; ``last`` is the last row's class."""
    found = list(rows)
    kinds = ["words" if at < words else "number" for at in range(len(head))]
    top = tag("tr", *(tag("th", text, class_=kind, scope="col") for text, kind in zip(head, kinds, strict=True)))
    body = [
        tag("tr", *_cells(row, kinds), **({"class_": last} if last and at == len(found) - 1 else {}))
        for at, row in enumerate(found)
    ]
    return tag("div", tag("table", tag("thead", top), tag("tbody", *body)), class_="wide")


def _cells(row: Sequence[str], kinds: Sequence[str]) -> list[Markup]:
    cells = [tag("td", text, class_=kind) for text, kind in zip(row[1:], kinds[1:], strict=True)]
    return [tag("th", row[0], class_=kinds[0], scope="row"), *cells]


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
