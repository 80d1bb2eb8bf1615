from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard import settings
from shuntyard.errors import BudgetSpent
from shuntyard.messages import Completion, ModelRequest
from shuntyard.planner.join import join
from shuntyard.planner.numbers import Numbers
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.serving.source import LocalSource
from shuntyard.steps import Failure, Node, Plan, StepResult

LINES = Plan(task="Which file is the longest?", nodes=(Node(id="n1", tool="query", args={"sql": "SELECT 1"}),))
ROWS = {"n1": StepResult(value=[{"file": "a/test_run.py", "lines": 396, "share": 0.1234, "bytes": 48211}])}


@pytest.mark.parametrize(
    ("answer", "strange"),
    [
        ("test_run.py has 396 lines", ()),
        ("test_run.py has 3,966 lines", ("3,966",)),
        ("12.3 %, or 0.12 of 48,211 bytes (48 kB)", ()),
        ("12.4 % of 48,200 bytes", ("12.4", "48,200")),
        ("test_run.py has 3,9,6 lines", ("3,9,6",)),
        ("There are 2 of them:\n1. a\n2. b", ()),
        ("no number", ()),
    ],
)
def test_a_number_is_in_the_results_or_strange(answer: str, strange: tuple[str, ...]) -> None:
    assert Numbers([ROWS["n1"].value]).strangers(answer) == strange


def test_texts_lists_keys_and_negatives_give_numbers() -> None:
    numbers = Numbers(["on 2024-05-03 at 14:30, 1,234.5 EUR", {"2019": -17.25}, list(range(40)), True, None])
    assert not numbers.strangers("3 May 2024, 14:30: 1234.5 EUR, -17.3 in 2019, 40 in all")
    assert numbers.strangers("44 and 1,235.6") == ("44", "1,235.6")
    assert Numbers([1e-05]).strangers("0.00001 or 0.00007") == ("0.00007",)
    assert Numbers([15.0]).strangers("15 or 15.00 or 15.1") == ("15.1",)


def test_a_list_that_a_result_writes_is_no_number() -> None:
    assert Numbers([{"codes": "3,9,6"}]).strangers("codes 3,9,6") == ()


def test_what_two_of_a_few_numbers_make_is_theirs() -> None:
    few = Numbers([[10, 32.5], "at 4 a piece"])
    assert not few.strangers("22.5 more, 42.5 together, 325, 3.25 times as much, 30.8 %")
    assert few.strangers("23.5 more") == ("23.5",)
    assert Numbers([list(range(50, 90))]).strangers("173 together") == ("173",)


@given(st.lists(st.integers(0, 10**9) | st.floats(0.001, 10**9), max_size=20))
def test_what_was_copied_is_never_strange(values: list[float]) -> None:
    assert Numbers([values]).strangers("; ".join(str(value) for value in values if "e" not in str(value))) == ()


def test_grammar_offers_the_numbers_as_they_may_be_said() -> None:
    grammar = Numbers([[1250.75]]).grammar()
    assert all(f'"{way}"' in grammar for way in ("1250.75", "1,250.75", "1250.8", "1251", "1", "12"))
    assert '"1249"' not in grammar
    assert Numbers([list(range(1000))]).grammar() == ""


@pytest.mark.anyio
async def test_an_answer_with_a_number_of_its_own_is_asked_for_again() -> None:
    model = ScriptedModel(["ANSWER: a/test_run.py has 3,966 lines.", "ANSWER: a/test_run.py has 396 lines."])
    joined = await join(model, LINES.task, LINES, ROWS)
    assert joined.answer == "a/test_run.py has 396 lines."
    again = model.requests[1]
    assert "3,966 stands in no result" in again.messages[-1].content and len(again.messages) == 2
    assert again.grammar is not None and '"396"' in again.grammar and "3,966" not in again.grammar


@pytest.mark.anyio
async def test_a_number_that_stays_is_marked() -> None:
    model = ScriptedModel(["ANSWER: 3,966 lines", "ANSWER: 3,977 lines"])
    assert (await join(model, LINES.task, LINES, ROWS)).answer == "3,977 lines (In no result: 3,977.)"


@pytest.mark.anyio
async def test_numbers_of_task_calls_and_failures_are_no_strangers() -> None:
    failed = {"n1": StepResult(status="failed", failure=Failure(code="tool_error", message="limit is 4711"))}
    model = ScriptedModel(["ANSWER: of the 88 files none: the limit is 4711"])
    joined = await join(model, "Read 88 files", LINES, failed)
    assert "4711" in joined.answer and len(model.requests) == 1


@pytest.mark.anyio
async def test_no_money_for_a_second_answer_keeps_the_first() -> None:
    class Poor(ScriptedModel):
        async def complete(self, request: ModelRequest) -> Completion:
            if self.requests:
                raise BudgetSpent("no tokens left")
            return await super().complete(request)

    joined = await join(Poor(["ANSWER: 3,966 lines"]), LINES.task, LINES, ROWS)
    assert joined.answer == "3,966 lines (In no result: 3,966.)"


@pytest.mark.anyio
@pytest.mark.small_model
async def test_a_real_model_cannot_write_another_number(pulled: Callable[[str], str]) -> None:
    source = LocalSource(settings.load({"threads": 2, "idle_minutes": 2}))
    real = await source.open(pulled("smollm2-135m"))

    class Wrong(ScriptedModel):
        async def complete(self, request: ModelRequest) -> Completion:
            return await (real.complete(request) if self.requests else super().complete(request))

    rows = {"n1": StepResult(value=[{"file": f"part_{n}.py", "lines": 4000 + 37 * n} for n in range(9)])}
    answer = (await join(Wrong(["ANSWER: 3,966 lines"]), "Give the lines of every file.", LINES, rows)).answer
    assert answer != "3,966 lines" and "In no result" not in answer
