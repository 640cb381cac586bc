"""The persistent worker of live classification, as QGIS's own thread sees it.

Threads of their own write to it and read from it; what it says arrives through signals.  If it dies it is started
again, and whoever uses it tells it again what it must know.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Queue
from typing import Any, Callable

from qgis.PyQt.QtCore import QCoreApplication, QObject, QTimer, pyqtSignal

from ..errors import RuntimeMissingError, ThematicaError
from .live_message import discard_preview, parse_message
from .runtime import Runtime, require_runtime, worker_command
from .worker_process import FOREIGN_LINES, WorkerProcess, how_it_ended, lacking_package, told_error, was_killed

#: Of these only the newest counts: what came before it is out of date.
NEWEST_WINS = ("preview", "grow", "statistics")
#: How many of a kind the worker may have: one that it computes, and one by which it knows that this is out of date.
_MOST_SENT = 2
#: A worker that says nothing for so long while it owes an answer is taken for hung.
SECONDS_TO_ANSWER = 60.0
#: A raster may lie on a slow disk or server.
SECONDS_TO_OPEN = 180.0
#: How long it may take to end by itself.
SECONDS_TO_END = 3.0
#: Pauses before it is started again, after the first, second … death.
PAUSES = (0.3, 2.0)
#: This many deaths within so many seconds are no accident.
MOST_DEATHS, SECONDS_OF_DEATHS = 3, 60.0
_MILLISECONDS_TO_WATCH = 500
#: A child of the dead process may hold its pipe open; but its last line may be long.
_SECONDS_TO_READ = 3.0
_LOG_LINES = 1000

_LOST = "The worker of live classification ended and is being started again: try once more in a moment."
_AGAIN = "Switch the preview off and on to try again; the log says more (View ▸ Panels ▸ Log Messages, Thematica)."


class AnswerLost(ThematicaError):
    """The worker died before it answered; it is being started again."""

    code = "answer-lost"


_OnReply = Callable[[dict], None]
_OnError = Callable[[ThematicaError], None]


@dataclass
class _Request:
    do: str
    values: Mapping[str, Any]
    on_reply: _OnReply
    on_error: _OnError | None
    sent: float = 0.0
    number: int = 0


@dataclass
class _Process:
    """A process with its writer; ``number`` tells its messages from those of the one before.

    ``told`` counts what its reading thread passed on, ``taken`` what arrived.
    """

    number: int
    worker: WorkerProcess
    outbox: Queue = field(default_factory=Queue)
    is_ready: bool = False
    heard: float = field(default_factory=time.monotonic)
    told: int = 0
    taken: int = 0
    ended: float | None = None


class LiveWorker(QObject):
    """Starts ``thematica live``, asks it, hears it, and starts it again when it dies.

    Args:
        runtime: the one to use; :func:`.runtime.find_runtime` where None.
        parent: the Qt parent.
    """

    #: It ended (the sentence says how) and is being started again; requests that it owed an answer are lost.
    died = pyqtSignal(str)
    #: It is there again, and knows nothing.
    restarted = pyqtSignal()
    #: It is not started again by itself: a sentence that says why and what to do, and details for the log.
    stopped = pyqtSignal(str, str)
    #: Level and text.
    log = pyqtSignal(str, str)
    #: From the threads: the number of a process and what it said.
    _heard = pyqtSignal(int, object)

    def __init__(self, runtime: Runtime | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runtime = runtime
        self._process: _Process | None = None
        self._processes = self._requests = 0
        self._sent: dict[int, _Request] = {}
        self._held: dict[str, _Request] = {}
        self._deaths: list[float] = []
        self._again = QTimer(self, singleShot=True)
        self._again.timeout.connect(self._start_again)
        self._watch = QTimer(self, interval=_MILLISECONDS_TO_WATCH)
        self._watch.timeout.connect(self._look)
        self._heard.connect(self._take)
        QCoreApplication.instance().aboutToQuit.connect(self.end)

    # -- coming and going -----------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """True while there is a process, or one is about to be started again."""
        return self._process is not None or self._again.isActive()

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.worker.process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it where it does not run; requests may follow at once.

        Raises:
            RuntimeMissingError: there is no usable runtime.
        """
        if self.is_running:
            return
        self._deaths.clear()
        self._start()

    def _start(self) -> None:
        worker = WorkerProcess(worker_command(require_runtime(self._runtime), "live"))
        self._processes += 1
        process = self._process = _Process(self._processes, worker)
        foreign = logged = 0

        def hear(line: str | None) -> None:
            nonlocal foreign, logged
            if line is None:
                self._tell(process, _ended(worker))
                return
            message = parse_message(line)
            if message is None:
                foreign += 1
                if not line.strip() or foreign > FOREIGN_LINES:
                    return
                message = {"event": "log", "level": "info", "message": line.strip()[:2000]}
            if message["event"] == "log":
                logged += 1
                if logged > _LOG_LINES:
                    return
            self._tell(process, message)

        worker.read(hear)
        threading.Thread(target=_write, args=(process,), daemon=True).start()
        self._watch.start()

    def _tell(self, process: _Process, message: dict[str, Any]) -> None:
        """From the reading thread to QGIS's."""
        process.heard = time.monotonic()
        process.told += 1
        try:
            self._heard.emit(process.number, message)
        except RuntimeError:
            # Qt deleted this object without a word; a process must not outlive it.
            process.worker.kill()

    def end(self) -> None:
        """End it; may be called twice.  Does not block: a thread kills it if it does not end by itself."""
        self._again.stop()
        self._watch.stop()
        for request in [*self._sent.values(), *self._held.values()]:
            request.on_error = None
        self._let_go(SECONDS_TO_END)

    def _let_go(self, seconds: float) -> None:
        """Leave the process, which gets so many seconds to end; what it was asked is lost."""
        lost = [*self._sent.values(), *self._held.values()]
        self._sent.clear()
        self._held.clear()
        process, self._process = self._process, None
        if process is not None:
            threading.Thread(target=_finish, args=(process, seconds), daemon=True).start()
        for request in lost:
            if request.on_error is not None:
                request.on_error(AnswerLost(_LOST))

    # -- asking ---------------------------------------------------------------------------------

    def request(self, do: str, values: Mapping[str, Any], on_reply: _OnReply, on_error: _OnError | None = None) -> None:
        """Ask it to do something.  Either function is called once, later, or none if a newer request took its place.

        Args:
            do: ``open``, ``labels``, ``statistics``, ``preview`` or ``grow``.
            values: of the request; not to be changed afterwards.
            on_reply: gets the reply.
            on_error: gets the error.
        """
        request = _Request(do, values, on_reply, on_error)
        if self._process is None:
            if on_error is not None:
                QTimer.singleShot(0, lambda: on_error(AnswerLost(_LOST)))
            return
        if do in NEWEST_WINS and sum(other.do == do for other in self._sent.values()) >= _MOST_SENT:
            self._held[do] = request
            return
        self._send(request)

    def _send(self, request: _Request) -> None:
        assert self._process is not None
        self._requests += 1
        request.number, request.sent = self._requests, time.monotonic()
        self._sent[request.number] = request
        self._process.outbox.put({**request.values, "id": request.number, "do": request.do})

    def _settle(self, number: int) -> _Request | None:
        """Take a request off the list, and send the one of its kind that waits."""
        request = self._sent.pop(number, None)
        if request is not None and request.do in self._held:
            self._send(self._held.pop(request.do))
        return request

    # -- hearing --------------------------------------------------------------------------------

    def _take(self, number: int, message: dict[str, Any]) -> None:
        if self._process is None or number != self._process.number:
            if message["event"] == "reply" and "file" in message:
                discard_preview(message)
            return
        self._process.taken += 1
        event = message["event"]
        if event == "ready":
            if not self._process.is_ready:
                self._process.is_ready = True
                if self._deaths:
                    self.restarted.emit()
        elif event == "log":
            self.log.emit(message["level"], message["message"])
        elif event == "ended":
            self._died(message["status"], message["tail"])
        elif event == "error" and message["id"] is None:
            self.log.emit("warning", f"{message['message']}\n{message['details']}".strip())
        else:
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        request = self._settle(message["id"])
        if request is None or message["event"] == "superseded":
            return
        if message["event"] == "reply":
            request.on_reply(message)
        elif request.on_error is not None:
            error = told_error(message)
            # Codes of live classification's own (“too-few-labels”) tell the session what to do.
            error.code = message["code"] or error.code
            request.on_error(error)

    def _look(self) -> None:
        """Is it hung, or dead without a word?"""
        process, now = self._process, time.monotonic()
        if process is None:
            return
        if process.worker.has_ended():
            process.ended = process.ended or now
            if now - process.ended > _SECONDS_TO_READ:
                self._died(process.worker.process.returncode, process.worker.errors())
            return
        owed = list(self._sent.values())
        # Where QGIS itself was busy for long, the answer lies in its own queue.
        if not owed or process.told != process.taken:
            return
        seconds = SECONDS_TO_OPEN if any(request.do == "open" for request in owed) else SECONDS_TO_ANSWER
        # It does one thing after the other: its clock starts with its last word.
        since = max(process.heard, min(request.sent for request in owed))
        if now - since > seconds:
            self._died(None, process.worker.errors())

    def _died(self, status: int | None, tail: str) -> None:
        """Start it again after a pause, or say why not.  ``status`` is None where it hung."""
        self._watch.stop()
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < SECONDS_OF_DEATHS] + [now]
        how = "gave no sign of life" if status is None else f"ended unexpectedly ({how_it_ended(status)})"
        details = f"{how}\n{tail}".strip()
        lacking = lacking_package(tail)
        self._let_go(0.0)
        if lacking:
            self.stopped.emit(lacking, details)
        elif len(self._deaths) >= MOST_DEATHS:
            why = ""
            if status is None:
                why = " The disk or server that the image lies on may be too slow."
            elif was_killed(status):
                why = " Probably memory ran out: close other programs, or zoom in."
            times = f"{len(self._deaths)} times in a row"
            self.stopped.emit(f"Live classification stopped: its worker {how} {times}.{why} {_AGAIN}", details)
        else:
            self.died.emit(f"The worker of live classification {how} and is started again.")
            self.log.emit("warning", f"The worker of live classification {details}")
            self._again.start(round(1000 * PAUSES[min(len(self._deaths), len(PAUSES)) - 1]))

    def _start_again(self) -> None:
        try:
            self._start()
        except RuntimeMissingError as error:
            self.stopped.emit(error.message, error.details)


def _write(process: _Process) -> None:
    """The writing thread: a busy worker does not read, and its pipe is soon full."""
    while True:
        message = process.outbox.get()
        if message is None:
            break
        if not process.worker.write(json.dumps(message) + "\n"):
            break
    process.worker.close_stdin()


def _ended(worker: WorkerProcess) -> dict[str, Any]:
    """The last message, from the reading thread: stdout has ended, and the process with it."""
    try:
        worker.process.wait(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        worker.kill()
    worker.join()
    return {"event": "ended", "status": worker.process.returncode, "tail": worker.errors()}


def _finish(process: _Process, seconds: float) -> None:
    """End a process: politely, and after so many seconds by force.  Blocks, so it has a thread of its own."""
    process.outbox.put(None)
    limit = time.monotonic() + seconds
    while not process.worker.has_ended() and time.monotonic() < limit:
        time.sleep(0.02)
    process.worker.kill()
    process.worker.join()
