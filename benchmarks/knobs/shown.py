"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BARS = {"first": 1.25, "repeated": 1.6}


def describe(result: Mapping[str, Any]) -> str:
    """Return one line per figure, with the bar that it is held to."""
    lines = [", ".join(str(result[key]) for key in ("model", "engine") if key in result)]
    for kv, found in result.get("memory", {}).items():
        bar = " (bar 1.8)" if kv == "q8_0/q8_0" else ""
        lines.append(f"KV {kv:10} {found['tokens_per_mib']:8.1f} tokens per MiB, {found['ratio']:.2f} of f16{bar}")
    for kv, found in result.get("gate", {}).items():
        verdict = "passes" if found["passed"] else "REFUSED"
        lines.append(
            f"gate {kv:10} {verdict}: {found['agreement']:.1%} of {found['positions']} next tokens, log-probability "
            f"moves {found['drift']:.3f}, {found['nonsense']} of {found['answers']} answers nonsense"
        )
    if found := result.get("speculation"):
        for kind, turns in found["classes"].items():
            for which, turn in turns.items():
                held = f" (bar {_BARS[which]})" if kind in ("plan", "echo") else ""
                same = "same text" if turn["same_text"] else "OTHER TEXT"
                lines.append(
                    f"{found['kind']} of {found['guess']}, {kind:4} {which:8} {turn['per_pass']:.2f} tokens per pass, "
                    f"{turn['right']} of {turn['guessed']} guesses right, "
                    f"{turn['wall']:.2f} times sooner{held}, {turn['speedup']:.2f} times less CPU, {same}"
                )
    for batch, found in result.get("stall", {}).items():
        lines.append(
            f"batch {batch:>4}: a running answer waits {found['gap']:.2f} CPU-s at most, the long prompt takes "
            f"{found['long']:.2f}"
        )
    return "\n".join(lines)
