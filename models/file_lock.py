"""A lock on a file, which the system takes back when its owner dies: who holds it is at work."""

from __future__ import annotations

import errno
import os
import sys

# On Windows a locked byte cannot be read by others: not one of those that say who holds the lock.
_BYTE = 1 << 20


def try_lock(descriptor: int) -> bool:
    """Lock an open file; False where another process, or another opening of the file, holds the lock.

    Closing the descriptor gives it back.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A home folder on some network file systems knows no locks: better without one than not at all.
        return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
    return True


def is_locked(path: str | os.PathLike[str]) -> bool:
    """True where a process holds the lock on a file; False where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)
