"""What leaves a run for an event, a log or the database, without its secrets."""

from __future__ import annotations

from typing import TypeVar

from ..guard.redact import Redactor
from ..messages import Frozen

T = TypeVar("T", bound=Frozen)


def redacted(model: T, redactor: Redactor) -> T:
    """Return ``model`` itself when nothing in it is secret, otherwise a copy without the secrets."""
    text = model.model_dump_json()
    if redactor.text(text) == text:
        return model
    return model.model_validate(redactor.value(model.model_dump(mode="json")))
