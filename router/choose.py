"""Which model answers, by role, size and price; a first honest choice that says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from ..errors import BudgetSpent, ModelUnavailable, UnknownName
from ..messages import ModelInfo, Role
from ..steps import Decision

TIERS = ("tiny", "small", "medium", "large")
FREE_KINDS = ("local", "scripted")
_NEEDS: dict[Role, str] = {
    "compile": "small",
    "repair": "small",
    "replan": "small",
    "join": "small",
    "answer": "small",
    "agent": "tiny",
}
_SIZE = re.compile(r"(?<![0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


def choose(
    role: Role,
    infos: Sequence[ModelInfo],
    *,
    model: str = "",
    fallback: Sequence[str] = (),
    max_cost: Decimal | None = None,
    installed: Callable[[str], bool] | None = None,
    late: Callable[[str], bool] | None = None,
) -> Decision:
    """Place one model call: the cheapest model large enough for ``role`` first, then those to try after it.

    ``model`` comes first when given, then ``fallback``; of the remaining ones a named model is followed
    only by free local ones that are already here, because nobody asked for their price or download. Among
    equally cheap models the larger one wins (by the size in its name), models that would have to be
    downloaded (``installed`` says no) come after those that would not, and those that are expected to miss the
    deadline (``late`` says yes) after all others. ``max_cost`` of 0 leaves local models only. Embedding models never
    answer.

    Raises UnknownName for a ``model`` or ``fallback`` nobody offers, BudgetSpent when ``max_cost`` rules
    out every model, ModelUnavailable when there is none.
    """
    answering = answering_of(infos, (model, *fallback))
    affordable = {name: info for name, info in answering.items() if max_cost != 0 or info.kind in FREE_KINDS}
    here = installed or (lambda name: True)
    slow = {name for name in affordable if late is not None and late(name)}
    ranked = sorted(affordable.values(), key=lambda info: (info.name in slow, _rank(info, role, here(info.name))))
    if model:
        if model not in affordable:
            raise BudgetSpent(f"{model!r} is not a local model and --max-cost is 0; raise --max-cost or drop --model.")
        ranked = [info for info in ranked if info.kind in FREE_KINDS and here(info.name)]
    named = [name for name in (model, *fallback) if name in affordable]
    candidates = tuple(dict.fromkeys([*_first(model, ranked), *named, *(info.name for info in ranked)]))
    if not candidates:
        raise _nothing(answering)
    first = affordable[candidates[0]]
    reason = f"asked for by name ({first.name})" if model else _why(first, role, max_cost, here(first.name))
    if first.name in slow:
        reason += ", expected to miss the deadline"
    elif slow and not model:
        reason += f", {', '.join(sorted(slow))} expected to miss the deadline"
    return Decision(model=first.name, reason=reason, candidates=candidates)


def answering_of(infos: Sequence[ModelInfo], names: Sequence[str] = ()) -> dict[str, ModelInfo]:
    """Return the models that answer, by name. Raises UnknownName for one of ``names`` that is not among them."""
    answering = {info.name: info for info in infos if not info.embeds}
    for name in names:
        if name and name not in answering:
            raise UnknownName("model", name, list(answering), mend="`shuntyard models list` shows them.")
    return answering


def _first(model: str, ranked: Sequence[ModelInfo]) -> list[str]:
    return [model] if model else [info.name for info in ranked[:1]]


def _rank(info: ModelInfo, role: Role, here: bool) -> tuple[bool, bool, bool, Decimal, int, float, str]:
    below = TIERS.index(info.tier) < TIERS.index(_NEEDS[role])
    tier = TIERS.index(info.tier)
    price = price_of(info)
    # Among models that are too small the largest is the best guess, otherwise the smallest that suffices.
    return (below, not here, price is None, price or Decimal(0), -tier if below else tier, -_size(info.name), info.name)


def price_of(info: ModelInfo) -> Decimal | None:
    """Dollars of one prompt and one generated token together; None while either is unknown."""
    if info.input_price is None or info.output_price is None:
        return None
    return info.input_price + info.output_price


def _size(name: str) -> float:
    found = _SIZE.findall(name)
    return max((float(number) / (1 if unit in "bB" else 1000) for number, unit in found), default=0.0)


def _why(info: ModelInfo, role: Role, max_cost: Decimal | None, here: bool) -> str:
    need = _NEEDS[role]
    enough = TIERS.index(info.tier) >= TIERS.index(need)
    price = price_of(info)
    size = (
        f"{info.tier} is enough for {role}" if enough else f"no model of size {need} for {role}; nearest is {info.tier}"
    )
    cost = "free" if price == 0 else "price known when opened" if price is None else "the cheapest of them"
    parts = [size, f"local and {cost}" if info.kind == "local" else cost]
    if not here:
        parts.append("downloaded first")
    if max_cost == 0:
        parts.append("--max-cost 0 leaves local models only")
    return ", ".join(parts)


def _nothing(answering: dict[str, ModelInfo]) -> Exception:
    if answering:
        names = ", ".join(sorted(answering)[:6])
        return BudgetSpent(f"--max-cost 0 leaves none of {names}: none is local; raise --max-cost.")
    return ModelUnavailable("no model can be asked; `shuntyard models pull qwen2.5-coder-1.5b` installs one.")
