"""What leaves a run for an event, a log or the database, without its secrets."""

from __future__ import annotations

from typing import TypeVar

from ..guard.redact import Redactor
from ..messages import Frozen

T = TypeVar("T", bound=Frozen)


def redacted(model: T, redactor: Redactor) -> T:
    """Return ``model`` itself when nothing in it is secret, otherwise a copy without the secrets."""
    if not redactor.suspects(model.model_dump_json()):
        return model
    # Value by value: in JSON a line break before a secret looks like a letter.
    plain = model.model_dump(mode="json")
    clean = redactor.value(plain)
    return model if clean == plain else model.model_validate(clean)
