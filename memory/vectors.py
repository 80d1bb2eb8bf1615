"""Vectors as they lie in SQL: half-precision bytes, compared exactly."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import mul

_FEW = 256
"""Up to here plain Python is faster than importing numpy."""


def pack(vector: Sequence[float]) -> bytes:
    """Return ``vector`` as little-endian float16."""
    return struct.pack(f"<{len(vector)}e", *vector)


def unpack(blob: bytes) -> tuple[float, ...]:
    """Return the vector in ``blob``."""
    return struct.unpack(f"<{len(blob) // 2}e", blob)


def cosines(query: Sequence[float], blobs: Sequence[bytes]) -> list[float]:
    """Return the cosine of ``query`` with each unit vector; -1 for one of another length."""
    if len(blobs) <= _FEW:
        return [sum(map(mul, query, unpack(blob))) if len(blob) == 2 * len(query) else -1.0 for blob in blobs]
    import numpy as np

    width = 2 * len(query)
    rows = b"".join(blob if len(blob) == width else bytes(width) for blob in blobs)
    matrix = np.frombuffer(rows, dtype="<f2").reshape(len(blobs), len(query)).astype(np.float32)
    values = matrix @ np.asarray(query, dtype=np.float32)
    return [float(value) if len(blob) == width else -1.0 for value, blob in zip(values, blobs, strict=True)]
