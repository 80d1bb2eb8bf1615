"""A run that is killed at its last model call, once: ``planning_crash.py PLANNER FOLDER``; again it resumes."""

import json
import os
import signal
import sys
from pathlib import Path

from planning_parts import MODEL_CALLS, SAYS, TASK, TOOLS

from shuntyard import Agent
from shuntyard.agents.portal import run_sync
from shuntyard.messages import ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings


def main() -> None:
    planner, folder = sys.argv[1], Path(sys.argv[2])
    again = (folder / "home").exists()

    def says(request: ModelRequest) -> str:
        if not again and len(model.requests) == MODEL_CALLS[planner]:
            os.kill(os.getpid(), signal.SIGKILL)
        return SAYS[planner](request)

    model = ScriptedModel(says)
    today = "dag" if again else planner
    settings = Settings.model_validate(
        {"home": folder / "home", "workspace": folder, "approve": ("*",), "memory": False, "planner": today}
    )
    agent = Agent(tools=TOOLS, settings=settings, model=model, builtin=False)
    result = run_sync(lambda: agent.resume("last") if again else agent.run(TASK))
    print(json.dumps({"status": result.status, "requests": len(model.requests)}))


main()
