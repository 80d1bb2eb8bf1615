import json
import socket

import anyio
import pytest
from router_parts import MemoryLedger, context, dispatch, model_step, settling
from router_server import DONE, Server, piece, usage

from shuntyard.errors import ContextTooLong, ModelError, ModelUnavailable, UnknownName
from shuntyard.messages import Message, ModelInfo, ModelRequest, Usage
from shuntyard.router import Catalogue, HttpModel, RemoteSource, budgeted
from shuntyard.settings import RemoteModel, Settings

pytestmark = pytest.mark.anyio

ASK = ModelRequest(messages=(Message(role="user", content="hello"),), stop=("END",), max_tokens=50)


def model(url: str, **more: object) -> HttpModel:
    return HttpModel(ModelInfo(name="far", kind="openai"), url=url, **more)  # type: ignore[arg-type]


async def test_text_comes_in_pieces_with_the_usage_that_the_server_billed() -> None:
    heard: list[str] = []
    with Server(
        b": ping\r\n\r\n", piece("one "), piece("zwei\u2028三"), piece("", "stop"), usage(9, 3), DONE
    ) as server:
        done = await model(server.url, model="their-name").complete(ASK, on_text=heard.append)
    assert done.text == "one zwei\u2028三" and heard == ["one ", "zwei\u2028三"]
    assert done.usage == Usage(prompt=9, completion=3) and done.finish == "stop" and done.model == "far"
    assert 0 < done.ttft <= done.seconds
    sent = server.requests[0]
    assert sent["model"] == "their-name" and sent["stop"] == ["END"] and sent["max_tokens"] == 50
    assert "Authorization" not in server.headers[0]


async def test_pieces_that_split_a_character_and_a_line_are_put_together() -> None:
    whole = piece("grüße", "length") + usage(1, 2) + DONE
    with Server(*[whole[index : index + 1] for index in range(len(whole))]) as server:
        done = await model(server.url).complete(ASK)
    assert done.text == "grüße" and done.finish == "length"


async def test_a_server_that_does_not_stream_is_understood() -> None:
    body = {
        "choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
    }
    with Server(json.dumps(body).encode(), kind="application/json") as server:
        done = await model(server.url).complete(ASK)
    assert done.text == "whole" and done.usage == Usage(prompt=4, cached=2, completion=1)


async def test_without_usage_the_bound_counts() -> None:
    with Server(piece("abc", "stop"), DONE) as server:
        far = model(server.url)
        done = await far.complete(ASK)
        assert done.usage.prompt == await far.count(ASK.messages) > len("hello")
        assert done.usage.completion == 4


@pytest.mark.parametrize(
    "server",
    [
        Server(piece("half")),
        Server(piece("half"), short=100),
        Server(),
        Server(b"data: {broken\n\n"),
        Server(b"data: [1, 2]\n\n"),
        Server(b"<html>hello</html>", kind="text/html"),
        Server(b"not json", kind="application/json"),
        Server(b'{"choices": 3}', kind="application/json"),
        Server(b'data: {"error": {"message": "out of memory"}}\n\n'),
        Server(b'data: {"choices": [], "usage": {"prompt_tokens": "many"}}\n\n'),
    ],
)
async def test_an_answer_that_is_broken_off_or_unreadable_lets_the_next_model_try(server: Server) -> None:
    with server, pytest.raises(ModelUnavailable, match="'far'"):
        await model(server.url).complete(ASK)


@pytest.mark.parametrize(
    ("status", "detail", "kind", "words"),
    [
        (401, "bad key", ModelUnavailable, "key_env"),
        (403, "no", ModelUnavailable, "key"),
        (404, "no such model", ModelUnavailable, "check model and url"),
        (429, "slow down", ModelUnavailable, "--fallback"),
        (500, "boom", ModelUnavailable, "boom"),
        (503, "loading", ModelUnavailable, "try again"),
        (400, "This model's maximum context length is 8 tokens", ContextTooLong, "shorten"),
        (400, "unknown field", ModelError, "unknown field"),
    ],
)
async def test_every_status_says_what_it_means(status: int, detail: str, kind: type[ModelError], words: str) -> None:
    body = json.dumps({"error": {"message": detail}}).encode()
    with Server(body, status=status, kind="application/json") as server, pytest.raises(kind, match=words) as caught:
        await model(server.url).complete(ASK)
    assert type(caught.value) is kind and detail[:3] in caught.value.message


