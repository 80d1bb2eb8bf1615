"""The prediction against a model whose error and speeds are known."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import ScriptedServer

from shuntyard.benchmarks import granularity
from shuntyard.benchmarks.granularity import fit, measure
from shuntyard.benchmarks.granularity.tasks import KINDS, count, find, sort
from shuntyard.errors import UsageError
from shuntyard.messages import Completion, ModelInfo, ModelRequest, Usage

pytestmark = pytest.mark.anyio
GRID = [2, 4, 8, 16, 32]


class Curve:
    """Finds values; the share of parts of ``m`` lines that it gets wrong is ``error(m)``. A word is a token."""

    info = ModelInfo(name="curve", kind="scripted", context=100_000)

    def __init__(self, error: Callable[[int], float], *, reading: float, writing: float, noise: float = 0.0) -> None:
        self.error = error
        self.pace = fit.Pace(reading, writing)
        self.noise = noise
        self.calls = 0

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        self.calls += 1
        text = request.messages[1].content
        (name,) = re.findall(r"value of (\S+)\?", text)
        size = len(re.findall("^.* = ", text, re.M))
        draw = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8
        (value,) = re.findall(f"^{name} = (.*)$", text, re.M)
        answer = "0000" if draw < self.error(size) else value
        usage = Usage(prompt=40 + 6 * size, cached=30, completion=4)
        seconds = self.pace.reading * (usage.prompt - 30) + self.pace.writing * usage.completion
        return Completion(text=answer, model="curve", usage=usage, seconds=seconds * (1 + self.noise * (draw - 0.5)))


def steep(size: int) -> float:
    """A tenth at 2 items, half at 8."""
    return 1 / (1 + math.exp(-1.6 * math.log(size / 8)))


CURVES = {
    "never wrong": lambda size: 0.0,
    "worse with size": steep,
    "wrong at once": lambda size: 1 / (1 + math.exp(-3 * math.log(size / 3))),
}
SETTING = measure.Setting(["retrieval"], 32, GRID, 150, 4)


async def result_of(model: Curve, setting: measure.Setting, place: Path) -> dict[str, Any]:
    log = measure.Log(place / "log.jsonl")
    assert await measure.fill(model, setting, log, until=math.inf) == ["retrieval"]
    return measure.judged(log.rows()["retrieval"], setting, model.info, "retrieval")


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("noise", [0.0, 0.5])
async def test_the_best_size_of_a_known_curve_is_predicted(name: str, noise: float, tmp_path: Path) -> None:
    model = Curve(CURVES[name], reading=0.0125, writing=0.08, noise=noise)
    found = await result_of(model, SETTING, tmp_path)
    assert found["grid_steps"] == 0
    true = {size: -(-(32 // size) // 4) * (0.0125 * (40 + 6 * size) + 0.32) / (1 - model.error(size)) for size in GRID}
    assert found["predicted_best"] == min(GRID, key=true.__getitem__)
    for row in found["sizes"]:
        assert row["predicted"]["seconds"] == pytest.approx(row["measured"]["seconds"], rel=0.02)
        assert row["predicted"]["error"] == pytest.approx(model.error(row["size"]), abs=0.1)


async def test_the_curves_have_different_best_sizes(tmp_path: Path) -> None:
    best = set()
    for name, curve in CURVES.items():
        (tmp_path / name).mkdir()
        best.add(
            (await result_of(Curve(curve, reading=0.0125, writing=0.08), SETTING, tmp_path / name))["measured_best"]
        )
    assert len(best) > 1


async def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    setting = replace(SETTING, parts=3)
    whole = Curve(steep, reading=0.01, writing=0.1)
    expected = await result_of(whole, setting, tmp_path)
    assert whole.calls == 3 * 3 + 3 * 5

    place = tmp_path / "stopped.jsonl"
    place.write_text("\n".join((tmp_path / "log.jsonl").read_text().splitlines()[:11]) + '\n{"task": "retr')
    model = Curve(steep, reading=0.01, writing=0.1)
    log = measure.Log(place)
    assert await measure.fill(model, setting, log, until=-math.inf) == [] and model.calls == 0
    assert await measure.fill(model, setting, measure.Log(place), until=math.inf) == ["retrieval"]
    assert model.calls == whole.calls - 10
    assert measure.judged(measure.Log(place).rows()["retrieval"], setting, model.info, "retrieval") == expected


@given(st.sampled_from(sorted(KINDS)), st.integers(1, 64), st.integers(0, 20_000))
def test_a_part_is_the_same_for_a_seed_and_nothing_is_all_wrong(kind: str, size: int, seed: int) -> None:
    part, again = KINDS[kind].make(size, seed), KINDS[kind].make(size, seed)
    assert part.request == again.request
    assert part.loss("I do not know.") == 1.0


def test_losses_are_shares() -> None:
    words = count(8, 1)
    right = words.request.messages[1].content.split("\n")[1].split().count("red")
    assert words.loss(f"{right}.") == 0 and words.loss(str(right + 2)) == 0.25 and words.loss("99") == 1
    numbers = sort(4, 1)
    given = sorted(int(one) for one in re.findall(r"\d+", numbers.request.messages[1].content))
    assert numbers.loss(" ".join(map(str, given))) == 0 and numbers.loss(" ".join(map(str, given[:3]))) == 0.25
    lines = find(4, 1)
    text = lines.request.messages[1].content
    (name,) = re.findall(r"value of (\S+)\?", text)
    (value,) = re.findall(f"^{name} = (.*)$", text, re.M)
    assert lines.loss(f"It is {value}") == 0 and lines.loss("1000000") == 1


def test_the_speeds_are_those_that_explain_the_seconds() -> None:
    rows = [
        fit.Row(
            task="t", size=n, seed=0, prompt=50 + n, cached=20, written=w, seconds=0.01 * (30 + n) + 0.2 * w, loss=0
        )
        for n, w in [(1, 3), (10, 5), (40, 2)]
    ]
    assert fit.pace_of(rows) == fit.Pace(pytest.approx(0.01), pytest.approx(0.2))  # type: ignore[arg-type]


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_curve_stays_finite_where_all_is_right_or_wrong(right: float) -> None:
    curve = fit.logistic([(x, right) for x in (1.0, 2.0, 3.0) for _ in range(10)])
    assert all(0 < curve(x) < 1 and abs(curve(x) - right) < 0.15 for x in (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("given", "told"),
    [({"tasks": "counting,poems"}, "'poems' is not known"), ({"items": 30}, "items=30"), ({"parts": 1}, "parts=1")],
)
async def test_what_cannot_be_measured_is_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        await granularity.run(**given)


async def test_the_comparison_is_shown(tmp_path: Path) -> None:
    found = await result_of(Curve(steep, reading=0.01, writing=0.1), replace(SETTING, parts=3), tmp_path)
    result = {"model": "m", "items": 32, "concurrency": 4, "tasks": {"retrieval": found}, "unmeasured": ["sorting"]}
    table = granularity.describe(result)
    assert "steps of the grid apart" in table and "sorting: not measured yet" in table
    assert not measure.within_one(result)


async def test_a_model_behind_a_url_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: dict[str, Any]) -> str:
        text = request["messages"][-1]["content"]
        if text.startswith("How many"):
            return str(text.split("\n")[1].split().count("red"))
        numbers = sorted(re.findall(r"\d+", text), key=int)
        return " ".join(numbers if text.startswith("Sort") else numbers[:1])

    monkeypatch.chdir(tmp_path)
    with ScriptedServer(answer) as server:
        (tmp_path / "shuntyard.toml").write_text(server.toml("there", context=4096))
        heard: list[str] = []
        options: dict[str, Any] = {"model": "there", "tasks": "counting,sorting", "items": 8, "parts": 2}
        result = await granularity.run(**options, say=heard.append)
        made = len(server.requests)
        assert made == 2 * (2 * 3 + 2 * 3) and len(heard) == 2 * (3 + 3)
        assert set(result["tasks"]) == {"counting", "sorting"} and result["unmeasured"] == []
        assert all(row["measured"]["error"] == 0 for task in result["tasks"].values() for row in task["sizes"])
        assert await granularity.run(**options) == result and len(server.requests) == made
        later = await granularity.run(**{**options, "tasks": "retrieval", "minutes": 0.0})
        assert later["unmeasured"] == ["retrieval"] and len(server.requests) == made
    json.dumps(result, allow_nan=False)
