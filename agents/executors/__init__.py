"""Where the bodies of tool calls run; every executor keeps the same promise, so a plan moves by one setting.

In this process, in worker processes of this machine, or on a Ray cluster. What crosses to a worker is data.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .choose import executor_for
    from .inprocess import InProcess
    from .pool import Pool

__all__ = ["InProcess", "Pool", "executor_for"]

__getattr__ = lazy(__name__, {"InProcess": ".inprocess", "Pool": ".pool", "executor_for": ".choose"})
