import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from shuntyard.errors import ToolError, ToolTimeout
from shuntyard.tools import python
from shuntyard.tools.python import isolation

Call = Callable[..., Awaitable[Any]]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="limits and namespaces are Linux's"),
]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", 2),
        ("x = inputs['a']\nx * 2", 8),
        ("print('one')\nprint('two')", "one\ntwo"),
        ("print('a')\n3", {"value": 3, "output": "a"}),
        ("{1, 2}", [1, 2]),
        ("import statistics\nstatistics.mean([1, 2, 6])", 3),
        ("x = 1", None),
        ("", None),
        ("open('f', 'w').write('abc')\nopen('f').read()", "abc"),
        ("import os\nsorted(set(os.environ) - {'LC_CTYPE'})", []),
        ("import os\nos.listdir('.')", []),
        ("import resource as r\n[r.getrlimit(n)[1] for n in (r.RLIMIT_CPU, r.RLIMIT_NPROC)]", [20, 0]),
    ],
)
async def test_values(code: str, value: Any, call: Call) -> None:
    assert await call("run_python", code=code, inputs={"a": 4}) in (value, "" if value is None else value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f(:", "line 1: SyntaxError"),
        ("x = 1\nx / 0", "line 2: ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("print('so far')\nundefined", "so far"),
        ("'x' * (1 << 31)", "MemoryError"),
        ("open('g', 'wb').write(b'a' * (20 << 20))", "too large"),
        ("import os\nos._exit(3)", "returned nothing"),
        ("import ctypes\nctypes.string_at(0)", "returned nothing"),
        ("import resource as r\nr.setrlimit(r.RLIMIT_CPU, (1, 1))\nwhile True: pass", "CPU time"),
        ("files = [open('/dev/null') for _ in range(100)]", "Too many open files"),
    ],
)
async def test_failures_and_limits(code: str, words: str, call: Call) -> None:
    with pytest.raises(ToolError, match=words):
        await call("run_python", code=code)


async def test_doors_that_this_system_closes_are_closed(call: Call, workspace: Path) -> None:
    doors = await isolation()
    if doors["network"]:
        with pytest.raises(ToolError, match="OSError"):
            await call("run_python", code="import socket\nsocket.create_connection(('127.0.0.1', 9), 2)")
        assert await call("run_python", code="import socket\n[name for _, name in socket.if_nameindex()]") == ["lo"]
    if doors["files"]:
        for path in ("/etc/passwd", str(workspace / "notes.md"), __file__):
            with pytest.raises(ToolError, match="Permission"):
                await call("run_python", code=f"open({path!r}).read()")
        with pytest.raises(ToolError, match="Permission"):
            await call("run_python", code=f"open({str(workspace / 'new')!r}, 'w')")


async def test_much_output_is_cut(call: Call) -> None:
    assert len(await call("run_python", code="print('x' * 1_000_000)")) <= 200_000


async def test_cancelling_kills_everything_the_code_started(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    real = anyio.open_process

    async def remember(*args: Any, **options: Any) -> Any:
        process = await real(*args, **options)
        started.append(process.pid)
        return process

    monkeypatch.setattr("shuntyard.tools.python.anyio.open_process", remember)
    with anyio.move_on_after(0.8) as scope:
        await call("run_python", code="while True: pass")
    assert scope.cancelled_caught
    await anyio.sleep(0.2)
    assert not group_members(started[0])


async def test_a_late_end_is_a_timeout(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "TIMEOUT", 0.5)
    with pytest.raises(ToolTimeout, match="longer"):
        await call("run_python", code="import time\ntime.sleep(30)")


def group_members(group: int) -> list[int]:
    members = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                members.append(int(name))
    return members
