"""The router for a server: which of the offered models answers a request for ``auto``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import RequestRefused
from ..router import Catalogue, RemoteSource
from ..router.choose import choose
from ..serving import LocalSource
from ..settings import Settings


def chooser(settings: Settings, names: Sequence[str]) -> Callable[[object], str]:
    """Return what names the model of a request among ``names``: the router's choice for an answer.

    It is the settings' model where that is offered. It raises RequestRefused when there is none that may answer.
    """
    catalogue = Catalogue([LocalSource(settings), RemoteSource(settings)])
    known = {info.name: info for info in catalogue.infos()}
    offered = [known[name] for name in names if name in known]
    model = settings.model if settings.model in names else ""

    def chosen(job: object) -> str:
        if not offered:
            raise RequestRefused("the router knows none of the models that are offered; name one.", param="model")
        installed = [info for info in offered if catalogue.installed(info.name)]
        return choose("answer", installed or offered, model=model, max_cost=settings.max_cost).model

    return chosen
