"""The OpenAPI document, made from the same models that check the requests."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from ...messages import Frozen
from ..program import ProgramBody
from .answers import ChatCompletion, Embeddings, Faulty, Health, ModelList, ModelRow, TextCompletion
from .asked import EmbeddingRequest
from .message_models import Counted, CountRequest, MessageBody
from .response_models import ResponseBody

PROGRAMS = "/v1/programs"
ANSWERS: Mapping[str, type[Frozen]] = {
    "/v1/chat/completions": ChatCompletion,
    "/v1/completions": TextCompletion,
    "/v1/responses": ResponseBody,
    "/v1/messages": MessageBody,
    PROGRAMS: ProgramBody,
}
COUNT = "/v1/messages/count_tokens"
_REF = "#/components/schemas/{model}"
_FAULTS = {
    "400": "The request cannot be taken as it stands; the message names the field",
    "401": "The API key is missing or wrong",
    "404": "No such model, or program",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "421": "A name that is not this machine's, on a server without a key",
    "429": "Too many requests; Retry-After says when to come back",
    "500": "A fault of the server",
    "502": "The model's answer breaks its schema",
    "503": "The model cannot answer now",
}


def document(jobs: Mapping[str, type[Frozen]]) -> dict[str, Any]:
    """Return the document; ``jobs`` are the paths that generate, with what they are asked."""
    asked: dict[str, type[Frozen]] = {
        **jobs,
        "/v1/embeddings": EmbeddingRequest,
        COUNT: CountRequest,
    }
    answers: dict[str, type[Frozen]] = {**ANSWERS, "/v1/embeddings": Embeddings, COUNT: Counted}
    shown: list[type[Frozen]] = [ModelList, ModelRow, Health, Faulty]
    kinds: list[tuple[type[Frozen], Literal["validation", "serialization"]]] = [
        *((kind, "validation") for kind in asked.values()),
        *((kind, "serialization") for kind in [*answers.values(), *shown]),
    ]
    refs, schemas = models_json_schema(kinds, ref_template=_REF)
    paths: dict[str, Any] = {
        path: {"post": _post(kind, refs, answers[path], streams=path in jobs)} for path, kind in asked.items()
    }
    program = refs[ProgramBody, "serialization"]
    paths[PROGRAMS]["post"]["responses"]["202"] = _answer("It runs in the background", program)
    paths[f"{PROGRAMS}/{{id}}"] = {
        "get": _get("How far a program is", program, by="id"),
        "delete": _get("Stop a program, or forget one that is over", program, by="id"),
    }
    paths["/v1/models"] = {"get": _get("Models that are offered", refs[ModelList, "serialization"])}
    paths["/v1/models/{name}"] = {"get": _get("One of them", refs[ModelRow, "serialization"], by="name")}
    paths["/health"] = {"get": {**_get("Whether the server lives", refs[Health, "serialization"]), "security": []}}
    paths["/metrics"] = {"get": _text("Figures for Prometheus")}
    paths["/openapi.json"] = {"get": _get("This document", {"type": "object"})}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shuntyard", "version": version("shuntyard")},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _post(kind: type[Frozen], refs: Any, answer: type[Frozen], *, streams: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": refs[answer, "serialization"]}}
    if streams:
        content["text/event-stream"] = {}
    return {
        "summary": (kind.__doc__ or "").strip(),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": refs[kind, "validation"]}},
        },
        "responses": {"200": {"description": "The answer", "content": content}, **_faults(tuple(_FAULTS))},
    }


def _get(summary: str, schema: Any, *, by: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": _answer(summary, schema),
            **_faults(("401", "404", "421") if by else ("401", "421")),
        },
    }
    if by:
        found["parameters"] = [
            {"name": by, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ]
    return found


def _answer(summary: str, schema: Any) -> dict[str, Any]:
    return {"description": summary, "content": {"application/json": {"schema": schema}}}


def _text(summary: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, **_faults(("401", "421"))},
    }


def _faults(statuses: tuple[str, ...]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model="Faulty")}
    return {
        status: {"description": _FAULTS[status], "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }
