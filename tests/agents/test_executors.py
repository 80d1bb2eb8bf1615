"""Every executor keeps the same promise: values, errors, order, death and cancellation."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from executor_parts import EXECUTORS, REMOTE, TOOLS, all_gone, ctx_of, end, opened, step_of, text_of
from pool_tools import FAILURES

from shuntyard import tool
from shuntyard.agents.dispatch import dispatch, failure_of
from shuntyard.errors import ArgumentsInvalid, ToolError, WorkerDied
from shuntyard.protocols import Ctx, Executor
from shuntyard.steps import Bound, Step, StepResult

pytestmark = pytest.mark.anyio


async def begin() -> None:
    """Nothing to write."""


@pytest.fixture(scope="module", params=REMOTE)
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One for all tests, each with a loop of its own: workers outlive calls, runs and loops."""
    address = request.getfixturevalue("cluster") if request.param == "ray" else ""
    with opened(request.param, address=address) as executor:
        yield executor


async def result(executor: Executor, step: Step, ctx: Ctx) -> StepResult:
    """The step by way of the pipeline's innermost floor."""
    return await dispatch(None, executor)(step, ctx)  # type: ignore[arg-type]


async def raised(executor: Executor, step: Step, ctx: Ctx) -> Exception:
    try:
        await executor.run(step, ctx, begin)
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    "value",
    [None, "ö\ud800", 0.1, 2**80, {"a": [1, {"b": None}]}, "x" * 5_000_000, [{"n": i} for i in range(10_000)]],
    ids=lambda value: type(value).__name__,
)
async def test_values_cross_unchanged(pool: Executor, value: Any, tmp_path: Path) -> None:
    assert await pool.run(step_of("echo", value=value), ctx_of(tmp_path), begin) == value


async def test_a_bound_text_and_the_key_cross(pool: Executor, tmp_path: Path) -> None:
    text = Bound("$1 - 4", {"$1": [1, {"x": 2}]})
    answer = await pool.run(step_of("bound", text=text), ctx_of(tmp_path), begin)
    assert answer == ["$1 - 4", {"$1": [1, {"x": 2}]}, "run1:0:n1"]


@pytest.mark.parametrize("how", FAILURES)
async def test_errors_are_those_that_they_are_in_process(pool: Executor, how: str, tmp_path: Path) -> None:
    step, ctx = step_of("fail", how=how), ctx_of(tmp_path)
    with opened("inprocess") as here:
        expected = await result(here, step, ctx)
    assert (await result(pool, step, ctx)).failure == expected.failure
    assert expected.failure is not None


async def test_errors_keep_their_class_ids_and_place(pool: Executor, tmp_path: Path) -> None:
    error = await raised(pool, step_of("fail", how="tool_error"), ctx_of(tmp_path))
    assert type(error) is ToolError and error.ids == {"street": "ö"}
    own = await raised(pool, step_of("fail", how="own"), ctx_of(tmp_path))
    assert isinstance(own, ToolError) and type(own).__name__ == "RateLimited"
    assert "pool_tools.py" in "".join(own.__notes__)
    wrong = await raised(pool, step_of("fail", hwo="x"), ctx_of(tmp_path))
    assert isinstance(wrong, ArgumentsInvalid) and "how" in wrong.message


async def test_events_of_a_tool_come_out(pool: Executor, tmp_path: Path) -> None:
    events: list[Any] = []
    await pool.run(step_of("shout"), ctx_of(tmp_path, events), begin)
    assert [(event.type, event.run, event.done) for event in events] == [
        ("progress", "run1", 1),
        ("progress", "run1", 2),
    ]


async def test_calls_that_compute_run_at_once(pool: Executor, tmp_path: Path) -> None:
    pids: list[int] = []

    async def call(mine: str, other: str) -> None:
        pids.append(await pool.run(step_of("meet", mine=mine, other=other), ctx_of(tmp_path), begin))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(call, "a", "b")
            group.start_soon(call, "b", "a")
    assert len({*pids, os.getpid()}) == 3