async def test_nobody_there_and_no_url_are_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await model(f"http://127.0.0.1:{free.getsockname()[1]}").complete(ASK)
    for url in ("nonsense", "http://", "http://[", "ftp://127.0.0.1"):
        with pytest.raises(ModelUnavailable, match="url"):
            await model(url).complete(ASK)


async def test_a_silent_server_is_given_up_and_cancelling_hangs_up() -> None:
    with Server(piece("half"), hang=True) as server:
        with pytest.raises(ModelUnavailable, match=r"silent for 0\.2 s"):
            await model(server.url, patience=0.2).complete(ASK)
        assert await anyio.to_thread.run_sync(server.left.wait, 5)
    with Server(piece("half"), hang=True) as server:
        with anyio.move_on_after(0.2) as scope:
            await model(server.url).complete(ASK)
        assert scope.cancelled_caught
        assert await anyio.to_thread.run_sync(server.left.wait, 5)


async def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAR_KEY", raising=False)
    with Server(piece("x", "stop"), usage(1, 1), DONE) as server:
        far = model(server.url, key_env="FAR_KEY")
        for bad in (None, " ", "grüße", "a\nb"):
            if bad is not None:
                monkeypatch.setenv("FAR_KEY", bad)
            with pytest.raises(ModelUnavailable, match="FAR_KEY"):
                await far.complete(ASK)
        assert server.requests == []
        monkeypatch.setenv("FAR_KEY", " k-1 ")
        await far.complete(ASK)
    assert server.headers[0]["Authorization"] == "Bearer k-1"


async def test_the_road_falls_back_from_a_torn_stream_to_the_next_url() -> None:
    ledger = MemoryLedger()
    with Server(piece("half")) as torn, Server(piece("whole", "stop"), usage(5, 1), DONE) as good:
        models = {
            "torn": RemoteModel(url=torn.url, input_price=1, output_price=1),
            "good": RemoteModel(url=good.url, input_price=2, output_price=4),
        }
        catalogue = Catalogue([RemoteSource(Settings(models=models))])
        road = settling(budgeted(catalogue, ledger, model="torn", fallback=["good"])(dispatch(catalogue)), ledger)
        result = await road(model_step(), context(max_cost=1))
    assert result.value == "whole" and result.decision is not None
    assert result.decision.failed[0].startswith("torn: 'torn' broke off")
    # The torn call may have been billed: its worst case stands, the good one is settled exactly.
    worst = (await HttpModel(ModelInfo(name="x"), url="http://x").count(ASK.messages)) + 64
    assert result.cost * 1_000_000 == worst + 5 * 2 + 1 * 4
    assert ledger.total().cost == result.cost


async def test_the_source_knows_its_models_without_reaching_them() -> None:
    models = {
        "near": RemoteModel(url="http://127.0.0.1:1/v1", input_price="3", output_price="15", tier="medium", context=99),
        "provider": RemoteModel(model="anthropic/claude-sonnet-4-5"),
        "both": RemoteModel(model="m", url="http://127.0.0.1:1/v1", through="litellm"),
    }
    source = RemoteSource(Settings(models=models))
    near, provider, both = source.infos()
    assert (near.kind, provider.kind, both.kind) == ("openai", "litellm", "litellm")
    assert str(near.input_price) == "0.000003" and near.context == 99 and near.tier == "medium"
    assert provider.input_price is None
    assert isinstance(await source.open("near"), HttpModel)
    with pytest.raises(UnknownName, match="near"):
        await source.open("nearr")
