"""A person's yes to a call with other arguments: checked like the call itself before it is kept."""

from __future__ import annotations

import json

from ..errors import EditInvalid, UnknownName
from ..guard.edits import edited, kept
from ..memory.approvals import Question
from ..protocols import Ctx, Edited
from ..steps import Step, StepKey
from .rooms import Rooms


async def approve(rooms: Rooms, id: str, answer: Edited) -> Question:
    """Answer question ``id`` with yes to the arguments of ``answer``; the question stays open when this raises.

    What stands for the question's other arguments is checked with it, as far as it is kept. The run checks
    and judges the edited call once more when it makes it.

    Raises EditInvalid for arguments that do not fit the tool, PolicyDenied for a call that a rule forbids,
    UnknownName for a question or tool that is not known here, UsageError when the answer comes too late.
    """
    question = rooms.approvals.get(id)
    spec = rooms.specs.get(question.tool)
    if spec is None:
        raise UnknownName("tool", question.tool, list(rooms.specs), mend="Name the file that has it: --tools FILE.py.")
    text = json.dumps(dict(answer.args), ensure_ascii=False)
    if rooms.redactor.text(text) != text:
        raise EditInvalid(
            f"the arguments {', '.join(answer.args)} hold a secret, which would be kept in the database; "
            "let the tool read it from the environment."
        )
    step = Step(
        key=StepKey(question.run, question.revision, question.path),
        kind="tool",
        name=question.tool,
        args=kept(question.args),
        effect=spec.effect,
    )
    ctx = Ctx(run=question.run, workspace=rooms.workspace, emit=lambda event: None)
    await edited(step, answer, spec, ctx, gate=rooms.gate, check=rooms.tools.check)
    return rooms.approvals.decide(id, True, by=answer.by, edited=answer)
