"""The comparison as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def describe(result: Mapping[str, Any]) -> str:
    """Return a table for each task, and how far the prediction was from what was measured."""
    return "\n".join(_lines(result))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{result['model']}: wholes of {result['items']} items, {result['concurrency']} calls at once; "
        "predicted / measured"
    )
    for task, each in result["tasks"].items():
        yield ""
        yield f"{task}: error is the {each['error_is']}"
        yield f"{'size':>6}{'error':>18}{'seconds':>18}{'seconds per right':>22}"
        for row in each["sizes"]:
            predicted, measured = row["predicted"], row["measured"]
            pairs = [f"{predicted[key]:.2f} / {measured[key]:.2f}" for key in ("error", "seconds", "seconds_per_right")]
            yield f"{row['size']:>6}{pairs[0]:>18}{pairs[1]:>18}{pairs[2]:>22}"
        yield (
            f"best: predicted {each['predicted_best']}, measured {each['measured_best']}; "
            f"{each['grid_steps']} steps of the grid apart, {each['loss_of_prediction']:+.0%} seconds per right answer"
        )
    for task in result["unmeasured"]:
        yield f"{task}: not measured yet; the same command goes on with it"
