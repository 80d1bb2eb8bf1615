"""Words to a plan, written line by line by a model under a grammar, checked, and sent back when it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import anyio

from ..errors import PlanInvalid
from ..messages import Message, ModelRequest, Role
from ..protocols import MAYBE, Model
from ..steps import Effect, Hint, Node, Plan, ToolSpec
from .coverage import unfinished, untaken
from .forms import LINES, Asked, Bounds, Finished, Form
from .kit import Check, Columns
from .lines import write
from .lint import absent, expected, lint
from .mend import elsewhere, mended, whole_months, with_named, without_echoes, without_measures, without_misses
from .narrow import narrowed
from .needed import needed
from .prompt import linked
from .ratio import turned
from .repair import Shape, dressed, planned
from .shapes import bare, selecting, unmet
from .shots import choose_shots
from .superfluous import denied, spoken_of, without_repeats, without_superfluous
from .targets import targets
from .validate import problems
from .whose import with_whose
from .writes import completed_write, merged_writes, wanted_write, without_unasked

_MAX_TOKENS = 500


@dataclass(slots=True)
class _Task:
    """One task on its way to a plan."""

    text: str
    brief: str
    memory: str
    on_node: Callable[[Node], None] | None
    kept: tuple[Node, ...] = ()
    """Nodes of the finished plan that have a result."""
    first: int = 1
    revision: int = 0
    known: str = ""
    """All that the model was told, for telling invented numbers from given ones."""


@dataclass(slots=True)
class _Draft:
    """What a model wrote."""

    text: str
    plan: Plan
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    untaken: list[str] = field(default_factory=list)
    """What of the task no call takes up."""

    @property
    def rank(self) -> int:
        """0 is best: sound, then doubtful, then broken."""
        return 2 if self.problems else 1 if self.doubts or self.untaken else 0

    def replaces(self, best: _Draft) -> bool:
        """Whether it is taken instead of the ``best`` so far: a later one, if it is no worse."""
        if best.rank == 1 and self.plan.refusal:
            return False
        if self.rank == best.rank == 1 and best.untaken:
            return len(self.untaken) < len(best.untaken)
        return self.rank <= best.rank


class LineCompiler:
    """A Planner that has a model write numbered lines (see ``lines.py``) under a grammar of the catalogue.

    Whatever the model writes, only calls that pass validation leave here: malformed, truncated or endless
    output costs repair rounds and then raises PlanInvalid. A model without grammar support gets the same
    prompt and the same checks. Doubts (a number out of nowhere, a result that nobody uses) are sent back
    as well, but a plan that is merely doubtful is taken in the end.
    """

    form: ClassVar[Form] = LINES
    """How the model writes."""

    def __init__(
        self,
        model: Model,
        specs: Sequence[ToolSpec],
        *,
        check: Check | None = None,
        shape: Columns | None = None,
        max_repairs: int = 2,
        max_lines: int = 10,
        on_repair: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        """Plan with ``model`` over ``specs``; ``on_repair`` hears the problems of every plan that goes back."""
        self._model = model
        self._list = tuple(specs)
        self._specs = {spec.name: spec for spec in specs}
        self._check = check
        self._shape = shape
        self._max_repairs = max_repairs
        self._max_lines = max_lines
        self._on_repair = on_repair
        self._foreign = not choose_shots(self._list)

    async def compile(
        self,
        task: str,
        *,
        hints: Sequence[Hint] = (),
        brief: str = "",
        links: str = "",
        on_node: Callable[[Node], None] | None = None,
        finished: Finished | None = None,
        reason: str = "",
    ) -> Plan:
        """Return a valid plan, or one with a ``refusal``. ``on_node`` receives each line as it is complete.

        An exact hint whose plan still passes every check is returned without asking the model. With
        ``finished`` the plan is extended: its nodes that have a result stay, new lines continue the
        numbering, and ``reason`` says what was missing. A node that ``on_node`` received may be missing
        from, or different in, the plan when that was sent back: start only what merely reads.
        Raises PlanInvalid when the repair rounds did not mend it.
        """
        job = _job(task, hints=hints, brief=linked(brief, links), on_node=on_node, finished=finished)
        if finished is None and (plan := await self._remembered(job, hints)) is not None:
            return plan
        wanted = "\n".join(f"- {name} is to be written" for name in targets(task, job.brief))
        brief = linked(brief, f"{links}\n{wanted}")
        wish = Asked(task, self._list, brief=brief, hints=hints, finished=finished, reason=reason)
        asked = self.form.messages(wish, "")
        role: Role = "compile" if finished is None else "replan"
        draft = best = await self._draft(job, asked, self._rules(job, needed(task, self._list, known=job.brief)), role)
        if draft.plan.refusal and len(needed(task, self._list, known=job.brief)) < len(self._list):
            draft = best = await self._draft(job, asked, self._rules(job, self._list), role)
        if fit := self._fitting(draft.plan, task):
            draft = best = await self._draft(job, asked, self._rules(job, fit, refuse=False), role)
        # Without some chance a small model writes the rejected plan again, word for word.
        for turn in range(1, self._max_repairs + 1):
            if draft.rank == 0:
                break
            found, lines = [*draft.problems, *draft.doubts], draft.plan.nodes[len(job.kept) :]
            if self._on_repair is not None:
                self._on_repair(found or draft.untaken)
            feedback = self.form.worded(found, lines) if found else unfinished(draft.untaken)
            again = self.form.messages(wish, feedback)
            job.on_node = None
            rules = self._rules(job, needed(task, self._list, known=job.brief))
            draft = await self._draft(job, again, rules, "repair", temperature=0.4 * turn if found else 0.0)
            if draft.replaces(best):
                best = draft
            if best.rank == 1:
                break
        if best.problems and (why := absent(best.problems, task, brief)):
            return Plan(task=task, nodes=(), refusal=why, revision=job.revision)
        if best.problems:
            raise PlanInvalid(best.problems)
        return best.plan

    def _fitting(self, plan: Plan, task: str) -> list[ToolSpec]:
        """The tools that speak against a refusal: the task calls them by name, or the reason denies what they are.

        Only tools that read: no model is made to plan an effect that it refused.
        """
        if not plan.refusal or not self._foreign:
            return []
        reads = [spec for spec in self._list if spec.effect is Effect.READ]
        names = spoken_of(task, reads) or denied(plan.refusal, reads)
        return [spec for spec in reads if spec.name in names]

    def _rules(self, job: _Task, specs: Sequence[ToolSpec], *, refuse: bool = True) -> str:
        earlier = tuple(int(node.id[1:]) for node in job.kept)
        return self.form.grammar(specs, Bounds(job.first, earlier, self._max_lines, refuse))

    async def adopt(
        self, hint: Hint, task: str, *, brief: str = "", on_node: Callable[[Node], None] | None = None
    ) -> Plan | None:
        """Return the plan of ``hint`` as one for ``task`` if no check has even a doubt, without asking the model."""
        job = _job(task, hints=(hint,), brief=brief, on_node=on_node, finished=None)
        return await self._remembered(job, (hint.model_copy(update={"exact": True}),), doubtful=hint.exact)

    async def _remembered(self, job: _Task, hints: Sequence[Hint], *, doubtful: bool = True) -> Plan | None:
        for hint in hints:
            if not hint.exact or hint.plan.refusal:
                continue
            memory = "\n".join(write(node) for node in hint.plan.nodes)
            nodes = tuple(
                dressed(node, self._specs.get(node.tool), task=job.text, memory=memory) for node in hint.plan.nodes
            )
            plan = Plan(task=job.text, nodes=nodes, origin="memory", answers=hint.plan.answers)
            if [told for told in await self._problems(plan, job) if not doubtful or MAYBE not in told]:
                continue
            if job.on_node is not None:
                for node in nodes:
                    job.on_node(node)
            return plan
        return None

    async def _draft(
        self, job: _Task, asked: tuple[Message, ...], rules: str, role: Role, *, temperature: float = 0.0
    ) -> _Draft:
        """Have one plan written and judge it."""
        reader = self.form.reader(job.text, max(self._max_lines, 64))
        nodes: list[Node] = []
        heard: list[str] = []

        def read(found: Sequence[Node]) -> None:
            for raw in found:
                node = dressed(raw, self._specs.get(raw.tool), task=job.text, memory=job.memory)
                nodes.append(node)
                if job.on_node is not None and not self._wrong(node, nodes, job):
                    job.on_node(node)

        request = ModelRequest(
            messages=asked, role=role, max_tokens=_MAX_TOKENS, grammar=rules, temperature=temperature
        )
        with anyio.CancelScope() as scope:

            def on_text(text: str) -> None:
                heard.append(text)
                read(reader.feed(text))
                if reader.stopped and reader.refusal is None:
                    scope.cancel()

            completion = await self._model.complete(request, on_text=on_text)
            if not heard:
                heard.append(completion.text)
                read(reader.feed(completion.text))
        read(reader.close())
        plan = Plan(task=job.text, nodes=(*job.kept, *nodes), revision=job.revision)
        draft = _Draft("".join(heard), plan, list(reader.problems))
        if reader.refusal is not None and not nodes:
            draft.plan = Plan(task=job.text, nodes=(), refusal=reader.refusal, revision=job.revision)
            draft.problems = []
            return draft
        if not nodes and not draft.problems:
            draft.problems = ['there are no lines; write at least 1. tool(name=value), or outside(reason="...").']
        if not draft.problems:
            draft.plan = plan = await self._mended(plan, job)
            draft.problems = await self._problems(plan, job)
        draft.doubts = [told.replace(MAYBE, "") for told in draft.problems if MAYBE in told]
        draft.problems = [told for told in draft.problems if MAYBE not in told]
        if not draft.problems:
            draft.doubts += lint(plan, self._specs, job.known)
            draft.untaken = untaken(plan, self._specs) if self._foreign and not job.kept else []
        return draft

    def _wrong(self, node: Node, nodes: Sequence[Node], job: _Task) -> bool:
        """Return whether a line breaks a rule by itself or by referring to one that does not exist."""
        plan = Plan(task=job.text, nodes=(*job.kept, *nodes))
        return any(problem.startswith(f"{node.id}: ") for problem in problems(plan, self._specs))

    async def _problems(self, plan: Plan, job: _Task) -> list[str]:
        found = problems(plan, self._specs)
        shapes: dict[str, Shape] = {}
        for node in plan.nodes if not found else ():
            if node not in job.kept:
                found += [f"{node.id}: {problem}" for problem in await self._told(node, plan, job, shapes)]
            shapes[node.id] = await self._shape_of(node, shapes)
        return found

    async def _told(self, node: Node, plan: Plan, job: _Task, shapes: Mapping[str, Shape]) -> list[str]:
        """Return what the tool itself has to say of a planned call, and which columns it misses."""
        if self._check is None or node.tool not in self._specs:
            return []
        told = await self._check(node.tool, planned(node, self._specs[node.tool], shapes))
        found = [problem + elsewhere(problem, node, plan) for problem in told if not expected(problem, job.brief)]
        return found + list(unmet(node, shapes))

    async def _shape_of(self, node: Node, shapes: Mapping[str, Shape]) -> Shape:
        if self._shape is None or node.tool not in self._specs or node.over is not None:
            return None
        return await self._shape(node.tool, planned(node, self._specs[node.tool], shapes))

    async def _mended(self, plan: Plan, job: _Task) -> Plan:
        """Return ``plan`` with what the checks spell out put right and calls that change nothing left out."""
        if problems(plan, self._specs):
            return plan
        if not job.kept:
            plan = with_whose(with_named(plan, job.brief), self._specs, job.brief)
        shapes: dict[str, Shape] = {}
        for id in [node.id for node in plan.nodes]:
            if plan.node(id) not in job.kept and plan.node(id).body is None:
                plan = await self._mended_node(plan, plan.node(id), job, shapes)
            shapes[id] = await self._shape_of(plan.node(id), shapes)
        plan = without_echoes(plan, self._specs)
        if self._foreign and not job.kept:
            plan = without_superfluous(without_repeats(plan), self._specs)
        told = {node.id: await self._told(node, plan, job, shapes) for node in plan.nodes if node not in job.kept}
        plan = without_misses(plan, told)
        plan = without_unasked(merged_writes(plan, self._specs), self._specs, job.brief)
        plan = wanted_write(plan, self._specs, job.brief)
        return completed_write(plan, self._specs, job.brief)

    async def _mended_node(self, plan: Plan, node: Node, job: _Task, shapes: dict[str, Shape]) -> Plan:
        """Return ``plan`` with ``node`` put right; ``shapes`` of earlier nodes that change with it are kept current."""
        told = await self._told(node, plan, job, shapes)
        other = selecting(plan, node, told, kept={kept.id for kept in job.kept}) if told else plan
        changed = [each.id for each in plan.nodes if each != other.node(each.id)]
        if changed and changed[0] == node.id:
            plan = other
        elif changed and (shape := await self._shape_of(other.node(changed[0]), shapes)) is not None:
            plan, shapes[changed[0]] = other, shape
        spec = self._specs[node.tool]
        plan = narrowed(plan, plan.node(node.id), spec, shapes=shapes, known=job.known)
        better = without_measures(bare(plan.node(node.id), shapes), spec, job.known)
        better = turned(mended(whole_months(better, spec, job.text), spec, told), shapes, job.text)
        if better is plan.node(node.id):
            return plan
        return plan.model_copy(update={"nodes": tuple(better if each.id == node.id else each for each in plan.nodes)})


def _job(
    task: str,
    *,
    hints: Sequence[Hint],
    brief: str,
    on_node: Callable[[Node], None] | None,
    finished: Finished | None,
) -> _Task:
    memory = "\n".join(write(node) for hint in hints for node in hint.plan.nodes)
    job = _Task(task, brief, memory, on_node, known=f"{task}\n{brief}\n{memory}")
    if finished is not None:
        plan, results = finished
        done = {id for id, result in results.items() if result.ok}
        job.kept = _closed(plan, done)
        numbers = [int(id[1:]) for id in (*results, *(node.id for node in plan.nodes)) if id[1:].isdigit()]
        job.first = max(numbers, default=0) + 1
        job.revision = plan.revision + 1
        job.known += "\n" + "\n".join(str(results[id].value) for id in done)
    return job


def _closed(plan: Plan, done: set[str]) -> tuple[Node, ...]:
    """Nodes with a result; all that they refer to has one as well."""
    return tuple(node for node in plan.nodes if node.id in done)
