"""HumanEval: the published solutions pass, spoilt ones and tricks do not, and nothing gets out of the sandbox."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import anyio
import pytest

from shuntyard.errors import DataMissing, UsageError
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.data import Data
from shuntyard.evals.suite import Means
from shuntyard.evals.suites import humaneval
from shuntyard.evals.suites.humaneval import SOURCE, SUITE, Target, read_code
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.tools.python import isolation

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not all(anyio.run(isolation).values()), reason="this system cannot shut programs off"),
]
needs_data = pytest.mark.skipif("SHUNTYARD_DATA" not in os.environ, reason="SHUNTYARD_DATA is not set")

PROMPT = '''from typing import List


def helper(number: int) -> int:
    return number + 1


def total(numbers: List[int]) -> int:
    """Return the sum of the numbers.
    >>> total([1, 2])
    3
    """
'''
TEST = """
METADATA = {}


def check(candidate):
    assert candidate([1, 2]) == 3
    assert candidate([]) == 0
    assert helper(1) == 2
"""
CASE = Case(
    id="HumanEval/x",
    input=PROMPT,
    target=Target(entry="total", test=TEST, solution="    return sum(numbers)\n").model_dump(),
)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


async def judged(text: str, case: Case = CASE) -> Score:
    return await SUITE.scorer(case, Output(text=text))


@pytest.mark.parametrize(
    "text",
    [
        "    return sum(numbers)\n",
        "return sum(numbers)",
        "result = 0\n    for number in numbers:\n        result += number\n    return result",
        "result = 0\nfor number in numbers:\n    result += number\nreturn result",
        "def total(numbers):\n    return sum(numbers)",
        "Here it is:\n```python\ndef total(numbers):\n    return sum(numbers)\n```\nIt uses `sum`.",
        "```py\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)\n```",
        "```\n    return sum(numbers)\n```",
        "```python\ndef total(numbers):\n    return sum(numbers)",
        "First a sketch:\n```python\nx = 1\n```\nthen\n```python\ndef total(numbers):\n    return sum(numbers)\n```",
        "from __future__ import annotations\ndef total(numbers):\n    return sum(numbers)\ndef helper(n): return n + 1",
        "Sure!\n\ndef total(numbers):\n    return sum(numbers)\n\nThis adds the numbers up.",
        fenced("def total(numbers):\n    return sum(numbers)\nif __name__ == '__main__':\n    print(total(input()))"),
        fenced(
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    n: 'int'\n"
            "def total(numbers):\n    return P(sum(numbers)).n"
        ),
        fenced("print('x' * 500_000)\ndef total(numbers):\n    print('adding', numbers)\n    return sum(numbers)"),
    ],
)
async def test_answers_of_every_form_are_read(text: str) -> None:
    found = await judged(text)
    assert found.value == 1, found.explanation


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return None", "AssertionError"),
        ("return sum(numbers) + 1", "assert candidate([1, 2]) == 3"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "ended before the tests did"),
        ("raise SystemExit", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os.abort()", "ended before the tests did"),
        ("import os; os.kill(os.getpid(), 9)", ""),
        ("return total(numbers)", "RecursionError"),
        ("x = bytearray(3 << 30); return sum(numbers)", "MemoryError"),
        ("import os; os.fork(); return sum(numbers)", "may not start processes"),
        ("import subprocess; subprocess.run(['ls']); return sum(numbers)", "may not start processes"),
        ("import os; os.system('ls'); return sum(numbers)", "may not start processes"),
        ("open('/etc/passwd'); return sum(numbers)", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 80), 1); return sum(numbers)", "Error"),
        ("return sum(numbers", "SyntaxError"),
        ("return int(input())", "EOFError"),
    ],
)
async def test_wrong_and_wild_solutions_do_not_pass(body: str, why: str) -> None:
    found = await judged(fenced(f"def total(numbers):\n    {body}"))
    assert found.value == 0
    assert found.answered
    assert why in found.explanation
    assert found.explanation


@pytest.mark.parametrize(
    "top", ["import sys; sys.exit(0)", "import os; os._exit(0)", "print('passed'); raise SystemExit(0)"]
)
async def test_leaving_before_the_tests_is_no_pass(top: str) -> None:
    assert (await judged(fenced(f"{top}\ndef total(numbers):\n    return sum(numbers)"))).value == 0


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "import itertools; return sum(1 for _ in itertools.count())",
        "import threading; [threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start() for _ in range(9)]",
        "try:\n        while True: pass\n    except BaseException:\n        while True: pass",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: print('x' * 10000)",
    ],
)
async def test_a_solution_never_hangs(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(humaneval, "SECONDS", 1.0)
    begin = time.monotonic()
    found = await judged(fenced(f"def total(numbers):\n    {body}"))
    assert found.value == 0
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "bomb",
    [
        "import os\nwhile True:\n    try:\n        os.fork()\n    except Exception:\n        pass",
        "import multiprocessing\nwhile True:\n    multiprocessing.Process(target=print).start()",
        "import posix\nwhile True:\n    posix.fork()",
        "x = []\nwhile True:\n    x.append(bytearray(1 << 26))",
        "x = 'x'\nwhile True:\n    x += x",
        "f = open('big', 'wb')\nwhile True:\n    f.write(b'x' * (1 << 20))",
    ],
)
async def test_bombs_are_contained(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(humaneval, "SECONDS", 2.0)
    before = len(os.listdir("/proc"))
    assert (await judged(fenced(f"{bomb}\ndef total(numbers):\n    return sum(numbers)"))).value == 0
    assert len(os.listdir("/proc")) < before + 100


async def test_no_code_is_no_answer() -> None:
    assert (await judged("")).letter == "N"
    assert (await judged("I cannot do this.")).value == 0


def test_helpers_of_the_prompt_stand_before_the_answer() -> None:
    code = read_code("```python\ndef total(n):\n    return 0\n```", prompt=PROMPT, entry="total")
    assert code.index("def helper") < code.index("def total")
    assert code.count("def total") == 1


def fails_or_not(scores: Sequence[tuple[str, Score]], value: float) -> list[tuple[str, str]]:
    return [(id, score.explanation) for id, score in scores if score.value != value]


async def judge_all(texts: Sequence[tuple[Case, str]]) -> list[tuple[str, Score]]:
    found: list[tuple[str, Score]] = []
    limiter = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def one(case: Case, text: str) -> None:
        async with limiter:
            found.append((case.id, await judged(text, case)))

    async with anyio.create_task_group() as group:
        for case, text in texts:
            group.start_soon(one, case, text)
    return found


def spoilt(case: Case) -> list[str]:
    """The published solution, spoilt in three ways."""
    target = Target.model_validate(case.target)
    whole = f"{case.input}{target.solution}"
    other = """
