"""Runs for reports: logs as a suite leaves them, with results drawn from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.data import DataUse
from shuntyard.evals.log import Configuration, RunEnd, RunHeader, RunLog, RunRow, RunSession, Selection
from shuntyard.messages import Usage

BEGAN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
DATA = DataUse(
    source="bfcl",
    file="BFCL_v4_parallel.json",
    origin="SHUNTYARD_DATA",
    bytes=184_310,
    sha256="5a" * 32,
    licence="Apache-2.0",
)


def row(case: Case, output: Output, score: Score, *, epoch: int = 0, **more: Any) -> RunRow:
    return RunRow(
        id=case.id,
        category=case.category,
        digest=case.digest,
        split=case.split,
        epoch=epoch,
        input=case.input,
        target=case.target,
        output=output,
        score=score,
        at=BEGAN,
        **more,
    )


def log(rows: Sequence[RunRow], *, suite: str = "bfcl", finished: bool = True, minutes: int = 0, **made: Any) -> RunLog:
    configuration = Configuration(**({"solver": "planner", "model": "qwen2.5-coder-1.5b"} | made))
    at = BEGAN + timedelta(minutes=minutes)
    header = RunHeader(
        run=f"{suite}-{at:%Y%m%d-%H%M%S}-{configuration.digest[:4]}",
        suite=suite,
        version=1,
        configuration=configuration,
        data=(DATA,),
        started=at,
        machine="Linux x86_64, 2 cores",
        notes="Answers are compared as trees; nothing is executed.",
    )
    session = RunSession(at=at, selection=Selection(), cases=len(rows) or 40, kept=0, concurrency=4)
    end = RunEnd(at=at, rows=len(rows), seconds=754.2) if finished else None
    return RunLog(Path(f"{header.run}.jsonl"), header, (session,), tuple(rows), end, 0)


def drawn(
    rates: Mapping[str, float],
    *,
    count: int = 40,
    seconds: float = 4.0,
    seed: int = 0,
    sure: bool = False,
    price: int = 0,
) -> list[RunRow]:
    """Rows of ``count`` cases a category that are right at the given rates."""
    chance = random.Random(seed)
    found = []
    for category, rate in rates.items():
        for at in range(count):
            hard = random.Random(f"{category}{at}").random()
            right = hard * 0.7 + chance.random() * 0.3 < rate
            case = Case(
                id=f"{category}_{at}", category=category, input=f"Question {at}?", target=[{"area": {"r": [at]}}]
            )
            usage = Usage(prompt=chance.randint(500, 900), cached=400, completion=chance.randint(20, 120))
            said = f"[area(r={at if right else at + 1})]"
            output = Output(
                text=said,
                usage=usage,
                cost=Decimal(usage.total * price) / 1_000_000,
                seconds=seconds * chance.lognormvariate(0, 0.5),
                confidence=min(max(rate + chance.gauss(0, 0.2), 0), 1) if sure else None,
                transcript=(
                    {"role": "system", "content": "Answer with calls."},
                    {"role": "user", "content": f"Question {at}?"},
                    {"role": "assistant", "content": said},
                ),
            )
            score = Score(value=float(right), answer=said, explanation="" if right else f"r is {at + 1}, not {at}")
            found.append(row(case, output, score, baselines={"no call": float(category == "irrelevance")}))
    return found


RAW = {"simple": 0.8, "multiple": 0.72, "parallel": 0.45, "parallel_multiple": 0.35, "irrelevance": 0.55}
PLANNED = {"simple": 0.82, "multiple": 0.75, "parallel": 0.7, "parallel_multiple": 0.6, "irrelevance": 0.66}


def several() -> list[RunLog]:
    """Four runs of one suite and one of another."""
    small = {name: rate - 0.2 for name, rate in RAW.items()}
    small_planned = {name: rate - 0.12 for name, rate in PLANNED.items()}
    return [
        log(
            drawn(RAW, seconds=3.1),
            solver="raw",
            model_sha256="cc32" * 16,
            engine="xllamacpp 2026.8",
            shuntyard="0.1.0",
        ),
        log(drawn(PLANNED, seconds=7.5, seed=1), minutes=20, engine="xllamacpp 2026.8"),
        log(drawn(small, seconds=1.0, seed=2, count=20), minutes=40, solver="raw", model="qwen2.5-coder-0.5b"),
        log(drawn(small_planned, seconds=2.4, seed=3, count=20), minutes=50, model="qwen2.5-coder-0.5b"),
        log(drawn({"": 0.6}, seed=4, sure=True, count=200), suite="gsm8k", minutes=60, solver="model"),
    ]
