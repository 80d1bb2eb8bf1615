"""The model under test: chosen by name or as a run would choose it, identified for the log, opened when needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..messages import ModelInfo
from ..plugins import load
from ..protocols import Emit, Model
from ..router.catalogue import Catalogue
from ..router.choose import choose
from ..router.source import RemoteSource
from ..serving.registry import find
from ..serving.source import LocalSource
from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could be opened, and what the log says of it."""

    info: ModelInfo
    why: str
    sha256: str
    """Of the weights; empty for what the registry has no hash of."""
    engine: str
    """Version of the local engine; empty for other models."""
    open: Callable[[], Awaitable[Model]]
    """Opens it; may download and load. Raises ModelUnavailable and what else its source raises."""


def candidate(settings: Settings, *, emit: Emit | None = None) -> Candidate:
    """Return the model that ``settings.model`` names, or else the one that plans would be made with.

    Nothing is downloaded or loaded. Raises UnknownName, ModelUnavailable when there is none.
    """
    # Answers from memory would count as seconds that nothing took.
    computing = settings.model_copy(update={"reuse_answers": False})
    sources = [LocalSource(computing, emit), RemoteSource(settings), *(point for _, point in load("models"))]
    catalogue = Catalogue(sources)
    decision = choose("compile", catalogue.infos(), model=settings.model, installed=catalogue.installed)
    info = catalogue.info(decision.model)
    local = info.kind == "local"
    return Candidate(
        info=info,
        why=decision.reason,
        sha256=_sha256(info.name) if local else "",
        engine=_engine() if local else "",
        open=lambda: catalogue.open(info.name),
    )


def _sha256(name: str) -> str:
    files = find(name).files
    return files[0].sha256 if files else ""


def _engine() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError:
        return ""
