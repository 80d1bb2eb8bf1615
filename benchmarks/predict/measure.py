"""The measurement: calibrate on some models, predict others, and compare with the engine's own clock."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ...errors import ModelUnavailable
from ...serving import fetch
from ...serving.predict.measure import CALIBRATION, Measured, Probe, Prober, learn, least, parts_of
from ...serving.predict.pace import Pace
from ...serving.predict.shape import Shape, read_shape
from ...serving.predict.work import Setup, memory_mib
from ...serving.supervise import Running
from ...settings import load
from ..serving.places import Place
from ..sharing.engines import CONTEXT, engine
from .made import make, size_of

GRID = (
    Probe(0, 64, 40),
    Probe(0, 128, 12),
    Probe(0, 300, 32),
    Probe(900, 100, 24),
    Probe(0, 48, 32, batch=2),
    Probe(100, 60, 24, batch=2),
    Probe(0, 100, 16, batch=3),
)
"""None of these lengths, depths and batches is measured for the constants."""
TIED = 0.05
"""Candidates that take equally long within this have no order."""


class Case(NamedTuple):
    """One held-out call, predicted and measured: seconds to read and to write."""

    model: str
    unseen: bool
    """Nothing of the model was measured."""
    probe: Probe
    predicted: tuple[float, float]
    measured: tuple[float, float]
    wall: tuple[float, float]
    """Predicted and measured, of the whole on the clock."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """A model file and what its engine was seen to do."""

    name: str
    shape: Shape
    engine: Running
    probes: Sequence[Probe]
    rounds: list[list[Measured]] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """MiB resident before each round; later ones hold prompts that the engine keeps for later."""

    @property
    def rows(self) -> list[Measured]:
        """The shortest of each probe."""
        return [least(rows) for rows in zip(*self.rounds, strict=True)]


async def run(
    *,
    fit: str = "smollm2-135m",
    heldout: str = "",
    made: str = "8x768,24x512",
    threads: int = 2,
    rounds: int = 2,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure and compare. ``made`` are sizes of made models, layers and width; names are separated by commas.

    A size may name a tensor type, ``6x1024:Q4_K``; in ``fit`` it is that type's micro-benchmark.

    The models take turns, and of all ``rounds`` the shortest counts, for those that constants are learned from as for
    the others: what else the machine does changes from minute to minute. Raises ModelUnavailable where the processor
    seconds of another process cannot be read.
    """
    settings = load()
    with tempfile.TemporaryDirectory(prefix="shuntyard-predict-") as folder, ExitStack() as stack:
        source = fetch.ensure("smollm2-135m", settings)[0]
        paths = {}
        for number, name in enumerate([*_names(fit), *_names(heldout), *_names(made)]):
            if name[0].isdigit() or name in _names(made):
                paths[name] = make(Path(folder) / f"{number}.gguf", source, size_of(name))
            else:
                paths[name] = fetch.ensure(name, settings)[0]
        subjects = []
        for name, path in paths.items():
            ours = stack.enter_context(engine(path, threads)).running
            probes = [*(CALIBRATION if name in _names(fit) else ()), *GRID]
            subjects.append(_Subject(name, read_shape(path), ours, probes))
        for number in range(rounds):
            for subject in subjects:
                say(f"round {number + 1} of {rounds}: {subject.name}")
                prober = Prober(subject.engine, subject.shape)
                await prober.run([Probe(0, 16, 2)])
                place = Place(subject.engine.url, subject.name, subject.engine.engine_pid)
                subject.memory.append(place.held().kib / 1024)
                subject.rounds.append(await prober.run(subject.probes))
    pace = Pace(threads=threads)
    for subject in subjects:
        if subject.name in _names(fit):
            learn(pace, subject.shape, Setup(CONTEXT), subject.rows[: len(CALIBRATION)])
    cases = [case for subject in subjects for case in _cases(subject, pace, unseen=subject.name not in _names(fit))]
    return {
        "fit": _names(fit),
        "threads": threads,
        "models": {subject.name: _model(subject) for subject in subjects},
        "all": _errors(cases),
        "seen": _errors([case for case in cases if not case.unseen]),
        "unseen": _errors([case for case in cases if case.unseen]),
        "per_model": {
            subject.name: _errors([case for case in cases if case.model == subject.name]) for subject in subjects
        },
        "cases": [_row(case) for case in cases],
    }


def _cases(subject: _Subject, pace: Pace, *, unseen: bool) -> list[Case]:
    found = []
    for row in subject.rows[-len(GRID) :]:
        read, written = parts_of(subject.shape, Setup(CONTEXT), row.probe)
        if row.read.cpu is None or row.written.cpu is None:
            raise ModelUnavailable("the engine's processor seconds cannot be read here; run this on Linux.")
        predicted = pace.seconds(read), pace.seconds(written)
        wall = predicted[0] * pace.value("wall:prefill") + predicted[1] * pace.value("wall:decode")
        measured = row.read.cpu, row.written.cpu
        clock = row.read.wall + row.written.wall
        found.append(Case(subject.name, unseen, row.probe, predicted, measured, (wall, clock)))
    return found


def _errors(cases: Sequence[Case]) -> dict[str, float]:
    """Medians of relative errors, and the share of pairs in the right order, by the processor's clock."""
    if not cases:
        return {}
    pairs = [
        (sum(one.predicted) - sum(other.predicted), sum(one.measured) - sum(other.measured))
        for one, other in combinations(cases, 2)
        if abs(sum(one.measured) / sum(other.measured) - 1) > TIED
    ]
    return {
        "first_token": _off((case.predicted[0], case.measured[0]) for case in cases),
        "tokens": _off((case.predicted[1], case.measured[1]) for case in cases),
        "total": _off((sum(case.predicted), sum(case.measured)) for case in cases),
        "worst_total": round(max(abs(sum(case.predicted) / sum(case.measured) - 1) for case in cases), 3),
        "wall": _off(case.wall for case in cases),
        "pairs": len(pairs),
        "ordered": round(sum(one * other > 0 for one, other in pairs) / max(1, len(pairs)), 3),
    }


def _off(pairs: Iterable[tuple[float, float]]) -> float:
    return round(median(abs(predicted / measured - 1) for predicted, measured in pairs), 3)


def _model(subject: _Subject) -> Mapping[str, Any]:
    return {
        "parameters": subject.shape.parameters,
        "mix": {kind: round(share, 2) for kind, share in subject.shape.mix.items()},
        "memory_mib": [round(memory_mib(subject.shape, Setup(CONTEXT))), round(subject.memory[0])],
    }


def _row(case: Case) -> dict[str, Any]:
    return {
        "model": case.model,
        "unseen": case.unseen,
        "depth": case.probe.depth,
        "read": case.probe.fresh,
        "written": case.probe.steps,
        "batch": case.probe.batch,
        "predicted": [round(seconds, 3) for seconds in case.predicted],
        "measured": [round(seconds, 3) for seconds in case.measured],
        "wall": [round(seconds, 3) for seconds in case.wall],
    }


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
