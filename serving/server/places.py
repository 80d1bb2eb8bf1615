"""What a request tells beyond other servers' fields, by headers or a field of its body: checked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, Field, ValidationError

from ...errors import RequestRefused
from ...messages import Frozen, Place

PREFIX = "x-shuntyard-"
"""Begins the name of every header; the rest is a field of ``Told``."""
DAY = 86_400.0


def _soon(value: float) -> float:
    if value > time.time() + DAY:
        raise ValueError("is later than tomorrow; send Unix seconds")
    return value


Label = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Placed(Frozen):
    """Where a request stands in its application; it orders requests and changes no answer."""

    run: Label = ""
    """The application that waits for it; without one the request is an application by itself."""
    node: Label = ""
    """The step of it that asks."""
    arrived: Annotated[Number, Field(ge=0), AfterValidator(_soon)] = 0.0
    """Unix seconds at which the application came; the earlier goes first. 0: now."""
    priority: Number = 0.0
    """What of the application's critical path is still to come; more goes first within it."""
    follows: bool = False
    """The application asks again as soon as it has the answer."""
    prefix: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many leading messages other requests begin with too; left out: all but the last."""
    next: Annotated[str, Field(max_length=1000)] = ""
    """The model that the application asks next; it is loaded meanwhile where there is room."""


class Told(Placed):
    """Its place, and how it may be read."""

    long: Literal["", "no", "segments", "pages"] = ""
    """How a prompt beyond the model's context may be read: all of it in segments (several calls), or a constant number
    of its pages. Empty or ``no``: it is refused."""

    @property
    def place(self) -> Place | None:
        """Where it stands; None when it does not say."""
        if not self.model_fields_set:
            return None
        found = Place(**self.model_dump(exclude={"long"}))
        return found if found != Place() else None


def told_of(headers: Iterable[tuple[bytes, bytes]], body: Placed | None) -> Told:
    """Return what a request tells.

    Raises RequestRefused, naming the header, for one that is unknown or wrong, or when the body tells something too.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        header = name.decode("latin-1").lower()
        if header.startswith(PREFIX):
            field = header.removeprefix(PREFIX)
            if field not in Told.model_fields:
                known = ", ".join(f"X-Shuntyard-{name.title()}" for name in Told.model_fields)
                raise RequestRefused(f"header {header!r} is not known; there are {known}.", param=header)
            found[field] = unquote(value.decode("latin-1"))
    if not found:
        return Told() if body is None else Told(**body.model_dump())
    if body is not None:
        raise RequestRefused("the place is in the headers and in 'shuntyard'; send one of them.", param="shuntyard")
    try:
        return Told.model_validate(found)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        header = f"X-Shuntyard-{str(item['loc'][0]).title()}"
        message = f"header {header!r}: {item['msg']} (given {str(item['input'])[:80]!r}); correct it."
        raise RequestRefused(message, param=header) from None
