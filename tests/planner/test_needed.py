import pytest

from shuntyard.planner.needed import named, needed
from shuntyard.steps import Effect, ToolSpec


def spec(name: str, about: str, *params: str, effect: Effect = Effect.READ, paths: tuple[str, ...] = ()) -> ToolSpec:
    parameters = {"type": "object", "properties": {param: {"type": "string"} for param in params}}
    return ToolSpec(name=name, description=about, parameters=parameters, effect=effect, paths=paths)


SPECS = [
    spec("look", "Look something up.", "what"),
    spec("pick", "One of two.", "condition", "yes", "no"),
    spec("write_file", "Write a file.", "path", "content", effect=Effect.WRITE, paths=("path",)),
    spec("run_code", "Run code.", "code", effect=Effect.EXTERNAL),
    spec("send_sms", "Send a text message to a phone.", "to", "text", effect=Effect.EXTERNAL),
]


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("How many owls are there in the park?", "look"),
        ("What is the weight of the owl? Save it to owl.txt.", "look write_file"),
        ("Put the owls into a table.", "look write_file"),
        ("Is the owl in the barn?", "look pick"),
        ("If the owl is in the barn, message Lo by sms.", "look pick send_sms"),
        ("What does the python script in the barn do?", "look run_code"),
        ("Wie viele Eulen gibt es?", "look pick write_file run_code send_sms"),
        ("", "look pick write_file run_code send_sms"),
    ],
)
def test_effects_must_be_asked_for(task: str, names: str) -> None:
    assert [each.name for each in needed(task, SPECS)] == names.split()


def test_something_is_always_left() -> None:
    assert needed("What is the name of the owl?", SPECS[2:]) == tuple(SPECS[2:])


def test_a_tool_that_the_task_names_is_put_forward() -> None:
    mine = [spec("pounds", ""), spec("query", ""), spec("send_letter", "", effect=Effect.WRITE)]
    task = "How many pounds of radish? Send a letter."
    assert [found.name for found in named(task, mine, usual={"query"})] == ["pounds"]
    assert named("How many kilograms of radish?", mine, usual={"query"}) == ()


def test_a_file_is_written_when_it_is_a_new_one() -> None:
    task = "How many owls are there in owls.csv, and which?"
    assert "write_file" in [each.name for each in needed(task, SPECS)]
    assert "write_file" not in [each.name for each in needed(task, SPECS, known="- owls (owls.csv, 3 rows)")]
    assert "write_file" not in [each.name for each in needed("How many owls are with lo@example.org?", SPECS)]
