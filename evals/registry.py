"""The suites by name: a literal table of ours, then those of plugins (entry points ``shuntyard.suites``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import UnknownName, UsageError
from ..plugins import load

if TYPE_CHECKING:
    from .suite import Suite

TABLE = {
    "bfcl": ".suites.bfcl:SUITE",
    "parallelqa": ".suites.parallelqa:SUITE",
    "examples": ".suites.examples:SUITE",
    "gsm8k": ".suites.gsm8k:SUITE",
    "humaneval": ".suites.humaneval:SUITE",
}
"""Name to ``module:attribute``, below this package; imported when asked for."""


def names() -> list[str]:
    """Every suite's name, ours first. Imports the plugins."""
    return list(dict.fromkeys([*TABLE, *(name for name, _ in load("suites"))]))


def find(name: str) -> Suite:
    """Return the suite called ``name``. Raises UnknownName, and UsageError for a plugin that is no suite."""
    from .suite import Suite

    if name in TABLE:
        module, _, attribute = TABLE[name].partition(":")
        suite: Suite = getattr(import_module(module, __package__), attribute)
        return suite
    found = next((item for plugin, item in load("suites") if plugin == name), None)
    if found is None:
        mend = "A file of your own runs by its path (cases.jsonl)."
        raise UnknownName("suite", name, names(), mend=mend)
    if not isinstance(found, Suite):
        raise UsageError(f"plugin {name!r} of shuntyard.suites is {found!r}; it must be a shuntyard.evals.suite.Suite.")
    return found
