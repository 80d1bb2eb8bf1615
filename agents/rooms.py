"""The rooms of the house, opened together for one or several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import PathRefused, UsageError
from ..guard.gate import PolicyGate
from ..guard.redact import Redactor
from ..guard.rules import rules_from
from ..memory.approvals import SqlApprovals
from ..memory.journal import SqlJournal
from ..memory.ledger import SqlLedger
from ..memory.recall import TrajectoryMemory
from ..memory.runs import Runs
from ..memory.store import Store
from ..messages import ModelInfo, Role
from ..planner.outcomes import summary
from ..plugins import load
from ..protocols import Embedder, Emit, Executor, Model, ModelSource, Pacing, Tool
from ..router.catalogue import Catalogue
from ..router.choose import answering_of, choose
from ..router.source import RemoteSource
from ..serving.predict.local import LocalPacing
from ..serving.source import LocalSource
from ..settings import Settings, home
from ..steps import Decision, Limits, ToolSpec
from ..tools.builtin import builtin_tools
from ..tools.load import load_tools
from ..tools.registry import Registry
from .executors.choose import executor_for

USUAL: dict[Role, tuple[int, int]] = {
    "compile": (2300, 60),
    "repair": (2600, 60),
    "replan": (4000, 200),
    "join": (400, 60),
    "answer": (400, 60),
    "agent": (400, 60),
}
"""Tokens of a role's prompt and answer, as they usually are."""


class GivenSource:
    """Models that the caller built: a scripted one, or any object that keeps the Model protocol."""

    def __init__(self, models: Sequence[Model]) -> None:
        """Offer ``models`` under their own names."""
        self._models = {model.info.name: model for model in models}

    def infos(self) -> Sequence[ModelInfo]:
        """What was given."""
        return [model.info for model in self._models.values()]

    def installed(self, name: str) -> bool:
        """Given models are there."""
        return name in self._models

    async def open(self, name: str) -> Model:
        """Return the given object itself."""
        return self._models[name]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything that a run is joined from."""

    settings: Settings
    workspace: Path
    tools: Registry
    specs: Mapping[str, ToolSpec]
    executor: Executor
    catalogue: Catalogue
    gate: PolicyGate
    redactor: Redactor
    store: Store
    journal: SqlJournal
    ledger: SqlLedger
    approvals: SqlApprovals
    runs: Runs
    memory: TrajectoryMemory | None
    pacing: Pacing

    def route(self, role: Role, limits: Limits) -> tuple[Decision, ModelInfo]:
        """Choose the model of a role within ``limits``; raises what ``choose`` does."""
        infos = self.catalogue.infos()
        prompt, completion = USUAL[role]

        def late(name: str) -> bool:
            seconds = self.pacing.seconds(name, prompt=prompt, completion=completion)
            return seconds is not None and limits.deadline is not None and seconds > limits.deadline

        decision = choose(
            role,
            infos,
            model=self.settings.model,
            fallback=self.settings.fallback,
            max_cost=limits.max_cost,
            installed=self.catalogue.installed,
            late=None if limits.deadline is None else late,
        )
        return decision, next(info for info in infos if info.name == decision.model)

    def check_models(self) -> None:
        """Raise UnknownName where the settings name a model that nobody offers, before a run is on record."""
        answering_of(self.catalogue.infos(), (self.settings.model, *self.settings.fallback))

    def close(self) -> None:
        """End the executor's workers and close the database; running engines go on, they are nobody's children."""
        self.executor.close()
        if self.memory is not None:
            self.memory.close()
        self.store.close()


def open_rooms(
    settings: Settings, *, tools: Sequence[Tool] = (), models: Sequence[Model] = (), emit: Emit | None = None
) -> Rooms:
    """Open the database and join the rooms; the caller closes them.

    Raises StoreError for the database and UsageError for tools, an executor or a workspace that cannot be used.
    """
    workspace = settings.workspace.expanduser()
    if not workspace.is_dir():
        raise PathRefused(f"workspace {str(workspace)!r} is not a folder; create it or give another with --workspace.")
    registry = Registry(tools)
    specs = {spec.name: spec for spec in registry.specs()}
    sources: list[ModelSource] = [LocalSource(settings, emit), RemoteSource(settings)]
    sources.extend(point for _, point in load("models"))
    if models:
        sources.insert(0, GivenSource(models))
    redactor = Redactor()
    executor = executor_for(settings, registry)
    store = Store.open(home(settings), flush=settings.flush)
    workspace = workspace.resolve()
    return Rooms(
        settings=settings,
        workspace=workspace,
        tools=registry,
        specs=specs,
        executor=executor,
        catalogue=Catalogue(sources),
        gate=PolicyGate(rules_from(settings), workspace=workspace),
        redactor=redactor,
        store=store,
        journal=SqlJournal(store, redact=redactor.value, suspects=redactor.suspects, head=summary),
        ledger=SqlLedger(store),
        approvals=SqlApprovals(store),
        runs=Runs(store, head=summary),
        memory=TrajectoryMemory(store, _embedder(settings)) if settings.memory else None,
        pacing=LocalPacing(settings),
    )


def gather_tools(settings: Settings, own: Sequence[Tool], *, builtin: bool) -> list[Tool]:
    """Return built-in tools, plugins, those that the settings name, and the caller's own; later ones win."""
    tools: dict[str, Tool] = {}
    found: list[Tool] = list(builtin_tools(settings)) if builtin else []
    for _, point in load("tools"):
        found.extend(point() if callable(point) else point)
    for name in settings.tools:
        found.extend(load_tools(name))
    seen_own: set[str] = set()
    for tool in own:
        if tool.spec.name in seen_own:
            raise UsageError(f"two tools are called {tool.spec.name!r}; rename one with @tool(name=...).")
        seen_own.add(tool.spec.name)
    for tool in [*found, *own]:
        tools[tool.spec.name] = tool
    return list(tools.values())


def _embedder(settings: Settings) -> Embedder | None:
    from ..serving.embed import MiniLmEmbedder

    return MiniLmEmbedder(settings) if MiniLmEmbedder.available(settings) else None
