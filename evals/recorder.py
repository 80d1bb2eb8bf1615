"""A model that writes down what it is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from ..messages import Completion, Message, ModelInfo, ModelRequest, Usage
from ..protocols import Model


class Recorder:
    """Hands every request on, with the seed of the case and the temperature of the evaluation.

    ``usage`` and ``transcript`` hold all that was asked and answered, also by calls that were cancelled half-way:
    of those, every piece of text counts as a token.
    """

    def __init__(self, model: Model, *, seed: int, temperature: float) -> None:
        """Record ``model``; requests that ask for a higher temperature of their own keep it."""
        self._model = model
        self._seed = seed
        self._temperature = temperature
        self.usage = Usage()
        self.transcript: list[dict[str, Any]] = []

    @property
    def info(self) -> ModelInfo:
        """The model's own."""
        return self._model.info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Ask the model; what was heard is kept even when the call does not come to its end."""
        pieces: list[str] = []

        def hear(text: str) -> None:
            pieces.append(text)
            if on_text is not None:
                on_text(text)

        temperature = max(request.temperature, self._temperature)
        asked = request.model_copy(update={"seed": request.seed + self._seed, "temperature": temperature})
        self.transcript += [message.model_dump() for message in asked.messages]
        completion: Completion | None = None
        try:
            completion = await self._model.complete(asked, on_text=hear)
            return completion
        finally:
            text = completion.text if completion is not None else "".join(pieces)
            self.transcript.append({"role": "assistant", "content": text})
            if completion is not None:
                self.usage += completion.usage
            elif pieces:
                with anyio.CancelScope(shield=True):
                    prompt = await self._model.count(asked.messages)
                self.usage += Usage(prompt=prompt, completion=len(pieces))

    async def count(self, messages: Sequence[Message]) -> int:
        """As the model counts."""
        return await self._model.count(messages)
