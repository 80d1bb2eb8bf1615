"""The executor that the settings name."""

from __future__ import annotations

from ...protocols import Executor
from ...settings import Settings
from ...tools.registry import Registry
from .inprocess import InProcess


def executor_for(settings: Settings, registry: Registry) -> Executor:
    """Return the executor; nothing is started before the first call that needs it.

    Raises UsageError when this machine cannot have it.
    """
    if settings.executor == "inprocess":
        return InProcess(registry)
    from .crossing import crossing
    from .pool import Pool

    crossings = {spec.name: crossing(registry.get(spec.name)) for spec in registry.specs()}
    if settings.executor == "ray":
        from .ray import Ray

        return Pool(registry, crossings, Ray(settings.ray_address, workers=settings.workers))
    from .processes import Processes

    return Pool(registry, crossings, Processes(settings.workers))
