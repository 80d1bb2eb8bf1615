"""The server: OpenAI's interface outside, engines inside; started by ``shuntyard serve``.

Every generation passes ``generate.generate``. A client that leaves stops its generation at once, one that is too many
is told when to come back, and an engine that dies is started again by the next request.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .app import build
    from .run import bind, check_names, key_of, serve, server_of, url_of

__all__ = ["bind", "build", "check_names", "key_of", "serve", "server_of", "url_of"]

__getattr__ = lazy(
    __name__,
    {
        "bind": ".run",
        "build": ".app",
        "check_names": ".run",
        "key_of": ".run",
        "serve": ".run",
        "server_of": ".run",
        "url_of": ".run",
    },
)
