"""One call at a time, each decided after the results of all before it: the baseline that plans are measured against.

After "ReAct: Synergizing Reasoning and Acting in Language Models": a thought, an action, its observation, until the
model answers. Nothing runs at once, and every call costs a model call whose prompt holds all that came before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import PlanInvalid
from ..messages import Message, ModelRequest
from ..moves import Move, Situation
from ..protocols import MAYBE, Model
from ..steps import Node, Plan
from .foreign import explained
from .grammar import grammar
from .kit import Kit
from .lines import OUTSIDE, write
from .mend import mended
from .prompt import catalogue, linked
from .reader import LineReader
from .repair import dressed, for_model, planned
from .shots import choose_shots
from .shown import shown
from .stepwise import EXAMPLES, OWN_EXAMPLES, Turn
from .validate import problems

_RULES = f"""\
You do a task with tools, one call at a time. After each call you are told its RESULT.
Each time write a line "Thought: ..." and then one of these:
- the next call as a numbered line like 2. tool(name=value), with text in double quotes; $1 is the result of line 1;
- ANSWER: and the answer, when the results say it. Copy numbers and names from the results;
- {OUTSIDE}(reason="...") when no tool can do what is asked or the data does not hold it."""
_MAX_TOKENS = 400
_MAX_STEPS = 12
"""Calls that may be made."""
_ROOM = 1200
"""Characters of each result that a model is shown."""


class ReactPlanner:
    """A Planner of single steps: every turn adds one call, until the answer, which may also be a refusal."""

    def __init__(self, kit: Kit, *, max_repairs: int = 2) -> None:
        """Step over the tools of ``kit``."""
        self._specs = {spec.name: spec for spec in kit.specs}
        self._check = kit.check
        self._max_repairs = max_repairs

    async def next(self, situation: Situation, *, model: Model, on_node: Callable[[Node], None] | None = None) -> Move:
        """Return the plan with the next call, one with a ``refusal``, or the answer; after a dozen calls nothing more.

        Raises PlanInvalid when the repair rounds gave no valid call.
        """
        plan = situation.plan or Plan(task=situation.task, nodes=())
        if len(plan.nodes) >= _MAX_STEPS:
            return Move(plan=plan)
        thoughts = dict(situation.memo)
        asked = self._messages(situation, plan)
        rules = self._grammar(plan)
        found: list[str] = []
        for turn in range(self._max_repairs + 1):
            told = Message(role="user", content=_again(found)) if found else None
            request = ModelRequest(
                messages=(*asked, told) if told else asked,
                role="repair" if turn else "compile",
                max_tokens=_MAX_TOKENS,
                grammar=rules,
                temperature=0.4 * turn,
            )
            thought, said = _split((await model.complete(request)).text)
            if said.startswith("ANSWER:"):
                return Move(plan=plan, answer=said.removeprefix("ANSWER:").strip())
            reader = LineReader(task=plan.task, max_lines=1)
            nodes = [*reader.feed(said), *reader.close()]
            if reader.refusal is not None and not nodes:
                return Move(plan=plan.model_copy(update={"refusal": reader.refusal}))
            found = list(reader.problems) or ([] if nodes else ["there is no line; write one call, or ANSWER: ..."])
            if not found:
                grown, found = await self._judged(plan, nodes[0])
                if not found:
                    if on_node is not None:
                        on_node(grown.nodes[-1])
                    return Move(plan=grown, again=True, memo={**thoughts, grown.nodes[-1].id: thought})
        raise PlanInvalid(found)

    async def _judged(self, plan: Plan, raw: Node) -> tuple[Plan, list[str]]:
        """The plan with one call more, put right where its tool says how, and what is still wrong with it."""
        node = dressed(raw, self._specs.get(raw.tool), task=plan.task)
        grown = plan.model_copy(update={"nodes": (*plan.nodes, node)})
        found = problems(grown, self._specs)
        if found or self._check is None:
            return grown, found
        spec = self._specs[node.tool]
        told = await self._check(node.tool, planned(node, spec, {}))
        better = mended(node, spec, told)
        if better != node:
            grown = plan.model_copy(update={"nodes": (*plan.nodes, better)})
            told = await self._check(node.tool, planned(better, spec, {}))
        return grown, [f"{node.id}: {problem}" for problem in told if MAYBE not in problem]

    def _messages(self, situation: Situation, plan: Plan) -> tuple[Message, ...]:
        data, results = linked(situation.brief, situation.links), situation.results
        specs = list(self._specs.values())
        known = bool(choose_shots(specs))
        system = f"{_RULES}\n\nTOOLS\n{catalogue(specs)}" if known else _RULES
        turns = [Message(role="system", content=system)]
        for example in EXAMPLES if known else OWN_EXAMPLES:
            turns += _spoken(example)
        parts = [] if known else [f"TOOLS\n{explained(specs)}"]
        parts += [f"DATA\n{data.strip()}"] if data.strip() else []
        asked = "\n\n".join([*parts, f"TASK\n{plan.task.strip()}"])
        for node in plan.nodes:
            thought = situation.memo.get(node.id, "The next call.")
            turns += _spoken([Turn(asked, f"Thought: {thought}\n{write(node)}")])
            asked = f"RESULT\n{shown(results.get(node.id), limit=_ROOM)}"
        return (*turns, Message(role="user", content=asked))

    def _grammar(self, plan: Plan) -> str:
        """GBNF of a thought and the next call, the answer or the way out."""
        first = max((int(node.id[1:]) for node in plan.nodes), default=0) + 1
        earlier = [int(node.id[1:]) for node in plan.nodes]
        calls = grammar(list(self._specs.values()), first=first, earlier=earlier, max_lines=1, closed=False)
        ways = "( step | answer )" if plan.nodes else "step"
        head, rest = calls.split("\n", 1)
        return (
            f'root ::= "Thought: " thought "\\n" {ways}\n'
            "thought ::= [^\\n\\r]{1,200}\n"
            'answer ::= "ANSWER: " [^\\n\\r]+ ( "\\n" [^\\n\\r]+ ){0,20}\n'
            f"step ::= {head.removeprefix('root ::= ')}\n{rest}"
        )


def _spoken(turns: Sequence[Turn]) -> list[Message]:
    return [
        message
        for turn in turns
        for message in (Message(role="user", content=turn.told), Message(role="assistant", content=turn.said))
    ]


def _split(text: str) -> tuple[str, str]:
    """The thought, and what was said after it."""
    head, _, rest = text.strip().partition("\n")
    if head.startswith("Thought:"):
        return head.removeprefix("Thought:").strip(), rest.strip()
    return "", text.strip()


def _again(problems: Sequence[str]) -> str:
    lines = "\n".join(f"- {for_model(problem)}" for problem in dict.fromkeys(problems[:6]))
    return f"THIS CALL WAS WRONG, it was not run\n{lines}\nWrite another."
