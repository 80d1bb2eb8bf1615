"""The model's own function calling, in the format that Qwen2.5 was trained on (Qwen2.5 Technical Report, 2024).

The functions stand in the system turn between ``<tools>`` tags, a call is a JSON object between ``<tool_call>``
tags. Small models often forget the tags or choose others: every JSON object with a name and arguments is a call.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from ....errors import UsageError
from ....messages import Message, ModelRequest
from ...case import Case, Output
from ...runs import said
from ...suite import Means, Solver
from .cases import conversation, functions, language
from .dialect import numbered, parameters

MAX_TOKENS = 512
_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
_TOOLS = """\
{system}

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


@asynccontextmanager
async def open_raw(means: Means) -> AsyncIterator[Solver]:
    """Open the solver; UsageError when there is no model."""
    model = means.model
    if model is None:
        raise UsageError("solver 'raw' needs a model; name one with --model.")

    async def solve(case: Case, *, seed: int) -> Output:
        request = ModelRequest(messages=prompt(case), max_tokens=MAX_TOKENS, temperature=means.temperature, seed=seed)
        completion = await model.complete(request)
        value = numbered(read_calls(completion.text), functions(case))
        return said(request, completion, model.info).model_copy(update={"value": value})

    yield solve


def prompt(case: Case) -> tuple[Message, ...]:
    """Return the conversation with the functions in its system turn, as Qwen's chat template writes them."""
    turns = conversation(case)
    system = next((turn.content for turn in turns if turn.role == "system"), _SYSTEM)
    shown = [
        {
            "type": "function",
            "function": {
                "name": each["name"],
                "description": each.get("description", ""),
                "parameters": parameters(each, language=language(case.category)),
            },
        }
        for each in functions(case)
    ]
    if shown:
        tools = "\n".join(json.dumps(each, ensure_ascii=False) for each in shown)
        system = _TOOLS.format(system=system, tools=tools)
    return (Message(role="system", content=system), *(turn for turn in turns if turn.role != "system"))


def read_calls(text: str) -> list[dict[str, Any]]:
    """Return the calls in ``text``, in order; nothing when there is none. Arguments may be JSON within a text."""
    found = []
    for value in _objects(text):
        for entry in value if isinstance(value, list) else [value]:
            if (call := _call(entry)) is not None:
                found.append(call)
    return found


def _objects(text: str) -> Iterator[Any]:
    """JSON objects and arrays in ``text``, the outermost ones."""
    decoder = json.JSONDecoder(strict=False)
    at = 0
    while (start := min((place for mark in "{[" if (place := text.find(mark, at)) >= 0), default=-1)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            at = start + 1
            continue
        yield value


def _call(entry: Any) -> dict[str, Any] | None:
    if isinstance(entry, dict) and entry.get("type") == "function" and isinstance(entry.get("function"), dict):
        entry = entry["function"]
    # A description shows that a function is only repeated, not called.
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "description" in entry:
        return None
    arguments = entry.get("arguments", entry.get("parameters"))
    if isinstance(arguments, str):
        arguments = next(_objects(arguments), None)
    return {"name": entry["name"], "arguments": arguments} if isinstance(arguments, dict) else None
