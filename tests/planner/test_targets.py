"""Which files a task wants written, by the words around their names."""

import pytest

from shuntyard.planner.targets import targets


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("Write the owls into owls.md.", "owls.md"),
        ("owls.md should say how many owls there are in birds.csv.", "owls.md"),
        ("I need owls.csv: one line per owl.", "owls.csv"),
        ("Make me an owls.txt with the owls of birds.csv.", "owls.txt"),
        ("Please produce a new file called out/owls.txt from birds.csv", "out/owls.txt"),
        ("Count the owls. Then save the number in owls.md and the names in names.txt.", "owls.md names.txt"),
        ("Save the number of rows in birds.csv in rows.txt.", "rows.txt"),
        ("What is written in owls.md?", ""),
        ("How many lines has owls.md?", ""),
        ("Compare birds.csv with owls.csv.", ""),
        ("Who wrote the owls?", ""),
        ("Read owls.md and tell me what it is about.", ""),
    ],
)
def test_files_to_write(task: str, names: str) -> None:
    assert targets(task, known="paths: birds.csv") == names.split()
