"""A program that is killed once at a chosen point of a run: ``crashing.py POINT FOLDER EXECUTOR [RUN]``.

Without RUN it starts the run; with RUN it resumes it. It prints the run's result as JSON. ``CRASH_CLUSTER`` in the
environment names a Ray cluster.
"""

import json
import os
import sys
from pathlib import Path

POINT, FOLDER, EXECUTOR = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
os.environ["CRASH_POINT"] = POINT

from shuntyard import Agent  # noqa: E402  the tools read their point when they are loaded
from shuntyard.agents.portal import run_sync  # noqa: E402
from shuntyard.messages import ModelRequest  # noqa: E402
from shuntyard.serving.scripted import ScriptedModel  # noqa: E402
from shuntyard.settings import Settings  # noqa: E402
from shuntyard.tools.load import load_module  # noqa: E402

PLAN = """1. measure(name="a")
2. measure(name="b")
3. add(first=$1, second=$2)
4. store(value=$3)
"""
TOOLS = str(Path(__file__).with_name("crash_tools.py"))


def main() -> None:
    run = sys.argv[4] if len(sys.argv) > 4 else ""
    assume = dict(part.split("=") for part in sys.argv[5:])
    how = "interrupt" if os.environ.get("BY_SIGINT") else "kill"
    (FOLDER / "driver").write_text(f"{os.getpid()} {POINT} {how}")
    die = load_module(TOOLS).die

    def answer(request: ModelRequest) -> str:
        die(request.role, FOLDER)
        return PLAN if request.role == "compile" else "ANSWER: 42 is stored"

    settings = Settings(
        home=FOLDER / "home", workspace=FOLDER, approve=("store",), memory=False, tools=(TOOLS,),
        executor=EXECUTOR, workers=2, ray_address=os.environ.get("CRASH_CLUSTER", ""),
    )  # fmt: skip
    agent = Agent(settings=settings, model=ScriptedModel(answer), builtin=False)
    if run:
        result = run_sync(lambda: agent.resume(run, assume=assume))
    else:
        result = agent.run_sync("measure a and b, add them, store the sum")
    values = {id: [item.status, item.value] for id, item in sorted(result.results.items())}
    failure = result.failure.message if result.failure else ""
    code = result.failure.exit_code if result.failure else 0
    print(
        json.dumps(
            {"run": result.run, "status": result.status, "answer": result.answer, "values": values,
             "failure": failure, "exit_code": code}
        )
    )  # fmt: skip


main()
