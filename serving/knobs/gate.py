"""The quality gate of smaller keys and values: a type is used for a model file only when its answers stay the same.

Answers of the type are compared with those of f16 on the same file and engine. Along f16's own answer the type must
choose the same next token and give it nearly the same probability; and its own answer must be one that f16 finds
likely too, because a broken cache writes fluent nonsense that no reader of counts would notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import SettingsInvalid
from ...messages import Frozen
from ...settings import Settings, cache
from ..kernels import name_of
from ..part import writing
from ..schedule.states import StateIdentity, fingerprint
from .knobs import Knobs
from .lone import Lone, lone
from .texts import TEXTS, Text

AGREEMENT = 0.95
"""Least share of next tokens that are f16's. q8_0 had 0.974 and 0.984 on the two smallest models, where only near ties
fall otherwise; the broken 4-bit keys that this is to find had 0.90 and 0.92."""
DRIFT = 0.15
"""Most that the log-probability of f16's token may move, in nats, on average: 0.15 are 16 % of its probability. q8_0
moved it by 0.03, the 4-bit keys that wrote nonsense by 0.19."""
NONSENSE = 1.0
"""Nats per token by which f16 may find one answer less likely than its own; greedy answers of equal quality differ
by less, and one nat is a perplexity 2.7 times as high."""
TOKENS = 24
"""Of every answer."""
_TOP = 20
_LEAST = 8
"""Tokens of a tail that are enough to call it nonsense; the mean of fewer says little."""

Token = tuple[int, dict[int, float]]
"""A token, and the log-probabilities of the likeliest at its place."""


class Verdict(Frozen):
    """What the gate found for one type on one model file and engine."""

    identity: StateIdentity
    """Model file, engine and types."""
    positions: int
    """Next tokens that were compared."""
    agreement: float
    """Share of them that are f16's."""
    drift: float
    """How far the log-probability of f16's token moved, in nats, on average."""
    nonsense: int
    """Answers that f16 finds unlikely."""
    answers: int

    @property
    def passed(self) -> bool:
        """Whether the type may be used."""
        return self.agreement >= AGREEMENT and self.drift <= DRIFT and self.nonsense == 0

    def __str__(self) -> str:
        """The figures, for people."""
        return (
            f"{self.agreement:.1%} of {self.positions} next tokens are f16's (least {AGREEMENT:.0%}), their "
            f"log-probability moves by {self.drift:.3f} (most {DRIFT}), {self.nonsense} of {self.answers} answers are "
            "nonsense (most 0)"
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """One prompt under both types."""

    reference: Sequence[Token]
    """f16's answer."""
    same: Sequence[dict[int, float]]
    """Log-probabilities of the type along f16's answer."""
    own: Sequence[float]
    """Log-probabilities that f16 gives to the tokens of the type's own answer, from where the two part."""


def judge(identity: StateIdentity, compared: Sequence[Compared]) -> Verdict:
    """Return the verdict on the answers to several prompts."""
    agree, moved = 0, 0.0
    positions = 0
    nonsense = 0
    for item in compared:
        for (token, ours), theirs in zip(item.reference, item.same, strict=True):
            positions += 1
            agree += max(theirs, key=theirs.__getitem__) == token
            moved += abs(ours[token] - theirs.get(token, min(theirs.values())))
        if len(item.own) >= _LEAST:
            usual = sum(tops[token] for token, tops in item.reference) / len(item.reference)
            nonsense += usual - sum(item.own) / len(item.own) > NONSENSE
    return Verdict(
        identity=identity,
        positions=positions,
        agreement=agree / max(positions, 1),
        drift=moved / max(positions, 1),
        nonsense=nonsense,
        answers=len(compared),
    )


def measure(
    weights: Path,
    knobs: Knobs,
    *,
    texts: Sequence[Text] = TEXTS,
    tokens: int = TOKENS,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> Verdict:
    """Compare the types of ``knobs`` with f16 on ``weights``; blocks, and runs two engines. Raises ModelUnavailable."""
    plain = Knobs(threads=knobs.threads)
    tried = plain.model_copy(update={"kv_keys": knobs.kv_keys, "kv_values": knobs.kv_values})
    identity = StateIdentity(model=fingerprint(weights), engine=name_of(), kv=tried.kv)
    compared: list[Compared] = []
    with lone(weights, plain) as reference, lone(weights, tried) as candidate:
        for number, text in enumerate(texts):
            on_progress(number, len(texts))
            prompt = reference.read(text.said)
            compared.append(_compare(reference, candidate, prompt, tokens))
    return judge(identity, compared)


def ensure(
    weights: Path,
    knobs: Knobs,
    settings: Settings,
    *,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> Verdict:
    """Return the verdict on the types of ``knobs``, measured when it is not known yet.

    Blocks while it measures, 24 to 72 passes of the model for each of eight prompts. Raises SettingsInvalid for a type
    that did not pass.
    """
    verdict = known(weights, knobs, settings)
    if verdict is None:
        from filelock import FileLock

        folder = _folder(settings)
        with FileLock(str(folder / "gate.lock")):
            verdict = known(weights, knobs, settings) or measure(weights, knobs, on_progress=on_progress)
            with writing(folder):
                _path(folder, verdict.identity).write_text(verdict.model_dump_json(), encoding="utf-8")
    if not verdict.passed:
        raise SettingsInvalid(
            f"engine.kv_keys = {knobs.kv_keys!r} with kv_values = {knobs.kv_values!r} is not offered for "
            f"{weights.name!r}: {verdict}; take 'q8_0' or 'f16'."
        )
    return verdict


def known(weights: Path, knobs: Knobs, settings: Settings) -> Verdict | None:
    """Return the verdict of an earlier time on this file, engine and these types."""
    types = Knobs(kv_keys=knobs.kv_keys, kv_values=knobs.kv_values).kv
    identity = StateIdentity(model=fingerprint(weights), engine=name_of(), kv=types)
    try:
        found = Verdict.model_validate_json(_path(_folder(settings), identity).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return found if found.identity == identity else None


def _folder(settings: Settings) -> Path:
    folder = cache(settings) / "knobs"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _path(folder: Path, identity: StateIdentity) -> Path:
    return folder / f"gate-{hashlib.sha256(identity.key.encode()).hexdigest()[:16]}.json"


def _compare(reference: Lone, candidate: Lone, prompt: list[int], count: int) -> Compared:
    ours = _tokens(reference.answer(prompt, count, n_probs=_TOP))
    theirs = _tokens(candidate.answer(prompt, count, n_probs=_TOP))
    said, tried = [token for token, _ in ours], [token for token, _ in theirs]
    alike = next((at for at, (a, b) in enumerate(zip(said, tried, strict=False)) if a != b), min(len(said), len(tried)))
    # Up to where the answers part both had the same words before them; from there on f16's are put before the type.
    same = [tops for _, tops in theirs[: alike + 1]][: len(said)]
    for at in range(len(same), len(said)):
        same.append(_tokens(candidate.answer(prompt + said[:at], 1, n_probs=_TOP))[0][1])
    own: list[float] = []
    for at in range(alike, len(tried)):
        tops = _tokens(reference.answer(prompt + tried[:at], 1, n_probs=_TOP))[0][1]
        own.append(tops.get(tried[at], min(tops.values())))
    return Compared(ours, same, own)


def _tokens(answer: dict[str, Any]) -> list[Token]:
    found: list[Token] = []
    for item in answer["completion_probabilities"]:
        tops = {int(top["id"]): float(top["logprob"]) for top in item["top_logprobs"]}
        tops.setdefault(int(item["id"]), float(item["logprob"]))
        found.append((int(item["id"]), tops))
    return found
