"""What a graph that no exporter would write does to those who read it, as one sentence.

onnx checks a graph's form, not its sense: a shape may be missing, weights may have other sizes than their
operator wants.  ONNX Runtime finds that when it loads the network; what looks at the graph before must not fail on it.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ..errors import ModelError, ThematicaError

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def reads_graph(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorator: whatever a function that reads a graph raises becomes a :class:`.ModelError`."""

    @functools.wraps(function)
    def wrapped(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            return function(*arguments, **named)
        except (ThematicaError, MemoryError):
            raise
        except Exception as error:
            raise ModelError(
                "The network's graph is damaged, or built in a way that is not understood here: export it again.",
                traceback.format_exc(),
            ) from error

    return wrapped
