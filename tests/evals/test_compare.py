"""Two runs compared, and what may not be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from eval_parts import cases, exact, setup, suite

from shuntyard.errors import ModelUnavailable, UsageError
from shuntyard.evals.case import Case, Output
from shuntyard.evals.compare import compare
from shuntyard.evals.harness import run
from shuntyard.evals.log import RunLog


def ran(home: Path, wrong: set[str], *, count: int = 40, seed: int = 0, **more: object) -> RunLog:
    async def solve(case: Case, seed: int) -> Output:
        if case.id == more.get("unreached"):
            raise ModelUnavailable("gone; start it.")
        return Output(text="wrong" if case.id in wrong else str(case.target))

    made = suite(cases(count, categories=["a", "b"]), solve, version=more.get("version", 1))
    return anyio.run(run, made, setup(home, seed=seed)).log


def test_what_changed_is_told_per_category_with_the_cases_it_comes_from(tmp_path: Path) -> None:
    first = ran(tmp_path, {f"c{at}" for at in range(0, 20)})
    second = ran(tmp_path, {"c1", "c39"}, seed=1)
    found = compare(first, second)
    rows = {each.category: each for each in found.rows}
    assert set(rows) == {"a", "b", ""}
    whole = rows[""]
    assert (whole.first.value, whole.second.value) == (0.5, 0.95)
    assert whole.difference.value == pytest.approx(0.45) and whole.difference.low > 0.2
    assert whole.difference.p < 0.001 and (whole.difference.better, whole.difference.worse) == (19, 1)
    assert rows["a"].difference.n == rows["b"].difference.n == 20
    assert rows["a"].difference.worse == 0 and rows["b"].difference.worse == 1
    assert len(found.flips) == 20
    assert found.flips[0].id == "c39", "of equal changes the one for the worse comes first"
    assert (found.flips[0].first, found.flips[0].second) == (1.0, 0.0)


def test_a_run_compared_with_itself_has_no_difference(tmp_path: Path) -> None:
    log = ran(tmp_path, {"c1"})
    found = compare(log, log)
    assert found.flips == () and all(each.difference.value == 0 and each.difference.p == 1 for each in found.rows)


def test_only_common_cases_count_and_the_rest_is_told(tmp_path: Path) -> None:
    first, second = ran(tmp_path, set(), count=30), ran(tmp_path, {"c0"}, count=20, seed=1)
    found = compare(first, second)
    assert found.rows[-1].difference.n == 20 and (found.only_first, found.only_second) == (10, 0)


def test_a_case_that_was_never_put_to_the_model_is_left_out(tmp_path: Path) -> None:
    first, second = ran(tmp_path, set()), ran(tmp_path, set(), seed=1, unreached="c5")
    found = compare(first, second)
    assert found.flips == () and found.only_first == 1


def test_other_suites_versions_and_cases_do_not_compare(tmp_path: Path) -> None:
    first = ran(tmp_path, set())
    with pytest.raises(UsageError, match="versions 1 and 2"):
        compare(first, ran(tmp_path, set(), version=2))
    other = anyio.run(run, suite([Case(id="z", input=1, target=2)]), setup(tmp_path, seed=3)).log
    with pytest.raises(UsageError, match="no case in common"):
        compare(first, other)
    from dataclasses import replace

    stranger = replace(first, header=first.header.model_copy(update={"suite": "else"}))
    with pytest.raises(UsageError, match="'else'"):
        compare(first, stranger)


def test_a_wrong_answer_never_passes_the_scorer_of_these_tests() -> None:
    case = cases(2)[1]
    answers: Mapping[str, float] = {"2": 1.0, "3": 0.0, "": 0.0, " 2": 0.0}
    for text, value in answers.items():
        assert anyio.run(exact, case, Output(text=text)).value == value
