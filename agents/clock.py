"""The time that events carry."""

from __future__ import annotations

import time


def now() -> float:
    """Return Unix time in seconds."""
    return time.time()
