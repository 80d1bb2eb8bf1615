"""Every error that Shuntyard raises, as one tree.

    ShuntyardError                       code, retryable, exit_code, ids
    ├── UsageError                       2    the caller can mend it: input, settings, names
    │   ├── SettingsInvalid              2    shuntyard.toml, SHUNTYARD_*, a flag
    │   ├── UnknownName                  2    a tool, model, run or benchmark nobody has registered
    │   ├── PlanInvalid                  2    a plan that breaks the rules; lists every problem
    │   ├── EditInvalid                  2    arguments that a person gave for a call and that do not fit it
    │   ├── PathRefused                  2    outside the workspace, unreadable, or not there
    │   ├── RequestRefused               2    a request to the server that cannot be taken; names the field
    │   ├── DataMissing                  2    data of an evaluation that is nowhere to be found
    │   └── DataInvalid                  2    a data file, a log or a row of them that is cut or broken
    ├── TaskFailed                       1    the run ended without what was asked for
    ├── ToolError                        1    a tool could not do its work
    │   ├── ArgumentsInvalid             1    arguments break the tool's schema; says how to mend them
    │   ├── ToolRetry                    1    the tool asks to be called again, and says why
    │   ├── ToolTimeout                  1    the tool ran past its time
    │   └── WorkerDied                   1    the process that ran the tool ended before the tool did
    ├── PolicyDenied                     3    a rule forbids the call
    ├── BudgetSpent                      4    the next call could cross --max-cost or --max-tokens
    │   └── DeadlinePassed               4    --deadline is over
    ├── NeedsPerson                      5    the run waits for a person
    │   ├── ApprovalNeeded               5    a rule says ask
    │   └── InDoubt                      5    an effect may or may not have happened
    ├── ModelError                       6    a model or its backend
    │   ├── ServerBusy                   6    the server has more requests than it takes; come back later
    │   ├── ModelUnavailable             6    not installed, not reachable, or died (a fallback may help)
    │   ├── ModelFileBad                 6    the bytes are not the publisher's
    │   ├── DownloadFailed               6    no source could be reached
    │   ├── StateRefused                 6    a saved prompt state is another model's or engine's, or damaged
    │   ├── ContextTooLong               2    the prompt does not fit the model
    │   └── OutputMalformed              6    the model's answer cannot be read
    └── StoreError                       1    the database
        ├── StoreTooNew                  2    written by a newer version
        ├── StoreUnwritable              1    full disk, read-only folder
        └── BlobDamaged                  1    the file of a big value is missing or broken

A message names the offending value and ends with the mend. ``exit_code`` is the CLI's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

_SHOWN = 24
"""Names that a message lists where none is near the one that is unknown."""


class ShuntyardError(Exception):
    """Base of all errors: ``str(error)`` is one line for a person, the rest is for programs."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, ids: Mapping[str, str] | None = None) -> None:
        """Keep ``message`` (value with ``!r``, then the mend) and the ids it concerns (run, node, model)."""
        super().__init__(message)
        self.message = message
        self.ids: Mapping[str, str] = dict(ids or {})


class UsageError(ShuntyardError):
    """Raised when the caller gave something that cannot work as it stands."""

    code = "usage"
    exit_code = 2


class SettingsInvalid(UsageError):
    """Raised when a setting, an environment variable or the settings file is wrong."""

    code = "settings_invalid"


class UnknownName(UsageError):
    """Raised when a name is not registered; the message lists what is, nearest first."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: Sequence[str] = (), *, mend: str = "", param: str = "") -> None:
        """Name the ``kind`` of thing, the unknown ``name`` and the closest of ``known``.

        ``param`` is the field of a request that holds the name.
        """
        import difflib

        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        offer = f"; did you mean {', '.join(near)}?" if near else _there_are(known)
        super().__init__(f"unknown {kind} {name!r}{offer}{' ' + mend if mend else ''}", ids={kind: name})
        self.param = param


def _there_are(known: Sequence[str]) -> str:
    """Every name where that is a line or two, else the first ones and how many there are besides."""
    if not known:
        return "; there are none."
    first, more = sorted(known)[:_SHOWN], len(known) - _SHOWN
    names = ", ".join(first) + (f" and {more} more" if more > 0 else "")
    return f"; there {'is' if len(known) == 1 else 'are'} {names}."


class PlanInvalid(UsageError):
    """Raised when a plan breaks the rules. ``problems`` holds each, worded so that a model can mend it."""

    code = "plan_invalid"

    def __init__(self, problems: Sequence[str]) -> None:
        """Join the problems into one message."""
        super().__init__("the plan is not valid: " + "; ".join(problems))
        self.problems = tuple(problems)


class EditInvalid(UsageError):
    """Raised when the arguments that a person gave for a call do not fit it; the question stays open."""

    code = "edit_invalid"


class PathRefused(UsageError):
    """Raised when a path leaves the workspace, does not exist or cannot be read."""

    code = "path_refused"


class RequestRefused(UsageError):
    """Raised for a request to the server; ``status`` is HTTP's, ``param`` the field that is wrong."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str = "", status: int = 400) -> None:
        """Keep what a client is told."""
        super().__init__(message)
        self.param = param
        self.status = status


