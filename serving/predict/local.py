"""The local models of this machine, predicted: without a measurement where one is not needed, else after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import ShuntyardError
from ...settings import Settings
from .. import fetch
from ..knobs import profiles
from ..registry import find_answering
from ..schedule.states import fingerprint
from ..source import LocalSource
from .host import PaceStore
from .measure import ROUNDS, calibrate
from .predict import Asked, Predictor
from .shape import Shape, read_shape
from .slots import with_slots
from .work import Setup, decode, prefill, setup_of

SURE = 0.2
"""Relative error to expect up to which a model counts as known."""
_TYPICAL = (512, 64)
"""Prompt and answer that the expected error is judged by."""


class LocalPacing:
    """Seconds of calls of local models; keeps the ``Pacing`` protocol. Measures nothing and starts no engine."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._known: dict[str, Predictor | None] = {}

    def seconds(self, model: str, *, prompt: int, completion: int, cached: int = 0) -> float | None:
        """Return the seconds of one call; None for a model that is not here, or not known well enough to say."""
        if model not in self._known:
            self._known[model] = self._sure(model)
        predictor = self._known[model]
        if predictor is None:
            return None
        room = predictor.setup.context
        prompt, completion = max(1, min(prompt, room - 1)), max(1, completion)
        # A call that does not fit is refused by whoever makes it; its time is that of the longest that does.
        asked = Asked(prompt, min(completion, room - prompt), cached=min(cached, prompt))
        return predictor.predict(asked).seconds

    def _sure(self, model: str) -> Predictor | None:
        try:
            if not fetch.installed(model, self._settings):
                return None
            predictor = predictor_of(model, self._settings)
        except ShuntyardError:
            # Whoever opens the model says what is wrong with it.
            return None
        return predictor if doubt(predictor) <= SURE else None


def predictor_of(name: str, settings: Settings) -> Predictor:
    """Return the predictor of an installed model with what is known of this host. Raises as ``read_shape``."""
    shape, setup = shape_and_setup(name, settings)
    return Predictor(shape, PaceStore.of(settings, setup).load().pace, setup)


def shape_and_setup(name: str, settings: Settings) -> tuple[Shape, Setup]:
    """Return what the file of ``name`` describes and how its engine is set up. Raises UsageError, ModelFileBad."""
    entry = find_answering(name)
    weights = fetch.path_of(entry, settings)
    draft = Path(settings.engine.draft) if settings.engine.draft else None
    knobs = profiles.chosen(weights, settings, draft=draft, tell=lambda what: None)
    threads = max(1, knobs.threads // settings.fleet.instances)
    knobs = with_slots(knobs.model_copy(update={"threads": threads}), weights, entry.context, settings)
    return read_shape(weights), setup_of(entry.context, knobs)


def doubt(predictor: Predictor) -> float:
    """Return the relative error to expect of the engine's processor seconds for a typical call."""
    prompt, answer = _TYPICAL
    parts = prefill(predictor.shape, predictor.setup, tokens=prompt)
    return predictor.pace.spread([*parts, *decode(predictor.shape, predictor.setup, depth=prompt, steps=answer)])


async def measured(
    name: str,
    settings: Settings,
    *,
    asked: Asked | None = None,
    anew: bool = False,
    rounds: int = ROUNDS,
    say: Callable[[str], None] | None = None,
) -> tuple[Predictor, bool]:
    """Return the predictor of ``name`` and whether it had to be measured for that.

    A model whose tensor types are known from another one is not measured, unless ``anew``. Where ``asked`` does not
    fit the context, UsageError is raised before an engine is started. Raises what opening the model raises.
    """
    if asked is not None:
        asked.check(find_answering(name).context)
    source = LocalSource(settings)
    _, connection = await source.connect(name)
    shape, setup = shape_and_setup(name, settings)
    store = PaceStore.of(settings, setup)
    known = store.load()
    predictor = Predictor(shape, known.pace, setup)
    if not anew and doubt(predictor) <= SURE:
        return predictor, False
    await calibrate(await connection(False), shape, setup, known.pace, rounds=rounds, say=say)
    known.measured[fingerprint(connection.spec.model)] = name
    store.save(known)
    return predictor, True
