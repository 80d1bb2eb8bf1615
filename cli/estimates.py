"""Predictions for people and for programs, alone and beside the truth."""

from __future__ import annotations

from typing import Any

from ..estimates import Estimate, Prediction, Took
from . import out


def estimate_line(prediction: Prediction) -> str:
    """``1.9 s (0.7 to 12.0), 3 calls (3 to 6), 540 tokens (...), $0 (...)``: likely, and from low to high."""
    cells = [
        (f"{prediction.seconds.likely:.1f} s", prediction.seconds.low, prediction.seconds.high, "{:.1f}"),
        (f"{prediction.calls.likely:.0f} calls", prediction.calls.low, prediction.calls.high, "{:,.0f}"),
        (f"{prediction.tokens.likely:,.0f} tokens", prediction.tokens.low, prediction.tokens.high, "{:,.0f}"),
    ]
    told = [f"{likely} ({form.format(low)} to {form.format(high)})" for likely, low, high, form in cells]
    return ", ".join([*told, _costs(prediction)])


def took_line(took: Took) -> str:
    """What ``estimate_line`` predicted, as it came."""
    return f"{took.seconds:.1f} s, {took.calls} calls, {took.tokens:,} tokens, {out.money(took.cost)}"


def ranges_json(prediction: Prediction) -> dict[str, Any]:
    """``low``, ``likely`` and ``high`` of seconds, calls, tokens and cost."""
    return prediction.model_dump(mode="json", exclude={"plan"})


def bounds_json(estimate: Estimate) -> dict[str, Any]:
    """The plan's calls as a schedule: no schedule is faster than ``lower``, no list schedule slower than ``upper``."""
    return {
        "concurrency": estimate.concurrency,
        "calls": estimate.calls,
        "work": round(estimate.work, 3),
        "makespan": round(estimate.makespan, 3),
        "lower": round(estimate.lower, 3),
        "upper": round(estimate.upper, 3),
    }


def _costs(prediction: Prediction) -> str:
    cost = prediction.cost
    if cost is None or cost.low == cost.high:
        return out.money(None if cost is None else cost.likely)
    return f"{out.money(cost.likely)} ({out.money(cost.low)} to {out.money(cost.high)})"