class DataMissing(UsageError):
    """Raised when the data of an evaluation is nowhere; says what to set or install."""

    code = "data_missing"


class DataInvalid(UsageError):
    """Raised when a data file is cut or broken; names the file and the place in it."""

    code = "data_invalid"


class TaskFailed(ShuntyardError):
    """Raised when a run ends without what was asked for."""

    code = "task_failed"


class ToolError(ShuntyardError):
    """Raised by tools for a failure that a person or a model should read."""

    code = "tool_error"


class ArgumentsInvalid(ToolError):
    """Raised when arguments break a tool's schema, before the tool runs."""

    code = "arguments_invalid"


class ToolRetry(ToolError):
    """Raised by a tool that wants to be called again; for a final failure raise ToolError instead."""

    code = "tool_retry"
    retryable = True


class ToolTimeout(ToolError):
    """Raised when a tool runs past its time."""

    code = "tool_timeout"
    retryable = True


class WorkerDied(ToolError):
    """Raised when the process that runs a tool ends before the call does; an effect may have happened."""

    code = "worker_died"
    retryable = True


class PolicyDenied(ShuntyardError):
    """Raised when a rule forbids a call."""

    code = "policy_denied"
    exit_code = 3


class BudgetSpent(ShuntyardError):
    """Raised before a call whose worst case could cross a limit; the call is not made."""

    code = "budget_spent"
    exit_code = 4


class DeadlinePassed(BudgetSpent):
    """Raised when a run's time is over; finished nodes are kept."""

    code = "deadline_passed"


class NeedsPerson(ShuntyardError):
    """Raised when a run stops until a person decides."""

    code = "needs_person"
    exit_code = 5


class ApprovalNeeded(NeedsPerson):
    """Raised when a rule says ask and nobody could be asked."""

    code = "approval_needed"


class InDoubt(NeedsPerson):
    """Raised when an effect began and its outcome was never recorded."""

    code = "in_doubt"


class ModelError(ShuntyardError):
    """Raised for a model or its backend."""

    code = "model_error"
    exit_code = 6


class ServerBusy(ModelError):
    """Raised when a server takes no more requests now; ``after`` is when to come back, in seconds."""

    code = "server_busy"
    retryable = True

    def __init__(self, message: str, *, after: float) -> None:
        """Keep what a client is told."""
        super().__init__(message)
        self.after = after


class ModelUnavailable(ModelError):
    """Raised when a model cannot answer now; the router may try another."""

    code = "model_unavailable"
    retryable = True


class ModelFileBad(ModelError):
    """Raised when a model file's bytes are not the publisher's."""

    code = "model_file_bad"


class DownloadFailed(ModelError):
    """Raised when no source of a file could be reached."""

    code = "download_failed"
    retryable = True


class StateRefused(ModelError):
    """Raised for a saved prompt state that was computed by something else, or is damaged; the prompt is computed."""

    code = "state_refused"


class ContextTooLong(ModelError):
    """Raised when a prompt does not fit the model's context; nothing was sent."""

    code = "context_too_long"
    exit_code = 2


class OutputMalformed(ModelError):
    """Raised when a model's answer cannot be read."""

    code = "output_malformed"
    retryable = True


class StoreError(ShuntyardError):
    """Raised for the database."""

    code = "store_error"


class StoreTooNew(StoreError):
    """Raised when the database was written by a newer version."""

    code = "store_too_new"
    exit_code = 2


class StoreUnwritable(StoreError):
    """Raised when the database's folder is read-only or its disk is full."""

    code = "store_unwritable"


class BlobDamaged(StoreError):
    """Raised when the file of a big value is missing, cannot be read, or holds something else."""

    code = "blob_damaged"
