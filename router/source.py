"""The models that a person has set up under ``[models.NAME]``: URLs and providers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..errors import UnknownName
from ..messages import ModelInfo
from ..protocols import Model
from ..settings import RemoteModel, Settings

_MILLION = Decimal(1_000_000)


class RemoteSource:
    """Opens the models of ``settings.models``; nothing is imported or reached before that.

    A provider's list price is unknown (None) until its model is open, because it takes litellm to know it.
    """

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self._models = {name: model for name, model in settings.models.items() if not model.engine}

    def infos(self) -> Sequence[ModelInfo]:
        """One per ``[models.NAME]`` that runs elsewhere, in the file's order."""
        return [_info(name, model) for name, model in self._models.items()]

    async def open(self, name: str) -> Model:
        """Open it; reaches nobody yet. The first provider model imports litellm, in a thread (some seconds).

        Raises UnknownName, ModelUnavailable when litellm cannot be imported.
        """
        if name not in self._models:
            raise UnknownName("model", name, list(self._models))
        remote = self._models[name]
        info = _info(name, remote)
        if info.kind == "openai":
            from .http import HttpModel

            placed = remote.through == "shuntyard"
            return HttpModel(info, url=remote.url, model=remote.model, key_env=remote.key_env, placed=placed)
        from .remote import LitellmModel

        return await LitellmModel.open(info, model=remote.model, url=remote.url, key_env=remote.key_env)


def _info(name: str, remote: RemoteModel) -> ModelInfo:
    plain = remote.through in ("http", "shuntyard") or (remote.url and remote.through != "litellm")
    return ModelInfo(
        name=name,
        kind="openai" if plain else "litellm",
        tier=remote.tier,
        context=remote.context,
        input_price=None if remote.input_price is None else remote.input_price / _MILLION,
        output_price=None if remote.output_price is None else remote.output_price / _MILLION,
    )
