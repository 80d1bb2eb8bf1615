"""``shuntyard eval``."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UnknownName, UsageError
from . import out
from .options import Options, takes
from .root import group

if TYPE_CHECKING:
    from ..evals.harness import Result, Setup
    from ..evals.log import RunLog, Selection
    from ..evals.suite import Suite
    from ..settings import Settings
    from .eval_watch import Display

app = group("Run evaluations, compare them, and make a report of them.")

REMOTE_AT_ONCE = 8
RunName = Annotated[str, typer.Argument(help="Id of a run or the beginning of it; a suite's name takes its newest.")]
RunNames = Annotated[list[str] | None, typer.Argument(metavar="RUN", help="None takes the newest of each kind.")]


@dataclass(frozen=True, slots=True)
class EvalOptions(Options):
    """Options of ``eval run``."""

    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Model under test.")] = None
    solver: Annotated[str, typer.Option("--solver", metavar="NAME", help="How cases are solved; list shows them.")] = ""
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Of the solver's model calls.")] = 0.0
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, metavar="N", help="Cases in all, evenly from the categories; 0: all."),
    ] = None
    per_category: Annotated[
        int, typer.Option("--per-category", min=0, metavar="N", help="Cases of each category; 0: all.")
    ] = 0
    categories: Annotated[
        str, typer.Option("--categories", metavar="A,B*", help="Only these categories, as globs.")
    ] = ""
    split: Annotated[
        Literal["dev", "test", "all"], typer.Option("--split", help="dev is a fixed fifth of the cases, test the rest.")
    ] = "all"
    seed: Annotated[int, typer.Option("--seed", help="Of the solver, and of which cases a sample takes.")] = 0
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Solve each case so often, with seeds of its own.")] = 1
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-j", min=1, metavar="N", help="Cases at once; a local model: 1.")
    ] = None
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer", metavar="FILE.py[:function]", help="For own cases; or exact, number, contains, regex."
        ),
    ] = None
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of keeping what was run before.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False

    def overrides(self) -> dict[str, Any]:
        """As the base, with the model."""
        return {**Options.overrides(self), "model": self.model}

    def selection(self, sample: int) -> Selection:
        """What the flags select; ``sample`` cases when they say no number."""
        from ..evals.log import Selection

        given = self.limit if self.limit is not None else 0 if self.per_category else sample
        return Selection(
            limit=given,
            per_category=self.per_category,
            categories=tuple(name.strip() for name in self.categories.split(",") if name.strip()),
            split=self.split,
            seed=self.seed,
            epochs=self.epochs,
        )


@app.command("list")
@takes(Options)
def list_(options: Options) -> int:
    """List the suites with their solvers, and the runs that are kept."""
    from ..evals.log import folder, headers
    from ..evals.registry import find, names
    from . import eval_text

    suites = [find(name) for name in names()]
    runs = headers(folder(options.settings()))
    if options.json:
        out.result_json({"suites": [eval_text.suite_json(suite) for suite in suites], "runs": runs_json(runs)})
    else:
        out.result(eval_text.suites(suites))
        if runs:
            out.result("\n" + eval_text.runs(runs))
    return 0


def runs_json(runs: Any) -> list[Any]:
    """Headers as plain JSON."""
    return [header.model_dump(mode="json") for header in runs]


@app.command()
@takes(EvalOptions)
def run(
    options: EvalOptions,
    suite: Annotated[str, typer.Argument(metavar="SUITE|CASES.jsonl", help="Name of a suite, or a file of own cases.")],
) -> int:
    """Run a suite and print its figures. What was run before under the same conditions is kept, not run again."""
    import anyio

    from ..evals.harness import run as run_suite
    from . import eval_text
    from .eval_watch import display

    settings = options.settings()
    found = _suite(options, suite)
    with display(quiet=options.quiet) as shown:
        setup = _setup(options, found, settings, shown)
        try:
            with redirect_stdout(sys.stderr):
                result: Result = anyio.run(partial(run_suite, found, setup, watch=shown.progress))
        except KeyboardInterrupt:
            out.note("interrupted; what has ended is kept, go on with the same command")
            return 130
    if options.json:
        out.result_json(eval_text.result_json(result))
    else:
        out.result(eval_text.figures(result.figures))
    for line in eval_text.last_lines(result):
        out.note(line)
    return 0


def _suite(options: EvalOptions, name: str) -> Suite:
    from ..evals.registry import TABLE, find

    path = Path(name).expanduser()
    if name not in TABLE and (path.suffix in (".jsonl", ".json") or path.is_file()):
        from ..evals.own import own_suite

        return own_suite(path, scorer=options.scorer or "exact", workspace=options.workspace)
    if options.scorer is not None:
        raise UsageError(f"--scorer {options.scorer!r} is for own cases; suite {name!r} has its own scorer: drop it.")
    return find(name)


def _setup(options: EvalOptions, suite: Suite, settings: Settings, shown: Display) -> Setup:
    """What the suite runs under; the model is named here and opened only when there is something to solve."""
    from importlib.metadata import version

    from ..evals.harness import Setup, solver_of
    from ..evals.log import Configuration
    from ..evals.models import candidate

    name = options.solver or suite.solver
    made = Configuration(
        solver=name, temperature=options.temperature, seed=options.seed, shuntyard=version("shuntyard")
    )
    if not solver_of(suite, name).needs_model:
        if options.model is not None:
            raise UsageError(f"solver {name!r} of {suite.name!r} uses no model; drop --model {options.model}.")
        at_once = options.concurrency or os.cpu_count() or 1
        return Setup(
            settings=settings,
            configuration=made,
            selection=options.selection(0),
            concurrency=at_once,
            fresh=options.fresh,
        )
    chosen = candidate(settings, emit=shown.event)
    local = chosen.info.kind == "local"
    if options.model is None:
        out.note(f"model {chosen.info.name}: {chosen.why}")
    if suite.sample and local and options.limit is None and not options.per_category:
        out.note(f"a sample of {suite.sample} cases, because a local model takes its time; --limit 0 runs all")
    return Setup(
        settings=settings.model_copy(update={"model": chosen.info.name}),
        configuration=made.model_copy(
            update={"model": chosen.info.name, "model_sha256": chosen.sha256, "engine": chosen.engine}
        ),
        open_model=chosen.open,
        selection=options.selection(suite.sample if local else 0),
        concurrency=options.concurrency or (1 if local else REMOTE_AT_ONCE),
        fresh=options.fresh,
    )


@app.command()
@takes(Options)
def report(
    options: Options,
    runs: RunNames = None,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the two files go.")] = Path("eval-report"),
) -> int:
    """Write a report of runs with tables and plots: one HTML and one Markdown file."""
    from ..evals.report import write
    from . import eval_text

    logs = _logs(options.settings(), runs or [])
    page, text = write(logs, folder)
    if options.json:
        out.result_json({"html": str(page), "markdown": str(text), "runs": [eval_text.log_json(log) for log in logs]})
    else:
        out.result(f"{page}\n{text}")
    return 0


@app.command()
@takes(Options)
def export(
    options: Options,
    runs: RunNames = None,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the logs go.")] = Path("logs"),
) -> int:
    """Write runs as logs of inspect_ai, for its viewer (`inspect view --log-dir DIR`)."""
    if find_spec("inspect_ai") is None:
        raise UsageError("logs of inspect_ai need inspect_ai; run `pip install 'shuntyard[inspect]'`.")
    from ..evals.inspect_log import export as write

    written = [str(write(log, folder)) for log in _logs(options.settings(), runs or [])]
    if options.json:
        out.result_json({"logs": written})
    else:
        out.result("\n".join(written))
    return 0


def _logs(settings: Settings, names: list[str]) -> list[RunLog]:
    """The named runs; without names the newest of each suite, solver and model."""
    from ..evals.log import find, folder, headers, read

    place = folder(settings)
    if names:
        return [find(name, place) for name in names]
    newest = {(h.suite, h.configuration.solver, h.configuration.model): h for h in reversed(headers(place))}
    if not newest:
        raise UsageError(f"there is no run in {str(place)!r} yet; `shuntyard eval run SUITE` makes one.")
    return [read(place / f"{header.run}.jsonl") for _, header in sorted(newest.items())]


@app.command()
@takes(Options)
def compare(
    options: Options,
    first: RunName,
    second: RunName,
    cases: Annotated[int, typer.Option("--cases", min=0, help="How many changed cases to print.")] = 20,
) -> int:
    """Compare two runs on the cases that both have: differences with intervals, and the cases they come from."""
    from ..evals.compare import compare as compare_runs
    from ..evals.log import find, folder
    from . import eval_text

    place = folder(options.settings())
    found = compare_runs(find(first, place), find(second, place))
    if options.json:
        out.result_json(found.model_dump(mode="json"))
    else:
        out.result(eval_text.comparison(found, cases))
    return 0


@app.command()
@takes(Options)
def gate(
    options: Options,
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The recorded figures.")],
    record: Annotated[bool, typer.Option("--record", help="Write the figures of the newest runs into it.")] = False,
) -> int:
    """Fail when the newest runs fall below recorded figures; for CI."""
    from ..evals.gate import check, read_gates
    from ..evals.gate import record as record_gates
    from ..evals.log import folder
    from . import eval_text

    place = folder(options.settings())
    if record:
        record_gates(file, place)
    passed = check(read_gates(file), place)
    failed = [each for each in passed if not each.ok]
    if options.json:
        out.result_json({"ok": not failed, "gates": [each.model_dump(mode="json") for each in passed]})
    else:
        out.result(eval_text.gates(passed))
    if failed:
        out.note(f"{len(failed)} of {len(passed)} figures fell below what is recorded in {file}")
    return 1 if failed else 0


@app.command()
@takes(Options)
def show(
    options: Options,
    run: RunName,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Id of a case: shows what was said and done.")] = "",
    wrong: Annotated[bool, typer.Option("--wrong", help="Only cases that are not right.")] = False,
) -> int:
    """Show the cases of a run, or the transcript of one."""
    from ..evals.log import find, folder
    from . import eval_text

    log = find(run, folder(options.settings()))
    rows = [row for row in log.rows if not wrong or row.score.value < 1]
    if case:
        known = dict.fromkeys(row.id for row in log.rows)
        rows = [row for row in log.rows if row.id == case]
        if not rows:
            raise UnknownName("case", case, list(known))
    if options.json:
        out.result_json({**eval_text.log_json(log), "rows": [row.model_dump(mode="json") for row in rows]})
    elif case:
        out.result("\n\n".join(eval_text.transcript(row) for row in rows))
    else:
        out.result(eval_text.rows(log, rows))
    return 0
