"""A finished plan as a template: what of it came from its task's words becomes slots, bound to another task's words.

Two tasks of one kind differ in names, numbers and files. Where their words align and every difference stands in the
plan, the plan of one with the other's words in their places is the plan of the other, and no model is asked. A
difference that is not in the plan (longest, shortest) is one of structure, and the template does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from ..messages import Frozen
from ..steps import Hint, Plan
from .values import parts_in, ref_in

Kind = Literal["number", "date", "file", "text"]

_TOKEN = re.compile(r"\"([^\"]+)\"|“([^”]+)”|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)|([^\W_](?:[\w.,:/@-]*\w)?)")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FILE = re.compile(r"(?:[\w.-]+/)*[\w-]+\.[a-z]{2,5}")
_IDLE = frozenset(
    "a an are can could did do does get give i is it its kindly let me my now our please s show tell the us was we "
    "were what which will would you your".split()
)
"""Words that may come and go. Not those that say how things stand to each other (from, to, by, and, not)."""
_LOOSE = _IDLE | frozenset("and at for in of on there".split())
"""Words that another order of the same words brings with it."""
_PHRASE = 4
"""Most words of a name that stands for one of another length."""


class Slot(Frozen):
    """A value of the old task that stands in its plan."""

    name: str
    kind: Kind
    text: str
    """As the old task says it."""


class Template(Frozen):
    """A plan with the values in it that came from its task."""

    task: str
    plan: Plan
    slots: tuple[Slot, ...]


class _Token(NamedTuple):
    text: str
    start: int
    end: int
    quoted: bool

    @property
    def idle(self) -> bool:
        return not self.quoted and self.text.casefold() in _IDLE


def abstract(hint: Hint) -> Template:
    """Return the plan of ``hint`` with a typed slot for every value that it took from its task's words.

    A value is a number, a date, a file, a quotation or a name; other words of the task that the plan has too
    (columns, mostly) are part of the plan.
    """
    found: dict[str, Slot] = {}
    for at, token in enumerate(_tokens(hint.task)):
        key = token.text.casefold()
        named = token.quoted or (bool(at) and token.text[0].isupper())
        if key not in found and not token.idle and _is_value(token.text, hint.plan, named=named):
            found[key] = Slot(name=f"v{len(found) + 1}", kind=_kind(token.text), text=token.text)
    return Template(task=hint.task, plan=hint.plan, slots=tuple(found.values()))


def differences(old: str, new: str) -> list[tuple[str, str]] | None:
    """Return what stands in ``new`` in the place of what in ``old``; None where their words do not align.

    Words that say nothing may come and go.
    """
    before, after = _tokens(old), _tokens(new)
    keys = [[token.text.casefold() for token in tokens] for tokens in (before, after)]
    pairs: list[tuple[str, str]] = []
    same: set[str] = set()
    for kind, i, j, k, m in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        gone, come = before[i:j], after[k:m]
        if kind == "equal":
            same.update(keys[0][i:j])
        elif len(gone) == len(come):
            if any(was.idle != now.idle for was, now in zip(gone, come, strict=True)):
                return None
            pairs += [(was.text, now.text) for was, now in zip(gone, come, strict=True) if not was.idle]
        elif (one := _name(gone, old)) and (two := _name(come, new)):
            pairs.append((one, two))
        elif not all(token.idle for token in (*gone, *come)):
            return None
    found = dict(pairs)
    if len(found) < len(set(pairs)) or any(text.casefold() in same for text in found):
        return None
    return list(found.items())


def bound(hint: Hint, task: str) -> Plan | None:
    """Return the plan of ``hint`` with the words of ``task``; None where they do not align or the plan lacks some."""
    pairs = differences(hint.task, task)
    if pairs is None or any(not _fits(hint, old, new) for old, new in pairs):
        return None
    return filled(hint.plan, dict(pairs), task=task)


def reworded(template: Template, task: str) -> bool:
    """Return whether ``task`` says the same as the template's in another order, but for the values.

    Then it is the same question, and only which value is which is open.
    """
    if not template.slots or differences(template.task, task) is not None:
        return False
    before, now = _words(template.task), _words(task)
    return before - now <= {slot.text.casefold() for slot in template.slots} and len(now - before) == len(before - now)


def filled(plan: Plan, values: Mapping[str, str], *, task: str) -> Plan:
    """Return ``plan`` for ``task`` with every text of ``values`` replaced, all at once, wherever a literal has it."""
    nodes = tuple(node.model_copy(update={"args": _swapped(node.args, values)}) for node in plan.nodes)
    return plan.model_copy(update={"task": task, "nodes": nodes, "revision": 0})


def said(text: str, task: str) -> bool:
    """Return whether ``task`` says ``text``, as words of their own."""
    return bool(_pattern([text]).search(task))


def _fits(hint: Hint, old: str, new: str) -> bool:
    """Whether ``new`` may take the place of ``old``: a value of the same kind, and no doubt which it is in the plan."""
    if _kind(old) != _kind(new) or not _is_value(old, hint.plan, named=old[0].isupper() and new[0].isupper()):
        return False
    return _kind(old) != "number" or len(_places(hint.plan, old)) <= len(_pattern([old]).findall(hint.task))


def _words(text: str) -> set[str]:
    return {word for token in _tokens(text) if (word := token.text.casefold()) not in _LOOSE}


def _name(tokens: Sequence[_Token], text: str) -> str:
    """The name that the words are together; empty when they are more, or no name."""
    if not 0 < len(tokens) <= _PHRASE or not all(token.text[0].isupper() and not token.quoted for token in tokens):
        return ""
    found = text[tokens[0].start : tokens[-1].end]
    return found if found.split() == [token.text for token in tokens] else ""


def _tokens(text: str) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        group = match.lastindex or 5
        found.append(_Token(match[group], match.start(group), match.end(group), group < 5))
    return found


def _kind(text: str) -> Kind:
    for kind, pattern in (("date", _DATE), ("number", _NUMBER), ("file", _FILE)):
        if pattern.fullmatch(text):
            return kind  # type: ignore[return-value]
    return "text"


def _is_value(text: str, plan: Plan, *, named: bool) -> bool:
    """Whether the plan has this text as a value: a name, a number, a file, or what stands in quotes or alone.

    Functions and columns of SQL are none: with another of them it would be another plan.
    """
    if not _places(plan, text):
        return False
    if named or _kind(text) != "text":
        return True
    quoted = re.compile(rf"'%?{re.escape(text)}%?'", re.IGNORECASE)
    texts = [each for node in plan.nodes for each in _leaves(node.args) if isinstance(each, str)]
    return any(each.casefold() == text.casefold() or quoted.search(each) for each in texts)


def _places(plan: Plan, text: str) -> list[Any]:
    """The literals of the plan that have ``text``, each as often as it has it."""
    pattern, number = _pattern([text]), _value(text)
    found: list[Any] = []
    for node in plan.nodes:
        for literal in _leaves(node.args):
            if isinstance(literal, str):
                found += [literal] * len(pattern.findall(literal))
            elif number is not None and literal == number and not isinstance(literal, bool):
                found.append(literal)
    return found


def _leaves(value: Any) -> Iterator[Any]:
    if ref_in(value) is not None:
        return
    if (parts := parts_in(value)) is not None:
        yield from (part for part in parts if isinstance(part, str))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _swapped(value: Any, values: Mapping[str, str]) -> Any:
    if ref_in(value) is not None or not values:
        return value
    if isinstance(value, Mapping):
        return {key: _swapped(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_swapped(item, values) for item in value]
    by_case = {old.casefold(): new for old, new in values.items()}
    if isinstance(value, str):
        return _pattern(list(values)).sub(lambda match: _cased(match[0], by_case[match[0].casefold()], values), value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        for old, new in values.items():
            if _value(old) == value and (number := _value(new)) is not None:
                return number
    return value


def _cased(found: str, new: str, values: Mapping[str, str]) -> str:
    """``new`` in small letters where the plan has in small letters what the task began with a capital."""
    return new.lower() if found not in values and found.islower() else new


def _pattern(texts: Sequence[str]) -> re.Pattern[str]:
    ways = "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))
    return re.compile(rf"(?<![\w.])(?:{ways})(?!\w|\.\d)", re.IGNORECASE)


def _value(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    plain = text.replace(",", "")
    return float(plain) if "." in plain else int(plain)
