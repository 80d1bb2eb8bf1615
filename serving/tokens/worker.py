"""What the child does with an order: the methods run here, next to the logits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...settings import TokenSettings
from .abort import AbortRule
from .binding import Llama, Load
from .blend import Blender
from .decode import Cursor, Method, Plain, Report, Step, Want, divergence, generate
from .entropy import EntropySwitch, SwitchRule
from .extend import Extended, Group
from .lookahead import Lookahead
from .text import Speech

Event = dict[str, Any]
DEFAULT_LIMIT = 512
"""Tokens of an answer whose request says nothing, as far as the context goes."""


class Worker:
    """The models of one child. ``stopped`` is asked before every pass and may raise."""

    def __init__(self, order: dict[str, Any], stopped: Callable[[], None]) -> None:
        """Load ``order["model"]`` and, when it is there, ``order["large"]``. Raises ModelUnavailable."""
        load = Load(Path(order["model"]), int(order["context"]), threads=int(order.get("threads", 1)))
        self.llama = Llama(load)
        self.llama.before = stopped
        self._cursor = Cursor(self.llama)
        self._large: Cursor | None = None
        if order.get("large"):
            large = Llama(Load(Path(order["large"]), load.context, threads=load.threads))
            large.before = stopped
            self._large = Cursor(large)
        self._lookahead = Lookahead(self._cursor)
        self._blender = Blender(self.llama)

    def answer(self, order: dict[str, Any]) -> Iterator[Event]:
        """Yield the events of one order; the last has ``done``. Raises UsageError, ContextTooLong."""
        works: dict[str, Callable[[dict[str, Any]], Iterator[Event]]] = {
            "generate": self._generate,
            "render": lambda order: iter([{"done": {"prompt": self._render(order["messages"])}}]),
            "count": lambda order: iter([{"done": {"tokens": len(self._prompt(order))}}]),
            "blend": self._blend,
            "extend": self._extend,
            "forget": self._forget,
        }
        yield from works[order["do"]](order)

    def tidy(self) -> None:
        """Let go of what an order that was broken off left behind."""
        for cursor in (self._cursor, self._large):
            if cursor is not None:
                for sequence in range(cursor.llama.load.sequences):
                    cursor.llama.cut(sequence)
                cursor.held.clear()

    def _generate(self, order: dict[str, Any]) -> Iterator[Event]:
        options = TokenSettings.model_validate(order.get("options", {}))
        prompt = self._prompt(order)
        want = Want(**order["want"])
        if not want.limit:
            room = max(1, self.llama.load.context - len(prompt))
            want = replace(want, limit=min(DEFAULT_LIMIT, room))
        rule = None
        if options.abort:
            rule = AbortRule(floor=-math.inf if options.abort_floor is None else options.abort_floor)
        report, speech = Report(), Speech(order.get("stop", ()))
        steps: list[Step] = []
        begin, clock = time.process_time(), time.monotonic()
        for step in generate(self._method(options), prompt, want, report, llama=self.llama, rule=rule):
            if order.get("trace"):
                steps.append(step)
            text = speech.take(self.llama.piece(step.token))
            if text:
                yield {"text": text}
            if speech.stopped:
                report.finish = "stop"
                break
        rest = speech.rest()
        if rest:
            yield {"text": rest}
        spent = {"cpu": time.process_time() - begin, "seconds": time.monotonic() - clock}
        done = {**asdict(report), "per_pass": report.per_pass, **spent}
        if order.get("trace"):
            done |= {"tokens": [step.token for step in steps], "logs": [step.log for step in steps]}
            done["leads"] = [step.lead for step in steps]
        yield {"done": done}

    def _method(self, options: TokenSettings) -> Method:
        if options.method == "lookahead":
            self._lookahead.limit(options.drafts, options.branches)
            return self._lookahead
        if options.method == "entropy":
            if self._large is None:
                raise UsageError("method 'entropy' needs a large model; set 'large'.")
            rule = SwitchRule(options.entropy, options.window, options.run)
            return EntropySwitch(self._cursor, self._large, rule)
        return Plain(self._cursor)

    def _prompt(self, order: dict[str, Any]) -> list[int]:
        prompt = order.get("prompt")
        if prompt is None:
            prompt = self._render(order["messages"])
        ids = self.llama.tokenize(prompt) if isinstance(prompt, str) else [int(item) for item in prompt]
        if not ids:
            raise UsageError("the prompt is empty; give some text.")
        if not all(0 <= token < self.llama.vocabulary for token in ids):
            raise UsageError(f"the prompt has tokens outside the vocabulary of {self.llama.vocabulary}; send text.")
        return ids

    def _render(self, messages: list[dict[str, Any]]) -> str:
        """Apply the template of the model's file, in jinja2's sandbox, since it is the file's code."""
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> str:
            raise TemplateError(message)

        if not self.llama.template:
            raise UsageError("the model's file has no chat template; use completions.")
        begin, end = self.llama.marks
        made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        try:
            return made.from_string(self.llama.template).render(
                messages=messages, add_generation_prompt=True, bos_token=begin, eos_token=end, raise_exception=refuse
            )
        except TemplateError as error:
            raise UsageError(f"the model's chat template refuses the messages: {error}; change them.") from None

    def _forget(self, order: dict[str, Any]) -> Iterator[Event]:
        self.tidy()
        self._lookahead.forget()
        yield {"done": {}}

    def _blend(self, order: dict[str, Any]) -> Iterator[Event]:
        beginning, question = (self.llama.tokenize(order[name]) for name in ("beginning", "question"))
        texts = [self.llama.tokenize(text) for text in order["texts"]]
        self.tidy()
        whole = [*beginning, *(token for text in texts for token in text), *question]
        full = self.llama.feed(whole, 0)
        rows = []
        for share in order["shares"]:
            made = self._blender.compose(beginning, texts, question, recompute=share)
            rows.append(
                {"share": share, "kl": divergence(full, made.row), "computed": made.computed, "total": made.total}
                | {"first": made.first, "same": bool(made.row.argmax() == full.argmax())}
            )
        self.tidy()
        yield {"done": {"rows": rows}}

    def _extend(self, order: dict[str, Any]) -> Iterator[Event]:
        self.tidy()
        extended = Extended(self.llama, Group(int(order["group"]), int(order["width"])))
        ids = self._prompt(order)
        said = extended.answer(ids, int(order["limit"]))
        self.tidy()
        yield {"done": {"text": self.llama.text(said), "prompt": len(ids), "last": extended.last}}
