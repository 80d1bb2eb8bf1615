"""Planning in phases: an outline of what must be known, reads that find it, the rest of the plan with that in view.

After "Human-like reasoning framework for multi-phase planning task with large language models" (outline, collect,
detail), for tasks whose shape depends on what is found; its strategy and knowledge blocks are here the plan of reads
and its results. Nothing but reads runs before the last phase.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import JsonValue, TypeAdapter

from ..messages import Frozen, Message, ModelRequest
from ..moves import Move, Situation
from ..protocols import Model
from ..steps import Effect, Node, Plan, StepResult, ToolSpec
from .compile import LineCompiler
from .kit import Kit
from .lines import OUTSIDE, parse_line
from .planners import LinePlanner
from .prompt import catalogue, linked
from .repair import dressed
from .targets import targets
from .values import cell, ends

PHASES = 3
"""At most so many plans: two that gather, one that does the rest."""
SlotType = Literal["number", "text", "date", "list", "table"]

_MOST = 5
"""Slots, and steps that follow."""
_MAX_TOKENS = 300
_RULES = f"""\
You outline a task before it is planned. Under FIND list what must be known first, one thing a line, with its type in \
brackets: {", ".join(get_args(SlotType))}. Under THEN list what is to be done with it that no reading can do or that \
depends on it; nothing when the answer follows from what was found. When neither TOOLS nor DATA can give what is asked \
for, write only {OUTSIDE}(reason="...")"""
_DATA = (
    "Tables that query can read:\n"
    "- trips (trips.csv, 412 rows): driver text e.g. 'd07', km double, kind text ['city', 'coast']\n"
    "- drivers (drivers.csv, 9 rows): id text e.g. 'd07', name text e.g. 'Eva'\n"
    "- letters (folder letters, one row per text, 9): name text e.g. 'd07.md', text text"
)
_LETTER = (
    "Find out who drove the most to the coast, read the letter of that driver, and write to coast.txt what it asks for."
)
_FOUND = """\
FIND
- (text) the driver with the most km to the coast
- (text) the text of the letter of that driver
THEN
- write what the letter asks for to coast.txt"""
_EXAMPLES = (
    (f"DATA\n{_DATA}\n\nTASK\n{_LETTER}", _FOUND),
    (
        f"DATA\n{_DATA}\n\nTASK\nHow many km were driven to the coast, and how many to the city?",
        "FIND\n- (number) the sum of km to the coast\n- (number) the sum of km to the city\nTHEN",
    ),
    (f"DATA\n{_DATA}\n\nTASK\nBook a ferry for Eva.", f'{OUTSIDE}(reason="no tool can book a ferry")'),
)
_TYPES = " | ".join(f'"{kind}"' for kind in get_args(SlotType))
_GRAMMAR = (
    f'root ::= "FIND\\n" slot{{1,{_MOST}}} "THEN" step{{0,{_MOST}}} | "{OUTSIDE}(reason=\\"" reason "\\")"\n'
    'reason ::= [^"\\\\\\n]{1,120}\n'
    'slot ::= "- (" type ") " said "\\n"\nstep ::= "\\n- " said\n'
    f"type ::= {_TYPES}\n"
    "said ::= [^\\n\\r]{1,160}\n"
)
_SLOT = re.compile(r"^\s*[-*]\s*\((\w+)\)\s*(\S.*)$")
_STEP = re.compile(r"^\s*[-*]\s*(\S.*)$")


class OutlineSlot(Frozen):
    """One thing that must be known."""

    type: SlotType
    about: str


class Outline(Frozen):
    """What must be known first, and what follows."""

    find: tuple[OutlineSlot, ...] = ()
    then: tuple[str, ...] = ()
    phase: int = 1
    """Plans that were made by it."""
    done: bool = False
    """The rest is planned; what comes now is an extension."""


class OutlinePlanner(LinePlanner):
    """A Planner of at most ``PHASES`` plans: reads that fill the outline's slots, then the rest of the task.

    A slot that stayed empty, or whose value is not of its type, is looked for once more. The outline is the
    move's memo. What follows an outline without a step to do is the answer, unless the task wants a file written.
    """

    async def next(self, situation: Situation, *, model: Model, on_node: Callable[[Node], None] | None = None) -> Move:
        """Return the plan of the next phase, or one with a ``refusal``; raises PlanInvalid."""
        if situation.plan is None:
            return await self._first(situation, model, on_node)
        outline = _of(situation.memo)
        if outline is None or outline.done:
            return await super().next(situation, model=model, on_node=on_node)
        missing = unfilled(outline, situation.plan, situation.results)
        if missing and outline.phase < PHASES - 1:
            return await self._gather(situation, outline, missing, model=model, on_node=on_node)
        if not outline.then and not missing and not targets(situation.task, situation.brief):
            return Move(plan=situation.plan, memo=_memo(outline, done=True))
        return await self._rest(situation, outline, missing, model=model, on_node=on_node)

    async def _first(self, situation: Situation, model: Model, on_node: Callable[[Node], None] | None) -> Move:
        request = ModelRequest(
            messages=_asked(situation, self._kit), role="compile", max_tokens=_MAX_TOKENS, grammar=_GRAMMAR
        )
        text = (await model.complete(request)).text
        if (refusal := _refusal(text)) is not None:
            return Move(plan=Plan(task=situation.task, nodes=(), refusal=refusal))
        outline = read_outline(text)
        if not outline.find or not any(spec.effect is Effect.READ for spec in self._kit.specs):
            # Nothing to find out first, or an outline that cannot be read: then the task is planned at once.
            move = await super().next(situation, model=model, on_node=on_node)
            return move.model_copy(update={"memo": _memo(outline, done=True)})
        return await self._gather(situation, outline, outline.find, model=model, on_node=on_node)

    async def _gather(
        self,
        situation: Situation,
        outline: Outline,
        slots: Sequence[OutlineSlot],
        *,
        model: Model,
        on_node: Callable[[Node], None] | None,
    ) -> Move:
        """Plan the reads that fill ``slots``; a gathering that finds no way leaves it to the plan of the rest."""
        kit = self._kit
        reads = [spec for spec in kit.specs if spec.effect is Effect.READ]
        by_name = {spec.name: spec for spec in reads}
        heard = None if on_node is None else _as_of(situation.task, by_name, on_node)
        compiler = LineCompiler(model, reads, check=kit.check, shape=kit.shape, on_repair=kit.on_repair)
        plan = await compiler.compile(
            "Find out: " + "; ".join(slot.about.rstrip(".") for slot in slots) + ".",
            brief=situation.brief,
            links=situation.links,
            on_node=heard,
            finished=None if situation.plan is None else (situation.plan, situation.results),
            reason="not found yet: " + "; ".join(f"({slot.type}) {slot.about}" for slot in slots),
        )
        if plan.refusal and situation.plan is not None:
            return await self._rest(situation, outline, slots, model=model, on_node=on_node)
        nodes = tuple(dressed(node, by_name.get(node.tool), task=situation.task) for node in plan.nodes)
        memo = _memo(outline, phase=outline.phase + (situation.plan is not None))
        return Move(
            plan=plan.model_copy(update={"task": situation.task, "nodes": nodes}), again=not plan.refusal, memo=memo
        )

    async def _rest(
        self,
        situation: Situation,
        outline: Outline,
        missing: Sequence[OutlineSlot],
        *,
        model: Model,
        on_node: Callable[[Node], None] | None,
    ) -> Move:
        """Plan what is left, with all that was gathered in view."""
        assert situation.plan is not None
        told = list(outline.then) or [f"write {name}" for name in targets(situation.task, situation.brief)]
        told += [f"{slot.about} was not found" for slot in missing]
        plan = await self.made(LineCompiler, model).compile(
            situation.task,
            brief=situation.brief,
            links=situation.links,
            on_node=on_node,
            finished=(situation.plan, situation.results),
            reason="still to do: " + "; ".join(told),
        )
        return Move(plan=plan, memo=_memo(outline, done=True))


def read_outline(text: str) -> Outline:
    """Read what a model wrote; lines that are none of an outline are passed over, repeated ones taken once."""
    head, _, rest = text.partition("THEN")
    slots: dict[str, OutlineSlot] = {}
    for line in head.splitlines():
        match = _SLOT.match(line)
        if match is not None and match[1] in get_args(SlotType):
            slots.setdefault(match[2], OutlineSlot.model_validate({"type": match[1], "about": match[2].strip()}))
    steps = dict.fromkeys(match[1].strip() for line in rest.splitlines() if (match := _STEP.match(line)))
    return Outline(find=tuple(slots.values())[:_MOST], then=tuple(steps)[:_MOST])


def unfilled(outline: Outline, plan: Plan, results: Mapping[str, StepResult]) -> list[OutlineSlot]:
    """Return the slots without a value of their type among the results that no other call used, in their order.

    A result fills the first slot that it fits; which result was meant for which slot is not known.
    """
    free = [results[node.id].value for node in ends(plan) if node.id in results and results[node.id].ok]
    missing = []
    for slot in outline.find:
        place = next((at for at, value in enumerate(free) if _fits(value, slot.type)), None)
        if place is None:
            missing.append(slot)
        elif not isinstance(free[place], list) or slot.type in ("list", "table"):
            del free[place]
    return missing


def _fits(value: Any, kind: SlotType) -> bool:
    """Whether a value can be what a slot wants; one row can hold several of them."""
    if value in (None, "", [], {}):
        return False
    if kind in ("list", "table"):
        return isinstance(value, list) or (kind == "table" and isinstance(value, dict))
    value = cell(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    found = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    if kind == "number":
        return any(isinstance(each, int | float) and not isinstance(each, bool) for each in found)
    if kind == "date":
        return any(isinstance(each, str) and re.search(r"\d{4}-\d{2}-\d{2}", each) for each in found)
    return any(isinstance(each, str) or isinstance(each, int | float) for each in found) or bool(found)


def _as_of(task: str, specs: Mapping[str, ToolSpec], on_node: Callable[[Node], None]) -> Callable[[Node], None]:
    """Hand nodes on as they will stand in the plan of ``task``: what of them the task says is told by its own words."""

    def heard(node: Node) -> None:
        on_node(dressed(node, specs.get(node.tool), task=task))

    return heard


def _asked(situation: Situation, kit: Kit) -> tuple[Message, ...]:
    turns = [Message(role="system", content=f"{_RULES}\n\nTOOLS\n{catalogue(kit.specs)}")]
    for told, said in _EXAMPLES:
        turns += [Message(role="user", content=told), Message(role="assistant", content=said)]
    data = linked(situation.brief, situation.links)
    parts = [f"DATA\n{data}"] if data else []
    return (*turns, Message(role="user", content="\n\n".join([*parts, f"TASK\n{situation.task.strip()}"])))


def _refusal(text: str) -> str | None:
    if not text.strip().startswith(f"{OUTSIDE}("):
        return None
    parsed = parse_line(text.strip().splitlines()[0])
    return getattr(parsed, "reason", None)


def _of(memo: Mapping[str, JsonValue]) -> Outline | None:
    return TypeAdapter(Outline).validate_python(dict(memo)) if memo else None


def _memo(outline: Outline, *, phase: int | None = None, done: bool = False) -> dict[str, JsonValue]:
    changed = outline.model_copy(update={"phase": phase or outline.phase, "done": done})
    return TypeAdapter(dict[str, JsonValue]).validate_python(changed.model_dump(mode="json"))
