"""``shuntyard serve``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from ..errors import ModelUnavailable
from . import out
from .options import Options, takes
from .root import single

app = single()

NEEDS = ("aiohttp", "httptools", "prometheus_client", "starlette", "uvicorn")


@app.command(
    epilog="It listens on 127.0.0.1 and needs no key there; any other address needs one. More under [serve] in "
    "shuntyard.toml. SIGTERM ends it once running answers have ended."
)
@takes(Options)
def serve(
    options: Options,
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", "-p", min=0, max=65535, help="Port, else 8800 or the one in the settings; 0 takes a free one."
        ),
    ] = None,
    api_key: Annotated[
        str, typer.Option("--api-key", metavar="KEY", help="Key that clients send; better in SHUNTYARD_API_KEY.")
    ] = "",
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", metavar="NAME", help="Offer only this model; repeatable.")
    ] = None,
) -> int:
    """Serve local models with OpenAI's interface: chat, completions, embeddings, responses, messages."""
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise ModelUnavailable(f"the server needs {', '.join(missing)}; run `pip install 'shuntyard[serve]'`.")
    from ..agents.serving import chooser
    from ..serving import server
    from ..serving.embed import NAME as EMBEDS

    settings = options.settings()
    given: dict[str, Any] = {"host": host, "port": port, "models": tuple(model) if model else None}
    changed = {name: value for name, value in given.items() if value is not None}
    settings = settings.model_copy(update={"serve": settings.serve.model_validate({**dict(settings.serve), **changed})})
    key = server.key_of(settings, api_key)
    names = server.check_names(settings)
    listener = server.bind(settings)
    url = server.url_of(listener)
    if options.json:
        out.result_json({"url": url, "key": bool(key), "models": names})
    else:
        out.result(f"serving {', '.join(names)}, and {EMBEDS} for embeddings, on {url}/v1")
    # Whoever started it in the background waits for this line.
    sys.stdout.flush()
    out.note(example(url, names[0], key=bool(key)))
    server.serve(settings, listener, key=key, choose=chooser(settings, names), say=out.note)
    return 0


def example(url: str, model: str, *, key: bool) -> str:
    """Return a command to try it with."""
    header = ' -H "Authorization: Bearer $SHUNTYARD_API_KEY"' if key else ""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'
    return f"try: curl {url}/v1/chat/completions{header} -H 'Content-Type: application/json' -d '{body}'"
