"""The harness: what runs, what is kept, and what a fault costs."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from eval_parts import cases, double, exact, setup, suite

from shuntyard.errors import (
    DataInvalid,
    ModelUnavailable,
    StoreUnwritable,
    ToolError,
    UnknownName,
    UsageError,
)
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.harness import Progress, run
from shuntyard.evals.log import Selection, read
from shuntyard.evals.sample import Picked, draw
from shuntyard.evals.suite import Suite
from shuntyard.messages import ModelInfo, Usage
from shuntyard.serving.scripted import ScriptedModel

pytestmark = pytest.mark.anyio


class Counting:
    """A right solver that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.at_once = self.most = 0

    async def __call__(self, case: Case, seed: int) -> Output:
        self.asked.append((case.id, seed))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await anyio.sleep(0.002)
        self.at_once -= 1
        return await double(case, seed)


async def test_every_case_is_solved_judged_and_logged(tmp_path: Path) -> None:
    async def solve(case: Case, seed: int) -> Output:
        return Output(text="0" if case.id in {"c1", "c2"} else str(2 * int(str(case.input))), usage=Usage(prompt=5))

    result = await run(suite(cases(10, categories=["a", "b"]), solve, notes="small"), setup(tmp_path))
    log = read(result.log.path)
    assert log.finished and len(log.rows) == result.new == 10
    assert log.header.notes == "small" and log.header.machine
    by_id = {row.id: row for row in log.rows}
    assert by_id["c1"].score == Score(value=0, answer="0", explanation="not 2") and by_id["c3"].score.value == 1
    assert by_id["c3"].output.seconds > 0 and by_id["c3"].split in ("dev", "test")
    whole = {figure.category: figure for figure in result.figures}
    assert {name: figure.mean.value for name, figure in whole.items()} == {"a": 0.8, "b": 0.8, "": 0.8}
    assert whole[""].usage.prompt == 50 and whole[""].mean.low < 0.8 < whole[""].mean.high
    assert log.end is not None and [row["category"] for row in log.end.figures] == ["a", "b", ""]


async def test_what_is_in_the_log_is_not_run_again_and_a_larger_sample_only_adds(tmp_path: Path) -> None:
    solver = Counting()
    first = await run(suite(cases(30), solver), setup(tmp_path, limit=10))
    assert len(solver.asked) == 10
    more = await run(suite(cases(30), solver), setup(tmp_path, limit=25))
    assert len(solver.asked) == more.new + 10 == 25 and len(set(solver.asked)) == 25
    assert more.log.path == first.log.path and {row.id for row in first.rows} < {row.id for row in more.rows}
    again = await run(suite(cases(30), solver), setup(tmp_path, limit=10))
    assert again.new == 0 and again.rows == first.rows and again.figures == first.figures
    assert [session.kept for session in again.log.sessions] == [0, 10, 10]
    changed = [case if case.id != first.rows[0].id else case.model_copy(update={"target": 5}) for case in cases(30)]
    await run(suite(changed, solver), setup(tmp_path))
    assert Counter(id for id, _ in solver.asked)[first.rows[0].id] == 2
    assert (await run(suite(changed, solver), setup(tmp_path))).log.sessions[-1].dropped == ()
    fewer = await run(suite(changed[:20], solver), setup(tmp_path, limit=3))
    assert {row.id for row in fewer.log.rows} == {case.id for case in changed[:20]}, (
        "what the suite lost no longer counts"
    )
    fresh = await run(suite(cases(30), solver), setup(tmp_path, limit=10, fresh=True))
    assert fresh.new == 10 and fresh.log.path != first.log.path


async def test_each_session_says_which_code_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await run(suite(cases(4)), setup(tmp_path, limit=2))
    monkeypatch.setattr("shuntyard.evals.harness.code_digest", lambda: "other")
    codes = [session.code for session in (await run(suite(cases(4)), setup(tmp_path))).log.sessions]
    assert codes == [first.log.sessions[0].code, "other"] and len(codes[0]) == 16


async def test_other_conditions_are_other_runs(tmp_path: Path) -> None:
    solver = Counting()
    paths = set()
    for made, seed in (
        (suite(cases(4), solver), 0),
        (suite(cases(4), solver), 1),
        (suite(cases(4), solver, version=2), 0),
    ):
        paths.add((await run(made, setup(tmp_path, seed=seed))).log.path)
    assert len(paths) == 3 and len(solver.asked) == 12


async def test_cases_run_at_once_but_never_more_than_allowed(tmp_path: Path) -> None:
    solver = Counting()
    await run(suite(cases(40), solver), setup(tmp_path, concurrency=7))
    assert solver.most == 7 and len(solver.asked) == 40


