"""The options that commands share: written once here, read from one object there.

``takes(RunOptions)`` gives a command all options of the class and hands it the filled object first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer

from ..errors import PathRefused, UsageError

if TYPE_CHECKING:
    from ..settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of every command."""

    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", metavar="DIR", help="Folder that tools may read and write.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False

    def overrides(self) -> dict[str, Any]:
        """What the flags set, by the names of the settings."""
        return {"workspace": self.workspace}

    def settings(self) -> Settings:
        """Return the settings in force, flags over environment over file.

        Raises SettingsInvalid, and PathRefused when the workspace is not a folder.
        """
        from ..settings import load

        settings = load(self.overrides())
        workspace = settings.workspace.expanduser().absolute()
        if not workspace.is_dir():
            what = "is not a folder" if workspace.exists() else "does not exist"
            raise PathRefused(f"the workspace {str(settings.workspace)!r} {what}; name a folder with --workspace DIR.")
        return settings.model_copy(update={"workspace": workspace.resolve()})


@dataclass(frozen=True, slots=True)
class ToolOptions(Options):
    """Options of commands that know tools."""

    tools: Annotated[
        list[str] | None,
        typer.Option("--tools", metavar="FILE.py|MODULE", help="Add the @tool functions of a file or module."),
    ] = None
    executor: Annotated[
        str | None,
        typer.Option("--executor", metavar="inprocess|processes|ray", help="Where tools run."),
    ] = None

    def overrides(self) -> dict[str, Any]:
        """As the base; ``--tools`` adds to the tools of the settings file."""
        return {**Options.overrides(self), "tools": _added("tools", self.tools), "executor": self.executor}


@dataclass(frozen=True, slots=True)
class RunOptions(ToolOptions):
    """Options of commands that plan and run."""

    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Model for every role; else the router chooses.")
    ] = None
    planner: Annotated[
        str | None,
        typer.Option(
            "--planner",
            metavar="NAME",
            help="How to plan: dag, react, fill, program, outline, reuse, or auto, which chooses for the task.",
        ),
    ] = None
    approve: Annotated[
        list[str] | None, typer.Option("--approve", metavar="TOOL", help="Answer yes when this tool asks; repeatable.")
    ] = None
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Answer yes whenever a tool asks.")] = False
    max_cost: Annotated[str | None, typer.Option("--max-cost", metavar="USD", help="Never spend more.")] = None
    max_tokens: Annotated[str | None, typer.Option("--max-tokens", metavar="N", help="Never use more tokens.")] = None
    deadline: Annotated[str | None, typer.Option("--deadline", metavar="SECONDS", help="Stop after this time.")] = None
    concurrency: Annotated[
        str | None, typer.Option("--concurrency", "-j", metavar="N", help="Nodes running at once.")
    ] = None
    max_nodes: Annotated[
        str | None, typer.Option("--max-nodes", metavar="N", help="Calls of maps and loops that a plan may come to.")
    ] = None
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="NAME=N", help="Calls at once of a tool or resource; repeatable."),
    ] = None
    no_memory: Annotated[
        bool, typer.Option("--no-memory", help="Neither recall earlier tasks nor learn from this one.")
    ] = False
    events: Annotated[bool, typer.Option("--events", help="Stream JSONL events on stdout; the result is last.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False

    def overrides(self) -> dict[str, Any]:
        """As the base, with models, limits and approvals."""
        return {
            **ToolOptions.overrides(self),
            "model": self.model,
            "planner": self.planner,
            "approve": ("*",) if self.yes else _added("approve", self.approve),
            "max_cost": self.max_cost,
            "max_tokens": self.max_tokens,
            "deadline": self.deadline,
            "concurrency": self.concurrency,
            "max_nodes": self.max_nodes,
            "limit": _limits(self.limit),
            "memory": False if self.no_memory else None,
        }


def _added(key: str, given: list[str] | None) -> tuple[str, ...] | None:
    """The values of the file and the environment with those of the flags, or None without flags."""
    if not given:
        return None
    from ..settings import load

    return (*getattr(load(), key), *given)


def _limits(given: list[str] | None) -> dict[str, str] | None:
    """The limits of the file and the environment with those of the flags, or None without flags."""
    if not given:
        return None
    from ..settings import load

    named = {name: text for name, equals, text in (item.partition("=") for item in given) if name and equals}
    if len(named) < len(given):
        raise UsageError(f"--limit {', '.join(given)!r} is not NAME=N, each name once; write --limit http_get=4.")
    return {**{name: str(limit) for name, limit in load().limit.items()}, **named}


O_ = TypeVar("O_", bound=Options)


def takes(kind: type[O_]) -> Callable[[Callable[Concatenate[O_, P], R]], Callable[..., R]]:
    """Give a command the options of ``kind``; it receives them as one object, before its own parameters."""

    def decorate(function: Callable[Concatenate[O_, P], R]) -> Callable[..., R]:
        hints = get_type_hints(kind, include_extras=True)
        names = [field.name for field in fields(kind)]
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
            for f in fields(kind)
        ]

        @wraps(function)
        def command(*args: P.args, **values: P.kwargs) -> R:
            given: dict[str, Any] = {name: values.pop(name) for name in names}
            return function(kind(**given), *args, **values)

        parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *shared]
        setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate
