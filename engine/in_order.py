"""Work done side by side, its results handed over in order: one thread makes items, workers work, the caller takes.

Only so many items are under way at once, so that memory holds a few however many there are.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import onnxruntime

from ..progress import Monitor
from .session import tile_options

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# How long a blocked queue operation waits before it looks whether the job has ended, in seconds.
_POLL = 0.1


def run_in_order(
    items: Iterable[_Item],
    work: Callable[[_Item, onnxruntime.RunOptions], _Result],
    workers: int,
    take: Callable[[_Result], None],
    monitor: Monitor,
    waiting: int = 0,
) -> None:
    """Make items in a thread, work on them in others, and take the results in this one, in the items' order.

    Args:
        items: gone through in a thread of its own.
        work: what becomes of an item; called from several threads at once.  The options end a run on cancel.
        workers: how many of them.
        take: gets the results.
        monitor: says when to stop.
        waiting: items that may be under way beside those that are worked on; 0: four for each worker.

    Raises:
        Cancelled: the monitor was asked to cancel.
        BaseException: whatever failed first in ``items``, ``work`` or ``take``.
    """
    _Run(items, work, workers, monitor, waiting or 4 * workers).run(take)


class _Run(Generic[_Item, _Result]):
    def __init__(
        self,
        items: Iterable[_Item],
        work: Callable[[_Item, onnxruntime.RunOptions], _Result],
        workers: int,
        monitor: Monitor,
        waiting: int,
    ) -> None:
        self.items, self.work, self.monitor = items, work, monitor
        self._options = [tile_options() for _ in range(workers)]
        self._todo: queue.Queue[tuple[int, _Item] | None] = queue.Queue()
        self._done: queue.Queue[tuple[int, _Result] | None] = queue.Queue()
        # From an item's making until its result was taken: one slow item holds up the others too.
        self._under_way = threading.Semaphore(workers + waiting)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def run(self, take: Callable[[_Result], None]) -> None:
        threads = [threading.Thread(target=self._guard, args=(self._make,), name="read", daemon=True)]
        threads += [
            threading.Thread(target=self._guard, args=(self._work, options), name=f"infer-{index}", daemon=True)
            for index, options in enumerate(self._options)
        ]
        for thread in threads:
            thread.start()
        waiting: dict[int, _Result] = {}
        following = 0
        working = len(self._options)
        try:
            while working:
                entry = self._get(self._done)
                if entry is None:
                    working -= 1
                    continue
                waiting[entry[0]] = entry[1]
                while following in waiting:
                    take(waiting.pop(following))
                    self._under_way.release()
                    following += 1
        except BaseException as error:  # noqa: BLE001 - raised again below, once all threads have ended
            self._fail(error)
        finally:
            self._end()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _make(self) -> None:
        items = iter(self.items)
        number = 0
        while True:
            while not self._under_way.acquire(timeout=_POLL):
                self._check()
            self._check()
            try:
                item = next(items)
            except StopIteration:
                break
            self._todo.put((number, item))
            number += 1
        for _ in self._options:
            self._todo.put(None)

    def _work(self, options: onnxruntime.RunOptions) -> None:
        while True:
            entry = self._get(self._todo)
            if entry is None:
                self._done.put(None)
                return
            number, item = entry
            try:
                result = self.work(item, options)
            except Exception:
                # A run that was told to stop fails too; that is not the network's fault.
                self._check()
                raise
            # What it was made from may be large, and is not needed while the next item is waited for.
            del entry, item
            self._done.put((number, result))

    def _guard(self, function: Callable[..., None], *arguments: onnxruntime.RunOptions) -> None:
        try:
            function(*arguments)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread, which raises it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            # The first failure is the cause; the others follow from it.
            if self._failure is None and not isinstance(error, _Stopped):
                self._failure = error
        self._end()

    def _end(self) -> None:
        self._stop.set()
        for options in self._options:
            options.terminate = True

    def _check(self) -> None:
        self.monitor.check()
        if self._stop.is_set():
            raise _Stopped

    def _get(self, source: queue.Queue[_T]) -> _T:
        while True:
            self._check()
            try:
                return source.get(timeout=_POLL)
            except queue.Empty:
                continue


class _Stopped(Exception):
    """Another thread failed or the job was cancelled."""
