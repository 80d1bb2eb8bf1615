"""A model that answers from a script: for tests and examples, with no file and no network.

It is shipped so that users can test their own agents deterministically.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from ..errors import ModelUnavailable
from ..messages import Completion, Message, ModelInfo, ModelRequest, Usage


class ScriptedModel:
    """Answers with ``answers`` in turn, or with what a function makes of the request.

    Text is streamed in pieces of ``piece`` characters with ``delay`` seconds between them. Every request
    is kept in ``requests``. Raises ModelUnavailable when the script is used up.
    """

    def __init__(
        self,
        answers: Sequence[str] | Callable[[ModelRequest], str],
        *,
        info: ModelInfo | None = None,
        piece: int = 4,
        delay: float = 0.0,
    ) -> None:
        """Keep the script."""
        self._answers = answers
        self._info = info or ModelInfo(name="scripted", kind="scripted", grammar=True, json_schema=True)
        self._piece = piece
        self._delay = delay
        self.requests: list[ModelRequest] = []

    @property
    def info(self) -> ModelInfo:
        """What the model claims to be."""
        return self._info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Give the next scripted answer; a token is four characters."""
        turn = len(self.requests)
        self.requests.append(request)
        if callable(self._answers):
            text = self._answers(request)
        elif turn < len(self._answers):
            text = self._answers[turn]
        else:
            raise ModelUnavailable(f"the script of {self._info.name!r} has {turn} answers; add one more.")
        for start in range(0, len(text), self._piece):
            await anyio.sleep(self._delay)
            if on_text is not None:
                on_text(text[start : start + self._piece])
        usage = Usage(prompt=await self.count(request.messages), completion=-(-len(text) // 4))
        return Completion(text=text, model=self._info.name, usage=usage)

    async def count(self, messages: Sequence[Message]) -> int:
        """Four characters a token, rounded up."""
        return sum(-(-len(message.content) // 4) for message in messages)
