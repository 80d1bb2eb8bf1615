"""The suite of the example tasks, run by an agent on a scripted model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from servers import ScriptedServer

from shuntyard.benchmarks import examples as bench
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.data import Data
from shuntyard.evals.suite import Means
from shuntyard.evals.suites.examples import SUITE
from shuntyard.settings import RemoteModel, Settings, load

pytestmark = pytest.mark.anyio

CASES = {case.id: case for case in SUITE.cases(Data(SUITE.sources))}


def means(server: ScriptedServer) -> Means:
    remote = RemoteModel(url=server.url, model="scripted")
    return Means(settings=load({"models": {"there": remote}, "model": "there"}), model=None)


async def solved(server: ScriptedServer, case: Case) -> tuple[Output, Score]:
    async with SUITE.solvers["agent"].open(means(server)) as solve:
        output = await solve(case, seed=0)
    return output, await SUITE.scorer(case, output)


def script(plan: str, answer: str = "ANSWER: done") -> Callable[[dict[str, Any]], str]:
    """Plans with ``plan`` and answers with ``answer``."""
    return lambda request: answer if "RESULTS" in request["messages"][-1]["content"] else plan


def writes(text: str) -> str:
    return f'1. write_file(path="best.txt", content="{text}")\n'


REFUSES = 'outside(reason="there is no tool for this")\n'


async def test_a_written_file_is_scored_from_the_output_alone() -> None:
    with ScriptedServer(script(writes("it is worth 128.96"), "ANSWER: Written.")) as server:
        output, score = await solved(server, CASES["best-seller/1"])
    assert output.value["files"] == {"best.txt": "it is worth 128.96\n"}  # type: ignore[index, call-overload]
    assert score.value == 1, score.explanation
    assert output.usage.total > 0
    assert output.transcript[0] == {"role": "user", "content": CASES["best-seller/1"].input}
    assert any("write_file" in str(part.get("call")) for part in output.transcript)


async def test_a_wrong_file_is_wrong_and_so_is_saying_it_instead() -> None:
    case = CASES["best-seller/1"]
    for plan in (writes("it is worth 127.96"), '1. calculator(expression="120 + 7.96")\n'):
        with ScriptedServer(script(plan, "ANSWER: 128.96")) as server:
            _, score = await solved(server, case)
        assert (score.value, score.letter) == (0, "I")
        assert "best.txt" in score.explanation


async def test_a_refusal_is_right_only_where_nothing_can_be_done() -> None:
    for id, right in (("mail/1", 1.0), ("bed-yield/1", 0.0)):
        with ScriptedServer(script(REFUSES)) as server:
            output, score = await solved(server, CASES[id])
        assert output.value["status"] == "refused"  # type: ignore[index, call-overload]
        assert score.value == right, id


async def test_each_wording_works_on_its_own_copy() -> None:
    """Two at once: what one writes is not there for the other, and the sample files stay as they are."""
    wordings = [str(CASES[f"best-seller/{number}"].input) for number in (1, 2)]

    def answer(request: dict[str, Any]) -> str:
        asked = request["messages"][-1]["content"]
        return script(writes(f"number {[wording in asked for wording in wordings].index(True)}"))(request)

    outputs: list[Output] = []
    with ScriptedServer(answer) as server:
        async with SUITE.solvers["agent"].open(means(server)) as solve, anyio.create_task_group() as group:

            async def one(case: Case) -> None:
                outputs.append(await solve(case, seed=0))

            for number in (1, 2):
                group.start_soon(one, CASES[f"best-seller/{number}"])
    texts = {output.value["files"]["best.txt"] for output in outputs}  # type: ignore[index, call-overload]
    assert texts == {"number 0\n", "number 1\n"}


async def test_the_bench_runs_the_suite_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ScriptedServer(script(REFUSES)) as server:
        remote = RemoteModel(url=server.url, model="scripted")

        def settings(overrides: dict[str, Any] | None = None) -> Settings:
            return load({"models": {"a": remote, "b": remote}, "cache": tmp_path} | (overrides or {}))

        monkeypatch.setattr(bench, "load", settings)
        lines: list[str] = []
        result = await bench.run(model="a", beside="b", only="mail,bed-yield", concurrency=3, say=lines.append)
        asked = len(server.requests)
        again = await bench.run(model="a", beside="b", only="mail,bed-yield", resume=True)
    assert len(lines) == 12
    assert len(server.requests) == asked
    for scores in (result, again):
        table = bench.describe(scores)
        assert "a: 50% of 6 wordings right, 1 of 1 impossible tasks refused, 3 possible wordings refused" in table
