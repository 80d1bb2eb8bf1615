"""Suites as tasks of inspect_ai with its mock model, and our runs as its logs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from report_parts import PLANNED, drawn, log, row

from shuntyard.evals.case import Case, Output, Score
from shuntyard.messages import Usage

inspect_ai = pytest.importorskip("inspect_ai", reason="inspect_ai is not installed (pip install 'shuntyard[inspect]')")

# Its dependencies warn at import of things that are not ours.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]
needs_data = pytest.mark.skipif("SHUNTYARD_DATA" not in os.environ, reason="SHUNTYARD_DATA is not set")


def ran(task: Any, folder: Path, answers: list[str], **more: Any) -> Any:
    """The log of a task, read back from the disk."""
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    # Without a usage the mock model fetches a tokenizer.
    usage = ModelUsage(input_tokens=90, output_tokens=10, total_tokens=110, input_tokens_cache_read=10)
    outputs = [
        ModelOutput.from_content("mockllm/model", answer).model_copy(update={"usage": usage}) for answer in answers
    ]
    model = get_model("mockllm/model", custom_outputs=outputs)
    (made,) = inspect_ai.eval(
        task, model=model, log_dir=str(folder), display="none", log_format="eval", max_connections=1, **more
    )
    assert made.status == "success", made.error
    assert Path(made.location).suffix == ".eval"
    return read_eval_log(made.location)


@needs_data
def test_a_suite_is_a_task_and_its_log_can_be_read(tmp_path: Path) -> None:
    from shuntyard.evals.inspect_tasks import KEY, gsm8k

    task = gsm8k(limit=3)
    ids, targets = zip(*((sample.id, sample.target) for sample in task.dataset), strict=True)
    made = ran(task, tmp_path, [f"#### {targets[0]}", "#### 0", "no number"], max_samples=1)
    assert made.eval.task == "gsm8k"
    samples = {sample.id: sample for sample in made.samples}
    assert [samples[id].scores["shuntyard"].value for id in ids] == ["C", "I", "N"]
    assert made.results.scores[0].metrics["accuracy"].value == pytest.approx(1 / 3)
    first = samples[ids[0]]
    assert first.scores["shuntyard"].answer == targets[0]
    assert first.messages[-1].text == f"#### {targets[0]}"
    assert Output.model_validate(first.store[KEY]).usage == Usage(prompt=100, cached=10, completion=10)


@needs_data
@pytest.mark.parametrize("name", ["bfcl", "parallelqa", "gsm8k", "humaneval", "examples"])
def test_every_suite_runs_on_the_mock_model(name: str, tmp_path: Path) -> None:
    from shuntyard.evals import inspect_tasks

    made = ran(getattr(inspect_tasks, name)(limit=2), tmp_path, ["I do not know."] * 40)
    assert len(made.samples) == 2
    assert all(sample.scores for sample in made.samples)


@needs_data
def test_epochs_have_seeds_of_their_own_and_temperature_is_inspects(tmp_path: Path) -> None:
    from shuntyard.evals.inspect_tasks import gsm8k

    made = ran(gsm8k(limit=1, seed=5), tmp_path, ["#### 1"] * 2, epochs=2, temperature=0.3)
    configs = [event.config for sample in made.samples for event in sample.events if event.event == "model"]
    assert sorted((config.seed, config.temperature) for config in configs) == [(5, 0.3), (6, 0.3)]


@needs_data
def test_a_model_that_fails_is_no_answer(tmp_path: Path) -> None:
    from shuntyard.evals.inspect_tasks import gsm8k

    made = ran(gsm8k(limit=1), tmp_path, [])
    (sample,) = made.samples
    assert sample.scores["shuntyard"].value == "N"
    assert sample.scores["shuntyard"].explanation


def test_an_unknown_way_is_an_error_that_names_the_ways() -> None:
    from shuntyard.errors import ShuntyardError
    from shuntyard.evals.inspect_tasks import suite_task

    with pytest.raises(ShuntyardError, match="agent"):
        suite_task("examples", way="agnet")


def test_our_runs_become_its_logs(tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    from shuntyard.evals.inspect_log import export

    case = Case(id="half", category="simple", input={"a": 1}, target=[1, 2])
    call = {"call": 'n1 calculator({"expression": "1 / 2"})', "result": 0.5}
    partly = row(case, Output(text="0.5", value={"plan": []}, transcript=(call,)), Score(value=0.5), epoch=1)
    failed = row(case, Output(error="model_unavailable: gone"), Score(value=0, answered=False))
    run = log([*drawn(PLANNED, count=4), partly, failed])
    path = export(run, tmp_path / "logs")
    found = read_eval_log(str(path))
    assert (found.status, found.eval.task, found.eval.model) == ("success", "bfcl", "shuntyard/qwen2.5-coder-1.5b")
    assert len(found.samples) == len(run.rows)
    samples = {(sample.id, sample.epoch): sample for sample in found.samples}
    for each in run.rows[:-2]:
        assert samples[each.id, 1].scores["bfcl"].value == each.score.letter
    half, none = samples["half", 2], samples["half", 1]
    assert (half.scores["bfcl"].value, none.scores["bfcl"].value) == (0.5, "N")
    assert half.messages[0].text.startswith("n1 calculator")
    assert "model_unavailable" in none.scores["bfcl"].explanation
    metrics = found.results.scores[0].metrics
    assert set(metrics) == {*PLANNED, "accuracy"}
    assert metrics["accuracy"].metadata["low"] < metrics["accuracy"].value < metrics["accuracy"].metadata["high"]
    assert found.eval.metadata["data"][0]["sha256"] == "5a" * 32


def test_a_run_that_was_cut_off_says_so(tmp_path: Path) -> None:
    from shuntyard.evals.inspect_log import converted

    assert converted(log(drawn(PLANNED, count=2), finished=False)).status == "cancelled"
