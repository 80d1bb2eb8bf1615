"""The server as a process: its socket, its key, and its end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from importlib.metadata import version
from types import FrameType

import uvicorn

from ...errors import ModelUnavailable, SettingsInvalid, UnknownName
from ...settings import Settings
from ..registry import find
from ..tokens.open import info_of
from .app import build
from .door import is_loopback
from .generation import Asking
from .hall import Hall
from .outlet import OutletProtocol
from .pool import Pool


def key_of(settings: Settings, given: str = "") -> str:
    """Return the key that clients must send, empty for none.

    Raises SettingsInvalid when it cannot stand in a header, or when other machines could reach a server without one.
    """
    serve = settings.serve
    key = given or os.environ.get(serve.key_env, "").strip()
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsInvalid("the API key holds blanks or letters beyond ASCII; choose another.")
    if not key and not is_loopback(serve.host):
        raise SettingsInvalid(
            f"host {serve.host!r} can be reached from other machines and there is no API key; set {serve.key_env}, or "
            "listen on 127.0.0.1."
        )
    return key


def check_names(settings: Settings) -> list[str]:
    """Return the models that are offered, the default first.

    Raises UnknownName, PathRefused, ModelFileBad, SettingsInvalid for one of the settings that cannot be, and for a
    fleet that could not do what is set.
    """
    fleet = settings.fleet
    if "prefill" in fleet.roles and not settings.state_mib:
        raise SettingsInvalid(
            f"fleet.roles = {fleet.roles!r} hand prompts over as saved states, and state_mib = 0 saves none; raise it, "
            "or leave roles out."
        )
    pool = Pool(settings)
    names = pool.names()
    for name in names:
        remote = settings.models.get(name)
        if remote is None:
            if find(name).kind != "generate":
                raise UnknownName("model that answers", name, names)
        elif remote.engine:
            info_of(name, remote)
        elif not remote.url:
            raise SettingsInvalid(f"model {name!r} has no url, and only models with one are served; leave it out.")
    return sorted(names, key=lambda name: name != pool.default())


def bind(settings: Settings) -> socket.socket:
    """Return the listening socket. Raises SettingsInvalid when the address cannot be taken."""
    serve = settings.serve
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((serve.host, serve.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise SettingsInvalid(
            f"{serve.host}:{serve.port} cannot be listened on: {error.strerror or error}; choose another with --port."
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address that clients use."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    key: str = "",
    choose: Callable[[Asking], str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve until SIGTERM or SIGINT; then nothing new is taken and running answers get ``drain`` seconds to end.

    A second SIGINT ends it at once. ``say`` is told what is waited for. Raises ModelUnavailable when the server could
    not start.
    """
    server = server_of(settings, key=key, choose=choose, say=say)
    server.run(sockets=[listener])
    if not server.started:
        raise ModelUnavailable("the server did not start; what it said stands above.")


class _Server(uvicorn.Server):
    """Says what it waits for when it is told to end."""

    def __init__(self, config: uvicorn.Config, hall: Hall, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._hall = hall
        self._say = say

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, told by a signal."""
        if not self.should_exit:
            count = self._hall.running
            still = f"{count} answer{' is' if count == 1 else 's are'} still being written"
            most = self.config.timeout_graceful_shutdown
            again = "; Ctrl-C again ends it at once" if sig == signal.SIGINT else ""
            self._say(f"stopping: {still}, for at most {most} s{again}" if count else "stopping")
        super().handle_exit(sig, frame)


def server_of(
    settings: Settings,
    *,
    key: str = "",
    choose: Callable[[Asking], str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> uvicorn.Server:
    """Return the server, not yet running."""
    app = build(settings, key=key, choose=choose)
    config = uvicorn.Config(
        app,
        http=OutletProtocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        # How our own clients know that they may tell the place of a request.
        headers=[("X-Shuntyard", version("shuntyard"))],
        # Nobody's word is taken for where a request comes from.
        proxy_headers=False,
        # Zero would mean: for ever.
        timeout_graceful_shutdown=max(1, round(settings.serve.drain)),
        timeout_keep_alive=60,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return _Server(config, app.state.hall, say)
