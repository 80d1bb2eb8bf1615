"""Local models: files fetched and checked, an engine that outlives the command that started it, and a model on top.

The engine is llama.cpp in a supervised child process on 127.0.0.1; the next command finds it warm, and it
stops when idle. A file is used only with the publisher's hash. Nothing here is loaded before it is needed.
``schedule/`` orders the calls and keeps what was computed, ``knobs/`` measures what engines are started with,
``predict/`` says what a call will take, ``fleet/`` runs several engines as one, ``long/`` reads what is beyond a
context, ``tokens/`` is an engine of single tokens; ``server/`` offers the models to other programs.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .desk import Desk
    from .embed import MiniLmEmbedder
    from .engines import Capabilities, Engine
    from .fetch import Listed, ensure, installed, list_models, pull, remove, show, verify
    from .local import LocalModel
    from .program import (
        ProgramBody,
        ProgramRequest,
        ProgramStep,
        cancel_program,
        find_program,
        run_program,
        start_program,
    )
    from .registry import MODELS, LocalEntry, find
    from .scripted import ScriptedModel
    from .source import LocalSource
    from .supervise import Running, running, stop
    from .thinking import ThinkOptions, Thought, think

__all__ = [
    "MODELS",
    "Capabilities",
    "Desk",
    "Engine",
    "Listed",
    "LocalEntry",
    "LocalModel",
    "LocalSource",
    "MiniLmEmbedder",
    "ProgramBody",
    "ProgramRequest",
    "ProgramStep",
    "Running",
    "ScriptedModel",
    "ThinkOptions",
    "Thought",
    "cancel_program",
    "ensure",
    "find",
    "find_program",
    "installed",
    "list_models",
    "pull",
    "remove",
    "run_program",
    "running",
    "show",
    "start_program",
    "stop",
    "think",
    "verify",
]

__getattr__ = lazy(
    __name__,
    {
        "MODELS": ".registry",
        "Capabilities": ".engines",
        "Desk": ".desk",
        "Engine": ".engines",
        "Listed": ".fetch",
        "LocalEntry": ".registry",
        "LocalModel": ".local",
        "LocalSource": ".source",
        "MiniLmEmbedder": ".embed",
        "ProgramBody": ".program",
        "ProgramRequest": ".program",
        "ProgramStep": ".program",
        "Running": ".supervise",
        "ScriptedModel": ".scripted",
        "ThinkOptions": ".thinking",
        "Thought": ".thinking",
        "cancel_program": ".program",
        "ensure": ".fetch",
        "find": ".registry",
        "find_program": ".program",
        "installed": ".fetch",
        "list_models": ".fetch",
        "pull": ".fetch",
        "remove": ".fetch",
        "run_program": ".program",
        "running": ".supervise",
        "show": ".fetch",
        "start_program": ".program",
        "stop": ".supervise",
        "think": ".thinking",
        "verify": ".fetch",
    },
)
