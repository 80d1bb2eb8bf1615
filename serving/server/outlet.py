"""A short way out for streamed text: bytes go to the client's socket in the turn of the event loop in which they came.

Where a server has none (ASGI extension ``OUTLET``), text goes the usual way, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Outlet: TypeAlias = Callable[[bytes], bool]
"""Sends bytes of a body that is being streamed; False, and nothing is sent, when the client is behind or has left."""
OUTLET = "shuntyard.outlet"


class OutletProtocol(HttpToolsProtocol):
    """Uvicorn's connection with an ``OUTLET``; who uses it has begun a response without a length, and not ended it."""

    full = False
    """Whether the client is behind."""

    def on_message_begin(self) -> None:
        """Offer the outlet to every request."""
        super().on_message_begin()
        offered: dict[str, Any] = {OUTLET: self._let_out}
        self.scope["extensions"] = offered

    def pause_writing(self) -> None:
        """The client is behind."""
        self.full = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.full = False
        super().resume_writing()

    def _let_out(self, data: bytes) -> bool:
        if self.full or self.transport.is_closing():
            return False
        # Without a length a body is sent in chunks.
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True
