"""The four measurements."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from ...errors import UnknownName
from ...serving.engine import GUESS, SLOTS
from ...serving.fetch import ensure
from ...serving.kernels import name_of
from ...serving.knobs import gate
from ...serving.knobs.knobs import Knobs, threads_of
from ...serving.knobs.lone import Lone, lone
from ...serving.knobs.texts import TEXTS
from ...serving.source import build_of
from ...settings import load

NAME = "knobs"
PARTS = ("memory", "gate", "speculation", "stall")


@dataclass(frozen=True, slots=True)
class _Setup:
    weights: Path
    build: str
    knobs: Knobs
    types: tuple[str, ...]
    guesses: Knobs
    """Those that speculate."""
    tokens: int
    rounds: int
    say: Callable[[str], None]

    def typed(self, kv: str) -> Knobs:
        """The knobs with other types, as ``keys/values``."""
        keys, _, values = kv.partition("/")
        return Knobs.model_validate({**self.knobs.model_dump(), "kv_keys": keys, "kv_values": values or keys})


def run(
    *,
    model: str = "smollm2-135m",
    parts: str = ",".join(PARTS),
    types: str = "q8_0/q8_0,q8_0/q4_0,q4_0/q4_0",
    kind: str = f"ngram_mod:{GUESS}",
    tokens: int = 64,
    rounds: int = 2,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure ``parts``: KV ``types`` (keys/values), and speculation of ``kind`` on answers of ``tokens`` tokens.

    A number behind a colon in ``kind`` is how many tokens are guessed at once; ``rounds`` is how often an answer is
    asked for again.
    """
    settings, say = load({}), say or (lambda text: None)
    known: dict[str, Callable[[_Setup], dict[str, Any]]] = {
        "memory": _memory,
        "gate": _gate,
        "speculation": _speculation,
        "stall": _stall,
    }
    for part in parts.split(","):
        if part not in known:
            raise UnknownName("part", part, list(known))
    weights = ensure(model, settings)[0]
    way, _, ahead = kind.partition(":")
    usual = Knobs(threads=threads_of(settings))
    setup = _Setup(
        weights=weights,
        build=build_of(weights, settings, say),
        knobs=usual,
        types=tuple(types.split(",")),
        guesses=Knobs.model_validate({**usual.model_dump(), "speculation": way, "guess": int(ahead or GUESS)}),
        tokens=tokens,
        rounds=rounds,
        say=say,
    )
    return {"model": model, "engine": name_of(setup.build), **{part: known[part](setup) for part in parts.split(",")}}


