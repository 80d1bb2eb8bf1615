"""What an engine is asked for: refused by the field's name where it cannot, in the engine's words where it can."""

from __future__ import annotations

from typing import Any

from ...errors import RequestRefused, UsageError
from ..engines import Capabilities, Engine
from ..schema import GUIDANCE, compact, enforced
from ..schema import check as check_json_schema
from .asked import ChatRequest, CompletionRequest, NamedTool, Sampling

_PLAIN = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop", "logit_bias",
    "top_k", "min_p", "repeat_penalty", "grammar",
)  # fmt: skip


def forced(asked: ChatRequest) -> str | None:
    """Return the tool that must be called, ``*`` for any, None when none must be."""
    if isinstance(asked.tool_choice, NamedTool):
        return asked.tool_choice.function.name
    return "*" if asked.tool_choice == "required" else None


def check(asked: Sampling, engine: Engine) -> None:
    """Raise RequestRefused for what ``engine`` does not offer, naming the field."""
    can = engine.capabilities
    lacks = {
        "logprobs": bool(getattr(asked, "logprobs", None)) and not can.logprobs,
        "logit_bias": bool(asked.logit_bias) and not can.logit_bias,
        "grammar": asked.grammar is not None and not can.grammar,
        **{
            name: getattr(asked, name) is not None and not can.samplers for name in ("top_k", "min_p", "repeat_penalty")
        },
    }
    if asked.grammar is not None and asked.grammar.startswith(GUIDANCE) and can.grammar and not can.guidance:
        raise RequestRefused(
            f"'grammar' is one of llguidance, which the engine of {engine.name!r} is not known to have; send GBNF or a "
            "JSON schema.",
            param="grammar",
        )
    for name, lacking in lacks.items():
        if lacking:
            raise RequestRefused(f"{name!r} is not offered by the engine of {engine.name!r}; leave it out.", param=name)
    if asked.n > can.n:
        raise RequestRefused(
            f"n={asked.n} is more than the {can.n} choices that the engine of {engine.name!r} makes at once; "
            "send several requests.",
            param="n",
        )
    if isinstance(asked, ChatRequest):
        _check_chat(asked, can, engine.name)
    elif not can.completions:
        raise RequestRefused(f"completions are not offered by the engine of {engine.name!r}; chat.", param="model")


def _check_chat(asked: ChatRequest, can: Capabilities, name: str) -> None:
    formed = asked.response_format is not None and asked.response_format.type != "text"
    if asked.tools and not can.tools:
        raise RequestRefused(f"'tools' are not offered by the engine of {name!r}; leave them out.", param="tools")
    if forced(asked) is not None:
        _check_forced(asked, can, name)
    if formed and not (can.json_schema or can.grammar):
        raise RequestRefused(
            f"'response_format' is not offered by the engine of {name!r}; leave it out.", param="response_format"
        )
    if asked.grammar is not None and (formed or asked.tools):
        raise RequestRefused("'grammar' excludes 'response_format' and 'tools'; send one of them.", param="grammar")
    if asked.response_format is not None and asked.response_format.type == "json_schema":
        if asked.response_format.json_schema is None:
            raise RequestRefused(
                "response_format of type 'json_schema' has no 'json_schema'; add it.", param="response_format"
            )
        check_schema(asked.response_format.json_schema.schema_, "response_format")
    if asked.top_logprobs is not None and not asked.logprobs:
        raise RequestRefused("'top_logprobs' needs logprobs=true; add it.", param="top_logprobs")


