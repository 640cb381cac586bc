"""Many small matrices one after the other: threads cost more than they give."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import numpy as np  # noqa: F401 - loads the library that is to be told
import scipy.linalg  # noqa: F401 - and a second one
from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """While it is open, matrix products and decompositions (BLAS, LAPACK) of the process run on one thread.

    On an idle machine that changes nothing at the size of a few bands; where other programs are at work, threads
    that wait for each other make it twenty times slower.
    """
    return _controller().limit(limits=1, user_api="blas")
