"""What was tuned for a model on this host, and when it no longer holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from ...messages import Frozen
from ...settings import Settings, cache
from ..kernels import cpu_name, name_of
from ..part import writing
from ..schedule.states import fingerprint
from .knobs import Knobs, cores, from_settings


class Host(Frozen):
    """What a profile was measured on; on anything else it is not used."""

    model: str
    """Hash of the model file."""
    engine: str
    """Name and version."""
    cpu: str
    """Its name and a hash of what it can do."""
    cores: int
    """That this process may use."""


class Profile(Frozen):
    """Knobs that beat the default on a host, or the default itself."""

    host: Host
    knobs: Knobs
    ratio: float
    """Cost of them over that of the default, measured by turns; 1 for the default."""
    tried: int
    """Settings that were measured."""
    seconds: float
    """That the search took."""
    why: str
    """What was decided, in words."""


def host_of(weights: Path) -> Host:
    """Return what a profile for ``weights`` would hold for, here and now."""
    return Host(model=fingerprint(weights), engine=name_of(), cpu=cpu_name(), cores=cores())


def save(profile: Profile, weights: Path, settings: Settings) -> Path:
    """Keep ``profile`` for ``weights`` and return its file. Raises StoreUnwritable."""
    path = _path(weights, settings)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(profile.model_dump_json(indent=1), encoding="utf-8")
        fresh.replace(path)
    return path


def load(weights: Path, settings: Settings, *, tell: Callable[[str], None]) -> Profile | None:
    """Return the profile of ``weights`` when it holds here; ``tell`` is told of one that does not, and why."""
    path = _path(weights, settings)
    try:
        profile = Profile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        tell(f"the profile {str(path)!r} cannot be read and is not used; run `shuntyard models tune` again.")
        return None
    now = host_of(weights)
    other = [field for field in Host.model_fields if getattr(now, field) != getattr(profile.host, field)]
    if other:
        told = ", ".join(f"{field} {getattr(profile.host, field)!r} and not {getattr(now, field)!r}" for field in other)
        tell(f"the profile {str(path)!r} is for {told} and is not used; run `shuntyard models tune` again.")
        return None
    return profile


def chosen(weights: Path, settings: Settings, *, draft: Path | None, tell: Callable[[str], None]) -> Knobs:
    """Return the knobs for ``weights``: those of the settings, or, where nothing is set, those that were tuned."""
    if settings.engine.tuned and not settings.threads and not settings.engine.model_fields_set - {"tuned", "slots"}:
        profile = load(weights, settings, tell=tell)
        if profile is not None:
            return profile.knobs
    return from_settings(settings, draft=draft)


def _path(weights: Path, settings: Settings) -> Path:
    name = hashlib.sha256(str(weights.resolve()).encode()).hexdigest()[:16]
    return cache(settings) / "knobs" / f"profile-{name}.json"
