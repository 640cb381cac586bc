"""How long is fuzzed: a bounded number of examples, always the same, in ``make test``; minutes in ``make fuzz``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy, tuples

#: Seconds that each fuzzer gets in ``make fuzz``; 0 in ``make test``.
SECONDS = float(os.environ.get("THEMATICA_FUZZ_SECONDS") or 0)

#: Examples that were run, by the name of the law.
COUNTS: dict[str, int] = {}


def fuzz(law: Callable[..., object], *inputs: SearchStrategy[Any], examples: int) -> None:
    """Try a law with examples of its inputs.

    Args:
        law: raises where it is broken.
        inputs: strategies for its arguments.
        examples: how many in ``make test``.
    """
    ends = time.monotonic() + SECONDS

    def counted(values: tuple[Any, ...]) -> None:
        COUNTS[law.__name__] = COUNTS.get(law.__name__, 0) + 1
        law(*values)

    while True:
        settings(
            max_examples=examples if not SECONDS else min(examples, 200),
            deadline=None,
            database=None,
            derandomize=not SECONDS,
            suppress_health_check=list(HealthCheck),
            # Minutes are for finding: what was found is made smaller when it is run again from its blob.
            phases=(Phase.explicit, Phase.generate, *(() if SECONDS else (Phase.shrink,))),
            print_blob=True,
        )(given(tuples(*inputs))(counted))()
        if time.monotonic() >= ends:
            return
