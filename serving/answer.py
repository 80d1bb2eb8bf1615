"""An answer of the engine, put together from the events of its stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..errors import ContextTooLong
from ..messages import Completion, TokenLogprob, Usage


def too_long(model: str, message: str) -> ContextTooLong:
    """The error for a prompt that ``model`` refuses with ``message``; llama.cpp's own mend is none of its clients'."""
    said = message.removesuffix(", try increasing it").removesuffix(".")
    return ContextTooLong(f"the prompt does not fit {model!r}: {said}; shorten it.", ids={"model": model})


class Answer:
    """An answer while it comes; ``read`` is how much of its prompt the engine has read."""

    def __init__(self, begin: float, on_text: Callable[[str], None] | None) -> None:
        self._begin = begin
        self._on_text = on_text
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self.read = 0
        self.ttft = 0.0
        self.waiting = True
        """For a slot."""
        self.ahead = 0
        """Tokens of the prompt that were computed for this very answer, but before its generation."""
        self.last: dict[str, Any] | None = None
        self.begins: Callable[[], None] = lambda: None
        """Called once, at the first token."""

    @property
    def computed(self) -> int:
        """Tokens of the prompt that the engine computed."""
        return int((self.last or {}).get("timings", {}).get("prompt_n", 0))

    @property
    def took(self) -> float:
        """Seconds that it computed them for."""
        return float((self.last or {}).get("timings", {}).get("prompt_ms", 0.0)) / 1000

    def take(self, event: dict[str, Any]) -> None:
        """Take one event; its text is passed on at once."""
        progress = event.get("prompt_progress")
        if progress is not None:
            self.read = int(progress["processed"])
            return
        if not self.ttft:
            self.ttft = time.monotonic() - self._begin
            self.begins()
        text = event.get("content", "")
        if text:
            self._texts.append(text)
            if self._on_text is not None:
                self._on_text(text)
        if event.get("stop"):
            self.last = event
        else:
            self._logprobs.extend(_logprob(item) for item in event.get("completion_probabilities", ()))

    def completion(self, model: str, prompt: int) -> Completion:
        """Return the whole of it, once ``last`` is there."""
        last = self.last or {}
        timings = last.get("timings", {})
        usage = Usage(
            prompt=prompt,
            cached=max(0, min(prompt, int(timings.get("cache_n", 0))) - self.ahead),
            completion=int(last.get("tokens_predicted", 0)),
        )
        return Completion(
            text="".join(self._texts),
            model=model,
            usage=usage,
            finish="length" if last.get("stop_type") == "limit" else "stop",
            logprobs=tuple(self._logprobs),
            ttft=self.ttft,
            seconds=time.monotonic() - self._begin,
        )


def _logprob(item: dict[str, Any]) -> TokenLogprob:
    top = tuple((other["token"], float(other["logprob"])) for other in item.get("top_logprobs", ()))
    return TokenLogprob(token=item["token"], logprob=float(item["logprob"]), top=top)
