"""Recorded figures: what passes, what fails, and what a broken file says."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from eval_parts import cases, setup, suite

from shuntyard.errors import UsageError
from shuntyard.evals.case import Case, Output
from shuntyard.evals.gate import Gate, check, read_gates, record
from shuntyard.evals.harness import run
from shuntyard.evals.log import RunLog, folder


def ran(home: Path, right: int, *, fresh: bool = False, limit: int = 0) -> RunLog:
    """Of ten cases in each of a and b, ``right`` per category are right."""

    async def solve(case: Case, seed: int) -> Output:
        return Output(text=str(case.target) if int(case.id[1:]) < 2 * right else "?")

    made = suite(cases(20, categories=["a", "b"]), solve)
    return anyio.run(run, made, setup(home, fresh=fresh, limit=limit)).log


def gate(**fields: object) -> Gate:
    return Gate.model_validate({"suite": "scripted", **fields})


def test_a_figure_below_the_recorded_one_fails_and_the_newest_run_counts(tmp_path: Path) -> None:
    ran(tmp_path, 8)
    place = folder(setup(tmp_path).settings)
    kept = [
        gate(figure=0.8),
        gate(figure=0.85, tolerance=0.05, category="a"),
        gate(figure=0.9, at_least=0.75, category="b", solver="only"),
    ]
    assert [each.ok for each in check(kept, place)] == [True, True, True]
    log = ran(tmp_path, 7, fresh=True)
    fell = check(kept, place)
    assert [(each.ok, each.value, each.run) for each in fell] == [(False, 0.7, log.header.run)] * 3
    assert fell[0].why == "below 0.8" and fell[2].why == "below 0.75"


def test_what_proves_nothing_fails(tmp_path: Path) -> None:
    place = folder(setup(tmp_path).settings)
    assert [each.why for each in check([gate(figure=0)], place)] == ["no finished run"]
    log = ran(tmp_path, 10, limit=6)
    found = check(
        [
            gate(figure=0.5, cases=20),
            gate(figure=0.5, cases=6),
            gate(figure=0.5, category="c"),
            gate(figure=0.5, model="other"),
            gate(figure=0.5, solver="other"),
        ],
        place,
    )
    assert [each.ok for each in found] == [False, True, False, False, False]
    assert found[0].why == "6 of 20 cases" and "category" in found[2].why
    raw = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(raw[:-1]))
    assert check([gate(figure=0)], place)[0].why == "no finished run", "a run that was cut off proves nothing"


def test_recording_makes_a_file_that_passes_and_later_moves_only_the_figures(tmp_path: Path) -> None:
    ran(tmp_path, 8)
    place = folder(setup(tmp_path).settings)
    path = tmp_path / "gates.toml"
    made = record(path, place)
    assert {(each.category, each.figure, each.cases) for each in made} == {
        ("a", 0.8, 10),
        ("b", 0.8, 10),
        ("", 0.8, 20),
    }
    assert read_gates(path) == made and all(each.ok for each in check(made, place))
    text = path.read_text().replace(
        "figure = 0.8\ncases = 20", "figure = 0.8\ntolerance = 0.1\nat_least = 0.3\ncases = 20"
    )
    path.write_text(text)
    log = ran(tmp_path, 5, fresh=True)
    assert [each.ok for each in check(read_gates(path), place)] == [False, False, True]
    again = {each.category: each for each in record(path, place)}
    assert {each.figure for each in again.values()} == {0.5} and {each.run for each in again.values()} == {
        log.header.run
    }
    assert (again[""].tolerance, again[""].at_least, again[""].floor) == (0.1, 0.3, 0.3)
    assert [item.name for item in tmp_path.glob("*.tmp")] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[gate]]\nsuite = 'x'\nfigure = 1.5\n", r"gate 1: figure = 1\.5"),
        ("[[gate]]\nsuite = 'x'\n", "give figure or at_least"),
        ("[[gate]]\nsuite = 'x'\nfigure = 1\n[[gate]]\nsuit = 'x'\nfigure = 1\n", "gate 2: suit"),
        ("[[gates]]\nsuite = 'x'\n", r"no \[\[gate\]\]"),
        ("gate = 3\n", r"no \[\[gate\]\]"),
        ("[[gate]\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_with_the_place_and_the_mend(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_gates(path)


def test_no_file_and_nothing_to_record(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--record"):
        read_gates(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="no finished run"):
        record(tmp_path / "none.toml", tmp_path)
    assert not (tmp_path / "none.toml").exists()


def test_names_with_quotes_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text('[[gate]]\nsuite = "scripted"\ncategory = "say \\"a\\" \\\\ ü"\nfigure = 0.5\n')
    before = read_gates(path)
    ran(tmp_path, 1)
    assert record(path, folder(setup(tmp_path).settings)) == before == read_gates(path)