async def test_many_calls_share_few_workers(pool: Executor, tmp_path: Path) -> None:
    answers: dict[int, list[int]] = {}

    async def call(number: int) -> None:
        answers[number] = await pool.run(step_of("who", number=number), ctx_of(tmp_path), begin)

    async with anyio.create_task_group() as group:
        for number in range(64):
            group.start_soon(call, number)
    assert {number: answer[0] for number, answer in answers.items()} == {number: number for number in range(64)}
    pids = {pid for _, pid in answers.values()}
    assert len(pids) == 2 and os.getpid() not in pids


async def test_an_async_tool_goes_only_when_it_computes(pool: Executor, tmp_path: Path) -> None:
    assert await pool.run(step_of("patient"), ctx_of(tmp_path), begin) != os.getpid()
    assert await pool.run(step_of("waits"), ctx_of(tmp_path), begin) == os.getpid()
    assert await pool.run(step_of("stays"), ctx_of(tmp_path), begin) == os.getpid()


@pytest.mark.parametrize("how", ["kill", "exit", "segfault"])
async def test_a_death_harms_its_own_call_alone(pool: Executor, how: str, tmp_path: Path) -> None:
    ctx = ctx_of(tmp_path)
    others: list[int] = []

    async def other() -> None:
        others.append(await pool.run(step_of("hold"), ctx, begin))

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await anyio.to_thread.run_sync(text_of, tmp_path / "held")
        error = await raised(pool, step_of("die", how=how), ctx)
        assert isinstance(error, WorkerDied) and "die" in error.message
        healed = await pool.run(step_of("who"), ctx, begin)
        (tmp_path / "let-go").touch()
    assert others == [int((tmp_path / "held").read_text())]
    assert healed[1] not in others


async def test_a_worker_that_died_idle_is_replaced(tmp_path: Path) -> None:
    with opened("processes", workers=1) as pool:
        [_, pid] = await pool.run(step_of("who"), ctx_of(tmp_path), begin)
        os.kill(pid, signal.SIGKILL)
        assert all_gone([pid], 10)
        [_, other] = await pool.run(step_of("who"), ctx_of(tmp_path), begin)
        assert other != pid
    assert all_gone([other], 0)


async def test_cancelling_ends_the_work_itself(pool: Executor, tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pool.run, step_of("hang"), ctx_of(tmp_path), begin)
        pids = await anyio.to_thread.run_sync(text_of, tmp_path / "pids")
        group.cancel_scope.cancel()
    worker, child = (int(pid) for pid in pids.split())
    try:
        # Ray kills in the background, and only the worker; a pool of ours also what the tool has started.
        processes = pool.where("hang") == "in a worker process"
        assert all_gone([worker], 0 if processes else 30)
        assert not processes or all_gone([child], 10)
    finally:
        end(child)


async def test_running_out_of_time_ends_the_work_itself(tmp_path: Path) -> None:
    with opened("processes", workers=1) as pool:
        await pool.run(step_of("who"), ctx_of(tmp_path), begin)
        step = step_of("hang")
        late = await result(pool, Step(step.key, "tool", "hang", timeout=2), ctx_of(tmp_path))
        assert late.failure is not None and late.failure.code == "tool_timeout"
        worker, child = (int(pid) for pid in (tmp_path / "pids").read_text().split())
        assert all_gone([worker], 0) and all_gone([child], 10)
        assert (await pool.run(step_of("who", number=7), ctx_of(tmp_path), begin))[0] == 7


async def test_waiting_for_a_worker_is_before_the_beginning(tmp_path: Path) -> None:
    begun: list[str] = []

    def beginning(name: str) -> Any:
        async def note() -> None:
            begun.append(name)

        return note

    with opened("processes", workers=1) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run, step_of("hold"), ctx_of(tmp_path), beginning("first"))
            await anyio.to_thread.run_sync(text_of, tmp_path / "held")
            group.start_soon(pool.run, step_of("who"), ctx_of(tmp_path), beginning("second"))
            await anyio.wait_all_tasks_blocked()
            assert begun == ["first"]
            (tmp_path / "let-go").touch()
        assert begun == ["first", "second"]


