"""Requests that wait for the live worker, and which of them is served next.

What only changes the worker's state (``open``, ``labels``) comes first, so that every picture is of the newest state.
Of pictures only the newest that was asked for is of use: an older one is *superseded*.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

#: Kinds of requests by urgency: one that is being served makes way for those that are more urgent.
URGENCY = {"statistics": 0, "preview": 1, "grow": 2, "labels": 3, "open": 3}
#: Kinds of which only the newest is served.
NEWEST_ONLY = ("statistics", "preview", "grow")


@dataclass(frozen=True)
class Request:
    """One line from QGIS.

    Args:
        id: whatever QGIS sent, to find the reply by.
        do: what to do, a key of :data:`URGENCY`.
        values: the whole line.
    """

    id: Any
    do: str
    values: dict[str, Any]


class Mailbox:
    """Requests between the thread that reads stdin and the one that serves."""

    def __init__(self) -> None:
        self._waiting: list[Request] = []
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, request: Request) -> list[Request]:
        """Add a request; returns those that it supersedes, which are no longer served.

        Another image makes all pictures of the one before useless.
        """
        with self._changed:
            gone = NEWEST_ONLY if request.do == "open" else (request.do,) if request.do in NEWEST_ONLY else ()
            superseded = [other for other in self._waiting if other.do in gone]
            self._waiting = [other for other in self._waiting if other.do not in gone] + [request]
            self._changed.notify_all()
            return superseded

    def take(self) -> Request | None:
        """The most urgent request, of several the oldest; waits for one.  None once the mailbox is closed."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            return None if self._is_closed else self._pop(self._waiting)

    def take_more_urgent(self, than: Request) -> Request | None:
        """A request that another one makes way for; None where there is none.

        Never ``open``: it would take the image away under whoever reads it (see :meth:`supersedes`).
        """
        with self._changed:
            urgent = [other for other in self._waiting if URGENCY[other.do] > URGENCY[than.do] and other.do != "open"]
            return self._pop(urgent) if urgent and not self._is_closed else None

    def supersedes(self, request: Request) -> bool:
        """True where something waits that makes the reply to this request useless."""
        with self._changed:
            return request.do in NEWEST_ONLY and any(other.do in (request.do, "open") for other in self._waiting)

    def close(self) -> None:
        """Let nothing be served any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """True once :meth:`close` was called."""
        return self._is_closed

    def _pop(self, among: list[Request]) -> Request:
        first = max(among, key=lambda request: URGENCY[request.do])
        self._waiting.remove(first)
        return first
