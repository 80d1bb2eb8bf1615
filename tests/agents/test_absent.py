from pathlib import Path

import pytest

from shuntyard.agents.absent import absent, unreplaced
from shuntyard.edits import Edit


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("Sum the rows of gone.csv and a.csv", ("gone.csv",)),
        ("Read sub/b.txt, b.txt and sub/gone.txt", ("sub/gone.txt",)),
        ("Mail me@example.md about version 1.2", ()),
        ("Which files are there?", ()),
    ],
)
def test_named_files_that_are_not_there(task: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").touch()
    assert absent(task, tmp_path) == names


@pytest.mark.parametrize(
    ("was", "now", "left"),
    [
        ('path="out/report.md"', 'path="b.md"', ()),
        ("sql=\"select * from 'report.md'\"", "sql=\"select * from 'b.md'\"", ()),
        ('path="report.md"', 'path="old/report.md"', ("report.md",)),
        ('path="my-report.md"', 'path="b.md"', ("report.md",)),
        ('path="report.md.gz"', 'path="b.md"', ("report.md",)),
        ('content="x"', 'content="y"', ("report.md",)),
    ],
)
def test_a_file_is_not_missed_where_a_person_put_another_in_its_place(
    was: str, now: str, left: tuple[str, ...]
) -> None:
    edit = Edit(by="ann", before="a", after="b", was=was, now=now)
    assert unreplaced(("report.md",), [edit]) == left
    assert unreplaced(("report.md",), []) == ("report.md",)
