"""Where the rooms are joined: the ``Agent`` that users hold, the loop of a run, and the pipeline of its steps.

It is the only folder that knows its neighbours below; what it hands over are Protocols of the ground floor.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .agent import Agent
    from .diff import NodeDiff, Replay
    from .forecast import Forecast
    from .node import as_node
    from .sinks import JsonlSink
    from .stream import QueueSink

__all__ = ["Agent", "Forecast", "JsonlSink", "NodeDiff", "QueueSink", "Replay", "as_node"]

__getattr__ = lazy(
    __name__,
    {
        "Agent": ".agent",
        "Forecast": ".forecast",
        "JsonlSink": ".sinks",
        "NodeDiff": ".diff",
        "QueueSink": ".stream",
        "Replay": ".diff",
        "as_node": ".node",
    },
)