def _check_forced(asked: ChatRequest, can: Capabilities, name: str) -> None:
    if not can.tool_choice and not (can.grammar and can.render):
        raise RequestRefused(
            f"tool_choice {forced(asked)!r} is not enforced by the engine of {name!r}; use 'auto'.",
            param="tool_choice",
        )
    names = [tool.function.name for tool in asked.tools or ()]
    if not names:
        raise RequestRefused("'tool_choice' asks for a call and there are no 'tools'; add them.", param="tool_choice")
    if forced(asked) not in ("*", *names):
        raise RequestRefused(
            f"tool_choice names {forced(asked)!r}, the tools are {', '.join(names)}; name one of them.",
            param="tool_choice",
        )
    if not can.tool_choice and asked.logprobs:
        raise RequestRefused("'logprobs' are not offered with a forced tool; leave them out.", param="logprobs")
    for tool in asked.tools or ():
        check_schema(tool.function.parameters or {}, "tools")


def check_schema(schema: dict[str, Any], param: str) -> None:
    """Raise RequestRefused when answers could not be held to ``schema``."""
    try:
        check_json_schema(schema)
    except UsageError as error:
        raise RequestRefused(error.message, param=param) from None


def sampling_body(asked: Sampling) -> dict[str, Any]:
    """The fields that every call passes on."""
    body: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(asked, name)) is not None}
    if asked.seed is not None:
        # llama.cpp takes 31 bits, and -1 and its like for "any".
        body["seed"] = asked.seed % 2**31
    if asked.n > 1:
        body["n"] = asked.n
    most = getattr(asked, "max_completion_tokens", None) or asked.max_tokens
    if most is not None:
        body["max_tokens"] = most
    return body


def chat_body(asked: ChatRequest, engine: Engine) -> dict[str, Any]:
    """The body of a chat call; a JSON schema goes as a grammar without blanks where the engine takes one."""
    body = {**sampling_body(asked), "messages": said(asked)}
    if asked.logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = asked.top_logprobs or 0
    if asked.tools and asked.tool_choice != "none":
        body["tools"] = tools(asked)
        if asked.tool_choice is not None:
            choice = asked.tool_choice
            body["tool_choice"] = choice if isinstance(choice, str) else choice.model_dump()
        if asked.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = asked.parallel_tool_calls
    schema, can = schema_of(asked), engine.capabilities
    if schema is None:
        return body
    if can.guidance and "tools" not in body:
        body["grammar"] = compact(schema)
    elif can.grammar:
        # One of its keywords that a grammar cannot hold would be an error; the answer is checked for it.
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": enforced(schema)}}
    elif asked.response_format is not None:
        body["response_format"] = asked.response_format.model_dump(by_alias=True, exclude_none=True)
    return body


def continued(schema: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """The fields of a completion that must keep to ``schema``; for engines with ``grammar``."""
    return {"grammar": compact(schema)} if engine.capabilities.guidance else {"json_schema": enforced(schema)}


def completion_body(asked: CompletionRequest, prompt: Any) -> dict[str, Any]:
    """The body of one continuation."""
    body = {**sampling_body(asked), "prompt": prompt}
    if asked.logprobs is not None:
        body["logprobs"] = asked.logprobs
    return body


def schema_of(asked: ChatRequest) -> dict[str, Any] | None:
    """The JSON schema that the answer's text must keep to."""
    form = asked.response_format
    if form is None or form.type == "text":
        return None
    return form.json_schema.schema_ if form.json_schema is not None else {"type": "object"}


def tools(asked: ChatRequest) -> list[dict[str, Any]]:
    """The tools as an engine reads them."""
    return [tool.model_dump(exclude_none=True) for tool in asked.tools or ()]


def said(asked: ChatRequest) -> list[dict[str, Any]]:
    """The messages as an engine reads them: contents are texts, developers are the system."""
    found = []
    for message in asked.messages:
        content = message.content
        text = content if isinstance(content, str) else "".join(part.text or part.refusal for part in content or ())
        item: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role, "content": text}
        if message.tool_calls:
            item["tool_calls"] = [call.model_dump() for call in message.tool_calls]
        if message.tool_call_id is not None:
            item["tool_call_id"] = message.tool_call_id
        if message.name is not None:
            item["name"] = message.name
        found.append(item)
    return found