def _memory(setup: _Setup) -> dict[str, Any]:
    """Tokens per MiB of the KV memory that the engine says it has, at a context of 8192."""
    found: dict[str, float] = {}
    for kv in ("f16/f16", *setup.types):
        with lone(setup.weights, setup.typed(kv), context=8192 // SLOTS, build=setup.build) as engine:
            found[kv] = engine.tokens_of_kv / engine.kv_mib
        setup.say(f"{kv}: {found[kv]:.1f} tokens per MiB")
    usual = found["f16/f16"]
    return {kv: {"tokens_per_mib": round(value, 1), "ratio": round(value / usual, 2)} for kv, value in found.items()}


def _gate(setup: _Setup) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kv in setup.types:
        verdict = gate.measure(setup.weights, setup.typed(kv))
        setup.say(f"{kv}: {verdict}")
        found[kv] = {"passed": verdict.passed, **verdict.model_dump(mode="json", exclude={"identity"})}
    return found


def _speculation(setup: _Setup) -> dict[str, Any]:
    """Every text by both ways one after the other; then all again, because the pools outlive a request."""
    found: dict[str, Any] = {}
    with (
        lone(setup.weights, setup.knobs, build=setup.build) as off,
        lone(setup.weights, setup.guesses, build=setup.build) as on,
    ):
        for kind in dict.fromkeys(text.kind for text in TEXTS):
            turns = [
                [_both(off, on, off.read(text.said), setup.tokens) for text in TEXTS if text.kind == kind]
                for _ in range(setup.rounds + 1)
            ]
            again = [pair for turn in turns[1:] for pair in turn]
            found[kind] = {"first": _sum(turns[0]), "repeated": _sum(again)}
            setup.say(f"{kind}: {found[kind]}")
    return {"kind": setup.guesses.speculation, "guess": setup.guesses.guess, "classes": found}


def _both(off: Lone, on: Lone, prompt: list[int], tokens: int) -> dict[str, Any]:
    """The same answer without and with speculation: CPU and wall seconds of it, and passes of the model.

    CPU seconds count more for guessing than the wall does: a pass of one token waits for memory, on every thread.
    """
    answers, spent = [], []
    for engine in (off, on):
        engine.answer(prompt, 0)
        begin = engine.cpu()
        answers.append(engine.answer(prompt, tokens))
        spent.append(engine.cpu() - begin)
    timings = answers[1]["timings"]
    generated = int(timings["predicted_n"])
    return {
        "cpu": spent,
        "wall": [float(answer["timings"]["predicted_ms"]) / 1000 for answer in answers],
        "tokens": generated,
        "guessed": int(timings.get("draft_n") or 0),
        "passes": max(1, generated - int(timings.get("draft_n_accepted") or 0)),
        "same": answers[0]["content"] == answers[1]["content"],
    }


def _sum(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    off, on = (sum(pair["cpu"][way] for pair in pairs) for way in (0, 1))
    walls = [sum(pair["wall"][way] for pair in pairs) for way in (0, 1)]
    return {
        "speedup": round(off / max(on, 0.01), 2),
        "wall": round(walls[0] / max(walls[1], 0.001), 2),
        "per_pass": round(sum(pair["tokens"] for pair in pairs) / sum(pair["passes"] for pair in pairs), 2),
        "guessed": sum(pair["guessed"] for pair in pairs),
        "right": sum(pair["tokens"] - pair["passes"] for pair in pairs),
        "off_cpu": round(off, 2),
        "on_cpu": round(on, 2),
        "same_text": all(pair["same"] for pair in pairs),
    }


def _stall(setup: _Setup) -> dict[str, Any]:
    """The longest gap of a running answer while another's prompt of about 600 tokens is read, per batch."""
    found: dict[str, Any] = {}
    for batch in (512, 128, 32):
        knobs = Knobs.model_validate({**setup.knobs.model_dump(), "batch": batch})
        with lone(setup.weights, knobs, build=setup.build) as engine:
            gaps = [_gap(engine, turn) for turn in range(max(1, setup.rounds))]
        found[str(batch)] = {"gap": round(median(gap for gap, _ in gaps), 2), "long": round(gaps[0][1], 2)}
        setup.say(f"batch {batch}: {found[str(batch)]}")
    return found


def _gap(engine: Lone, turn: int) -> tuple[float, float]:
    """CPU seconds of the engine between two tokens of the answer at most, and for the long prompt from its arrival."""
    lines = "\n".join(f"row {n} of table {turn} has the value {n * 7}" for n in range(45))
    long = engine.read((("user", lines),))
    short = engine.read((("user", "Write a long story."),))
    took: list[float] = []

    def arrive() -> None:
        begin = engine.cpu()
        engine.answer(long, 1, id_slot=1)
        took.append(engine.cpu() - begin)

    newcomer = threading.Thread(target=arrive)
    body = {"prompt": short, "n_predict": 400, "temperature": 0, "id_slot": 0, "stream": True, "ignore_eos": True}
    heard: list[float] = []
    with engine.client.stream("POST", "/completion", json=body) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            heard.append(engine.cpu())
            if len(heard) == 5:
                newcomer.start()
            # Ten more tokens, so that the gap after the newcomer's last batch is seen.
            if (len(heard) > 15 and not newcomer.is_alive()) or json.loads(line[6:]).get("stop"):
                break
    newcomer.join()
    return max(later - earlier for earlier, later in pairwise(heard[2:])), took[0]
