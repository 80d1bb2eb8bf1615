"""Tool calls that must be made: a grammar of our own, because llama.cpp takes ``tool_choice`` and ignores it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ..engines import Call, Chunk, Engine
from ..schema import begins, conforms
from .asked import ChatRequest
from .generate import Meter, generate
from .offers import continued, forced, said, sampling_body, tools


async def forced_chunks(engine: Engine, asked: ChatRequest, meter: Meter) -> AsyncGenerator[Sequence[Chunk], None]:
    """Yield chat chunks with exactly one tool call per choice, whole, when it is finished.

    Raises OutputMalformed when the arguments break the tool's schema: what the grammar's compiler does not know
    is not enforced by it.
    """
    offered = [tool for tool in tools(asked) if forced(asked) in ("*", tool["function"]["name"])]
    body = {
        **sampling_body(asked),
        "prompt": await _prompt(engine, asked, offered),
        **continued(_schema(offered), engine),
    }
    texts: dict[int, list[str]] = {}
    async with aclosing(generate(engine, Call("/completions", body), meter)) as batches:
        async for batch in batches:
            for choice in (choice for chunk in batch for choice in chunk.value["choices"]):
                index = choice["index"]
                texts.setdefault(index, []).append(choice.get("text") or "")
                finish = choice.get("finish_reason")
                if finish:
                    call = _call("".join(texts[index]), offered, engine.name, whole=finish == "stop")
                    ends = "length" if finish == "length" else "tool_calls" if forced(asked) == "*" else "stop"
                    yield [
                        Chunk.of({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
                        for delta, reason in (({"tool_calls": [call]}, None), ({}, ends))
                    ]


async def _prompt(engine: Engine, asked: ChatRequest, offered: list[dict[str, Any]]) -> str:
    messages = said(asked)
    prompt = await engine.render(messages, offered)
    if all(tool["function"]["name"] in prompt for tool in offered):
        return prompt
    # This template does not show tools.
    listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in offered)
    text = f'You can call these functions:\n{listed}\nAnswer with one call: {{"name": ..., "arguments": ...}}'
    if messages[0]["role"] == "system":
        messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}
    else:
        messages.insert(0, {"role": "system", "content": text})
    return await engine.render(messages, ())


def _schema(offered: list[dict[str, Any]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    calls = []
    for number, tool in enumerate(offered):
        parameters = tool["function"].get("parameters") or {"type": "object"}
        for place in ("$defs", "definitions"):
            if place in parameters:
                # References are from the root, which is no longer the tool's own schema.
                moved = json.dumps(parameters).replace(f'"#/{place}/', f'"#/$defs/{number}_')
                parameters = json.loads(moved)
                kept |= {f"{number}_{name}": value for name, value in parameters.pop(place).items()}
        call = {"name": {"const": tool["function"]["name"]}, "arguments": parameters}
        calls.append(
            {"type": "object", "properties": call, "required": ["name", "arguments"], "additionalProperties": False}
        )
    return {"anyOf": calls, **({"$defs": kept} if kept else {})}


def _call(text: str, offered: list[dict[str, Any]], model: str, *, whole: bool) -> dict[str, Any]:
    if whole:
        conforms(text, _schema(offered), model)
        said = json.loads(text)
        name, arguments = said["name"], json.dumps(said["arguments"], ensure_ascii=False)
    else:
        begins(text, model)
        # Cut off at the limit; what there is of the arguments is passed on, as OpenAI does.
        head, _, arguments = text.partition('"arguments":')
        name = next((n for tool in offered if f'"{(n := tool["function"]["name"])}"' in head), "")
    function = {"name": name, "arguments": arguments}
    return {"index": 0, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
