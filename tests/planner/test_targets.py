"""Which files a task wants written, by the words around their names."""

import pytest

from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.targets import targets
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Effect, ToolSpec

pytestmark = pytest.mark.anyio
READ = ToolSpec(name="look", description="Look.", parameters={"type": "object", "properties": {}})


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


async def test_a_file_that_is_needed_may_be_written() -> None:
    write = ToolSpec(
        name="write_file",
        description="Write a file.",
        parameters={"type": "object", "properties": {"path": {"type": "string"}, "content": {}}},
        effect=Effect.WRITE,
        paths=("path",),
    )
    model = ScriptedModel(['1. write_file(path="owls.csv", content="3")\n'])
    await LineCompiler(model, [write, READ]).compile(
        "owls.csv should hold the owls, one in a line.", brief="paths: a.csv"
    )
    assert '"write_file("' in (model.requests[0].grammar or "")
    assert "- owls.csv is to be written" in model.requests[0].messages[-1].content
