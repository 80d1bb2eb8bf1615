"""The suite: cases, scorer, solvers, baselines."""

from __future__ import annotations

from ...suite import SolverInfo, Suite
from .cases import SOURCE, cases
from .gold import always, never, oracle
from .plan import open_fill, open_planner
from .raw import open_raw
from .score import scorer

SUITE = Suite(
    name="bfcl",
    about="function calls against the published answers of BFCL v4, single turn (3,641 cases, 13 categories)",
    sources=(SOURCE,),
    cases=cases,
    scorer=scorer,
    solvers={
        "raw": SolverInfo(open_raw, "the model's own function calling, in Qwen2.5's format"),
        "planner": SolverInfo(open_planner, "the calls of our planner's plan; nothing is run"),
        "fill": SolverInfo(open_fill, "the same, written in two stages: tools first, then each call's arguments"),
    },
    solver="planner",
    sample=40,
    baselines={"random call": always, "no call": never, "oracle": oracle},
    notes=(
        "Calls are compared, never run. Published 'simple' is simple_python; globs choose groups (simple_*, live_*). "
        "Four answers cannot be met by the published rules and count as wrong for everyone: live_simple_106-63-0, "
        "live_simple_112-68-0, live_multiple_862-181-3, live_multiple_964-207-0. Unlike there, parallel calls are "
        "paired best, not first come, and texts in Java arrays can be right. A plan that cannot be mended counts as "
        "no call, as unreadable output does."
    ),
)
