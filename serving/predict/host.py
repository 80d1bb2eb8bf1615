"""Which machine the constants belong to, and where they are kept; another machine's, or engine's, are never used."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...messages import Frozen
from ...settings import Settings
from ..kernels import cpu_name, name_of
from ..knobs.knobs import threads_of
from ..part import writing
from ..supervise import engines_folder
from .pace import Pace
from .work import Setup

VERSION = 2
"""Of what the constants mean, and of how engines are started; older ones are measured anew."""


class Host(Frozen):
    """What the constants depend on."""

    cpu: str
    """Model and instruction sets."""
    cores: int
    threads: int
    """Of the engine."""
    engine: str
    """Name and version."""
    batch: int
    """Prompt tokens of one pass."""
    kv_type: str
    version: int = VERSION

    @property
    def key(self) -> str:
        """Changes with anything in it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def host_of(settings: Settings, setup: Setup) -> Host:
    """Return this machine with the engine that ``settings`` start."""
    return Host(
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=setup.threads or threads_of(settings),
        engine=name_of(),
        batch=setup.batch,
        kv_type=setup.kv_type,
    )


@dataclass(slots=True)
class Known:
    """What is known of a host."""

    pace: Pace
    measured: dict[str, str] = field(default_factory=dict)
    """Names of the models whose micro-benchmarks it comes from, by the fingerprint of the file."""


class PaceStore:
    """The constants of one host in one file. Two processes that write lose one another's corrections, no more."""

    def __init__(self, folder: Path, host: Host) -> None:
        """Read nothing yet."""
        self.host = host
        self._path = folder / f"{host.key}.json"

    @classmethod
    def of(cls, settings: Settings, setup: Setup) -> PaceStore:
        """Return the store beside the engines' state."""
        return cls(engines_folder(settings) / "pace", host_of(settings, setup))

    def load(self) -> Known:
        """Return what is known; usual constants where nothing is, or what lies there is another host's or damaged."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if Host.model_validate(data["host"]) == self.host:
                measured: Mapping[str, str] = data["measured"]
                return Known(Pace.read(data["pace"]), dict(measured))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Known(Pace(threads=self.host.threads))

    def save(self, known: Known) -> None:
        """Keep ``known``, whole or not at all. Raises StoreUnwritable."""
        body = {"host": self.host.model_dump(), "measured": known.measured, "pace": known.pace.dumped()}
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as stream:
                json.dump(body, stream)
            os.replace(stream.name, self._path)
