"""Orders are answered from what was written, without a model; whatever asks for more is not."""

from typing import Any

import pytest

from shuntyard.edits import Edit
from shuntyard.messages import ModelRequest
from shuntyard.planner.join import join
from shuntyard.planner.ordered import written
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Failure, Plan, StepResult, Verdict

ORDER = "Put all the ERROR lines of the pump log into errors.txt."


def plan(*nodes: dict[str, Any], task: str = ORDER, **more: Any) -> Plan:
    numbered = [{"id": f"n{at}", **node} for at, node in enumerate(nodes, start=1)]
    return Plan.model_validate({"task": task, "nodes": numbered, **more})


def write(path: str = "errors.txt", **more: Any) -> dict[str, Any]:
    return {"tool": "write_file", "effect": "write", "args": {"path": path, "content": {"$ref": "n1"}}, **more}


READ = {"tool": "query", "args": {"sql": "SELECT 1"}}


def results(*values: Any) -> dict[str, StepResult]:
    return {
        f"n{at}": value if isinstance(value, StepResult) else StepResult(value=value)
        for at, value in enumerate(values, start=1)
    }


WROTE = {"path": "errors.txt", "bytes": 312}


@pytest.mark.parametrize(
    ("task", "value", "answer"),
    [
        (ORDER, [{"line": "a"}], "Written: errors.txt (312 bytes)."),
        (ORDER, "valve stuck", "Written: errors.txt: valve stuck."),
        (ORDER, 12.5, "Written: errors.txt: 12.5."),
        (
            "Please make errors.txt with just the errors from the pump log.",
            "x" * 200,
            "Written: errors.txt (312 bytes).",
        ),
        (
            "Save the words 'tell me how' of the log to errors.txt.",
            "tell me how",
            "Written: errors.txt: tell me how.",
        ),
        ("If the log has errors, write 'call' in errors.txt, otherwise 'fine'.", "call", "Written: errors.txt: call."),
    ],
)
def test_an_order_is_answered_by_what_was_written(task: str, value: Any, answer: str) -> None:
    assert written(task, plan(READ, write(), task=task), results(value, WROTE)) == answer


@pytest.mark.parametrize(
    "task",
    [
        "How many errors are in the log? Write the number to errors.txt.",
        "Write the errors of the log to errors.txt and tell me the number of them.",
        "Write the errors of the log to errors.txt and give me the last one.",
        "Count the errors of the log and put the number of them into errors.txt.",
        "Write the errors to errors.txt, then mail the file to the office.",
        "Find the worst of the errors and save it in errors.txt.",
        "Is the pump in order? Put it in errors.txt",
        "Write the errors of the log to errors.txt and the warnings to warnings.txt.",
        "Schreib alle Fehler aus dem Log in errors.txt und nenn mir die Anzahl.",
        "Look at the errors of the log.",
        "",
    ],
)
def test_whatever_asks_for_more_goes_to_the_model(task: str) -> None:
    assert written(task, plan(READ, write(), task=task), results(["a"], WROTE)) == ""


BROKEN = Failure(code="tool_error", message="no")


@pytest.mark.parametrize(
    ("whole", "found"),
    [
        (plan(READ, write()), results(["a"], StepResult(status="failed", failure=BROKEN))),
        (plan(READ, write()), results(StepResult(value=1, failure=BROKEN), WROTE)),
        (plan(READ, write()), results(["a"])),
        (plan(READ, write()), results([], WROTE)),
        (plan(READ, write()), results(["a"], {"rows": 3})),
        (plan(READ, write()), results(["a"], "x" * 500)),
        (plan(READ, write(), READ), results(["a"], WROTE, 3)),
        (plan(READ, write(), answers=["n1"]), results(["a"], WROTE)),
        (plan(READ, write(effect="external")), results(["a"], WROTE)),
        (plan(READ, write(when={"$ref": "n1"})), results([], StepResult(status="skipped"))),
        (plan(READ, write("other.txt")), results(["a"], {"path": "other.txt", "bytes": 3})),
        (plan(READ, write(), task="another task"), results(["a"], WROTE)),
        (plan(), {}),
    ],
)
def test_only_whole_success_is_said(whole: Plan, found: dict[str, StepResult]) -> None:
    assert written(ORDER, whole, found) == ""


def test_the_branch_that_was_not_taken_is_left_out() -> None:
    whole = plan(READ, write(when={"$ref": "n1"}), write(when={"$ref": "n1"}))
    found = results(["a"], WROTE, StepResult(status="skipped"))
    assert written(ORDER, whole, found) == "Written: errors.txt (312 bytes)."


def test_a_tool_says_it_in_its_own_words_and_several_writes_are_all_named() -> None:
    task = "Put the errors of the log into errors.txt and into copy.txt."
    whole = plan(READ, write(), write("copy.txt"), task=task)
    found = results(["a"], "stored errors.txt", {"path": "copy.txt"})
    assert written(task, whole, found) == "stored errors.txt. Written: copy.txt."


def test_what_a_person_had_written_elsewhere_is_not_claimed() -> None:
    edit = Edit(by="ann", before="a", after="b", was='path="errors.txt"', now='path="b.txt"')
    verdict = Verdict(decision="allow", rule="write", reason="", by="person", edit=edit)
    wrote = StepResult(value={"path": "b.txt", "bytes": 3}, verdict=verdict)
    assert written(ORDER, plan(READ, write()), results("x", wrote)) == ""


@pytest.mark.anyio
async def test_it_saves_the_call_of_the_model() -> None:
    model = ScriptedModel(lambda request: "ANSWER: The task was to put all ERROR lines into errors.txt.")
    tasks = [ORDER, "Put the errors of the log into errors.txt and say how many there are."]
    answers = [
        (await join(model, task, plan(READ, write(), task=task), results(["a"], WROTE))).answer for task in tasks
    ]
    assert len(model.requests) == 1
    assert answers[0] == "Written: errors.txt (312 bytes)."
    assert isinstance(model.requests[0], ModelRequest) and "say how many" in model.requests[0].messages[1].content
