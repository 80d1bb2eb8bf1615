"""The scorer of plans: right plans in every form are right, and wrong ones of every kind are not."""

from collections.abc import Sequence

import pytest

from shuntyard.evals.case import Score
from shuntyard.evals.suites.parallelqa.label import Label, parse
from shuntyard.evals.suites.parallelqa.plans import PARTS, SPECS, judge
from shuntyard.planner.lines import Refusal, parse_line
from shuntyard.steps import Node, Plan

LOWER = parse("least(mariana*0.8, puerto_rico*1.2)")
HIGHEST = parse("most(kilimanjaro*1.1, aconcagua*1.3, k2*0.8)")
GAP = parse("gap(everest*1.02, kilimanjaro*0.97)")
PAIRS = parse("min(gap(everest, k2), gap(aconcagua, kilimanjaro))")
PEOPLE = parse("millions(vietnam*1.1 + japan*0.95)")
MERGED = (
    parse("gap((texas + florida) / (texas.area + florida.area), california / california.area)"),
    parse("gap((texas + florida) / (texas.area + florida.area), california.density)"),
)


def s(query: str, more: str = "") -> str:
    """A search."""
    return f'search(query="{query}") {more}'


def c(expression: str) -> str:
    """A calculation."""
    return f'calculator(expression="{expression}")'


def either(condition: str, yes: str, no: str) -> str:
    """A choice between texts, or between results that begin with a dollar sign."""
    values = [text if text.startswith("$") else f'"{text}"' for text in (yes, no)]
    return f'choose(condition="{condition}", yes={values[0]}, no={values[1]})'


def plan(calls: Sequence[str]) -> Plan:
    nodes: list[Node] = []
    for number, call in enumerate(calls, 1):
        found = parse_line(f"{number}. {call}")
        assert not isinstance(found, Refusal)
        nodes.append(found)
    return Plan(task="t", nodes=tuple(nodes))


def score(calls: Sequence[str], *labels: Label) -> Score:
    return judge(plan(calls), labels)


BOTH = [s("depth of the Mariana Trench"), s("Puerto Rico Trench depth")]
PEAKS = [s("height of Mount Everest"), s("height of Mount Kilimanjaro")]
THREE = [s("Kilimanjaro height"), s("Aconcagua height"), s("K2 height")]
FOUR = [s("Everest"), s("K2"), s("Aconcagua"), s("Kilimanjaro")]
TWO = [s("population of Vietnam"), s("population of Japan")]

