"""One installation at a time, whichever QGIS or shell started it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...errors import Cancelled, RuntimeMissingError
from ...models.file_lock import try_lock
from .process import Listener

#: How long another installation is waited for: one whose QGIS was killed ends at its next line of output.
SECONDS_TO_WAIT = 20.0


class InstallationLock:
    """A lock on a file, which the system takes back when its owner dies; a context manager.

    On Linux and macOS the processes that we start inherit it: where QGIS was killed, pip may live on for a while and
    still write into the folder, and the next installation has to wait for that.

    Args:
        path: the file.
        listener: told when there is something to wait for.

    Raises:
        RuntimeMissingError: another installation is going on.
        Cancelled: while waiting.
    """

    def __init__(self, path: Path, listener: Listener) -> None:
        self.path = path
        self.listener = listener
        self.descriptor = -1

    @property
    def inherited(self) -> tuple[int, ...]:
        """What the processes that we start keep open."""
        return (self.descriptor,)

    def __enter__(self) -> InstallationLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        limit = time.monotonic() + SECONDS_TO_WAIT
        told = False
        try:
            while not try_lock(self.descriptor):
                if self.listener.is_cancelled():
                    raise Cancelled("Cancelled; the runtime was left as it was.")
                if time.monotonic() > limit:
                    raise RuntimeMissingError(
                        "Another installation of the runtime is going on: wait until it has ended, and try again."
                    )
                if not told:
                    self.listener.step("Waiting for another installation to end")
                    told = True
                time.sleep(0.1)
        except BaseException:
            os.close(self.descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The file stays: removing it would let two owners lock two files of the same name.
        os.close(self.descriptor)