async def test_epochs_have_seeds_of_their_own_and_give_pass_at_k(tmp_path: Path) -> None:
    asked: set[tuple[str, int]] = set()

    async def solve(case: Case, seed: int) -> Output:
        asked.add((case.id, seed))
        return await double(case, seed) if seed % 2 == 0 else Output(text="?")

    result = await run(suite(cases(6), solve), setup(tmp_path, seed=4, epochs=4))
    assert asked == {(f"c{at}", seed) for at in range(6) for seed in (4, 5, 6, 7)}
    (figure,) = result.figures
    assert (figure.cases, figure.rows, figure.mean.value) == (6, 24, 0.5)
    assert {k: round(found.value, 4) for k, found in figure.passes.items()} == {1: 0.5, 2: round(5 / 6, 4), 4: 1.0}


async def test_a_raising_solver_costs_its_case_only(tmp_path: Path) -> None:
    async def solve(case: Case, seed: int) -> Output:
        if case.id == "c1":
            raise ToolError("no such shelf 'x'; name another.")
        if case.id == "c2":
            raise ExceptionGroup("inner", [ValueError("two\nlines")])
        if case.id == "c3":
            return None  # type: ignore[return-value]
        if case.id == "c4":
            return Output(text="8", transcript=({"role": "user", "content": object()},))
        return await double(case, seed)

    result = await run(suite(cases(6), solve), setup(tmp_path))
    errors = {row.id: row.output.error for row in result.log.rows if row.output.error}
    assert errors["c1"] == "tool_error: no such shelf 'x'; name another."
    assert errors["c2"] == "solver_failed: ValueError: two lines"
    assert errors["c3"].startswith("solver_failed: TypeError: it returned None, not Output")
    assert errors["c4"].startswith("solver_failed: ") and set(errors) == {"c1", "c2", "c3", "c4"}
    assert all(row.score.letter == "N" for row in result.rows if row.output.error)
    assert result.figures[0].errors == {"tool_error": 1, "solver_failed": 3}
    assert result.figures[0].mean.value == pytest.approx(2 / 6)


async def test_a_hanging_solver_ends_with_its_time(tmp_path: Path) -> None:
    async def solve(case: Case, seed: int) -> Output:
        if case.id == "c2":
            await anyio.sleep_forever()
        return await double(case, seed)

    began = time.monotonic()
    result = await run(suite(cases(5), solve, timeout=0.2), setup(tmp_path))
    assert time.monotonic() - began < 2
    (hung,) = [row for row in result.rows if row.output.error]
    assert hung.id == "c2" and hung.output.error == "timeout: no answer within 0.2 s."
    assert 0.2 <= hung.output.seconds < 1 and result.figures[0].mean.value == 0.8


async def test_a_failing_scorer_keeps_the_output_which_is_judged_anew(tmp_path: Path) -> None:
    solver = Counting()
    broken = True

    async def scorer(case: Case, output: Output) -> Score:
        if broken and case.id == "c1":
            raise KeyError("target")
        if broken and case.id == "c2":
            await anyio.sleep_forever()
        if broken and case.id == "c3":
            return Score(value=2)
        return await exact(case, output)

    made = suite(cases(5), solver, scorer=scorer, timeout=0.2)
    result = await run(made, setup(tmp_path))
    failed = {row.id: row for row in result.rows if row.error}
    assert set(failed) == {"c1", "c2", "c3"}
    assert failed["c1"].error == "scorer_failed: KeyError: 'target'" and failed["c1"].output.text == "2"
    assert failed["c2"].error == "scorer_failed: no score within 0.2 s."
    assert result.figures[0].errors == {"scorer_failed": 3} and result.figures[0].mean.value == 0.4
    broken = False
    mended = await run(made, setup(tmp_path))
    assert mended.new == 3 and mended.figures[0].mean.value == 1.0 and len(solver.asked) == 5


async def test_an_unreachable_model_ends_the_run_and_its_cases_are_solved_anew(tmp_path: Path) -> None:
    solver = Counting()
    down = True

    async def solve(case: Case, seed: int) -> Output:
        if down and len(solver.asked) >= 4:
            raise ModelUnavailable("nobody answers at http://x; start it.")
        return await solver(case, seed)

    with pytest.raises(ModelUnavailable, match=r"cases in a row.*nobody answers") as caught:
        await run(suite(cases(40), solve), setup(tmp_path))
    assert caught.value.exit_code == 6
    down = False
    result = await run(suite(cases(40), solve), setup(tmp_path))
    assert len(solver.asked) == 40 and result.figures[0].mean.value == 1.0 and result.new == 36


async def test_a_model_is_opened_for_solvers_that_need_one_and_only_when_there_is_work(tmp_path: Path) -> None:
    opened = []
    prices = ModelInfo(name="dear", kind="scripted", input_price=Decimal("0.01"), output_price=Decimal("0.1"))

    async def open_model() -> ScriptedModel:
        opened.append(1)
        return ScriptedModel([], info=prices)

    async def solve(case: Case, seed: int) -> Output:
        return Output(text=str(case.target), usage=Usage(prompt=3, completion=2))

    for _ in range(2):
        result = await run(suite(cases(4), solve, needs_model=True), setup(tmp_path, open_model=open_model))
        assert result.figures[0].cost == Decimal("0.92")
    assert opened == [1]
    await run(suite(cases(4), solve), setup(tmp_path / "other", open_model=open_model))
    assert opened == [1]
    with pytest.raises(UsageError, match="--model"):
        await run(suite(cases(4), solve, needs_model=True), setup(tmp_path / "third"))