RIGHT = {
    "compared by whoever answers": (LOWER, [*BOTH, c("$1 * 0.8"), c("$2 * 1.2")]),
    "named by the plan": (LOWER, [*BOTH, either("$1 * 0.8 < $2 * 1.2", "Mariana Trench", "the Puerto Rico Trench")]),
    "named after the steps": (
        LOWER,
        [
            *BOTH,
            c("$1 - 20 / 100 * $1"),
            c("round($2 * 1.2, 1)"),
            either("$4 <= $3", "Puerto Rico Trench", "Mariana Trench"),
        ],
    ),
    "named by an article": (LOWER, [*BOTH, either("$1 * 0.8 < $2 * 1.2", "$1", "$2.title")]),
    "told by yes or no": (LOWER, [*BOTH, c("$1 * 0.8 < $2 * 1.2")]),
    "in another order": (
        LOWER,
        [s("Puerto Rico Trench"), c("1.2 * $1"), s("how deep is the Mariana Trench"), c("0.8 * $3")],
    ),
    "fields named": (LOWER, [*BOTH, c("$1.number * 0.8"), c("$2.number * 1.2")]),
    "three compared by whoever answers": (HIGHEST, [*THREE, c("$1 * 1.1"), c("$2 * 1.3"), c("$3*.8")]),
    "three and the largest value": (HIGHEST, [*THREE, c("$1 * 1.1"), c("$2 * 1.3"), c("$3*.8"), c("max($4, $5, $6)")]),
    "three named by a chain": (
        HIGHEST,
        [
            *THREE,
            c("$1 * 1.1"),
            c("$2 * 1.3"),
            c("$3*.8"),
            either("$4 > $5", "Mount Kilimanjaro", "Aconcagua"),
            either("$6 > max($4, $5)", "K2", "$7"),
        ],
    ),
    "difference in one": (GAP, [*PEAKS, c("$1 * 1.02 - $2 * 0.97")]),
    "difference in steps": (GAP, [*PEAKS, c("$1 * 1.02"), c("$2 * 0.97"), c("abs($4 - $3)")]),
    "difference rounded": (GAP, [*PEAKS, c("round(abs($1 * 1.02 - $2 * 0.97), 1)")]),
    "order of the facts": (PAIRS, [*FOUR, c("min($1 - $2, $3 - $4)")]),
    "values to choose from": (PAIRS, [*FOUR, c("abs($1 - $2)"), c("abs($3 - $4)")]),
    "chosen by the plan": (PAIRS, [*FOUR, c("abs($1 - $2)"), c("abs($3 - $4)"), either("$5 < $6", "$5", "$6")]),
    "in millions": (PEOPLE, [*TWO, c("($1 * 1.1 + $2 * 0.95) / 1000000")]),
    "in single people": (PEOPLE, [*TWO, c("$1 * 1.1 + $2 * 0.95")]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_plans_are_right(name: str) -> None:
    label, lines = RIGHT[name]
    found = score(lines, label)
    assert found.explanation == ""
    assert found.value == 1
    assert found.parts == dict.fromkeys(PARTS, 1.0)


STATES = [s("population of Texas"), s("population of Florida"), s("area of Texas"), s("land area of Florida")]


def test_a_density_may_be_looked_up_or_made() -> None:
    made = [*STATES, s("California population"), s("California area"), c("abs(($1 + $2) / ($3 + $4) - $5 / $6)")]
    looked_up = [*STATES, s("population density of California"), c("abs(($1 + $2) / ($3 + $4) - $5)")]
    assert score(made, *MERGED).value == 1
    assert score(looked_up, *MERGED).value == 1
    assert score(looked_up, MERGED[0]).parts["searches"] == pytest.approx(4 / 6)
    assert score([*looked_up[:-1], c("abs(($1 + $2) / $3 - $5)")], *MERGED).value == 0


WRONG = {
    "serialised by a reference": (
        LOWER,
        [s("Mariana Trench depth"), s("Puerto Rico Trench depth, not $1"), c("$1 * 0.8"), c("$2 * 1.2")],
        {"parallel": 0.5},
    ),
    "serialised by after": (
        LOWER,
        [s("Mariana Trench depth"), c("$1 * 0.8"), s("Puerto Rico Trench depth", "after $2"), c("$3 * 1.2")],
        {"parallel": 0.5},
    ),
    "serialised by a condition": (
        LOWER,
        [s("Mariana Trench depth"), s("Puerto Rico Trench depth", "if $1"), c("$1 * 0.8"), c("$2 * 1.2")],
        {"parallel": 0.5},
    ),
    "a search dropped": (
        HIGHEST,
        [s("Kilimanjaro height"), s("Aconcagua height"), c("$1 * 1.1"), c("$2 * 1.3")],
        {"searches": 2 / 3, "dependencies": 2 / 3, "arithmetic": 0},
    ),
    "an operand dropped": (GAP, [*PEAKS, c("$1 * 1.02")], {"dependencies": 1 / 3, "arithmetic": 0}),
    "an operand dropped at the end": (
        parse("mean(everest*2, k2*3, kilimanjaro*4)"),
        [s("Everest"), s("K2"), s("Kilimanjaro"), c("$1 * 2"), c("$2 * 3"), c("$3 * 4"), c("avg($4, $5)")],
        {"dependencies": 0.75, "arithmetic": 0},
    ),
    "searches merged": (
        LOWER,
        [s("depths of the Mariana Trench and the Puerto Rico Trench"), c("$1 * 0.8"), c("$1 * 1.2")],
        {"searches": 0.5, "dependencies": 0.5, "arithmetic": 0},
    ),
    "a number invented": (
        LOWER,
        [*BOTH, c("10984 * 0.8"), c("$2 * 1.2")],
        {"precision": 0.75, "dependencies": 0.5, "arithmetic": 0},
    ),
    "a number invented beside a reference": (
        GAP,
        [*PEAKS, c("$1 * 1.02 - 5895 * 0.97")],
        {"dependencies": 1 / 3, "arithmetic": 0},
    ),
    "all numbers invented": (
        GAP,
        [*PEAKS, c("8849 * 1.02 - 5895 * 0.97")],
        {"precision": 2 / 3, "dependencies": 0, "arithmetic": 0},
    ),
    "the winner known by heart": (
        LOWER,
        [*BOTH, either("$1 > $2", "Mariana Trench", "Mariana Trench")],
        {"arithmetic": 0},
    ),
    "a search too many": (LOWER, [*BOTH, c("$1 * 0.8"), c("$2 * 1.2"), s("Sunda Trench depth")], {"precision": 0.8}),
    "a search made twice": (LOWER, [*BOTH, s("Mariana Trench"), c("$3 * 0.8"), c("$2 * 1.2")], {"precision": 0.8}),
    "a calculation too many": (GAP, [*PEAKS, c("$1 * 1.02 - $2 * 0.97"), c("$1 / $2")], {"precision": 0.75}),
    "a calculation too many beside a comparison": (
        LOWER,
        [*BOTH, c("$1 * 0.8"), c("$2 * 1.2"), c("$1 - $2")],
        {"precision": 4 / 5},
    ),
    "another quantity": (
        LOWER,
        [s("length of the Mariana Trench"), s("Puerto Rico Trench depth"), c("$1 * 0.8"), c("$2 * 1.2")],
        {"searches": 0.5, "precision": 0.5, "dependencies": 0.5, "arithmetic": 0},
    ),
    "another factor": (LOWER, [*BOTH, c("$1 * 0.2"), c("$2 * 1.2")], {"arithmetic": 0}),
    "factors swapped": (LOWER, [*BOTH, c("$1 * 1.2"), c("$2 * 0.8")], {"arithmetic": 0}),
    "names swapped": (
        LOWER,
        [*BOTH, either("$1 * 0.8 < $2 * 1.2", "Puerto Rico Trench", "Mariana Trench")],
        {"arithmetic": 0},
    ),
    "the value of the winner only": (LOWER, [*BOTH, c("min($1 * 0.8, $2 * 1.2)")], {"arithmetic": 0}),
    "yes or no among three": (HIGHEST, [*THREE, c("$1 * 1.1 > max($2 * 1.3, $3 * 0.8)")], {"arithmetic": 0}),
    "arithmetic left to whoever answers": (
        GAP,
        [*PEAKS, c("$1 * 1.02"), c("$2 * 0.97")],
        {"dependencies": 2 / 3, "arithmetic": 0},
    ),
    "a difference that is negative": (GAP, [*PEAKS, c("$2 * 0.97 - $1 * 1.02")], {"arithmetic": 0}),
    "pairs mixed up": (PAIRS, [*FOUR, c("min(abs($1 - $3), abs($2 - $4))")], {"arithmetic": 0}),
    "the other end of the scale": (PAIRS, [*FOUR, c("max(abs($1 - $2), abs($3 - $4))")], {"arithmetic": 0}),
    "a wrong conclusion from right steps": (
        PAIRS,
        [*FOUR, c("abs($1 - $2)"), c("abs($3 - $4)"), c("max($5, $6)")],
        {"arithmetic": 0},
    ),
    "per mille instead of millions": (PEOPLE, [*TWO, c("($1 * 1.1 + $2 * 0.95) / 1000")], {"arithmetic": 0}),
    "searches alone": (GAP, [*PEAKS], {"dependencies": 0, "arithmetic": 0}),
    "nothing but a guess": (
        GAP,
        [c("3307")],
        {"searches": 0, "precision": 0, "dependencies": 0, "parallel": 0, "arithmetic": 0},
    ),
    "a step that fails": (GAP, [*PEAKS, c("$1.text * 1.02 - $2 * 0.97")], {"arithmetic": 0}),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_plans_are_wrong_where_they_are(name: str) -> None:
    label, lines, parts = WRONG[name]
    found = score(lines, label)
    assert found.value == 0
    assert found.explanation
    assert found.parts == pytest.approx(dict.fromkeys(PARTS, 1.0) | parts)


def test_the_explanation_says_what_is_wrong() -> None:
    calls = [s("Mariana Trench depth"), s("Sunda Trench depth"), c("10984 * 0.8")]
    text = score(calls, LOWER).explanation
    assert "no search for Puerto Rico Trench (depth)" in text
    assert "n2 is not needed" in text
    assert "n3 is not needed" in text
    assert "nothing is fed by all of Mariana Trench (depth)" in text
    assert "does not compute least(mariana*0.8, puerto_rico*1.2)" in text


def test_one_query_counts_once_however_it_is_matched() -> None:
    """The first query fits both searches, the second only one of them: both are found."""
    calls = [s("Mariana Trench or Puerto Rico Trench"), s("Mariana Trench"), c("$2 * 0.8"), c("$1 * 1.2")]
    found = score(calls, LOWER)
    assert found.parts["searches"] == 1
    assert found.value == 1


def test_a_refusal_is_no_answer() -> None:
    found = judge(Plan(task="t", nodes=(), refusal="no tool knows"), [LOWER])
    assert not found.answered
    assert found.value == 0
    assert found.parts == dict.fromkeys(PARTS, 0.0)


@pytest.mark.parametrize(
    "calls", [["read_file(path='x')"], ['search(text="Mariana Trench")'], ['calculator(expression="$x")', s("$3")]]
)
def test_a_plan_that_could_not_run_is_wrong(calls: list[str]) -> None:
    found = score(calls, LOWER)
    assert found.answered
    assert found.value == 0
    assert found.explanation


def test_calls_offered_are_searching_and_the_product_s_arithmetic() -> None:
    from shuntyard.tools.calculator import calculator
    from shuntyard.tools.choose import choose

    assert [spec.name for spec in SPECS] == ["search", "calculator", "choose"]
    assert calculator.spec in SPECS
    assert choose.spec in SPECS
