"""A training set in the making: a folder beside its final place, with a journal, so that a run that broke off goes on.

``OUTDIR.partial`` holds what is written; its journal says how far that is to be believed: what lies behind the
lengths that it names was written after the last checkpoint and is cut off.  When all is there, the folder gets its
final name.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ...errors import InputError, OutputError
from ...progress import Monitor
from .description import FILE, Description

#: In the folder in the making: what is not part of the set.
_SCRATCH = "working"
_JOURNAL = "journal.json"
_LOCK = "lock"
#: Changes when what lies in the folder in the making is laid out otherwise.
_VERSION = 1
#: No room: disk, quota, and the largest file that is allowed.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn every failure to write into a sentence.

    Raises:
        OutputError: the disk is full, gone or read-only.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(
                f"There is no room left for the training set in “{folder}”. Nothing is lost: make room and run the "
                "same again; it goes on where it stopped.",
                repr(error),
            ) from error
        raise OutputError(
            f"The training set cannot be written to “{folder}” ({error.strerror or error}): choose another place, or "
            "run the same again when the disk is back; it goes on where it stopped.",
            repr(error),
        ) from error


class Work:
    """The folder in which a training set is made.  A context manager: leaving it keeps what was done.

    Args:
        folder: where the training set is to be.
        fingerprint: of inputs and options; what was begun with another one is not gone on with.
        overwrite: a set that is there may be replaced by another one.
        monitor: gets told what was found.

    Attributes:
        finished: the description of the set that is there already with the same fingerprint, or None.
        path: folder in the making.
        scratch: folder in it for what is not part of the set.
        state: what the journal says: JSON-able, empty at the beginning.

    Raises:
        InputError: the folder holds another set, or other things.
        OutputError: nothing can be written there, or another run is making the same set.
    """

    def __init__(self, folder: Path, fingerprint: str, overwrite: bool, monitor: Monitor) -> None:
        self.folder, self.fingerprint = Path(os.path.abspath(folder)), fingerprint
        self.path = self.folder.with_name(self.folder.name + ".partial")
        self.scratch = self.path / _SCRATCH
        self._before = self.folder.with_name(self.folder.name + ".replaced")
        self.state: dict[str, Any] = {}
        self._lock: IO[bytes] | None = None
        if not self.folder.name:
            raise InputError(f"“{folder}” cannot be a training set's folder; name a folder of its own.")
        if not self.folder.parent.is_dir():
            raise OutputError(f"The folder “{self.folder.parent}” does not exist; create it or choose another place.")
        with writing(self.folder):
            # Killed between the two renames of an exchange.
            if (self._before / FILE).is_file() and not self.folder.exists():
                self._before.rename(self.folder)
            self.finished = self._look(overwrite)
        if self.finished is None:
            try:
                self._begin(monitor)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Work:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def save(self) -> None:
        """Write ``state`` into the journal: from now on it holds, also after a kill."""
        content = {"version": _VERSION, "fingerprint": self.fingerprint, "state": self.state}
        new = self.scratch / (_JOURNAL + ".new")
        with writing(self.folder):
            with new.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.scratch / _JOURNAL)

    def publish(self) -> None:
        """Give the folder its final name; a set that has it is replaced.

        Raises:
            OutputError: the one that is there cannot be moved (open in another program).
        """
        self.close()
        with writing(self.folder):
            shutil.rmtree(self._before, ignore_errors=True)
            if self.folder.exists():
                self.folder.rename(self._before)
            try:
                self.path.rename(self.folder)
            except OSError:
                if self._before.exists():
                    self._before.rename(self.folder)
                raise
        # The journal goes last: killed before, the next run finds all done, and publishes.
        shutil.rmtree(self.folder / _SCRATCH, ignore_errors=True)
        shutil.rmtree(self._before, ignore_errors=True)

    def discard(self) -> None:
        """Throw away what was done."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the folder; what is in it stays for the next run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- beginning -------------------------------------------------------------------------------------

    def _look(self, overwrite: bool) -> Description | None:
        """The set that is there, if it is the one that is wanted."""
        if not self.folder.exists():
            return None
        if not self.folder.is_dir():
            raise InputError(f"“{self.folder}” is a file; name a folder for the training set.")
        if not (self.folder / FILE).is_file():
            if any(self.folder.iterdir()):
                raise InputError(
                    f"“{self.folder}” holds other files and is no training set; name a new or an empty folder."
                )
            return None
        try:
            found = Description.read(self.folder)
            # Files that went missing are made again.
            whole = all(
                _size(self.folder / shard.name(array)) == size
                for shards in found.shards.values()
                for shard in shards
                for array, size in shard.bytes.items()
            )
        except InputError:
            found, whole = None, False
        if found is not None and found.fingerprint == self.fingerprint:
            if whole:
                shutil.rmtree(self.folder / _SCRATCH, ignore_errors=True)
                return found
        elif not overwrite:
            raise InputError(
                f"“{self.folder}” holds a training set that was made with other options or of other inputs; name "
                "another folder, or give --overwrite to replace it."
            )
        return None

    def _begin(self, monitor: Monitor) -> None:
        # What is thrown away here must be ours.
        for path, mark in ((self.path, self.scratch), (self._before, self._before / FILE)):
            if path.exists() and not mark.exists() and not (path.is_dir() and not any(path.iterdir())):
                raise InputError(
                    f"“{path}” holds other files, and the training set needs that name while it is made: rename it, or "
                    "name another folder for the set."
                )
        with writing(self.folder):
            self.scratch.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.scratch / _LOCK)
            if self._lock is None:
                raise OutputError(
                    f"Another run is making the training set “{self.folder}” just now; wait for it, or name another "
                    "folder."
                )
            try:
                content = json.loads((self.scratch / _JOURNAL).read_text(encoding="utf-8"))
                if content["version"] == _VERSION and content["fingerprint"] == self.fingerprint:
                    self.state = content["state"]
            except (OSError, ValueError, KeyError, TypeError):
                pass
            if self.state:
                monitor.log("An earlier run for the same training set broke off; this one goes on where it stopped.")
                return
            left = [e for e in (*self.path.iterdir(), *self.scratch.iterdir()) if e.name not in (_LOCK, _SCRATCH)]
            if left:
                monitor.log("What an earlier run with other options or inputs left unfinished here is thrown away.")
            for entry in left:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _locked(path: Path) -> IO[bytes] | None:
    """The open file while this process alone has it, or None; the system lets go of it when the process ends."""
    file = path.open("ab")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):
            # Some parallel file systems have no locks; then nobody is kept out.
            return file
        file.close()
        return None
    return file
