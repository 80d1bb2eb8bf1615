"""``choose``: one of two values by a condition, so that a plan can say "if"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ToolError
from ..protocols import Ctx
from ..steps import Bound
from .arithmetic import plain, truth
from .calculator import evaluate, syntax_problems
from .render import cell
from .spec import tool
from .values import only


async def _check(args: Mapping[str, Any], ctx: Ctx) -> list[str]:
    return syntax_problems("choose", args.get("condition"))


@tool(seconds=0.001, binds=("condition", "yes", "no"), stability="pure", check=_check)
def choose(condition: bool | str | Bound, yes: Any | Bound, no: Any | Bound) -> Any:
    """Return the value of yes if the condition holds, otherwise the value of no.

    Args:
        condition: A comparison of earlier results, numbers and quoted text with ==, !=, <, >, in, and, or, not.
        yes: Result when the condition is true: a value, or a calculation with earlier results.
        no: Result when it is false.
    """
    return _value(yes if holds(condition) else no)


def _value(chosen: Any) -> Any:
    """The chosen value; text around earlier results is calculated where it is a calculation, else filled in."""
    if not isinstance(chosen, Bound):
        return chosen
    if not syntax_problems("choose", chosen):
        try:
            return plain(evaluate(chosen))
        except ToolError:
            pass
    text = chosen.text
    for name in sorted(chosen.values, key=len, reverse=True):
        text = text.replace(name, cell(only(chosen.values[name])))
    return text


def holds(condition: bool | str | Bound) -> bool:
    """True when a condition holds; a bare earlier result holds unless it is empty, zero, false or "no"."""
    if isinstance(condition, bool):
        return condition
    if isinstance(condition, Bound) and condition.text.strip() in condition.values:
        return truth(only(condition.values[condition.text.strip()]))
    return truth(evaluate(condition))
