"""Objects over a socket pair between this process and a child of it: a length, then a pickle.

Both ends run the same person's code as the same user, so unpickling gives the other end nothing it does not have.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

import anyio

_HEAD = struct.Struct(">Q")
_PIECE = 1 << 20


def pack(item: object) -> bytes:
    """Return the bytes that ``item`` crosses as."""
    data = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(data)) + data


def take(wire: socket.socket) -> Any:
    """Wait for an object on a blocking socket. Raises EOFError when the other end is gone."""
    return pickle.loads(_take(wire, *_HEAD.unpack(_take(wire, _HEAD.size))))


def _take(wire: socket.socket, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        piece = wire.recv(min(size - len(data), _PIECE))
        if not piece:
            raise EOFError
        data += piece
    return data


async def send(wire: socket.socket, data: bytes) -> None:
    """Send packed bytes on a non-blocking socket. Raises OSError when the other end is gone."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[wire.send(rest[:_PIECE]) :]
        except BlockingIOError:
            await anyio.wait_writable(wire)


async def receive(wire: socket.socket) -> Any:
    """Wait for an object on a non-blocking socket. Raises EOFError or OSError when the other end is gone."""
    (size,) = _HEAD.unpack(await _receive(wire, _HEAD.size))
    return pickle.loads(await _receive(wire, size))


async def _receive(wire: socket.socket, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        try:
            piece = wire.recv(min(size - len(data), _PIECE))
        except BlockingIOError:
            await anyio.wait_readable(wire)
            continue
        if not piece:
            raise EOFError
        data += piece
    return data
