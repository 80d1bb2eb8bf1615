"""Clients of the server share what calls of one process share: order, prefixes, states, equal calls. Counts only."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engine import events, real, served, until

from shuntyard.serving import supervise
from shuntyard.settings import ServeSettings, Settings

pytestmark = [pytest.mark.small_model, pytest.mark.timeout(600)]

NAME = "smollm2-135m"
CHAT = "/v1/chat/completions"
RULES = "You are a careful agent.\n" + "\n".join(f"Tool {n}: reads table {n * 7}." for n in range(24))


@pytest.fixture(scope="module")
def settings(
    pulled: Callable[[str], str], own_engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    pulled(NAME)
    with real(
        tmp_path_factory.mktemp("engines"), ServeSettings(port=0, models=(NAME,), drain=2, concurrency=64)
    ) as made:
        yield made


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with served(settings) as found:
        found.timeout = httpx.Timeout(300)
        yield found


def asked(task: str, **more: Any) -> dict[str, Any]:
    said = [{"role": "system", "content": RULES}, {"role": "user", "content": task}]
    return {"model": NAME, "messages": said, "max_tokens": 4, "temperature": 0, **more}


def ask(client: httpx.Client, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(len(bodies)) as threads:
        answers = list(threads.map(lambda body: client.post(CHAT, json=body), bodies))
    assert [answer.status_code for answer in answers] == [200] * len(bodies), answers[0].text
    return [answer.json() for answer in answers]


def computed(answers: list[dict[str, Any]]) -> int:
    used = [answer["usage"] for answer in answers]
    return sum(usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] for usage in used)


def test_a_prefix_is_computed_once_for_several_clients(client: httpx.Client) -> None:
    answers = ask(client, [asked(f"What does tool {n} do?") for n in range(4)])
    total = answers[0]["usage"]["prompt_tokens"]
    assert total > 270
    # Each has its own question, and the last token is computed in any case.
    assert total <= computed(answers) < total + 4 * 30
    (several,) = ask(client, [asked("What does tool 9 do?", n=3, temperature=1)])
    assert len(several["choices"]) == 3 and computed([several]) < 40


def test_equal_requests_are_generated_once_and_a_client_that_leaves_stops_nobody(
    client: httpx.Client, settings: Settings
) -> None:
    body = asked("Count.", max_tokens=40, grammar="root ::= [0-9]{40}", stream=True)
    follower = ThreadPoolExecutor(1)
    with client.stream("POST", CHAT, json=body) as leader:
        lines = leader.iter_lines()
        assert next(lines).startswith("data: ")
        late = follower.submit(lambda: client.post(CHAT, json={**body, "stream": False}))
        until(lambda: client.get("/health").json()["running"] == 2)
    answer = late.result().json()
    text = answer["choices"][0]["message"]["content"]
    usage = answer["usage"]
    assert len(text) == usage["completion_tokens"] == 40
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"], "nothing was computed for it"
    again = events(client.post(CHAT, json=body))
    assert "".join(item["choices"][0]["delta"].get("content") or "" for item in again) == text
    assert len(again) < 10, "a kept answer comes in one piece"
    other = client.post(CHAT, json={**body, "stream": False, "temperature": 0.1}).json()["usage"]
    assert other["prompt_tokens_details"]["cached_tokens"] < other["prompt_tokens"]


def test_a_killed_engine_is_started_again_for_those_who_wait(client: httpx.Client, settings: Settings) -> None:
    endless = asked("Talk.", grammar="root ::= [0-9]{900}", max_tokens=900, stream=True)
    (first,) = supervise.running(settings)
    with ThreadPoolExecutor(1) as threads, client.stream("POST", CHAT, json=endless) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        waits = threads.submit(lambda: ask(client, [asked(f"What is tool {n}?", seed=n) for n in range(6)]))
        until(lambda: client.get("/health").json()["running"] >= 4)
        os.kill(first.engine_pid, signal.SIGKILL)
        rest = [line for line in lines if line.startswith("data: ")]
        assert json.loads(rest[-1][6:])["error"]["code"] == "model_unavailable"
        answers = waits.result()
    assert len(answers) == 6 and client.get("/health").json()["running"] == 0


def test_a_program_shares_the_beginning_of_its_steps(client: httpx.Client) -> None:
    said = [{"role": "system", "content": RULES}]
    steps = [
        {"output": f"v{n}", "messages": [*said, {"role": "user", "content": f"Say {n}."}], "max_tokens": 3}
        for n in range(3)
    ]
    end = {"role": "user", "content": "Join {{v0}}, {{v1}}, {{v2}}."}
    steps.append({"output": "end", "messages": [*said, end], "max_tokens": 3})
    answer = client.post("/v1/programs", json={"model": NAME, "steps": steps}).json()
    assert answer["status"] == "completed" and set(answer["variables"]) == {"v0", "v1", "v2", "end"}
    assert computed([answer]) < answer["steps"][0]["usage"]["prompt_tokens"] + 4 * 30
