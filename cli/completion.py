"""``shuntyard completion SHELL``."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from .root import root, single

app = single()


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell to print it for.")],
) -> None:
    """Print the completion script of a shell.

    For bash: shuntyard completion bash >> ~/.bashrc
    """
    os.environ["_SHUNTYARD_COMPLETE"] = f"source_{shell}"
    try:
        root().main(args=[], prog_name="shuntyard", standalone_mode=False)
    finally:
        del os.environ["_SHUNTYARD_COMPLETE"]
