"""The figures for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def describe(found: dict[str, Any]) -> str:
    """Return the figures as a text, with what each is to be compared with."""
    lines = [f"{found['model']}, large: {found['large']}, answers of at most {found['tokens']} tokens"]
    shown = {"lookahead": _lookahead, "entropy": _entropy, "abort": _abort, "blend": _blend, "extend": _extend}
    for part, show in shown.items():
        if part in found:
            lines.extend(("", *show(found[part])))
    return "\n".join(lines)


def _lookahead(part: dict[str, Any]) -> Iterator[str]:
    yield "guesses from a trie, as many as pay here: times less than without, on the clock and of CPU; tokens per pass"
    for name, runs in part.items():
        for key, run in runs.items():
            same = "same tokens" if run["same"] else f"OTHER TOKENS from a tie of {run['tie']:.3f} logits on"
            yield (
                f"  {name:5} {key:6} {run['seconds']:.2f}, {run['cpu']:.2f}; {run['per_pass']:.2f} "
                f"({run['accepted']} of {run['drafted']} guesses right, {same})"
            )


def _entropy(part: dict[str, Any]) -> Iterator[str]:
    yield "two models take turns: tokens by the large one, tokens it had to read, right answers"
    whole = part["large"]["large_prompt"] + part["large"]["large_tokens"] + part["large"]["large_catch_up"]
    for name, row in part.items():
        work = row["large_prompt"] + row["large_tokens"] + row["large_catch_up"]
        yield (
            f"  above {name:6} {row['large_tokens']} of {row['completion']} ({row['share']:.0%}), catch-up "
            f"{row['large_catch_up']} (small {row['small_catch_up']}), prompts {row['large_prompt']}, "
            f"{row['switches']} changes, {work / max(1, whole):.2f} of the large one's tokens, "
            f"{row['right']} of {row['of']} right"
        )


def _abort(part: dict[str, Any]) -> Iterator[str]:
    yield (
        f"early stop: floor {part['floor']:.2f} fitted on {part['fitted_on']} good answers "
        f"({part['not_ended']} did not end by themselves and are left out)"
    )
    for name, label in (("good", "good, stopped wrongly"), ("loops", "loops"), ("salad", "word salad")):
        row = part[name]
        yield (
            f"  {label}: {row['stopped']} of {row['answers']} stopped, {row['saved']} of {row['tokens']} tokens saved"
        )


def _blend(part: dict[str, Any]) -> Iterator[str]:
    yield "prompts from texts read alone: divergence from the whole prompt's next token, in nats"
    for name, row in part.items():
        yield (
            f"  recomputed {name:5} KL {row['kl']:.4f}, same next token {row['same']} times, "
            f"{row['computed']} of {row['total']} tokens read ({row['computed'] / row['total']:.2f}), "
            f"{row['first']} read alone once"
        )


def _extend(part: dict[str, Any]) -> Iterator[str]:
    yield "beyond the trained length: a fact at a quarter of the prompt"
    for name, row in part.items():
        told = "found" if row["found"] else "NOT FOUND"
        yield f"  {name:8} {row['prompt']} tokens on {row['last']} positions: {told} ({row['text']!r})"
