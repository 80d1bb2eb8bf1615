"""The suite: cases, scorer, solvers, baselines."""

from __future__ import annotations

from ...suite import SolverInfo, Suite
from .cases import SOURCE, cases
from .gold import always, never, oracle
from .plan import open_planner
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
    },
    solver="planner",
    sample=40,
    baselines={"random call": always, "no call": never, "oracle": oracle},
    notes=(
        "Calls are compared, never run. The published 'simple' is simple_python, simple_java and simple_javascript. "
        "Four answers cannot be met by the published rules (live_simple_106-63-0, live_simple_112-68-0, "
        "live_multiple_862-181-3, live_multiple_964-207-0): they count as wrong for everyone. Unlike the published "
        "scorer, parallel calls are paired best instead of first come, and quoted texts in Java arrays are read. A "
        "plan that cannot be mended counts as no call, as unreadable output does. The leaderboard's raw scores are "
        "of other prompts and larger models."
    ),
)