async def test_an_unknown_price_is_no_price(tmp_path: Path) -> None:
    async def open_model() -> ScriptedModel:
        return ScriptedModel([], info=ModelInfo(name="x", input_price=None))

    result = await run(suite(cases(2), needs_model=True), setup(tmp_path, open_model=open_model))
    assert result.figures[0].cost is None


async def test_baselines_stand_beside_the_figures(tmp_path: Path) -> None:
    def some(given: object) -> dict[str, Score]:
        return {case.id: Score(value=0.25 if case.category == "a" else 0.75) for case in given}  # type: ignore[attr-defined]

    result = await run(suite(cases(8, categories=["a", "b"]), baselines={"random": some}), setup(tmp_path))
    assert {figure.category: figure.baselines for figure in result.figures} == {
        "a": {"random": 0.25},
        "b": {"random": 0.75},
        "": {"random": 0.5},
    }


async def test_unknown_solver_and_category_and_double_ids(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="solver 'only'"):
        await run(suite(cases(2), solvers={}), setup(tmp_path))
    with pytest.raises(UnknownName, match="category 'c'"):
        await run(suite(cases(2, categories=["a", "b"])), setup(tmp_path, categories=("a", "c")))
    with pytest.raises(DataInvalid, match="'c0'"):
        await run(suite([*cases(2), *cases(1)]), setup(tmp_path))
    with pytest.raises(UsageError, match="no case fits"):
        await run(suite([]), setup(tmp_path))


async def test_progress_is_told_with_an_estimate_and_never_stops(tmp_path: Path) -> None:
    told: list[Progress] = []

    async def slow(case: Case, seed: int) -> Output:
        await anyio.sleep(1.3 if case.id == "c0" else 0.01)
        return await double(case, seed)

    await run(suite(cases(4), slow), setup(tmp_path), watch=told.append)
    ended = [each for each in told if each.row is not None]
    assert [each.done for each in ended] == [1, 2, 3, 4] and ended[-1].eta == 0.0
    assert all(each.eta is not None and each.eta > 0 for each in ended[:-1])
    assert told[0].phase == "reading the cases" and told[0].eta is None
    waits = [each for each in told if each.row is None and each.phase == "running"]
    assert waits, "a case that takes 1.3 s has a sign of life meanwhile"


async def test_the_harness_costs_less_than_five_milliseconds_a_case(tmp_path: Path) -> None:
    count = 400
    began = time.perf_counter()
    result = await run(suite(cases(count, categories=["a", "b", "c"])), setup(tmp_path))
    assert result.new == count
    assert (time.perf_counter() - began) / count < 0.005


def test_a_sample_takes_evenly_from_the_categories_and_grows_within_itself() -> None:
    given = [case for size, name in ((100, "big"), (12, "small"), (3, "tiny")) for case in named(size, name)]
    samples = [drawn(given, Selection(limit=limit)) for limit in (2, 9, 10, 40, 400)]
    ids = [{picked.case.id for picked in each} for each in samples]
    assert [len(each) for each in ids] == [2, 9, 10, 40, 115]
    assert all(small < large for small, large in pairwise(ids))
    count = Counter(picked.case.category for picked in samples[1])
    assert count == {"big": 3, "small": 3, "tiny": 3}
    assert Counter(picked.case.category for picked in samples[3]) == {"big": 25, "small": 12, "tiny": 3}
    assert {picked.case.id for picked in drawn(given, Selection(limit=40, seed=1))} != ids[3]
    assert drawn(given, Selection(limit=40)) == drawn(list(reversed(given)), Selection(limit=40))
    each = Counter(picked.case.category for picked in drawn(given, Selection(per_category=5)))
    assert each == {"big": 5, "small": 5, "tiny": 3}
    mixed = [picked.case.category for picked in drawn(given, Selection(per_category=12))]
    assert len(set(mixed[:12])) > 1, "cases of one category do not follow one another"


def test_splits_and_categories_filter() -> None:
    given = [*named(100, "live_a"), *named(100, "live_b"), *named(100, "c")]
    parts = {split: drawn(given, Selection(split=split)) for split in ("dev", "test", "all")}
    assert len(parts["dev"]) + len(parts["test"]) == len(parts["all"]) == 300
    assert 30 <= len(parts["dev"]) <= 90
    assert {picked.case.category for picked in drawn(given, Selection(categories=("live_*",)))} == {"live_a", "live_b"}


def drawn(given: list[Case], selection: Selection) -> list[Picked]:
    return draw(given, selection).picked


def named(size: int, category: str) -> list[Case]:
    return [Case(id=f"{category}{at}", category=category, input=at) for at in range(size)]


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "evals").write_text("a file where the folder should be")
    with pytest.raises(StoreUnwritable, match="SHUNTYARD_HOME"):
        await run(suite(cases(2)), setup(tmp_path))


def test_the_suite_type_is_what_plugins_build() -> None:
    assert isinstance(suite([]), Suite)
