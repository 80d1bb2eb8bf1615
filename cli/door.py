"""The entry point and the one error door: every way out of the program ends here as an exit code."""

from __future__ import annotations

import errno
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from ..errors import ShuntyardError
from ..wording import wrong
from . import out
from .root import root

# typer 0.20 brings click along, later versions vendor it; both export BadParameter.
_UsageError: Any = typer.BadParameter.__base__
_ClickError: Any = _UsageError.__base__

_DISK = {
    errno.ENOSPC: "free some space, or name another place with SHUNTYARD_HOME and SHUNTYARD_CACHE.",
    errno.EROFS: "name a writable place with SHUNTYARD_HOME and SHUNTYARD_CACHE.",
    errno.EACCES: "allow access, or name another place with SHUNTYARD_HOME, SHUNTYARD_CACHE or --workspace.",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing is raised."""
    words = list(sys.argv[1:] if args is None else args)
    try:
        code = _enter(words)
        sys.stdout.flush()
    except BrokenPipeError:
        out.abandon_stdout()
        return 1
    return code


def _enter(words: list[str]) -> int:
    try:
        code = root().main(args=words, prog_name="shuntyard", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except (KeyboardInterrupt, typer.Abort):
        out.note("interrupted")
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        return _report(_leaf(error), words, error)


def _leaf(error: BaseException) -> BaseException:
    """The one error that a task group wrapped; of several, the first of ours."""
    while isinstance(error, BaseExceptionGroup):
        ours = [item for item in error.exceptions if isinstance(item, ShuntyardError | BaseExceptionGroup)]
        error = (ours or list(error.exceptions))[0]
    return error


def _report(error: BaseException, words: list[str], whole: BaseException) -> int:
    flags = words[: words.index("--")] if "--" in words else words
    if isinstance(error, _ClickError):
        return _usage(error, flags)
    if isinstance(error, ShuntyardError):
        cause: Any = getattr(error, "failure", None) or error  # a stopped step speaks for its failure
        body = {"code": cause.code, "message": error.message, "retryable": cause.retryable, "ids": dict(error.ids)}
        return _say(body, cause.exit_code, whole, flags)
    if isinstance(error, OSError) and error.errno in _DISK:
        message = f"{error.strerror}: {error.filename or 'while writing'}; {_DISK[error.errno]}"
        return _say({"code": "disk", "message": message, "retryable": False, "ids": {}}, 1, whole, flags)
    body = {"code": "unexpected", "message": _unexpected(error), "retryable": False, "ids": {}}
    return _say(body, 1, whole, flags)


def _say(body: dict[str, Any], code: int, error: BaseException, flags: list[str]) -> int:
    _tell({**body, "exit_code": code}, flags)
    if "--debug" in flags:
        out.note("".join(traceback.format_exception(error)).rstrip())
    out.note(f"error: {body['message']}")
    return code


def _tell(body: dict[str, Any], flags: list[str]) -> None:
    """Give programs the error in the form that they asked for."""
    if "--json" in flags:
        out.result_json({"error": body})
    elif "--events" in flags:
        out.result(json.dumps({"error": body}, ensure_ascii=False))


def _unexpected(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    text = " ".join(str(error).split())[:300]
    return f"unexpected {type(error).__name__}{': ' + text if text else ''}{where}; add --debug for the traceback."


def _usage(error: Any, flags: list[str]) -> int:
    message = " ".join(_usage_text(error).split())
    ctx: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        out.note(ctx.get_help())
        return 2
    message = message if message.endswith((".", "?")) else f"{message}."
    _tell({"code": "usage", "message": message, "retryable": False, "ids": {}, "exit_code": 2}, flags)
    hint = f" See: {ctx.command_path} --help" if ctx is not None else ""
    out.note(f"error: {message}{hint}")
    return int(error.exit_code)


def _usage_text(error: Any) -> str:
    """Return what is wrong; where pydantic judged a value, with the value, and in our words."""
    problems = getattr(error.__cause__, "errors", None)
    param = getattr(error, "param", None)
    if not callable(problems) or param is None:
        return str(error.format_message())
    name = max(param.opts, key=len) if param.param_type_name == "option" else param.name
    return wrong(f"{name} ", problems()[0])
