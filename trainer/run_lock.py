"""One training at a time in a folder; and whoever looks at the folder knows whether it is at work."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from ..errors import OutputError
from ..models.file_lock import try_lock

FILE = "running.lock"
# Whoever looks whether the lock is held takes it for a moment.
_SECONDS = 2.0


class RunLock:
    """Held while a training works in a folder; says by which process.  A context manager.

    Args:
        folder: of the run; it exists.

    Attributes:
        descriptor: of the open file.  A process that inherits it holds the lock, too.

    Raises:
        OutputError: another training works there.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o644)
        limit = time.monotonic() + _SECONDS
        while not try_lock(self.descriptor):
            if time.monotonic() > limit:
                os.close(self.descriptor)
                raise OutputError(
                    f"Another training is at work in “{folder}”: wait for its end, or choose another folder (--output)."
                )
            time.sleep(0.05)
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        try:
            os.ftruncate(self.descriptor, 0)
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            os.write(self.descriptor, owner)
        except OSError:
            os.close(self.descriptor)
            raise

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        # The file stays: removing it would let two owners lock two files of the same name.
        os.close(self.descriptor)
