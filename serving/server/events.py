"""Server-sent events, and errors in OpenAI's shape."""

from __future__ import annotations

import json
from typing import Any

from ...errors import (
    ContextTooLong,
    ModelUnavailable,
    OutputMalformed,
    RequestRefused,
    ServerBusy,
    ShuntyardError,
    UnknownName,
    UsageError,
)
from .answers import Fault, Faulty

DONE = b"data: [DONE]\n\n"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def data(value: dict[str, Any]) -> bytes:
    """Return one event without a name."""
    return b"data: " + _encode(value).encode("utf-8", "replace") + b"\n\n"


def named(name: str, value: dict[str, Any]) -> bytes:
    """Return one event with a name."""
    return f"event: {name}\n".encode() + data(value)


def status_of(error: Exception) -> int:
    """Return the HTTP status that tells of ``error``."""
    if isinstance(error, RequestRefused):
        return error.status
    known = (
        (UnknownName, 404), (UsageError, 400), (ContextTooLong, 400), (ServerBusy, 429), (ModelUnavailable, 503),
        (OutputMalformed, 502),
    )  # fmt: skip
    return next((status for kind, status in known if isinstance(error, kind)), 500)


def fault_of(error: Exception) -> Faulty:
    """Return the body that tells of ``error``; of an error that is not ours only its kind."""
    status = status_of(error)
    if not isinstance(error, ShuntyardError):
        text = f"unexpected {type(error).__name__}; the server's log has the details."
        return Faulty(error=Fault(message=text, type="server_error", code="unexpected"))
    code, param = error.code, getattr(error, "param", "") or None
    if isinstance(error, UnknownName):
        code, param = "model_not_found", param or "model"
    elif isinstance(error, ContextTooLong):
        code, param = "context_length_exceeded", "messages"
    kind = "rate_limit_error" if status == 429 else "invalid_request_error" if status < 500 else "server_error"
    return Faulty(error=Fault(message=error.message, type=kind, param=param, code=code))


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that go with the error."""
    return {"Retry-After": str(max(1, round(error.after)))} if isinstance(error, ServerBusy) else {}


def fault_data(error: Exception) -> bytes:
    """Return the event that ends a stream which failed after it had begun."""
    return data(fault_of(error).model_dump())
