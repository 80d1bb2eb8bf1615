"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TAILS = (("p99", "p99 to the last token, s"), ("p99_first", "p99 to the first token, s"), ("mean", "mean, s"))
_SPLIT = (("mean", "mean, s"), ("p99_first", "p99 to the first token, s"), ("p99_pace", "p99 per token, s"))


def describe(result: Mapping[str, Any]) -> str:
    """Return a line or two per part."""
    lines: list[str] = []
    if found := result.get("tails"):
        turns, moving = found["round_robin"], found["migrate"]
        lines.append("virtual time, four engines      by turns  by freedom  with moves")
        for key, what in _TAILS:
            row = [found[way][key] for way in ("round_robin", "dispatch", "migrate")]
            lines.append(f"  {what:28}" + "".join(f"{value:>11.2f}" for value in row))
        lines.append(
            f"  {moving['p99'] / turns['p99']:.2f} of the p99 by turns; {found['moves']} moves, {found['widened']} "
            f"widened the gap; {found['requests']} requests, {found['answers']} answers"
        )
    if found := result.get("urgent"):
        lines.append(
            f"first token of urgent requests  {found['ordinary']:.2f} s as ordinary ones, {found['urgent']:.2f} s as "
            f"urgent ones; of the others {found['others_before']:.2f} and {found['others']:.2f} s"
        )
    if found := result.get("split"):
        mixed, split = found["mixed"], found["split"]
        lines.append("virtual time, a fast reader and a cheap writer      mixed      split")
        for key, what in _SPLIT:
            lines.append(f"  {what:44}{mixed[key]:>11.2f}{split[key]:>11.2f}")
    if found := result.get("move"):
        same = "same text" if found["same_text"] else "OTHER TEXT"
        lines.append(
            f"{result['model']}, moved: {found['known']} tokens taken over, {found['computed']} computed again, {same}"
        )
    if found := result.get("handoff"):
        same = "same text" if found["same_text"] else "OTHER TEXT"
        lines.append(
            f"{result['model']}, handed over: of {found['prompt']} tokens the writer computed {found['computed']}"
            f", {same}; its CPU {found['alone_cpu']:.2f} -> {found['writer_cpu']:.2f} s (the reader spends the rest)"
        )
    return "\n".join(lines)
