from pathlib import Path

import pytest

from shuntyard.agents.absent import absent


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
