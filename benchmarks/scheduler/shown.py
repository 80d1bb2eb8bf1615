"""The measurements as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def describe(result: Mapping[str, Any]) -> str:
    """Return ratios, CPU, the large DAG, the bars and the load as text."""
    return "\n".join(_lines(result))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    shapes, cases = result["makespan"], result["cpu_us_per_task"]
    yield f"{'':14}" + "".join(f"{f'{shape}, worst':>20}" for shape in shapes) + "".join(f"{one:>16}" for one in cases)
    for way in cases["chain_100"]:
        ratios = [each.get(way) for each in shapes.values()]
        cells = [f"{one['mean']:.3f}, {one['worst']:.3f}" if one else "" for one in ratios]
        yield (
            f"{way:14}"
            + "".join(f"{cell:>20}" for cell in cells)
            + "".join(f"{case[way]:>16.1f}" for case in cases.values())
        )
    yield "makespan / critical path; CPU µs per task"
    if result["large"]:
        yield ""
    for row in result["large"]:
        yield f"{row['nodes']:>9,} nodes: {row['cpu_us_per_node']:>6.1f} µs of CPU a node, {row['rss_mb']:.0f} MB more"
    yield ""
    for bar in result["bars"]:
        sign = "<=" if bar["ok"] else "> "
        yield f"{bar['what']:44}{bar['measured']:>9.3f} {sign} {bar['bar']:.3f}{'' if bar['ok'] else '  MISSED'}"
    yield f"load average: {', '.join(map(str, result['load']))}"
