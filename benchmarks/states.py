"""Which saved prompt states go when room is short: those of least worth, or those unused longest, on one trace.

A trace is a file of JSON lines with ``hash_ids``, the numbers of a prompt's blocks of 512 tokens, as that of "Mooncake:
A KVCache-centric Disaggregated Architecture for LLM Serving" (``conversation_trace.jsonl``); without one a trace of
agents is made up: few rules, many tasks, each with several turns.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..serving.schedule.worth import MIB, Speeds, credit, worth_keeping

NAME = "states"
BLOCK = 512
"""Tokens."""
MODELS: Mapping[str, Speeds] = {
    "smollm2-135m": Speeds(token=2.5e-3, token_bytes=46_080),
    "qwen2.5-coder-0.5b": Speeds(token=7e-3, token_bytes=12_288),
    "qwen2.5-coder-1.5b": Speeds(token=20e-3, token_bytes=28_672),
}
"""Assumed seconds a token, and what the models' files say of a token's keys and values in 16 bits."""

Policy = Literal["recent", "credit"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt of a trace."""

    blocks: Sequence[object]
    """Its pieces, each named by all that comes before it too, so that equal ones begin equal prompts."""
    model: str = ""


@dataclass(slots=True)
class Replayed:
    """What a policy came to."""

    tokens: int = 0
    """Of all prompts."""
    hits: int = 0
    """Of those that a state had."""
    seconds: float = 0.0
    """That they saved."""


@dataclass(slots=True)
class _State:
    asked: Asked
    gain: float
    size: float
    credit: float
    used: int
    id: int


def replay(
    trace: Iterable[Asked], most: float, policy: Policy, *, speeds: Mapping[str, Speeds], block: int = 512
) -> Replayed:
    """Play ``trace`` with room for ``most`` bytes of states; a block is ``block`` tokens, ``speeds`` are by model.

    The state of every prompt that is not known whole is kept, and the one that ``policy`` names goes first: the longest
    unused, or the one of least credit.
    """
    found = Replayed()
    states: dict[int, _State] = {}
    having: dict[object, set[int]] = {}
    total = level = 0.0
    for turn, asked in enumerate(trace):
        found.tokens += len(asked.blocks) * block
        known = next((at for at in range(len(asked.blocks), 0, -1) if having.get(asked.blocks[at - 1])), 0)
        speed = speeds[asked.model]
        if known:
            state = min(
                (states[id] for id in having[asked.blocks[known - 1]]), key=lambda item: (item.size, -item.used)
            )
            found.hits += known * block
            found.seconds += known * block * speed.token - state.size * speed.restore
            state.used = turn
            state.credit = credit(state.gain, state.size, had=state.credit, level=level)
        worth = worth_keeping(len(asked.blocks) * block, speed)
        if known == len(asked.blocks) or worth.size > most:
            continue
        states[turn] = _State(asked, worth.gain, worth.size, credit(worth.gain, worth.size, level=level), turn, turn)
        total += worth.size
        for name in asked.blocks:
            having.setdefault(name, set()).add(turn)
        while total > most:
            going = min(states.values(), key=lambda item: (item.credit if policy == "credit" else 0.0, item.used))
            total -= going.size
            level = max(level, going.credit)
            del states[going.id]
            for name in going.asked.blocks:
                having[name].discard(going.id)
    return found


def read_trace(path: Path, *, models: Sequence[str], limit: int) -> list[Asked]:
    """Return the prompts of a file; conversations are dealt to ``models`` by what distinguishes them."""
    found: list[Asked] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                blocks = json.loads(line)["hash_ids"]
                if blocks and len(found) < limit:
                    found.append(_dealt(blocks, models))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"trace={str(path)!r} is no file of JSON lines with 'hash_ids' ({type(error).__name__}); give another one."
        ) from None
    return found


def made_up(*, models: Sequence[str], seed: int = 1, tasks: int = 400) -> list[Asked]:
    """Return prompts of agents: twelve rules of different lengths, some loved more, and tasks of one to eight turns."""
    chance = random.Random(seed)
    rules = [[f"rule{n}.{at}" for at in range(chance.randint(1, 8))] for n in range(12)]
    open_tasks: list[list[str]] = []
    found = []
    for number in range(tasks):
        open_tasks.append([*chance.choices(rules, [1 / (n + 1) for n in range(12)])[0], f"task{number}"])
        for task in chance.sample(open_tasks, min(len(open_tasks), 3)):
            task.append(f"{task[-1]}.{len(task)}")
            found.append(_dealt(list(task), models))
            if chance.random() < 0.3:
                open_tasks.remove(task)
    return found


def _dealt(blocks: list[Any], models: Sequence[str]) -> Asked:
    told = blocks[min(1, len(blocks) - 1)]
    model = models[int(hashlib.sha256(str(told).encode()).hexdigest(), 16) % len(models)]
    return Asked([(model, block) for block in blocks], model)


async def run(
    *,
    trace: str = "",
    models: str = ",".join(MODELS),
    mib: str = "512,2048,8192",
    limit: int = 4000,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Replay the first ``limit`` prompts of ``trace`` with room of ``mib``, for the first of ``models`` and for all."""
    names = models.split(",")
    if unknown := [name for name in names if name not in MODELS]:
        raise UsageError(f"models={unknown[0]!r} is none of {', '.join(MODELS)}; leave it out.")
    rows = []
    for dealt in ([names[0]], names) if len(names) > 1 else ([names[0]],):
        asked = read_trace(Path(trace), models=dealt, limit=limit) if trace else made_up(models=dealt)
        for room in (int(item) for item in mib.split(",")):
            ways: dict[Policy, Replayed] = {
                way: replay(asked, room * MIB, way, speeds=MODELS) for way in ("recent", "credit")
            }
            rows.append(
                {
                    "models": dealt,
                    "mib": room,
                    "prompts": len(asked),
                    "tokens": ways["recent"].tokens,
                    **{f"hits_per_mib_{way}": round(item.hits / room, 1) for way, item in ways.items()},
                    **{f"seconds_per_mib_{way}": round(item.seconds / room, 3) for way, item in ways.items()},
                }
            )
            if say is not None:
                say(str(rows[-1]))
    return {"trace": Path(trace).name if trace else "made up", "rows": rows}


def describe(result: Mapping[str, Any]) -> str:
    """Return one line per room."""
    lines = [f"trace: {result['trace']}; hit tokens per MiB, and seconds saved per MiB"]
    for row in result["rows"]:
        hits, seconds = ([row[f"{what}_per_mib_{way}"] for way in ("recent", "credit")] for what in ("hits", "seconds"))
        lines.append(
            f"{len(row['models'])} model(s), {row['mib']:>6,} MiB: longest unused {hits[0]:,} and {seconds[0]:.2f} s, "
            f"least credit {hits[1]:,} and {seconds[1]:.2f} s"
        )
    return "\n".join(lines)
