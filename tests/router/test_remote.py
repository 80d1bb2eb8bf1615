import sys
from decimal import Decimal

import anyio
import pytest
from router_server import DONE, Server, piece, usage

from shuntyard.errors import ModelError, ModelUnavailable
from shuntyard.messages import Message, ModelRequest, Usage
from shuntyard.protocols import Model
from shuntyard.router import RemoteSource
from shuntyard.settings import RemoteModel, Settings

pytestmark = [
    pytest.mark.anyio,
    # litellm's own habits; ours are held to.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm.*"),
]

ASK = ModelRequest(messages=(Message(role="user", content="hello"),), max_tokens=50)


async def through_litellm(url: str) -> Model:
    models = {"far": RemoteModel(model="their-name", url=url, through="litellm", input_price=1, output_price=2)}
    return await RemoteSource(Settings(models=models)).open("far")


async def test_an_openai_compatible_server_answers_through_litellm() -> None:
    heard: list[str] = []
    with Server(piece("one "), piece("two"), piece("", "stop"), usage(9, 3), DONE) as server:
        far = await through_litellm(server.url)
        done = await far.complete(ASK, on_text=heard.append)
    assert done.text == "one two" and "".join(heard) == "one two" and len(heard) == 2
    assert done.usage == Usage(prompt=9, completion=3)
    assert server.requests[0]["model"] == "their-name" and server.requests[0]["max_tokens"] == 50
    assert far.info.input_price == Decimal("0.000001")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (Server(piece("half")), "broke off"),
        (Server(b'{"error": {"message": "boom"}}', status=500, kind="application/json"), "failed"),
        (Server(b'{"error": {"message": "bad key"}}', status=401, kind="application/json"), "key_env"),
        (Server(b'{"error": {"message": "slow"}}', status=429, kind="application/json"), "rate limit"),
    ],
)
async def test_what_goes_wrong_behind_litellm_lets_the_next_model_try(
    server: Server, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server, pytest.raises(ModelUnavailable, match=words):
        await (await through_litellm(server.url)).complete(ASK)
    assert capsys.readouterr().out == ""
    assert len(server.requests) == 1


async def test_a_missing_key_and_a_missing_provider_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    models = {"keyless": RemoteModel(model="openai/gpt-4o"), "nobody": RemoteModel(model="no-such-provider/x")}
    source = RemoteSource(Settings(models=models))
    with pytest.raises(ModelUnavailable, match="name the variable of its key as key_env"):
        await (await source.open("keyless")).complete(ASK)
    with pytest.raises(ModelError, match=r"LLM Provider NOT provided.*check model and url") as caught:
        await (await source.open("nobody")).complete(ASK)
    assert "litellm." not in caught.value.message


async def test_cancelling_hangs_up_behind_litellm() -> None:
    with Server(piece("half"), hang=True) as server:
        far = await through_litellm(server.url)
        with anyio.move_on_after(0.5) as scope:
            await far.complete(ASK)
        assert scope.cancelled_caught
        assert await anyio.to_thread.run_sync(server.left.wait, 5)


async def test_list_prices_are_known_once_a_provider_model_is_open() -> None:
    models = {
        "known": RemoteModel(model="anthropic/claude-sonnet-4-5"),
        "half": RemoteModel(model="anthropic/claude-sonnet-4-5", input_price=7),
        "unlisted": RemoteModel(model="openai/no-such-model-at-all"),
    }
    source = RemoteSource(Settings(models=models))
    known = (await source.open("known")).info
    assert known.input_price is not None and known.output_price is not None
    assert 0 < known.input_price < known.output_price < Decimal("0.01")
    half = (await source.open("half")).info
    assert half.input_price == Decimal("0.000007") and half.output_price == known.output_price
    assert (await source.open("unlisted")).info.input_price is None
    assert "litellm" in sys.modules
