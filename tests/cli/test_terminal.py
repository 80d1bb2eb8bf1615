"""A run on a real terminal: the live display, a question, the answer."""

import os
import pty
import re
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from servers import ScriptedServer


def on_terminal(args: list[str], *, answer: bytes, seconds: float = 60) -> tuple[int, str]:
    """Run the command line on a pseudo-terminal and type ``answer`` when it asks."""
    pid, screen = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="30", PYTHONSAFEPATH="1")
        os.execv(sys.executable, [sys.executable, "-m", "shuntyard", *args])
    seen, typed, end = b"", False, time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([screen], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(screen, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if b"allow? [y/n" in seen and not typed:
            os.write(screen, answer)
            typed = True
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode(errors="replace")


def test_a_person_sees_the_dag_grow_and_is_asked(serve: Callable[..., ScriptedServer], folder: Path) -> None:
    plan = '1. calculator(expression="6 * 7")\n2. write_file(path="out.txt", content="it is $1")\n'
    serve([plan, "ANSWER: written"], delay=0.05)
    code, screen = on_terminal(["run", "write the product to out.txt"], answer=b"y\n")
    assert code == 0, screen
    assert (folder / "out.txt").read_text().strip() == "it is 42"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert re.search(r"planning…|the model reads the prompt", plain)
    assert "n2 wants to call write_file (write)" in plain
    assert "✓ n1 calculator" in plain and "✓ n2 write_file" in plain
    assert "done · 2 steps" in plain
