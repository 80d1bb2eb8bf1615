"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(result: Mapping[str, Any]) -> str:
    """Return what each engine is, and one line per model and kind of work."""
    lines = [f"{result['threads']} threads, CPU milliseconds a token, and times less than with the package's engine"]
    for name, engine in result["engines"].items():
        lines.append(f"{name}: {engine['engine']}, {', '.join(engine['uses'])}")
    works = {
        "prompt": f"prompt of {result['prompt']:,}",
        "answer": "one answer",
        "answers": f"{result['slots']} answers at once",
    }
    for model, measured in result["models"].items():
        for work, label in works.items():
            usual, *own = measured[work].items()
            ratios = "".join(f" -> {found['ms']:.2f} ({found['ratio']:.2f})" for _, found in own)
            lines.append(f"{model:20} {label:20} {usual[1]['ms']:7.2f}{ratios}")
    return "\n".join(lines)
