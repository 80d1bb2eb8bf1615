"""One instance of a fleet, and an answer that may change instances between two of its tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from ...messages import Completion, ModelInfo, ModelRequest
from ..answer import Answer
from ..desk import Desk
from ..local import LocalModel
from ..prompt import Prompt
from ..schedule.dispatch import Call
from ..schedule.warmth import WIDTH, packed, shared
from ..supervise import Running
from .policy import Role
from .roles import Costs, Rates

LOOK = 16
"""Tokens of an answer after which the fleet looks at its loads again."""


class Leaving(Exception):
    """An answer has left its slot between two tokens; ``kept`` says whether its state was saved for others."""

    def __init__(self, *, kept: bool) -> None:
        super().__init__()
        self.kept = kept


@dataclass(frozen=True, slots=True)
class Part:
    """What one instance did for an answer."""

    known: int
    """Tokens of prompt and answer so far that its slot had when it began to write: taken over, or read in pieces."""
    computed: int
    """Tokens that it computed then."""


class Traveller(Answer):
    """An answer that goes on elsewhere with the tokens so far. Its text reaches the caller once."""

    def __init__(self, answer: Answer, *, most: int, movable: bool) -> None:
        """Continue ``answer``, of at most ``most`` tokens; ``movable``: the rest of it depends on its tokens only."""
        super().__init__(answer._begin, answer._on_text)
        self.tokens: list[int] = []
        self.parts: list[Part] = []
        self.carried: list[bytes] = []
        """States that were saved for it alone."""
        self.only_read = False
        """The instance that it is on reads its prompt and no more."""
        self.leave = False
        """It is to leave at the next boundary of tokens."""
        self.looked: Callable[[], None] = lambda: None
        """Called every ``LOOK`` tokens."""
        self._movable = movable
        self._most = most
        self._before = 0
        self._whole = True
        self._timings: dict[str, Any] = {}

    @property
    def movable(self) -> bool:
        """Whether it can leave where it is, once asked."""
        return self._movable and bool(self.tokens) and len(self.tokens) < self._most

    @property
    def resumable(self) -> bool:
        """Whether another instance can go on although this one is gone."""
        return not self.ttft or (self._movable and self._whole and bool(self.tokens))

    def take(self, event: dict[str, Any]) -> None:
        """Take one event. Raises Leaving at a boundary, when the answer is to leave.

        A boundary is where no text is held back by the engine (half a character, or what may become a stop word)
        and every token so far is known.
        """
        super().take(event)
        if "prompt_progress" in event:
            return
        self._timings = event.get("timings", self._timings)
        if self.last is not None:
            return
        self.tokens.extend(event.get("tokens", ()))
        told = int(event.get("tokens_predicted", 0))
        self._whole = bool(event.get("content")) and len(self.tokens) - self._before == told
        if len(self.tokens) % LOOK == 0:
            self.looked()
        if self.leave and self._whole and self.movable:
            raise Leaving(kept=True)

    def left(self, timings: dict[str, Any] | None = None) -> None:
        """Note that its part on an instance is over."""
        timings = self._timings if timings is None else timings
        self.parts.append(Part(int(timings.get("cache_n", 0)), int(timings.get("prompt_n", 0))))
        self._before = len(self.tokens)
        self._timings = {}
        self._whole = True
        self.leave = self.only_read = False
        self.waiting = True

    def completion(self, model: str, prompt: int) -> Completion:
        """Return the whole of it; ``usage.cached`` is what its first instance knew of the prompt."""
        last = dict(self.last or {})
        last["tokens_predicted"] = self._before + int(last.get("tokens_predicted", 0))
        self.left(last.get("timings", {}))
        self.last = {**last, "timings": {"cache_n": self.parts[0].known}}
        return super().completion(model, prompt)


class Member(LocalModel):
    """An instance: its engine and its desk. Requests come through ``serve`` only."""

    def __init__(
        self,
        info: ModelInfo,
        connect: Callable[[bool], Awaitable[Running]],
        *,
        desk: Desk,
        slots: int,
        role: Role = "mixed",
        costs: Costs | None = None,
    ) -> None:
        """``costs`` default to plain rates."""
        super().__init__(info, connect, desk=desk, reuse=False)
        self.desk = desk
        self.slots = slots
        self.role: Role = role
        self.costs = costs or Rates()

    def known(self, tokens: bytes) -> int:
        """Leading tokens of ``tokens`` that one of its slots knows."""
        return max(shared(self.desk.warmth.held(slot), tokens) for slot in range(self.slots))

    async def serve(self, call: Call, request: ModelRequest, prompt: Prompt, answer: Traveller) -> None:
        """Wait for a slot and go on with ``answer`` on it. Raises Leaving when it left before its end."""
        left = request.max_tokens - len(answer.tokens)
        asked = request.model_copy(update={"max_tokens": left}) if answer.tokens else request
        tokens = prompt.tokens + packed(answer.tokens)
        work = partial(self._on, call, asked, Prompt(tokens, prompt.prefix), answer, stays=True)
        await self.desk.scheduler.run(call, work)

    def forget(self, tokens: bytes) -> None:
        """Remove the saved state of exactly ``tokens``."""
        states = self.desk.states
        found = states.best(tokens)[0] if states is not None else None
        if states is not None and found is not None and found.tokens == tokens:
            states.drop(found)

    async def _generate(self, client: httpx.AsyncClient, body: dict[str, Any], answer: Answer) -> None:
        if not isinstance(answer, Traveller):
            await super()._generate(client, body, answer)
            return
        begun = len(answer.tokens)
        timings: dict[str, Any] | None = None
        if answer.only_read:
            part = Answer(0.0, None)
            read = {"prompt": body["prompt"], "n_predict": 0, "temperature": 0, "cache_prompt": True}
            await super()._generate(client, read | {"id_slot": body["id_slot"]}, part)
            timings = dict((part.last or {}).get("timings", {}))
        else:
            try:
                await super()._generate(client, body | _TOLD, answer)
                return
            except Leaving:
                pass
        tokens = packed([*body["prompt"], *answer.tokens[begun:]])
        if timings is None:
            answer.carried.append(tokens)
        answer.left(timings)
        await self.desk.carry(client, body["id_slot"], tokens)
        raise Leaving(kept=self._saved(tokens))

    def _saved(self, tokens: bytes) -> bool:
        states = self.desk.states
        return states is not None and states.best(tokens)[1] >= len(tokens) // WIDTH - 1


_TOLD = {"return_tokens": True, "timings_per_token": True}