def off(value):
    if isinstance(value, bool): return not value
    if isinstance(value, (int, float)): return value + 1
    if isinstance(value, str): return value + "x"
    if isinstance(value, (list, tuple)): return type(value)([*value, 0])
    if isinstance(value, dict): return {**value, "x": 0}
    return 0 if value is None else None
"""
    return [
        f"{case.input}    return None\n",
        f"{case.input}    raise ValueError\n",
        f"{whole}\n{other}\n_right = {target.entry}\ndef {target.entry}(*given):\n    return off(_right(*given))\n",
    ]


@needs_data
async def test_some_published_solutions_pass_and_spoilt_ones_fail() -> None:
    cases = list(SUITE.cases(Data(SUITE.sources)))
    assert len({case.digest for case in cases}) == 164
    some = cases[::16]
    right = await judge_all([(case, Target.model_validate(case.target).solution) for case in some])
    assert fails_or_not(right, 1) == []
    wrong = await judge_all([(case, fenced(code)) for case in some for code in spoilt(case)])
    assert fails_or_not(wrong, 0) == []


@needs_data
@pytest.mark.slow
async def test_every_published_solution_passes_and_spoilt_in_one_way_fails() -> None:
    cases = list(SUITE.cases(Data(SUITE.sources)))
    texts = [(case, fenced(f"{case.input}{Target.model_validate(case.target).solution}")) for case in cases]
    assert fails_or_not(await judge_all(texts), 1) == []
    wrong = await judge_all([(case, fenced(spoilt(case)[at % 3])) for at, case in enumerate(cases)])
    assert len(wrong) == 164
    assert fails_or_not(wrong, 0) == []


async def test_the_model_sees_the_prompt_and_not_the_tests() -> None:
    model = ScriptedModel(["```python\ndef total(numbers):\n    return sum(numbers)\n```"])
    async with SUITE.solvers["model"].open(Means(Settings(), model, temperature=0.8)) as solve:
        output = await solve(CASE, seed=3)
    (request,) = model.requests
    assert PROMPT.strip() in request.messages[-1].content
    assert "check" not in str(request.messages)
    assert (request.seed, request.temperature) == (3, 0.8)
    assert (await SUITE.scorer(CASE, output)).value == 1


async def test_an_open_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_doors() -> dict[str, bool]:
        return {"network": False, "files": True}

    monkeypatch.setattr("shuntyard.tools.python.isolation", open_doors)
    with pytest.raises(UsageError, match="network"):
        async with SUITE.solvers["model"].open(Means(Settings(), ScriptedModel([]))):
            pass


def test_missing_data_says_what_to_set(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUNTYARD_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match="SHUNTYARD_DATA"):
        list(SUITE.cases(Data((SOURCE.model_copy(update={"url": ""}),))))
