import pytest

from shuntyard.planner.lint import lint
from shuntyard.steps import Effect, Node, Plan, ToolSpec

SPECS = {
    "query": ToolSpec(name="query", description="", parameters={"properties": {"sql": {}}}),
    "write_file": ToolSpec(name="write_file", description="", parameters={}, effect=Effect.WRITE, paths=("path",)),
}


def doubts(task: str, *nodes: Node) -> list[str]:
    plan = Plan(task=task, nodes=(Node(id="n1", tool="query", args={"sql": "SELECT 1"}), *nodes))
    return [doubt for doubt in lint(plan, SPECS, task) if "written" in doubt]


@pytest.mark.parametrize(
    "task",
    ["Write the owls into owls.md.", "Save the list of owls as owls.md", "Count them and put the number in owls.md"],
)
def test_a_file_that_is_asked_for_and_not_written_is_doubted(task: str) -> None:
    (doubt,) = doubts(task)
    assert "owls.md" in doubt and "write_file(path='owls.md'" in doubt
    done = Node(id="n2", tool="write_file", args={"path": "owls.md", "content": {"$ref": "n1"}}, effect=Effect.WRITE)
    assert doubts(task, done) == []


@pytest.mark.parametrize("task", ["What is written in owls.md?", "How many lines has owls.md?", "Who wrote the owls?"])
def test_reading_a_file_is_not_writing_it(task: str) -> None:
    assert doubts(task) == []
