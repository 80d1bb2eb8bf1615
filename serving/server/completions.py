"""Continuations of plain text: ``POST /v1/completions``."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ..engines import Call, Engine
from .answers import TextChoice, TextCompletion
from .asked import CompletionRequest
from .chat import new_id
from .events import DONE, data, fault_data
from .generate import Meter, generate
from .offers import check, completion_body


class CompletionJob:
    """Several prompts are continued one after the other; their choices are numbered on."""

    endpoint = "completions"
    fault = staticmethod(fault_data)

    def __init__(self, asked: CompletionRequest) -> None:
        """Keep the request."""
        self._asked = asked
        self.model = asked.model
        self.stream = asked.stream

    async def events(self, engine: Engine, meter: Meter) -> AsyncGenerator[bytes, None]:
        """Yield OpenAI's stream."""
        head = {"id": new_id("cmpl"), "object": "text_completion", "created": int(time.time()), "model": engine.name}
        wanted = self._asked.stream_options is not None and self._asked.stream_options.include_usage
        async with aclosing(self._choices(engine, meter)) as choices:
            async for choice in choices:
                yield data({**head, "choices": [choice]})
        rest = DONE
        if wanted:
            usage = meter.usage
            rest = data({**head, "choices": [], "usage": usage.model_dump() if usage is not None else None}) + DONE
        yield rest

    async def whole(self, engine: Engine, meter: Meter) -> TextCompletion:
        """Return the whole answer."""
        found: dict[int, dict[str, Any]] = {}
        async with aclosing(self._choices(engine, meter)) as choices:
            async for choice in choices:
                known = found.setdefault(choice["index"], {"text": "", "finish_reason": "stop", "logprobs": None})
                known["text"] += choice["text"]
                known["finish_reason"] = choice["finish_reason"] or known["finish_reason"]
                known["logprobs"] = _joined(known["logprobs"], choice["logprobs"])
        return TextCompletion(
            id=new_id("cmpl"),
            created=int(time.time()),
            model=engine.name,
            choices=tuple(TextChoice(index=index, **found[index]) for index in sorted(found)),
            usage=meter.usage,
        )

    async def _choices(self, engine: Engine, meter: Meter) -> AsyncGenerator[dict[str, Any], None]:
        check(self._asked, engine)
        for number, prompt in enumerate(_prompts(self._asked.prompt)):
            call = Call("/completions", completion_body(self._asked, prompt))
            offset: dict[int, int] = {}
            async with aclosing(generate(engine, call, meter)) as batches:
                async for batch in batches:
                    for choice in (choice for chunk in batch for choice in chunk.value.get("choices") or ()):
                        index = number * self._asked.n + choice.get("index", 0)
                        text = choice.get("text") or ""
                        begin = offset.get(index, 0)
                        offset[index] = begin + len(text)
                        yield {
                            "index": index,
                            "text": text,
                            "logprobs": _legacy(choice.get("logprobs"), begin),
                            "finish_reason": choice.get("finish_reason"),
                        }


def _prompts(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [list(prompt)]
    return [item if isinstance(item, str) else list(item) for item in prompt]


def _legacy(found: dict[str, Any] | None, begin: int) -> dict[str, Any] | None:
    """Log-probabilities as this older interface has them; llama.cpp gives chat's."""
    if not found or "content" not in found:
        return found
    items = found["content"] or []
    offsets = []
    for item in items:
        offsets.append(begin)
        begin += len(item["token"])
    return {
        "tokens": [item["token"] for item in items],
        "token_logprobs": [item["logprob"] for item in items],
        "top_logprobs": [{top["token"]: top["logprob"] for top in item.get("top_logprobs") or ()} for item in items],
        "text_offset": offsets,
    }


def _joined(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    if one is None or other is None:
        return one or other
    return {name: [*(one.get(name) or ()), *(values or ())] for name, values in other.items()}
