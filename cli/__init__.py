"""The command line: one file per command group, one table that names them, one door for every error.

stdout carries the result and nothing else, stderr the progress; the exit code says what came of it.
No command is imported before it is asked for, so that ``--help`` costs as good as nothing.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .door import main

__all__ = ["main"]

__getattr__ = lazy(__name__, {"main": ".door"})
