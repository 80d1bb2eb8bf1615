"""A model of the settings becomes an engine."""

from __future__ import annotations

from functools import partial

from ...messages import ModelInfo
from ...settings import RemoteModel, Settings
from .. import fetch
from ..knobs.knobs import threads_of
from ..registry import find
from .client import Order, TokenChild
from .engine import TokenEngine


def child_of(name: str, model: RemoteModel, settings: Settings) -> TokenChild:
    """Fetch what is missing and start the child of ``[models.NAME]``. Blocks.

    Raises UnknownName, PathRefused, ModelFileBad, DownloadFailed, ModelUnavailable.
    """
    path = fetch.ensure(model.model, settings)[0]
    large = fetch.ensure(model.tokens.large, settings)[0] if model.tokens.large else None
    return TokenChild(Order(name, path, model.tokens.context, threads_of(settings), large))


def engine_of(name: str, model: RemoteModel, settings: Settings) -> TokenEngine:
    """Return the engine of ``[models.NAME]``; nothing is fetched or started before its first call.

    Raises UnknownName for a local model that does not exist, ModelUnavailable where there is no such engine.
    """
    find(model.model)
    if model.tokens.large:
        find(model.tokens.large)
    return TokenEngine(name, partial(child_of, name, model, settings), model.tokens)


def info_of(name: str, model: RemoteModel) -> ModelInfo:
    """Return what the router knows of it; honest about what is missing. Raises UnknownName."""
    known = find(model.tokens.large or model.model).info
    context = min(known.context, model.tokens.context)
    return known.model_copy(
        update={"name": name, "context": context, "grammar": False, "json_schema": False, "logprobs": False}
    )
