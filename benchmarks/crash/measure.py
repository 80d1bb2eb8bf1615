"""Every executor, every point, every seed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from ...errors import UsageError
from .cases import Case, case
from .cluster import ray_cluster
from .driver import Drive, ExecutorName

EXECUTORS: tuple[ExecutorName, ...] = get_args(ExecutorName)


async def run(
    *,
    executor: str = "all",
    seeds: int = 20,
    points: str = "25,55,85",
    nodes: int = 101,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return a row per executor and point, and every case.

    ``executor`` is one of ``inprocess``, ``processes`` and ``ray``, or ``all`` (Ray only where it is installed).
    ``points`` are numbers of finished nodes, of plans of ``nodes`` nodes. ``say`` receives a line after each case.
    Raises UsageError for a point or an executor that there is not.
    """
    chosen, kills = _executors(executor), _points(points, nodes)
    found: list[Case] = []
    for name in chosen:
        with ray_cluster() if name == "ray" else nullcontext() as ray:
            for seed in range(seeds):
                for point in kills:
                    with tempfile.TemporaryDirectory(prefix="shuntyard-bench-", ignore_cleanup_errors=True) as place:
                        given = Drive(Path(place), name, seed, size=nodes, kill_at=point)
                        if ray is not None:
                            given = replace(given, ray_address=ray.address, env=ray.env)
                        found.append(await case(given))
                    if say is not None:
                        say(_line(found[-1]))
    rows = [_row([one for one in found if (one.executor, one.point) == at]) for at in _pairs(found)]
    return {"nodes": nodes, "rows": rows, "cases": [one.plain() for one in found]}


def _executors(name: str) -> Sequence[ExecutorName]:
    if name == "all":
        return [each for each in EXECUTORS if each != "ray" or find_spec("ray") is not None]
    for each in EXECUTORS:
        if each == name:
            return [each]
    raise UsageError(f"executor={name!r} is not known; write one of all, {', '.join(EXECUTORS)}.")


def _points(text: str, nodes: int) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and 0 < int(word) < nodes for word in words):
        raise UsageError(f"points={text!r} are no numbers of finished nodes below {nodes}; write points=25,55,85.")
    return [int(word) for word in words]


def _pairs(found: Sequence[Case]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((one.executor, one.point) for one in found))


def _row(cases: Sequence[Case]) -> dict[str, Any]:
    summed = ("rerun", "wrong", "twice", "unknown", "doubt_done", "doubt_not_done", "replayed")
    return {
        "executor": cases[0].executor,
        "point": cases[0].point,
        "runs": len(cases),
        "finished": sum(one.finished for one in cases),
        **{key: sum(getattr(one, key) for one in cases) for key in summed},
        "outlived": max(one.outlived for one in cases),
    }


def _line(found: Case) -> str:
    mark = "WRONG" if found.faults else "right"
    return f"{mark} {found.executor} {found.point} seed {found.seed}: {found.replayed} nodes replayed"
