"""Where the value of a result lies: in its row while it is small, in a file of its own when it is big."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import Connection

from ..errors import BlobDamaged
from ..steps import RunResult, StepResult
from . import tables
from .blobs import Blob, Blobs

BIG = 256 * 1024
"""Bytes of JSON from which on a value gets a file. Rows with fewer characters are not even looked at.

Measured: with the checkpoints that it causes, a value of this size in a row costs what a flushed file does.
"""

Head: TypeAlias = Callable[[JsonValue], str]
"""Says a value in a few words."""

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class Apart(NamedTuple):
    """A value on its way to its file."""

    content: bytes
    blob: Blob


def opening(value: JsonValue) -> str:
    """Return the first characters of ``value`` as JSON: a head for those who have nothing better."""
    return _JSON.dump_json(value).decode()[:80]


def apart(blobs: Blobs, value: JsonValue, head: Head) -> Apart | None:
    """Write ``value`` into its file when it is big, else return None. Blocks; raises StoreUnwritable."""
    content = _JSON.dump_json(value)
    if len(content) < BIG:
        return None
    return Apart(content, Blob(sha256=blobs.put(content), bytes=len(content), head=head(value)))


def hold(blobs: Blobs, values: Mapping[str, Apart]) -> None:
    """Make sure that the files are there; to be called in the transaction that names them.

    A sweep deletes unnamed files in a transaction too, so what is there now stays.
    """
    for value in values.values():
        if not blobs.has(value.blob.sha256):
            blobs.put(value.content)


def columns(blob: Blob | None) -> dict[str, Any]:
    """Return what a row keeps of ``blob``."""
    if blob is None:
        return {"blob": None, "blob_bytes": None, "blob_head": None}
    return {"blob": blob.sha256, "blob_bytes": blob.bytes, "blob_head": blob.head}


def blob_of(row: Any) -> Blob | None:
    """Return the blob that ``row`` names, if it names one."""
    return None if row.blob is None else Blob(sha256=row.blob, bytes=row.blob_bytes, head=row.blob_head)


def load(blobs: Blobs, blob: Blob) -> JsonValue:
    """Return the value in ``blob``. Raises BlobDamaged, naming the file and what is wrong with it."""
    try:
        return _JSON.validate_json(blobs.get(blob.sha256, blob.bytes))
    except ValueError as error:
        raise BlobDamaged(f"{str(blobs.path(blob.sha256))!r} holds no JSON: {error}") from None


def read(blobs: Blobs, blob: Blob, run: str, node: str) -> JsonValue:
    """Return the value in ``blob``. Raises BlobDamaged, naming run, node, file and the mend."""
    try:
        return load(blobs, blob)
    except BlobDamaged as error:
        raise BlobDamaged(
            f"the value of {node!r} in run {run!r} is lost: {error.message}; shuntyard resume {run} makes it again "
            "if the node only reads, and asks you about an effect.",
            ids={"run": run, "node": node},
        ) from None


def without(result: RunResult, nodes: Mapping[str, Apart]) -> RunResult:
    """Return ``result`` with no values for ``nodes``."""
    return _with(result, dict.fromkeys(nodes))


def whole(blobs: Blobs, result: RunResult, found: Mapping[str, Blob]) -> RunResult:
    """Return ``result`` with the values in ``found`` read from their files. Raises BlobDamaged."""
    return _with(result, {node: read(blobs, blob, result.run, node) for node, blob in found.items()})


def split(blobs: Blobs, result: RunResult, head: Head) -> dict[str, Apart]:
    """Write the big values of ``result`` into files and return them by node. Blocks; raises StoreUnwritable."""
    found = {node: apart(blobs, each.value, head) for node, each in result.results.items()}
    return {node: value for node, value in found.items() if value is not None}


def name(connection: Connection, run: str, found: Mapping[str, Apart]) -> None:
    """Write which files hold values of ``run``'s result, beside those that are written already."""
    rows = [{"run": run, "node": node, **columns(value.blob)} for node, value in found.items()]
    if rows:
        connection.execute(tables.upsert(tables.outcomes), rows)


def with_value(result: StepResult, value: JsonValue) -> StepResult:
    """Return ``result`` with ``value``."""
    return result.model_copy(update={"value": value})


def _with(result: RunResult, values: Mapping[str, JsonValue]) -> RunResult:
    if not values:
        return result
    results = {
        node: with_value(each, values[node]) if node in values else each for node, each in result.results.items()
    }
    return result.model_copy(update={"results": results})
