"""Runs inside the sandboxed child, never in this process: closes every door, then runs the snippet.

It is started as ``python -I -S sandbox.py`` and imports the standard library only. It reads one JSON
object from stdin and writes one to stdout. A door that the system does not let it close is reported.
"""

from __future__ import annotations

import ast
import ctypes
import io
import json
import os
import resource
import sys
import traceback
from typing import Any

CPU_SECONDS = 20
MEMORY = 1 << 30
FILE_BYTES = 16 << 20
OUTPUT = 200_000

_NEW_USER, _NEW_NET, _NEW_IPC, _NEW_PID = 0x10000000, 0x40000000, 0x08000000, 0x20000000
_DIE_WITH_PARENT = 1
_NO_NEW_PRIVILEGES = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ALL_ACCESS = 0x1FFF
_READ_ACCESS = 0x1 | 0x4 | 0x8


class _Ruleset(ctypes.Structure):
    _fields_ = [("handled", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _Output(io.StringIO):
    """Text that stops growing at a limit."""

    def write(self, text: str) -> int:
        room = OUTPUT - self.tell()
        super().write(text[: max(room, 0)])
        return len(text)


def main() -> None:
    """Read the job, close the doors, run, report."""
    job = json.loads(sys.stdin.read())
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    doors = {"network": _no_network(), "files": _only_own_files(os.getcwd())}
    if doors["network"]:
        _become_first_process()
    _limit()
    result = _run(job["code"], job["inputs"])
    answer.write(json.dumps(result | {"closed": doors}))
    answer.flush()
    os._exit(0)


def _no_network() -> bool:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.unshare(_NEW_USER | _NEW_NET | _NEW_IPC) == 0)
    except (OSError, AttributeError):
        return False


def _become_first_process() -> None:
    """Go on as process 1 of a process space of its own: whatever the snippet starts dies with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_PID) != 0:
        return
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    libc.prctl(_DIE_WITH_PARENT, 9, 0, 0, 0)


def _only_own_files(folder: str) -> bool:
    """Landlock: the interpreter's files can be read, the own folder can be used, nothing else exists."""
    readable = [sys.base_prefix, sys.prefix, os.path.dirname(os.__file__), "/lib", "/lib64", "/usr/lib"]
    readable += ["/usr/share/zoneinfo", "/etc/localtime", "/dev/null", "/dev/urandom"]
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        rules = _Ruleset(_ALL_ACCESS)
        ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0)
        if ruleset < 0:
            return False
        for path, access in [(folder, _ALL_ACCESS), *((path, _READ_ACCESS) for path in dict.fromkeys(readable))]:
            if os.path.exists(path) and os.path.realpath(path) != "/":
                allowed = access if os.path.isdir(path) else access & 0x7
                descriptor = os.open(path, os.O_RDONLY)
                beneath = _Beneath(allowed, descriptor)
                libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(beneath), 0)
                os.close(descriptor)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        closed = bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
        os.close(ruleset)
        return closed
    except (OSError, AttributeError):
        return False


def _limit() -> None:
    limits = {"RLIMIT_CPU": CPU_SECONDS, "RLIMIT_AS": MEMORY, "RLIMIT_FSIZE": FILE_BYTES, "RLIMIT_NOFILE": 64}
    for name, value in {**limits, "RLIMIT_CORE": 0, "RLIMIT_NPROC": 0}.items():
        number = getattr(resource, name, None)
        if number is not None:
            try:
                resource.setrlimit(number, (value, value))
            except (ValueError, OSError):
                continue


def _run(code: str, inputs: Any) -> dict[str, Any]:
    sys.stdout = sys.stderr = output = _Output()
    names: dict[str, Any] = {"__name__": "__main__", "inputs": inputs}
    value: Any = None
    error = ""
    try:
        tree = ast.parse(code, "snippet")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "snippet", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "snippet", "eval"), names)
        value = json.loads(json.dumps(value, default=_plain))
    except BaseException as problem:  # the snippet may raise anything, SystemExit included
        lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == "snippet"]
        line = getattr(problem, "lineno", None) or (lines[-1] if lines else 0)
        error = f"line {line}: {type(problem).__name__}: {problem}"[:2000]
    return {"value": value, "output": output.getvalue(), "error": error}


def _plain(value: Any) -> Any:
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else str(value)


if __name__ == "__main__":
    main()
