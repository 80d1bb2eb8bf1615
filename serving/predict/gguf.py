"""The header of a GGUF file: what a model is made of, without reading a weight."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import ModelFileBad, PathRefused

LONGEST = 4096
"""Elements of an array that is kept; of a longer one (a vocabulary) only the number is."""
_MOST = 1 << 20
"""Fields or tensors that no model has: a count above it is damage."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class Packing(NamedTuple):
    """How a tensor type packs its elements."""

    name: str
    elements: int
    """In one block."""
    bytes: int
    """Of one block."""


PACKINGS = {
    0: Packing("F32", 1, 4),
    1: Packing("F16", 1, 2),
    2: Packing("Q4_0", 32, 18),
    3: Packing("Q4_1", 32, 20),
    6: Packing("Q5_0", 32, 22),
    7: Packing("Q5_1", 32, 24),
    8: Packing("Q8_0", 32, 34),
    10: Packing("Q2_K", 256, 84),
    11: Packing("Q3_K", 256, 110),
    12: Packing("Q4_K", 256, 144),
    13: Packing("Q5_K", 256, 176),
    14: Packing("Q6_K", 256, 210),
    16: Packing("IQ2_XXS", 256, 66),
    17: Packing("IQ2_XS", 256, 74),
    18: Packing("IQ3_XXS", 256, 98),
    19: Packing("IQ1_S", 256, 50),
    20: Packing("IQ4_NL", 32, 18),
    21: Packing("IQ3_S", 256, 110),
    22: Packing("IQ2_S", 256, 82),
    23: Packing("IQ4_XS", 256, 136),
    24: Packing("I8", 1, 1),
    25: Packing("I16", 1, 2),
    26: Packing("I32", 1, 4),
    27: Packing("I64", 1, 8),
    28: Packing("F64", 1, 8),
    29: Packing("IQ1_M", 256, 56),
    30: Packing("BF16", 1, 2),
    34: Packing("TQ1_0", 256, 54),
    35: Packing("TQ2_0", 256, 66),
    39: Packing("MXFP4", 32, 17),
}
"""By ggml's number of the type."""


class Tensor(NamedTuple):
    """One tensor of the file."""

    name: str
    dims: tuple[int, ...]
    type: str
    bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return prod(self.dims)


@dataclass(frozen=True, slots=True)
class Header:
    """The whole header."""

    fields: Mapping[str, Any]
    """Scalars, strings and short arrays; of a long array only its length."""
    tensors: tuple[Tensor, ...]
    bytes: int
    """Of the file."""
    fields_end: int
    """Byte at which the fields end and the descriptions of tensors begin."""


def read_header(path: Path) -> Header:
    """Read the header of ``path`` (GGUF 2 and 3, little-endian); blocks for a tenth of a second on a big vocabulary.

    Raises PathRefused when there is no such file, ModelFileBad when it is no GGUF, cut, or damaged.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size < 24:
                raise _bad(path, f"it has {size} bytes, fewer than a header")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data, size).header()
    except OSError as error:
        raise PathRefused(f"{str(path)!r} cannot be read: {error.strerror}; give the path of a GGUF file.") from None


def _bad(path: Path, why: str) -> ModelFileBad:
    return ModelFileBad(f"{str(path)!r} is not a usable GGUF file: {why}; fetch it again.")


class _Reader:
    """Reads on from ``at``; whatever reaches beyond the end is damage."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self._path = path
        self._data = data
        self._size = size
        self._at = 0

    def header(self) -> Header:
        if self._take(4) != b"GGUF":
            raise _bad(self._path, f"it begins with {bytes(self._data[:4])!r}, not with b'GGUF'")
        version = self._scalar(4)
        if version not in (2, 3):
            raise _bad(self._path, f"its version is {version!r}, and versions 2 and 3 are read")
        tensors, fields = self._count("tensors"), self._count("fields")
        found = {self._text(): self._value(self._scalar(4)) for _ in range(fields)}
        fields_end = self._at
        listed = [self._tensor() for _ in range(tensors)]
        step = found.get("general.alignment", 32)
        if not isinstance(step, int) or step < 1:
            raise _bad(self._path, f"general.alignment is {step!r}, and must be a positive number")
        begin = -(-self._at // step) * step
        for tensor, offset in listed:
            if begin + offset + tensor.bytes > self._size:
                raise _bad(
                    self._path,
                    f"tensor {tensor.name!r} ends at byte {begin + offset + tensor.bytes:,} of {self._size:,}",
                )
        return Header(
            fields=found, tensors=tuple(tensor for tensor, _ in listed), bytes=self._size, fields_end=fields_end
        )

    def _tensor(self) -> tuple[Tensor, int]:
        name, rank = self._text(), self._scalar(4)
        if rank > 8:
            raise _bad(self._path, f"tensor {name!r} has {rank!r} dimensions")
        dims = tuple(self._scalar(10) for _ in range(rank))
        kind = self._scalar(4)
        packing = PACKINGS.get(kind)
        if packing is None:
            raise _bad(self._path, f"tensor {name!r} has the type {kind!r}, which nobody knows")
        if dims and dims[0] % packing.elements:
            raise _bad(self._path, f"rows of {dims[0]} do not fit the blocks of {packing.name} in tensor {name!r}")
        return Tensor(name, dims, packing.name, prod(dims) // packing.elements * packing.bytes), self._scalar(10)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._scalar(kind)
        inner, length = self._scalar(4), self._scalar(10)
        if inner == _ARRAY:
            raise _bad(self._path, f"there is an array of arrays before byte {self._at:,}")
        if inner == _STRING:
            return self._texts(length)
        form = self._form(inner)
        raw = self._take(length * struct.calcsize("<" + form))
        return list(struct.unpack(f"<{length}{form}", raw)) if length <= LONGEST else length

    def _texts(self, length: int) -> list[str] | int:
        if length <= LONGEST:
            return [self._text() for _ in range(length)]
        read, data, at = struct.Struct("<Q").unpack_from, self._data, self._at
        try:
            for _ in range(length):
                at += 8 + read(data, at)[0]
        except struct.error:
            raise self._cut() from None
        self._at = at
        self._take(0)
        return length

    def _count(self, what: str) -> int:
        number: int = self._scalar(10)
        if number > _MOST:
            raise _bad(self._path, f"it claims {number:,} {what}")
        return number

    def _text(self) -> str:
        return self._take(self._scalar(10)).decode("utf-8", errors="replace")

    def _form(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise _bad(self._path, f"the type {kind!r} before byte {self._at:,} is unknown")
        return _SCALARS[kind]

    def _scalar(self, kind: int) -> Any:
        form = "<" + self._form(kind)
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, length: int) -> bytes:
        if length > self._size - self._at:
            raise self._cut()
        self._at += length
        return self._data[self._at - length : self._at]

    def _cut(self) -> ModelFileBad:
        return _bad(self._path, f"it is cut: the header goes on beyond its {self._size:,} bytes")
