"""The floor: a program that hands bytes on in both directions and looks at none of them.

Run as ``python -m shuntyard.benchmarks.serving.relay PORT LOOP``; its first line on stdout is its own port. What it
costs per token is what waking up, reading and writing cost on this machine, in Python's event loop or in uvloop, which
our server uses where it is installed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from .leash import hold


class End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        """Not yet joined to another."""
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        # Not every event loop's transports are asyncio's by class.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end too."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Near(End):
    """A client's end; what comes before the way to the engine is there waits."""

    def __init__(self, port: int, ways: set[asyncio.Task[None]]) -> None:
        """``ways`` keeps what is being joined."""
        super().__init__()
        self._port = port
        self._ways = ways
        self._early: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Hand on, or keep for the other end."""
        if self.other is None:
            self._early.append(data)
        else:
            super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find the way to the engine."""
        super().connection_made(transport)
        way = asyncio.ensure_future(self._join())
        self._ways.add(way)
        way.add_done_callback(self._ways.discard)

    async def _join(self) -> None:
        _, far = await asyncio.get_running_loop().create_connection(End, "127.0.0.1", self._port)
        self.other, far.other = far, self
        super().data_received(b"".join(self._early))


async def main(port: int) -> None:
    """Relay until killed, or left alone (``leash``)."""
    ways: set[asyncio.Task[None]] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Near(port, ways), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    hold()
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main(int(sys.argv[1])))
    else:
        asyncio.run(main(int(sys.argv[1])))
