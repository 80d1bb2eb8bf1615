"""Programs on a server: calls that feed each other without a way back to the client between them."""

from collections.abc import AsyncGenerator
from contextlib import nullcontext
from typing import Any

import anyio
import httpx
import pytest
from fake_engine import FakeEngine, events, until

from shuntyard.errors import ModelUnavailable, RequestRefused
from shuntyard.messages import Place
from shuntyard.serving import ProgramBody, ProgramRequest, ProgramStep, run_program
from shuntyard.serving.engines import CHILD, Call, Chunk
from shuntyard.serving.prompt import Prompt, call_of
from shuntyard.serving.schedule import Scheduler
from shuntyard.serving.server.asked import ChatMessage, ChatRequest
from shuntyard.serving.server.chat import gather
from shuntyard.serving.server.generate import Meter
from shuntyard.serving.server.programs import Run

PATH = "/v1/programs"
CHAIN: dict[str, Any] = {
    "inputs": {"topic": "trains"},
    "steps": [
        {"output": "summary", "prompt": "Sum up {{ draft }}."},
        {"output": "draft", "prompt": "Write about {{topic}}."},
    ],
}
STEPS: list[dict[str, Any]] = CHAIN["steps"]
SAID = {"role": "user", "content": "{{b}}"}


def test_a_chain_runs_in_one_round_trip(client: httpx.Client, engine: FakeEngine) -> None:
    engine.words = ["{{topic}}", " said"]
    answer = client.post(PATH, json=CHAIN).json()
    assert answer["status"] == "completed"
    assert answer["variables"] == {"summary": "{{topic}} said", "draft": "{{topic}} said"}
    asked = [call["messages"][0]["content"] for call in engine.calls]
    assert asked == ["Write about trains.", "Sum up {{topic}} said."], "a value is data and is not filled in again"
    assert [row["output"] for row in answer["steps"]] == ["summary", "draft"]
    parts = [row["usage"]["total_tokens"] for row in answer["steps"]]
    assert answer["usage"]["total_tokens"] == sum(parts) == 3 + 2 + 4 + 2
    # A request is counted when it is over, a moment after its answer has gone out.
    until(lambda: 'shuntyard_requests_total{endpoint="programs",status="200"} 1.0' in client.get("/metrics").text)
    text = client.get("/metrics").text
    assert 'shuntyard_tokens_total{kind="completion",model="fake"} 4.0' in text


def test_variables_come_as_they_are_written(client: httpx.Client) -> None:
    found = events(client.post(PATH, json={**CHAIN, "stream": True, "outputs": ["summary", "topic"]}))
    kinds = [item["type"] for item in found]
    assert kinds[0] == "program.created" and kinds[-1] == "program.done"
    done = [item["name"] for item in found if item["type"] == "variable.done"]
    assert done == ["draft", "summary"]
    said = "".join(item["text"] for item in found if item["type"] == "variable.delta" and item["name"] == "draft")
    assert said == "Hello there!"
    assert found[-1]["program"]["variables"] == {"summary": "Hello there!", "topic": "trains"}


def test_what_cannot_run_is_named(client: httpx.Client, engine: FakeEngine) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"steps": []}, "steps", "at least 1"),
        ({"steps": [{"output": "a", "prompt": "{{b}}"}]}, "steps.0.prompt", "'b'"),
        ({"steps": [{"output": "a", "prompt": "{{b}}"}, {"output": "b", "prompt": "{{a}}"}]}, "steps", "a -> b -> a"),
        ({"steps": [{"output": "a", "prompt": "{{a}}"}]}, "steps", "a -> a"),
        ({"steps": [{"output": "topic", "prompt": "x"}]}, "steps.0.output", "already"),
        ({"steps": [{"output": "a"}]}, "steps.0.prompt", "has to be there"),
        ({"steps": [{"output": "a b", "prompt": "x"}]}, "steps.0.output", "pattern"),
        ({"steps": [*STEPS, {"prompt": "x"}]}, "steps.2.output", "missing"),
        ({"steps": [*STEPS, {"output": "a", "prompt": "x", "user": "me"}]}, "steps.2.user", "not offered"),
        ({"steps": [*STEPS, {"output": "a", "messages": [{"role": "x"}]}]}, "steps.2.messages.0.role", "'x'"),
        ({"steps": [*STEPS, {"output": "a", "messages": [SAID]}]}, "steps.2.messages", "'b'"),
        ({"steps": [{"output": "a", "prompt": "x", "max_tokens": 70_000}]}, "steps", "65536"),
        ({"steps": [{"output": f"a{n}", "prompt": "x"} for n in range(65)]}, "steps", "64"),
        ({"outputs": ["nothing"]}, "outputs", "nothing"),
    ]
    unknown: list[tuple[dict[str, Any], str, str]] = [
        ({"model": "gpt-7"}, "model", "gpt-7"),
        ({"steps": [*STEPS, {"output": "a", "prompt": "x", "model": "gpt-7"}]}, "steps.2.model", "gpt-7"),
        ({"steps": [*STEPS, {"output": "a", "prompt": "x", "model": "auto"}]}, "steps.2.model", "router"),
    ]
    for change, param, says in (*wrong, *unknown):
        response = client.post(PATH, json={**CHAIN, **change})
        assert response.status_code == (404 if param.endswith("model") else 400), response.text
        error = response.json()["error"]
        assert error["param"] == param and says in error["message"]
    assert engine.calls == []


