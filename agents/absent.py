"""Files that a task names and that are not there: said to the models, because small ones look past it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from ..edits import Edit

_NAME = re.compile(
    r"(?<![\w/.:@-])((?:[\w-]+/)*[\w-]+\.(?:csv|tsv|jsonl?|parquet|txt|md|log|py|toml|ya?ml|html?|xml|ini|cfg))\b"
)


def absent(task: str, workspace: Path) -> tuple[str, ...]:
    """Return the file names in ``task`` that no file of ``workspace`` has, at the path given or anywhere below."""
    names = dict.fromkeys(_NAME.findall(task))
    return tuple(
        name
        for name in names
        if not (workspace / name).exists() and next(workspace.rglob(name.rpartition("/")[2]), None) is None
    )


def unreplaced(names: tuple[str, ...], edits: Collection[Edit]) -> tuple[str, ...]:
    """Return those of ``names`` that no person put another file in the place of; where one did, the other is meant."""
    return tuple(name for name in names if not any(edit.replaced(name) for edit in edits))
