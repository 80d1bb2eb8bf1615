"""The recorded search and the scorer of answers: what is found, and what counts as right."""

from pathlib import Path

import pytest

from shuntyard.errors import ToolError
from shuntyard.evals.suites.parallelqa.answers import first_named, judge, normal
from shuntyard.evals.suites.parallelqa.label import Search
from shuntyard.evals.suites.parallelqa.search import QUICKEST, SLOWEST, asked, latency, mentioned, search, waiting
from shuntyard.planner.build import PlanBuilder
from shuntyard.protocols import Ctx
from shuntyard.steps import Step, StepKey

pytestmark = pytest.mark.anyio


# --- search --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Mariana Trench", "mariana depth"),
        ("Mariana Trench's maximum depth in meters", "mariana depth"),
        ("How long is the MARIANA trench?", "mariana length"),
        ("population density of New Jersey", "new_jersey density"),
        ("How many people live in New Jersey", "new_jersey population"),
        ("Atacama Trench", "peru_chile depth"),
        ("Atacama Desert", "atacama area"),
        ("Congo River length", "congo_river length"),
        ("Congo Forest size", "congo_forest area"),
        ("maximum speed of a peregrine falcon", "falcon speed"),
        ("gazelles", "gazelle speed"),
        ("Pacific Ocean depth", "pacific depth"),
        ("area of the Gulf", ""),
        ("", ""),
        ("Mount Everestine", ""),
    ],
)
def test_a_query_asks_for_a_subject_and_a_quantity(query: str, found: str) -> None:
    subject, _, quantity = found.partition(" ")
    assert list(asked(query)) == ([Search(subject, quantity)] if found else [])


def test_subjects_are_told_apart_and_come_in_order() -> None:
    text = "the Peru-Chile Trench, Japan's north, the Java Trench and, again, JAPAN"
    assert mentioned(text) == ["peru_chile", "japan", "sunda"]


def test_the_number_is_that_of_the_quantity_and_the_prose_holds_others() -> None:
    depth, length = search.function("Mariana Trench depth"), search.function("length of the Mariana Trench")
    assert (depth["number"], depth["unit"]) == (10_984, "m")
    assert (length["number"], length["unit"]) == (2_550, "km")
    assert depth["text"] == length["text"]
    assert all(number in depth["text"] for number in ("10,984 m", "2,550 km", "69 km"))


def test_a_quantity_that_the_article_has_not_gives_no_number() -> None:
    found = search.function("speed of Mount Everest")
    assert set(found) == {"title", "text"}


def test_nothing_found_is_an_error_that_says_how_to_ask() -> None:
    with pytest.raises(ToolError, match=r"'the moon'; name one subject"):
        search.function("the moon")


async def test_a_result_counts_as_its_number_in_an_expression(tmp_path: Path) -> None:
    from shuntyard.steps import Bound
    from shuntyard.tools.calculator import calculator

    ctx = Ctx(run="r", workspace=tmp_path, emit=lambda event: None)
    step = Step(key=StepKey("r", 0, "n1"), kind="tool", name="search")
    found = await search.call({"query": "height of K2"}, ctx, step)
    assert await calculator.call({"expression": Bound("$1 * 2", {"$1": found})}, ctx, step) == 2 * 8_611


def test_latency_is_the_same_for_the_same_words_and_within_bounds() -> None:
    assert latency("Depth of the Mariana Trench?") == latency("depth of the mariana trench")
    drawn = [latency(f"query {number}") for number in range(500)]
    assert all(QUICKEST <= seconds <= SLOWEST for seconds in drawn)
    assert sum(drawn) / 500 == pytest.approx((QUICKEST + SLOWEST) / 2, abs=0.05)


def test_waiting_is_a_sum_one_by_one_and_the_longest_chain_otherwise() -> None:
    one, two, three = (latency(subject) for subject in ("K2", "Everest", "Aconcagua"))
    side = PlanBuilder("t")
    found = [side.call("search", query=subject) for subject in ("K2", "Everest", "Aconcagua")]
    side.call("calculator", expression=side.text(found[0], " + ", found[1], " + ", found[2]))
    assert waiting(side.build()) == pytest.approx({"sequential": one + two + three, "critical": max(one, two, three)})
    row = PlanBuilder("t")
    first = row.call("search", query="K2")
    second = row.call("search", query="Everest").after(first)
    row.call("search", query="Aconcagua").after(second)
    assert waiting(row.build()) == pytest.approx({"sequential": one + two + three, "critical": one + two + three})


# --- answers -------------------------------------------------------------------------------------

WHICH = "If K2 were 10% lower and Mount Everest 35% lower, which of Aconcagua, K2 and Mount Everest is higher?"
HOW_MUCH = "If K2 grew by 20% and Mount Everest shrank 3.5 times, what is the difference in meters?"


@pytest.mark.parametrize(
    "text",
    [
        "K2",
        "k2.",
        "The K2!",
        "K2 would be higher.",
        "K2 is higher than Mount Everest and Aconcagua.",
        "It is K2. Also: 7749.9, 5751.85.",
        "The tallest of all is K2, with 7,750 m.",
    ],
)
def test_right_names(text: str) -> None:
    assert judge(text, question=WHICH, target="K2").value == 1


@pytest.mark.parametrize(
    "text",
    ["Aconcagua", "Mount Everest is higher than K2.", "Neither.", "7750", "K", "Mount Elbert", "The Everest, not K2"],
)
def test_wrong_names(text: str) -> None:
    found = judge(text, question=WHICH, target="K2")
    assert found.value == 0
    assert found.answered
    assert "K2" in found.explanation


@pytest.mark.parametrize(
    "text",
    [
        "7805",
        "7024.6",
        "8585.4",
        " 7,805 m",
        "The difference is 7805.2 meters.",
        "K2 would be 10333.2 m, Everest 2528.3 m high: a difference of 7804.9 m.",
        "The difference would be 7.8 thousand meters.",
        "The difference is 7805 m when K2 grows by 20%.",
        "7.805e3",
    ],
)
def test_right_numbers(text: str) -> None:
    assert judge(text, question=HOW_MUCH, target="7805").value == 1


@pytest.mark.parametrize(
    "text",
    [
        "7024.5",
        "8585.5",
        "-7805",
        "The difference is -7805 m.",
        "It is 10333.2 m, not 2528.3 m.",
        "7805 m of 10333.2 m",
        "7.8 m",
        "20",
        "7805 million",
        "nan",
        "K2",
        "seven thousand",
    ],
)
def test_wrong_numbers(text: str) -> None:
    found = judge(text, question=HOW_MUCH, target="7805")
    assert found.value == 0
    assert found.answered


def test_no_answer_is_no_answer() -> None:
    found = judge("  ", question=HOW_MUCH, target="7805")
    assert not found.answered
    assert found.value == 0


def test_people_in_millions_are_read_both_ways() -> None:
    question = "What would the combined population be in millions?"
    assert judge("228.75 million", question=question, target="228.75").value == 1
    assert judge("228.75", question=question, target="228.75").value == 1
    assert judge("42.31 million km²", question="What is the smallest?", target="42310000").value == 1
    assert judge("228,750,000", question=question, target="228.75").value == 0


def test_names_are_compared_as_published() -> None:
    assert normal("The  Peru-Chile Trench!") == "peruchile trench"
    assert normal("a k2") == normal("K2.")


def test_the_first_named_subject() -> None:
    assert first_named(WHICH) == "K2"
    assert first_named("What is it?") == ""
