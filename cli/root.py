"""The root command: a literal table, so that help and completion import no command."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Row(NamedTuple):
    """One command: where its ``typer.Typer`` lives, and its line in the help."""

    place: str
    help: str


TABLE = {
    "run": Row("run:app", "Run a task: plan it, run the plan, print the answer."),
    "plan": Row("plan:app", "Plan a task without running it: DAG, models, cost and time."),
    "resume": Row("resume:app", "Go on with a run that was stopped or waits for a person."),
    "replay": Row("replay:app", "Run a recorded run again, from its record or from a node on, and show what differs."),
    "approve": Row("approve:app", "Answer questions that a run has put to a person."),
    "runs": Row("runs:app", "List earlier runs; prune or compact them."),
    "show": Row("show:app", "Show one run: plan, steps, attempts, costs, decisions."),
    "models": Row("models:app", "List, fetch, show, predict, remove and stop models."),
    "serve": Row("serve:app", "Serve local models with OpenAI's interface."),
    "tools": Row("tools:app", "List the tools that plans can use, or show one."),
    "eval": Row("eval:app", "Run evaluations, compare them, and make a report of them."),
    "bench": Row("bench:app", "Run a benchmark of Shuntyard itself."),
    "doctor": Row("doctor:app", "Check this installation and say how to mend it."),
    "completion": Row("completion:app", "Print the completion script of a shell."),
}


class LazyGroup(TyperGroup):
    """Lists commands from the table; a command's module is imported when the command is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(TABLE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a light stand-in that knows its help line; ``resolve_command`` brings the real one."""
        row = TABLE.get(cmd_name)
        return TyperCommand(cmd_name, help=row.help, rich_markup_mode=None) if row else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that ``args`` call; an unknown name is looked for among the plugins."""
        name = args[0]
        app = _app(name)
        if app is None:
            self.commands = {known: self.get_command(ctx, known) for known in TABLE}
            return super().resolve_command(ctx, args)
        command = typer.main.get_command(app)
        command.name = name
        return name, command, args[1:]


def _app(name: str) -> typer.Typer | None:
    if name in TABLE:
        module, _, attribute = TABLE[name].place.partition(":")
        found: typer.Typer = getattr(import_module(f".{module}", __package__), attribute)
        return found
    if name.startswith("-"):
        return None
    from ..plugins import load

    return next((app for plugin, app in load("commands") if plugin == name), None)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("shuntyard"))
        raise typer.Exit


def root() -> Any:
    """Build the root command."""
    completing = "_SHUNTYARD_COMPLETE" in os.environ
    app = typer.Typer(cls=LazyGroup, add_completion=completing, rich_markup_mode=None, no_args_is_help=True)

    @app.callback(epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 denied, 4 budget spent, 5 waits, 6 no model.")
    def shuntyard(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Run agent tasks fast, cheaply and safely: words become a DAG of typed tool calls."""

    return typer.main.get_command(app)


def group(help: str) -> typer.Typer:
    """Return an empty command group in the house's settings."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help=help)


def single() -> typer.Typer:
    """Return a holder for one command in the house's settings."""
    return typer.Typer(add_completion=False, rich_markup_mode=None)
