"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(result: Mapping[str, Any]) -> str:
    """Return a line per held-out call, then the errors with the bars that they are held to."""
    lines = [f"learned from {', '.join(result['fit'])}; predicted / measured seconds of the engine's processor"]
    for row in result["cases"]:
        what = f"{row['depth']:>4}+{row['read']:<4} tokens, {row['written']:>2} written, batch {row['batch']}"
        read, written = ([row[key][phase] for key in ("predicted", "measured")] for phase in (0, 1))
        told = f"read {read[0]:6.2f} / {read[1]:6.2f}, write {written[0]:5.2f} / {written[1]:5.2f}"
        lines.append(f"{row['model']:20} {what}: {told}")
    for name, model in result["models"].items():
        predicted, held = model["memory_mib"]
        lines.append(f"{name:20} memory {predicted} / {held} MiB")
    groups = {"all": result["all"], "seen models": result["seen"], "unseen models": result["unseen"]}
    for name, errors in [*groups.items(), *result["per_model"].items()]:
        if errors:
            lines.append(
                f"{name:20} median error {errors['total']:.1%} (bar 20 %), first token {errors['first_token']:.1%}, "
                f"tokens {errors['tokens']:.1%}, worst {errors['worst_total']:.0%}, on the clock {errors['wall']:.0%}; "
                f"{errors['ordered']:.1%} of {errors['pairs']} pairs in order (bar 90 %)"
            )
    return "\n".join(lines)