def test_a_step_that_fails_leaves_what_the_others_made(client: httpx.Client, engine: FakeEngine) -> None:
    steps = [
        {"output": "good", "prompt": "x"},
        {"output": "bad", "prompt": "word " * 5000},
        {"output": "after", "prompt": "{{bad}} and {{good}}"},
    ]
    answer = client.post(PATH, json={"steps": steps}).json()
    assert answer["status"] == "partial" and answer["variables"] == {"good": "Hello there!"}
    states = {row["output"]: row["status"] for row in answer["steps"]}
    assert states == {"good": "done", "bad": "failed", "after": "skipped"}
    (failed,) = [row for row in answer["steps"] if row["status"] == "failed"]
    assert failed["error"]["code"] == "context_length_exceeded"
    engine.context = 0
    assert client.post(PATH, json={"steps": steps}).json()["status"] == "failed"


def test_a_client_that_leaves_stops_every_step(client: httpx.Client, engine: FakeEngine) -> None:
    engine.words, engine.delay = ["word "] * 100_000, 0.01
    body = {"steps": [{"output": f"v{n}", "prompt": "x"} for n in range(3)]}
    with pytest.raises(httpx.ReadTimeout):
        client.post(PATH, json=body, timeout=0.4)
    until(lambda: engine.running == 0 and client.get("/health").json()["running"] == 0)
    assert len(engine.calls) == 3


def test_the_client_in_python(client: httpx.Client, engine: FakeEngine) -> None:
    steps = (ProgramStep(output="a", prompt="{{x}}"), ProgramStep(output="b", prompt="{{a}}"))
    url = f"{client.base_url}/v1"
    done = anyio.run(lambda: run_program(ProgramRequest(inputs={"x": "Say."}, steps=steps), url=url))
    assert done.variables["b"] == "Hello there!" and len(engine.calls) == 2
    with pytest.raises(RequestRefused, match="'x'"):
        anyio.run(lambda: run_program(ProgramRequest(steps=steps), url=url))
    with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1:9"):
        anyio.run(lambda: run_program(ProgramRequest(steps=steps), url="http://127.0.0.1:9/v1"))


class LinedEngine:
    """One slot behind the queue; a generation takes one tick, and a client's way back takes another."""

    name = "lined"
    capabilities = CHILD

    def __init__(self) -> None:
        self.scheduler = Scheduler(1)
        self.tick = 0
        self.order: list[str] = []

    async def stream(self, call: Call) -> AsyncGenerator[list[Chunk], None]:
        async with self.scheduler.slot(call_of(call.place, Prompt(b"", 0))):
            await anyio.lowlevel.checkpoint()
            self.tick += 1
            self.order.append(call.place.node if call.place else "")
            choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1}
            yield [Chunk.of({"choices": [choice], "usage": usage})]

    async def render(self, messages: Any, tools: Any) -> str:
        return ""

    async def tokens(self, prompt: str) -> int:
        return 0

    async def close(self) -> None:
        return None


async def run_on(engine: LinedEngine, asked: ProgramRequest, place: Place | None = None) -> ProgramBody:
    run = Run(asked, lambda name: nullcontext(engine), place=place)
    await run.carry(nullcontext())
    return await run.whole()


async def _mean(applications: int, *, chained: bool) -> float:
    """The mean tick at which applications of three calls are done; all come at once."""
    engine, done = LinedEngine(), []

    async def one(number: int) -> None:
        texts = ["go", "{{a0}}", "{{a1}}"]
        if chained:
            steps = tuple(ProgramStep(output=f"a{n}", prompt=text) for n, text in enumerate(texts))
            await run_on(engine, ProgramRequest(steps=steps), Place(run=f"run{number}", arrived=number + 1.0))
        else:
            for text in texts:
                await gather(engine, ChatRequest(messages=(ChatMessage(role="user", content=text),)), Meter())
        done.append(engine.tick)

    async with anyio.create_task_group() as group:
        for number in range(applications):
            group.start_soon(one, number)
    return sum(done) / len(done)


@pytest.mark.anyio
async def test_chained_applications_are_done_sooner_on_average() -> None:
    plain, chained = await _mean(6, chained=False), await _mean(6, chained=True)
    assert plain == pytest.approx(2 * 6 + 3.5), "request by request all are done at the end"
    # The next call may have begun by the time a client has its answer.
    assert chained == pytest.approx(3 * 3.5, abs=1), "one application after the other"


@pytest.mark.anyio
async def test_the_critical_path_goes_first() -> None:
    engine = LinedEngine()
    steps = (
        ProgramStep(output="side1", prompt="x", max_tokens=10),
        ProgramStep(output="side2", prompt="x", max_tokens=10),
        ProgramStep(output="long1", prompt="x", max_tokens=10),
        ProgramStep(output="long2", prompt="{{long1}}", max_tokens=10),
        ProgramStep(output="end", prompt="{{long2}} {{side1}} {{side2}}", max_tokens=10),
    )
    body = await run_on(engine, ProgramRequest(steps=steps, outputs=("end",)))
    assert engine.order[0] == "long1" and engine.order[-1] == "end"
    assert engine.order.index("long2") < engine.order.index("side2")
    assert body.variables == {"end": "x"} and body.usage.completion_tokens == 5
