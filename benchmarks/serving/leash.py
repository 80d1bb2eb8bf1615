"""The leash: a process that ends with the one that started it, however that one ends.

Whoever starts it holds the other end of its stdin and writes nothing; that end is closed with the starter, also when
the starter is killed. Run as ``python -m shuntyard.benchmarks.serving.leash WORDS`` it is ``shuntyard WORDS`` on a
leash.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def hold() -> None:
    """Have this process end, as by SIGTERM, once its stdin is at its end."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    # Not through sys.stdin, whose lock a waiting thread would hold when the interpreter ends.
    while os.read(0, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    hold()
    sys.argv = ["shuntyard", *sys.argv[1:]]
    runpy.run_module("shuntyard", run_name="__main__", alter_sys=True)
