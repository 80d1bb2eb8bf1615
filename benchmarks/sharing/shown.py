"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(result: Mapping[str, Any]) -> str:
    """Return one line per figure, with the bar that it is held to."""
    made = f", {result['engine']}" if "engine" in result else ""
    lines = [
        f"{result['model']}{made}, {result['prefix']} tokens of prefix, {result['calls']} calls of {result['tokens']}"
    ]
    if found := result.get("agents"):
        burst, warm = found["burst"], found["warm"]
        for way in ("cold", "saved"):
            ours, ratios = found[way], found["ratios"][way]
            lines.append(
                f"prefix {way:5}: engine CPU     {burst['cpu']:.1f} -> {ours['cpu']:.1f} s, {ratios['cpu']:.1f} times "
                f"less, {ratios['calls_cpu']:.1f} without the join (bar 4.5)"
            )
            lines.append(
                f"  prompt tokens computed      {burst['prefilled']:,} -> {ours['prefilled']:,}, "
                f"{ratios['prefilled']:.1f} times fewer, and {ratios['asked']:.1f} than the "
                f"{burst['asked']:,} of the prompts (bar 8)"
            )
        lines.append(
            f"wall, warm, {result['slots']} slots against one {warm['sequence']:.1f} -> {warm['slots']:.1f} s, "
            f"{warm['wall_ratio']:.2f} times less (bar 1.4), CPU {warm['cpu_ratio']:.2f}"
        )
    if found := result.get("applications"):
        lines.append(
            f"{found['applications']} applications of {found['steps']} steps     mean completion "
            f"{found['measured']:.2f} times less than request by request "
            f"(predicted {found['predicted']:.2f}, off by {found['off']:+.0%})"
        )
    if found := result.get("restart"):
        same = "same text" if found["same_text"] else "OTHER TEXT"
        lines.append(
            f"first token after a restart   {found['cold']['ttft']:.2f} -> {found['restored']['ttft']:.2f} s, "
            f"{found['ttft_ratio']:.1f} times less (bar 4), {same}"
        )
    if found := result.get("stall"):
        lines.append(
            f"short call in a long prefill  {found['defaults']['short']:.2f} -> {found['ours']['short']:.2f} CPU-s, "
            f"{found['stall_ratio']:.1f} times less (bar 4); the long one takes {found['long_ratio']:.2f} (bar 1.05)"
        )
    if found := result.get("programs"):
        plain, chained = found["plain"], found["chained"]
        lines.append(
            f"{found['applications']} chains of {found['steps']} on a server        "
            f"round trips {plain['round_trips']} -> {chained['round_trips']}, "
            f"prompt tokens computed {plain['prefilled']:,} -> {chained['prefilled']:,}, "
            f"mean completion {plain['mean_completion']:.1f} -> {chained['mean_completion']:.1f} s"
        )
    return "\n".join(lines)
