"""Whole runs on executors with workers: policies, effects in doubt, DAGs, settings and what a person is told."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from executor_parts import REMOTE, TOOLS

from shuntyard import Agent, PlanBuilder, tool
from shuntyard.errors import SettingsInvalid, UsageError
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings, load
from shuntyard.steps import Node, NodePolicy, Plan

pytestmark = pytest.mark.anyio


def agent_on(executor: str, folder: Path, *tools: Any, address: str = "") -> Agent:
    (folder / "work").mkdir(exist_ok=True)
    values = {
        "home": folder / "home", "workspace": folder / "work", "memory": False, "approve": ("*",),
        "tools": (TOOLS,), "executor": executor, "workers": 2, "ray_address": address,
    }  # fmt: skip
    model = ScriptedModel(lambda request: "ANSWER: done")
    return Agent(tools, settings=Settings.model_validate(values), model=model, builtin=False)


def plan_of(tool: str, *, retries: int = 1, **args: Any) -> Plan:
    node = Node(id="n1", tool=tool, args=args, policy=NodePolicy(retries=retries))
    return Plan(task="call it", nodes=(node,), origin="person")


def calls(folder: Path) -> int:
    return len((folder / "work" / "calls").read_text().split())


@pytest.mark.parametrize("executor", REMOTE)
async def test_a_dag_with_fan_out_and_chain(executor: str, tmp_path: Path, address: Callable[[str], str]) -> None:
    p = PlanBuilder("numbers")
    numbers = p.echo(value=[1, 2, 3, 4])
    each = p.who(number=p.item).over(numbers)
    chain: Any = p.echo(value=each)
    for _ in range(3):
        chain = p.echo(value=chain)
    async with agent_on(executor, tmp_path, address=address(executor)) as agent:
        first = await agent.run("numbers", plan=p.build())
        again = await agent.run("numbers", plan=p.build())
    assert (first.status, again.status) == ("done", "done")
    value: Any = first.results["n6"].value
    assert [number for number, _ in value] == [1, 2, 3, 4]
    assert os.getpid() not in {pid for _, pid in value}
    assert {pid for _, pid in again.results["n6"].value} <= {pid for _, pid in value}, "workers outlive a run"  # type: ignore[union-attr]


@pytest.mark.parametrize("executor", REMOTE)
async def test_death_follows_the_policy_of_a_read_and_the_nature_of_an_effect(
    executor: str, tmp_path: Path, address: Callable[[str], str]
) -> None:
    at = address(executor)
    folders = [tmp_path / name for name in ("again", "never", "effect", "repeatable")]
    for folder in folders:
        folder.mkdir()
    again, never, effect, repeatable = folders
    agent = agent_on(executor, again, address=at)
    result = await agent.run("x", plan=plan_of("die", how="kill"))
    assert (result.status, result.results["n1"].value, result.results["n1"].attempts) == ("done", 2, 2)

    result = await agent_on(executor, never, address=at).run("x", plan=plan_of("die", how="kill", retries=0))
    failure = result.results["n1"].failure
    assert failure is not None and (failure.code, calls(never)) == ("worker_died", 1)
    assert "look at what the tool does" in failure.message or executor == "ray"

    agent = agent_on(executor, effect, address=at)
    result = await agent.run("x", plan=plan_of("die_writing", retries=3))
    assert (result.status, result.results["n1"].status, calls(effect)) == ("doubt", "doubt", 1)
    assert result.failure is not None and f"shuntyard resume {result.run} --assume n1=done" in result.failure.message
    still = await agent.resume(result.run)
    assert (still.status, calls(effect)) == ("doubt", 1)
    settled = await agent.resume(result.run, assume={"n1": "not-done"})
    assert (settled.status, settled.results["n1"].value, calls(effect)) == ("done", 2, 2)

    result = await agent_on(executor, repeatable, address=at).run("x", plan=plan_of("die_repeatably"))
    assert (result.status, result.results["n1"].value) == ("done", 2)


async def test_tools_that_cannot_cross_run_beside_those_that_do(tmp_path: Path) -> None:
    @tool
    def here() -> int:
        """Return the process."""
        return os.getpid()

    agent = agent_on("processes", tmp_path, here)
    p = PlanBuilder("where")
    p.here()
    p.who(number=1)
    result = await agent.run("where", plan=p.build())
    assert result.results["n1"].value == os.getpid()
    assert result.results["n2"].value[1] != os.getpid()  # type: ignore[index]
    assert agent.where("here") == "in this process: it is made inside a function; put it at the top of a file"
    assert agent.where("who") == "in a worker process"
    with pytest.raises(UsageError, match="unknown tool 'wo'"):
        agent.where("wo")


def test_the_program_that_was_started_is_never_run_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os\nfrom shuntyard import Agent, PlanBuilder, tool\nfrom shuntyard.settings import Settings\n"
        "from shuntyard.serving.scripted import ScriptedModel\n"
        "@tool\ndef mine() -> int:\n    'Return the process.'\n    return os.getpid()\n"
        "p = PlanBuilder('x')\np.mine()\n"
        "agent = Agent([mine], settings=Settings(executor='processes', memory=False), builtin=False,\n"
        "              model=ScriptedModel(lambda request: 'ANSWER: done'))\n"
        "result = agent.run_sync('x', plan=p.build())\n"
        "print('same' if result.results['n1'].value == os.getpid() else 'other', agent.where('mine'))\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("same") and "put it into a file of its own" in done.stdout
    assert done.stdout.count("\n") == 1


async def test_without_ray_the_mend_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'shuntyard\[ray\]'"):
        await agent_on("ray", tmp_path).run("x", plan=plan_of("who"))


@pytest.mark.parametrize("address", ["head", "http://head:80", "head:port", "ray://head"])
def test_an_address_that_is_none_is_told_at_once(address: str) -> None:
    from shuntyard.agents.executors.ray import Ray

    with pytest.raises(SettingsInvalid, match=r"write auto, HOST:PORT or ray://HOST:PORT"):
        Ray(address)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
async def test_a_cluster_that_is_not_there_fails_its_call(tmp_path: Path) -> None:
    agent = agent_on("ray", tmp_path)
    agent = Agent(settings=agent.settings.model_copy(update={"ray_address": "127.0.0.1:1"}), model=agent._models[0])
    result = await agent.run("x", plan=plan_of("who", retries=0))
    failure = result.results["n1"].failure
    assert failure is not None and failure.exit_code == 2
    assert "no Ray cluster '127.0.0.1:1'" in failure.message and "ray_address" in failure.message


def test_an_unknown_executor_names_the_choices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"executor = 'proceses'.*'inprocess', 'processes' or 'ray'"):
        load({"executor": "proceses"}, folder=tmp_path)
    monkeypatch.setenv("SHUNTYARD_EXECUTOR", "processes")
    assert load(folder=tmp_path).executor == "processes"
