"""The suite: its cases, its scorer, and what oracles and guesses would reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import TypeAdapter

from ....errors import DataInvalid
from ....planner.build import PlanBuilder
from ....steps import Plan
from ...case import Case, Output, Score
from ...data import Data, DataSource
from ...suite import SolverInfo, Suite
from . import answers, oracle, plans
from .facts import SUBJECTS
from .label import Label, parse
from .labels import LABELS
from .solve import SECONDS, Work, agent_with, open_planner, open_sequential

SOURCE = DataSource(
    name="llmcompiler",
    licence="MIT",
    folder="llmcompiler",
    url="https://raw.githubusercontent.com/SqueezeAILab/LLMCompiler/a00c9d35507507da70e8c637eee64efc8c1857ae/datasets",
)
FILE = "parallelqa_dataset.json"

_TEXTS = TypeAdapter(list[str])


def cases(data: Data) -> Iterator[Case]:
    """The 113 questions; their labels are part of the target, so that a changed label makes another case."""
    for row in _rows(data):
        found = LABELS[int(row["id"])]
        yield Case(
            id=row["id"],
            category=f"{row['branch']} branches",
            input=row["question"],
            target={"answer": row["answer"], "labels": [found] if isinstance(found, str) else list(found)},
        )


def _rows(data: Data) -> list[dict[str, str]]:
    rows = data.json(SOURCE.name, FILE)
    keys = ("id", "question", "answer", "branch")
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        if not isinstance(row, dict) or not all(key in row for key in keys):
            raise DataInvalid(f"{FILE!r}: entry {number} has not all of {', '.join(keys)}: {row!r:.200}; mend it.")
    found = [{key: str(row[key]) for key in keys} for row in rows]
    ids = [row["id"] for row in found]
    if sorted(ids) != sorted(map(str, LABELS)):
        odd = sorted(set(ids) ^ set(map(str, LABELS))) or "ids twice"
        raise DataInvalid(f"{FILE!r} holds other questions than the {len(LABELS)} labelled ones ({odd!r:.200}).")
    return found


async def score(case: Case, output: Output) -> Score:
    """A plan by its label, an answer by the data set's rule; beside an agent's answer stand the figures of its plan.

    ``time_saved`` is the share of the searches' time that the plan's critical path saves, on counted time.
    """
    work = Work.model_validate(output.value)
    if work.kind == "answer":
        return _answered(case, output.text)
    if work.plan is None:
        planned = plans.nothing(f"there is no plan: {output.text}", answered=False)
    else:
        planned = plans.judge(work.plan, _labels(case))
    saved = 1 - work.critical / work.sequential if work.sequential else 0.0
    judged = _answered(case, output.text) if work.kind == "run" and planned.answered else planned
    return judged.model_copy(update={"parts": {**planned.parts, "time_saved": saved}})


def _answered(case: Case, text: str) -> Score:
    return answers.judge(text, question=str(case.input), target=_target(case))


def _target(case: Case) -> str:
    assert isinstance(case.target, dict)
    return str(case.target["answer"])


def _labels(case: Case) -> list[Label]:
    assert isinstance(case.target, dict)
    return [parse(text) for text in _TEXTS.validate_python(case.target["labels"])]


def perfect(cases: Sequence[Case]) -> Mapping[str, Score]:
    """The labels as plans, and executed over the recorded facts as answers: what a faultless solver reaches."""
    found = {}
    for case in cases:
        label = _labels(case)[0]
        planned = plans.judge(oracle.plan(label, task=str(case.input)), [label])
        answered = _answered(case, oracle.answer(label))
        worse = min(planned, answered, key=lambda score: score.value)
        found[case.id] = worse.model_copy(update={"parts": planned.parts})
    return found


def one_search(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Plans that look up the first subject of the question and stop."""
    return {case.id: plans.judge(_only(case), _labels(case)) for case in cases}


def _only(case: Case) -> Plan:
    builder = PlanBuilder(str(case.input))
    first = _labels(case)[0].searches[0]
    builder.call("search", query=f"{first.quantity} of {SUBJECTS[first.subject].name}")
    return builder.build()


def first_named(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Answers with the subject that the question names first, which a comparison may even mean."""
    return {case.id: _answered(case, answers.first_named(str(case.input))) for case in cases}


SUITE = Suite(
    name="parallelqa",
    about="113 questions that need several searches and arithmetic on them: plans by our labels, answers offline",
    sources=(SOURCE,),
    cases=cases,
    scorer=score,
    solvers={
        "planner": SolverInfo(open_planner, "plans only: are the searches, the flow and the arithmetic right?"),
        "agent": SolverInfo(agent_with("dag"), "answers of the agent with a recorded search and the calculator"),
        "react": SolverInfo(agent_with("react"), "the same, deciding on one call at a time"),
        "sequential": SolverInfo(open_sequential, "answers of the model alone, one call at a time"),
    },
    solver="planner",
    sample=40,
    timeout=SECONDS + 30,
    baselines={"oracle": perfect, "one search (plan)": one_search, "first named (answer)": first_named},
    notes=(
        "The search is recorded and gives the figure beside the prose: finding the page and reading it are not tested. "
        "The facts are those that the published answers were computed with; figures of live Wikipedia runs do not "
        "compare. Seconds of searches are counted, not waited for. The planner's figure is one of plans, those of "
        "agent, react and sequential are of answers: compare like with like."
    ),
)
