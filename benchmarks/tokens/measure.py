"""The measurements, each on a child of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import UnknownName
from ...serving.fetch import ensure
from ...serving.knobs.knobs import threads_of
from ...serving.knobs.texts import TEXTS
from ...serving.tokens import Order, TokenChild
from ...serving.tokens.abort import AbortRule
from ...settings import TokenSettings, load
from .tasks import ASKED, BEGINNING, HAY, LONG, LOOPS, NEEDLE, NOTES, QUESTIONS, SEEK, question

PARTS = ("lookahead", "entropy", "abort", "blend")
SHARES = (0.0, 0.15, 0.3, 1.0)
SPENT = ("seconds", "cpu")
SALAD = 2.5
"""A temperature at which no model makes sense."""


@dataclass(frozen=True, slots=True)
class _Setup:
    model: str
    large: str
    tokens: int
    entropies: tuple[float, ...]
    length: int
    say: Callable[[str], None]


def run(
    *,
    model: str = "smollm2-135m",
    large: str = "",
    parts: str = ",".join(PARTS),
    tokens: int = 64,
    entropies: str = "0.3,0.6,1.2",
    length: int = 9000,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure ``parts`` with answers of at most ``tokens`` tokens; ``entropies`` are thresholds in nats.

    ``extend`` is a part too, on a prompt of ``length`` tokens: minutes. Raises UnknownName, ModelUnavailable.
    """
    thresholds = tuple(float(item) for item in entropies.split(","))
    setup = _Setup(model, large or model, tokens, thresholds, length, say or (lambda text: None))
    known = {"lookahead": _lookahead, "entropy": _entropy, "abort": _abort, "blend": _blend, "extend": _extend}
    found: dict[str, Any] = {"model": model, "large": setup.large, "tokens": tokens}
    for part in parts.split(","):
        if part not in known:
            raise UnknownName("part", part, list(known))
        setup.say(f"measuring {part}")
        found[part] = known[part](setup)
    return found


@contextmanager
def _child(setup: _Setup, *, large: bool = False, context: int = 2048) -> Iterator[TokenChild]:
    settings = load({})
    path = ensure(setup.model, settings)[0]
    second = ensure(setup.large, settings)[0] if large else None
    child = TokenChild(Order(setup.model, path, context, threads_of(settings), second))
    try:
        yield child
    finally:
        child.close()


def _ask(
    child: TokenChild, asked: str | list[dict[str, str]], limit: int, *, chat: bool = True, **more: Any
) -> dict[str, Any]:
    """Return the counts of one answer and its text; ``asked`` is a question, with ``chat`` off a text to go on with."""
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    said = {"messages": messages} if chat else {"prompt": asked}
    options = more.pop("options", {})
    want = {"limit": limit, **more}
    events = list(child.ask({"do": "generate", "want": want, "options": options, "trace": True, **said}))
    text = "".join(event.get("text", "") for event in events)
    return {**events[-1]["done"], "text": text}


def _lookahead(setup: _Setup) -> dict[str, Any]:
    """Every text of a kind, then all of them again, by both ways one after the other; the prompt is read before."""
    ahead = TokenSettings(method="lookahead").model_dump()
    found: dict[str, Any] = {}
    with _child(setup) as child:
        # What passes cost is measured at the first answer.
        _ask(child, "Hello.", 1, options=ahead)
        for kind in dict.fromkeys(text.kind for text in TEXTS):
            child.result({"do": "forget"})
            found[kind] = {}
            for turn in ("first", "again"):
                pairs = []
                for text in (text for text in TEXTS if text.kind == kind):
                    said = [{"role": role, "content": content} for role, content in text.said]
                    _ask(child, said, 1)
                    plain = _ask(child, said, setup.tokens)
                    pairs.append((plain, _ask(child, said, setup.tokens, options=ahead)))
                found[kind][turn] = _compared(pairs)
            setup.say(f"{kind}: {found[kind]}")
    return found


