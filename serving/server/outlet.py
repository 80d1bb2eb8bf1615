"""Short ways between an answer and its client's connection, without the tasks and messages of ASGI.

Bytes go to the client's socket in the turn of the event loop in which they came (extension ``OUTLET``), and that a
client has left is told at once (``GONE``). Where a server has neither, all goes the usual way, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Outlet: TypeAlias = Callable[[bytes], bool]
"""Sends bytes of a body that is being streamed; False, and nothing is sent, when the client is behind or has left."""
Tell: TypeAlias = Callable[[Callable[[], None] | None], None]
"""Takes what is called when the client leaves, or has left; None takes it back."""
OUTLET = "shuntyard.outlet"
GONE = "shuntyard.gone"


class OutletProtocol(HttpToolsProtocol):
    """Uvicorn's connection with both; who uses the outlet has begun a response without a length, and not ended it."""

    full = False
    """Whether the client is behind."""
    _told: Callable[[], None] | None = None

    def on_message_begin(self) -> None:
        """Offer both to every request."""
        super().on_message_begin()
        offered: dict[str, Any] = {OUTLET: self._let_out, GONE: self._tell}
        self.scope["extensions"] = offered

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        super().connection_lost(exc)
        if self._told is not None:
            self._told()

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

    def _tell(self, told: Callable[[], None] | None) -> None:
        self._told = told
        if told is not None and self.transport.is_closing():
            told()
