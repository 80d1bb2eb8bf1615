"""The plan of a similar task that went well, with the values of this one; only where that fails is one written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from ..messages import Message, ModelRequest
from ..moves import Move, Situation
from ..protocols import Model
from ..steps import Hint, Node, Plan
from .compile import LineCompiler
from .lines import write
from .planners import LinePlanner
from .prompt import linked
from .template import Template, abstract, bound, filled, reworded, said

ALIKE = 0.75
"""Similarity from which a model is asked for the values where the same words stand in another order."""
_MAX_TOKENS = 120
_RULES = """\
A plan was made for a TASK BEFORE. Give its values for a NEW TASK of the same kind: copy each from the NEW TASK, as it \
is written there. When the NEW TASK asks for something else, write only: different"""
_PLAN = (
    "TASK BEFORE\nHow many trips did Eva make to the coast?\n\n"
    "PLAN\n1. query(sql=\"SELECT count(*) FROM trips WHERE driver = 'Eva' AND kind = 'coast'\")\n\n"
    'VALUES\nv1 = "Eva"\nv2 = "coast"'
)
_EXAMPLES = (
    (f"{_PLAN}\n\nNEW TASK\nOf the trips to the city, how many were made by Olaf?", 'v1 = "Olaf"\nv2 = "city"'),
    (f"{_PLAN}\n\nNEW TASK\nWhich trip of Olaf to the city was the longest?", "different"),
)
_SHARED = """\
text ::= "\\"" [^"\\\\\\x00-\\x1f\\x7f]{1,80} "\\""
number ::= "-"? [0-9]{1,15} ( "." [0-9]{1,10} )?
"""


class ReusePlanner(LinePlanner):
    """A Planner that remembers: values are taken over by aligning the words of both tasks, else by one short call.

    What comes of that is checked like any plan; where it does not pass, the plan is written as by ``dag``.
    """

    async def next(self, situation: Situation, *, model: Model, on_node: Callable[[Node], None] | None = None) -> Move:
        """Return a remembered plan with this task's values, or what the model planned; raises PlanInvalid."""
        if situation.plan is None and (plan := await self._reused(situation, model, on_node)) is not None:
            return Move(plan=plan)
        return await super().next(situation, model=model, on_node=on_node)

    async def _reused(self, situation: Situation, model: Model, on_node: Callable[[Node], None] | None) -> Plan | None:
        hints = [hint for hint in situation.hints if hint.plan.nodes and not hint.plan.refusal]
        compiler = self.made(LineCompiler, model)
        brief = linked(situation.brief, situation.links)

        async def adopted(hint: Hint, plan: Plan) -> Plan | None:
            as_here = hint.model_copy(update={"plan": plan})
            return await compiler.adopt(as_here, situation.task, brief=brief, on_node=on_node)

        for hint in hints:
            plan = hint.plan if hint.exact else bound(hint, situation.task)
            if plan is not None and (taken := await adopted(hint, plan)):
                return taken
        for hint in hints:
            if hint.similarity >= ALIKE and reworded(template := abstract(hint), situation.task):
                plan = await self._asked(template, situation.task, model)
                return plan and await adopted(hint, plan)
        return None

    async def _asked(self, template: Template, task: str, model: Model) -> Plan | None:
        """The plan with the values that the model read from ``task``; None for another task and for made-up values."""
        request = ModelRequest(
            messages=_messages(template, task), role="compile", max_tokens=_MAX_TOKENS, grammar=_grammar(template)
        )
        values = _read((await model.complete(request)).text, template)
        if values is None or not all(said(value, task) for value in values.values()):
            return None
        return filled(template.plan, values, task=task)


def _messages(template: Template, task: str) -> tuple[Message, ...]:
    lines = "\n".join(write(node) for node in template.plan.nodes)
    values = "\n".join(f"{slot.name} = {_shown(slot.kind, slot.text)}" for slot in template.slots)
    asked = f"TASK BEFORE\n{template.task.strip()}\n\nPLAN\n{lines}\n\nVALUES\n{values}\n\nNEW TASK\n{task.strip()}"
    turns = [Message(role="system", content=_RULES)]
    for told, answer in _EXAMPLES:
        turns += [Message(role="user", content=told), Message(role="assistant", content=answer)]
    return (*turns, Message(role="user", content=asked))


def _grammar(template: Template) -> str:
    """GBNF of a value for every slot, or the way out."""
    lines = [f'"{slot.name} = " {"number" if slot.kind == "number" else "text"}' for slot in template.slots]
    values = ' "\\n" '.join(lines)
    return f'root ::= "different" | {values} "\\n"?\n{_SHARED}'


def _shown(kind: str, text: str) -> str:
    return text.replace(",", "") if kind == "number" else json.dumps(text, ensure_ascii=False)


def _read(text: str, template: Template) -> Mapping[str, str] | None:
    """The new text by the old one; None when it is another task, or a value is missing."""
    found = dict(re.findall(r"^\s*(v\d+) = (.+?)\s*$", text, re.MULTILINE))
    values = {}
    for slot in template.slots:
        value = found.get(slot.name, "").strip('"')
        if not value or (slot.kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", value)):
            return None
        values[slot.text] = value
    return values
