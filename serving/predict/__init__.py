"""What a call of a local model takes before it is made: seconds, memory, and what binds.

The model's file tells what is computed and moved, a few constants of the host tell how fast; they are measured on the
real engine, are corrected by the calls that are made anyway, and hold for other models of the same tensor types.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .gguf import Header, read_header
    from .host import Host, Known, PaceStore
    from .local import LocalPacing, measured, predictor_of
    from .pace import Pace
    from .predict import Asked, Bound, Prediction, Predictor
    from .shape import Shape, read_shape
    from .work import Setup, memory_mib

__all__ = [
    "Asked",
    "Bound",
    "Header",
    "Host",
    "Known",
    "LocalPacing",
    "Pace",
    "PaceStore",
    "Prediction",
    "Predictor",
    "Setup",
    "Shape",
    "measured",
    "memory_mib",
    "predictor_of",
    "read_header",
    "read_shape",
]

__getattr__ = lazy(
    __name__,
    {
        "Asked": ".predict",
        "Bound": ".predict",
        "Header": ".gguf",
        "Host": ".host",
        "Known": ".host",
        "LocalPacing": ".local",
        "Pace": ".pace",
        "PaceStore": ".host",
        "Prediction": ".predict",
        "Predictor": ".predict",
        "Setup": ".work",
        "Shape": ".shape",
        "measured": ".local",
        "memory_mib": ".work",
        "predictor_of": ".local",
        "read_header": ".gguf",
        "read_shape": ".shape",
    },
)