def _compared(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return how many times less answers took with guesses, and the counts of those."""
    ratios = {what: sum(one[what] for one, _ in pairs) / sum(two[what] for _, two in pairs) for what in SPENT}
    tokens = sum(run["completion"] + (run["finish"] == "stop") for _, run in pairs)
    counts = {count: sum(run[count] for _, run in pairs) for count in ("passes", "drafted", "accepted")}
    return {
        **{what: round(ratio, 2) for what, ratio in ratios.items()},
        "per_pass": tokens / (counts["passes"] + len(pairs)),
        **counts,
        "same": all(run["tokens"] == plain["tokens"] for plain, run in pairs),
        "tie": max(_tie(plain, run) for plain, run in pairs),
    }


def _tie(plain: dict[str, Any], run: dict[str, Any]) -> float:
    """Return how near the two best tokens were where the answers part; 0 when they do not."""
    pairs = zip(plain["tokens"], run["tokens"], plain["leads"], run["leads"], strict=False)
    return next((min(mine, theirs) for one, other, mine, theirs in pairs if one != other), 0.0)


def _entropy(setup: _Setup) -> dict[str, Any]:
    found = {}
    with _child(setup, large=True) as child:
        for at in (1e9, *setup.entropies, 0.0):
            run = 1 if at == 0 else TokenSettings().run
            options = TokenSettings(method="entropy", large=setup.large, entropy=at, run=run).model_dump()
            answers = []
            for prompt, right in ASKED:
                child.result({"do": "forget"})
                answer = _ask(child, prompt, setup.tokens, options=options)
                answers.append((answer, any(word in answer["text"] for word in right)))
            name = {1e9: "small", 0.0: "large"}.get(at, str(at))
            counts = ("completion", "large_tokens", "large_prompt", "large_catch_up", "small_catch_up", "switches")
            row: dict[str, Any] = {count: sum(answer[count] for answer, _ in answers) for count in counts}
            row |= {"right": sum(good for _, good in answers), "of": len(answers)}
            found[name] = row | {"share": row["large_tokens"] / max(1, row["completion"])}
            setup.say(f"entropy {name}: {row['right']} of {row['of']} right")
    return found


def _abort(setup: _Setup) -> dict[str, Any]:
    """Answers that end by themselves are good; half of them fit the floor, the rest and the bad ones test it."""
    limit = setup.tokens * 3
    with _child(setup) as child:
        ended = [_ask(child, prompt, limit) for prompt in LONG]
        loops = [_ask(child, prompt, limit, chat=False) for prompt in LOOPS]
        salad = [_ask(child, prompt, limit, temperature=SALAD, seed=1) for prompt in LONG[: len(LOOPS)]]
    good = [answer for answer in ended if answer["finish"] == "stop"]
    rule = AbortRule().fitted([answer["logs"] for answer in good[::2]])
    return {
        "floor": rule.floor,
        "fitted_on": len(good[::2]),
        "not_ended": len(ended) - len(good),
        "good": _stopped(rule, good[1::2]),
        "loops": _stopped(rule, loops),
        "salad": _stopped(rule, salad),
    }


def _stopped(rule: AbortRule, answers: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many of ``answers`` the rule stops, and how many of their tokens that saves."""
    stopped = saved = tokens = 0
    for answer in answers:
        watch, steps = rule.watch(), list(zip(answer["tokens"], answer["logs"], strict=True))
        tokens += len(steps)
        at = next((index for index, step in enumerate(steps, start=1) if watch.see(*step)), 0)
        stopped += bool(at)
        saved += len(steps) - at if at else 0
    return {"answers": len(answers), "stopped": stopped, "tokens": tokens, "saved": saved}


def _blend(setup: _Setup) -> dict[str, Any]:
    totals = {share: {"kl": 0.0, "same": 0, "computed": 0, "total": 0, "first": 0} for share in SHARES}
    with _child(setup) as child:
        for asked, begun in QUESTIONS:
            order = {"do": "blend", "beginning": BEGINNING, "texts": NOTES, "question": question(asked, begun)}
            for row in child.result({**order, "shares": SHARES})["rows"]:
                for key in totals[row["share"]]:
                    totals[row["share"]][key] += row[key]
    return {f"{share:.0%}": {**row, "kl": row["kl"] / len(QUESTIONS)} for share, row in totals.items()}


def _extend(setup: _Setup) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with _child(setup, context=setup.length + 512) as child:
        size = child.result({"do": "count", "prompt": HAY * 20})["tokens"] / 20
        some = int(setup.length / size)
        prompt = BEGINNING + HAY * (some // 4) + NEEDLE + HAY * (some - some // 4) + SEEK
        for name, group in (("plain", 1), ("grouped", 4)):
            done = child.result({"do": "extend", "prompt": prompt, "limit": 8, "group": group, "width": 1024})
            found[name] = {**done, "found": "marzipan" in done["text"]}
            setup.say(f"extend {name}: {done['text']!r}")
    return found
