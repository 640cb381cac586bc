"""The live worker: serves requests one after the other, the most urgent first, and never ends because one failed."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import Cancelled, ThematicaError
from .mailbox import URGENCY, Mailbox, Request
from .requests import parse_grow, parse_labels, parse_open, parse_preview
from .session import Session

#: Changes when an old client could not talk to a new worker.
PROTOCOL = 1

Send = Callable[[dict[str, Any]], None]


class Superseded(Exception):
    """A newer request makes the reply to this one useless."""


class LiveWorker:
    """Serves requests.

    Args:
        send: gets replies and other events, from several threads.
        folder: for pictures; exists, and is removed by whoever made it.
    """

    def __init__(self, send: Send, folder: Path) -> None:
        self._send = send
        self._session = Session(folder)
        self._mailbox = Mailbox()

    def feed(self, line: str) -> None:
        """Take a line from QGIS; from the thread that reads them."""
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._refuse(None, "A line is no JSON.", f"{error}: {line[:200]!r}")
            return
        number = values.get("id") if isinstance(values, dict) else None
        if not isinstance(number, (int, str)):
            self._refuse(None, "A request must be an object with a number, its id.", line[:200])
            return
        if not isinstance(values.get("do"), str) or values["do"] not in URGENCY:
            self._refuse(number, f"A request must say what to do: {', '.join(URGENCY)}.", line[:200])
            return
        for old in self._mailbox.put(Request(values.get("id"), values["do"], values)):
            self._send({"id": old.id, "event": "superseded"})

    def close(self) -> None:
        """Let :meth:`run` end, in the middle of a request too."""
        self._mailbox.close()

    def run(self) -> None:
        """Serve until :meth:`close` is called."""
        self._send({"event": "ready", "version": __version__, "protocol": PROTOCOL})
        try:
            while (request := self._mailbox.take()) is not None:
                self._serve(request)
        except Cancelled:
            pass
        finally:
            self._session.close()

    def _serve(self, request: Request) -> None:
        try:
            self._send({"id": request.id, "event": "reply", **self._reply(request)})
        except Superseded:
            self._send({"id": request.id, "event": "superseded"})
        except Cancelled:
            raise
        except ThematicaError as error:
            self._fail(request.id, error.code, error.message, error.details)
        except MemoryError as error:
            self._fail(request.id, "memory", "The machine has too little free memory for this.", repr(error))
        except Exception as error:  # noqa: BLE001 - one try per request: the next one may well succeed
            message = f"A fault in Thematica ({type(error).__name__}); please report it with the log."
            self._fail(request.id, "fault", message, traceback.format_exc())

    def _reply(self, request: Request) -> dict[str, Any]:
        def check() -> None:
            self._make_way(request)

        if request.do == "open":
            return self._session.open(parse_open(request.values))
        if request.do == "labels":
            return self._session.set_labels(parse_labels(request.values))
        if request.do == "grow":
            return self._session.grow(parse_grow(request.values), check)
        if request.do == "preview":
            return self._session.preview(parse_preview(request.values), check)
        return self._session.statistics(check)

    def _make_way(self, request: Request) -> None:
        """Between the stages of a request: give it up if it is superseded, and serve what is more urgent.

        Raises:
            Superseded: give it up.
            Cancelled: the worker is to end.
        """
        if self._mailbox.is_closed:
            raise Cancelled
        if self._mailbox.supersedes(request):
            raise Superseded
        while (urgent := self._mailbox.take_more_urgent(request)) is not None:
            self._serve(urgent)

    def _refuse(self, number: Any, message: str, details: str) -> None:
        self._fail(number, "bad-request", message, details)

    def _fail(self, number: Any, code: str, message: str, details: str) -> None:
        self._send({"id": number, "event": "error", "code": code, "message": message, "details": details})