def driver(name: str, tool: str, folder: Path, address: str = "") -> list[str]:
    """A command that calls ``tool`` in a process of its own and prints what it returns."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import anyio
from pathlib import Path
from executor_parts import ctx_of, opened, step_of
from test_executors import begin
with opened({name!r}, address={address!r}) as pool:
    print(repr(anyio.run(lambda: pool.run(step_of({tool!r}), ctx_of(Path({str(folder)!r})), begin))))
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("name", REMOTE)
def test_workers_end_with_a_killed_driver(name: str, tmp_path: Path) -> None:
    with subprocess.Popen(driver(name, "hang", tmp_path)) as process:
        pids = [int(pid) for pid in text_of(tmp_path / "pids").split()]
        process.kill()
    try:
        # A child of the tool ends with a worker of ours; Ray ends its worker alone.
        assert all_gone(pids if name == "processes" else pids[:1], 30)
    finally:
        end(pids[1])


@pytest.mark.parametrize("name", REMOTE)
def test_what_a_tool_prints_stays_off_stdout(name: str, tmp_path: Path, address: Callable[[str], str]) -> None:
    command = driver(name, "noisy", tmp_path, address(name))
    done = subprocess.run(command, input="typed", capture_output=True, text=True, check=True)
    assert "noise" not in done.stdout
    if name == "processes":
        assert done.stdout == "''\n", "a worker reads nothing of what is typed"
        assert sorted(done.stderr.splitlines()) == ["noise", "noise of a child"]


def test_every_tool_says_where_it_runs_and_why() -> None:
    with opened("processes") as pool:
        assert pool.where("who") == "in a worker process"
        assert "it waits rather than computes" in pool.where("waits")
    with opened("inprocess") as here:
        assert here.where("who") == "in this process"


async def test_closing_lets_tools_say_goodbye(tmp_path: Path) -> None:
    tools = tmp_path / "farewell.py"
    tools.write_text(
        "import atexit, pathlib\nfrom shuntyard import tool\n"
        f"atexit.register(pathlib.Path({str(tmp_path / 'bye')!r}).touch)\n"
        "@tool\ndef one() -> int:\n    'Return one.'\n    return 1\n"
    )
    from shuntyard.agents.executors import executor_for
    from shuntyard.settings import Settings
    from shuntyard.tools.load import load_tools
    from shuntyard.tools.registry import Registry

    pool = executor_for(Settings(executor="processes"), Registry(load_tools(str(tools))))
    step = Step(step_of("who").key, "tool", "one")
    assert await pool.run(step, ctx_of(tmp_path), begin) == 1
    assert not (tmp_path / "bye").exists()
    pool.close()
    assert (tmp_path / "bye").exists()


@pytest.mark.parametrize("name", EXECUTORS)
async def test_an_executor_that_was_never_used_closes(name: str) -> None:
    started = time.perf_counter()
    with opened(name):
        pass
    assert time.perf_counter() - started < 5, "nothing is started before it is needed"


def test_tools_that_cannot_cross_say_why() -> None:
    from pool_tools import factory, plain

    from shuntyard.agents.executors.crossing import Source, crossing
    from shuntyard.tools.calculator import calculator
    from shuntyard.tools.spec import FunctionTool

    @tool
    def local() -> int:
        """Return one."""
        return 1

    for item, why in [(local, "inside a function"), (factory(), "inside a function"), (calculator, "Shuntyard")]:
        found = crossing(item)
        assert isinstance(found, str) and why in found
    assert crossing(FunctionTool(plain)) == Source("pool_tools", "plain")


async def test_a_plain_function_crosses(tmp_path: Path) -> None:
    from pool_tools import plain

    from shuntyard.agents.executors import executor_for
    from shuntyard.settings import Settings
    from shuntyard.tools.registry import Registry
    from shuntyard.tools.spec import FunctionTool

    pool = executor_for(Settings(executor="processes"), Registry([FunctionTool(plain, name="next_one")]))
    try:
        step = Step(step_of("who").key, "tool", "next_one", args={"number": 41})
        assert pool.where("next_one") == "in a worker process"
        assert await pool.run(step, ctx_of(tmp_path), begin) == 42
    finally:
        pool.close()


def test_failures_cover_every_way() -> None:
    codes = {failure_of(make(), "fail").code for make in FAILURES.values()}
    assert {"tool_error", "tool_retry", "rate_limited", "path_refused", "unknown_name"} <= codes
    assert Path(TOOLS).is_file()
