"""``run_python``: a snippet in a child process with no network, no environment and hard limits."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process

from ..errors import ToolError, ToolTimeout
from . import sandbox
from .spec import tool

TIMEOUT = 30.0
MAX_ANSWER = 4_000_000


@tool(effect="external", resource="cpu", seconds=0.3, timeout=TIMEOUT)
async def run_python(code: str, inputs: Any = None) -> Any:
    """Run Python code and return the value of its last expression, or what it printed.

    Args:
        code: Python with the standard library only; it cannot reach files of the workspace or the network.
        inputs: An earlier result; the code sees it as the variable inputs.
    """
    answer = await run_snippet(code, inputs)
    output = str(answer["output"]).rstrip("\n")
    if answer["error"]:
        raise ToolError(f"the code failed in {answer['error']}" + (f"; it printed {output[-300:]!r}" if output else ""))
    open_doors = [name for name, closed in answer["closed"].items() if not closed]
    value = answer["value"]
    if not open_doors and not (output and value is not None):
        return output if value is None and output else value
    whole: dict[str, Any] = {"value": value, "output": output}
    return whole | ({"warning": f"this system could not shut off {', '.join(open_doors)}"} if open_doors else {})


async def isolation() -> dict[str, bool]:
    """Which doors this system can close for a snippet: ``network`` and ``files``."""
    closed: dict[str, bool] = (await run_snippet("None", None))["closed"]
    return closed


async def run_snippet(code: str, inputs: Any) -> dict[str, Any]:
    """Run ``code`` in a fresh child; its process group is killed when the call ends for any reason."""
    job = json.dumps({"code": code, "inputs": inputs}).encode()
    with tempfile.TemporaryDirectory(prefix="shuntyard-", ignore_cleanup_errors=True) as folder:
        process = await anyio.open_process(
            [sys.executable, "-I", "-S", str(Path(sandbox.__file__))], cwd=folder, env={}, start_new_session=True
        )
        try:
            with anyio.fail_after(TIMEOUT):
                data = await _exchange(process, job)
                status = await process.wait()
        except TimeoutError:
            raise ToolTimeout(f"the code ran longer than {TIMEOUT:.0f} s; make it shorter.") from None
        finally:
            await _end(process)
    try:
        answer: dict[str, Any] = json.loads(data)
    except ValueError:
        killed = {-signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGXCPU, 128 + signal.SIGKILL}
        why = "ran out of its CPU time" if status in killed else f"ended with status {status}"
        raise ToolError(f"the code {why} and returned nothing; make it smaller.") from None
    return answer


async def _exchange(process: Process, job: bytes) -> bytes:
    parts: list[bytes] = []
    size = 0

    async def send() -> None:
        if process.stdin is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await process.stdin.send(job)
                await process.stdin.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        if process.stderr is not None:
            group.start_soon(_drain, process)
        if process.stdout is not None:
            async for part in process.stdout:
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER:
                    raise ToolError(f"the code returns more than {MAX_ANSWER} bytes; return less.")
    return b"".join(parts)


async def _drain(process: Process) -> None:
    if process.stderr is not None:
        async for _ in process.stderr:
            pass


async def _end(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await process.aclose()
