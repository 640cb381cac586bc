"""A training in the background that goes on when QGIS closes: its process, and what its folder tells.

The process is started without pipes and in a session of its own.  Whoever wants to know about it reads its folder
(``docs/training.md``), so a training is found again after a restart of QGIS, and one that was started in a shell or on
another machine looks the same.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from ..errors import Cancelled, InputError, OutputError, RuntimeMissingError
from ..models.file_lock import is_locked
from .runtime import Runtime, clean_environment, kill_group, process_options, require_runtime, worker_command
from .worker_process import how_it_ended, lacking_package, was_killed

JOB, EVENTS, TOLD, LOG = "job.json", "events.jsonl", "told.jsonl", "log.txt"
LOCK, STOP, FINISH, CHECKPOINT, BEST = "running.lock", "stop", "finish", "checkpoint.pt", "best.pt"

STARTING, RUNNING, PAUSING, FINISHING, EXPORTING = "starting", "running", "pausing", "finishing", "exporting"
PAUSED, FINISHED, FAILED, INTERRUPTED = "paused", "finished", "failed", "interrupted"
#: States of a training whose process lives.
AT_WORK = (STARTING, RUNNING, PAUSING, FINISHING, EXPORTING)

# Until Python has loaded what the trainer needs, on a slow disk.
_SECONDS_TO_BEGIN = 60.0
# Of a file that has grown a lot, the rest comes with the next look: this much is read in a moment.
_LONGEST_READ = 1 << 20


@dataclass(frozen=True)
class StepDone:
    """A step of training.

    Args:
        position: in epochs: 2.4 is 40 % into the third.
        loss: of the step's batch.
        learning_rate: in this step.
    """

    position: float
    loss: float | None
    learning_rate: float | None


@dataclass(frozen=True)
class EpochDone:
    """A finished epoch, or stage of a classical learner.

    Args:
        epoch: from 0.
        train_loss: mean over the training part.
        validation: figures of the validation part.
        seconds: that it took.
        samples_per_second: of training.
        waiting_share: of the time, for data.
        best: True where none was better before.
    """

    epoch: int
    train_loss: float | None
    validation: dict[str, float]
    seconds: float
    samples_per_second: float
    waiting_share: float
    best: bool


@dataclass
class _Told:
    """What the events say."""

    recipe: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    epochs: list[EpochDone] = field(default_factory=list)
    steps: list[StepDone] = field(default_factory=list)
    last: str = ""
    end: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    refit: tuple[int, int] | None = None


class TrainingRun:
    """A training, seen through its folder.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._process: subprocess.Popen | None = None
        self._told = _Told()
        self._events = GrowingFile(self.folder / EVENTS)
        self._own = GrowingFile(self.folder / TOLD)
        self._answer: dict[str, Any] = {}
        self._progress: dict[str, Any] = {}
        self._messages: list[str] = []
        self._alive = False
        self.state = INTERRUPTED
        self.job = _read_json(self.folder / JOB)
        self.look()

    # -- starting -------------------------------------------------------------------------------

    @classmethod
    def start(cls, job: Mapping[str, Any], runtime: Runtime | None = None) -> TrainingRun:
        """Start a training in the folder ``job["output"]``.

        Args:
            job: options of ``thematica train``.
            runtime: the one to use; :func:`.runtime.find_runtime` where None.

        Raises:
            OutputError: the folder holds a training already, or cannot be written.
            RuntimeMissingError: there is no runtime, or it does not start.
        """
        folder = Path(job["output"])
        runtime = require_runtime(runtime)
        if not job.get("resume") and any((folder / name).exists() for name in (CHECKPOINT, "training.json")):
            raise OutputError(f"“{folder}” holds a training already: choose another folder, or go on with that one.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error
        run = cls(folder)
        if run.is_alive():
            raise OutputError(f"Another training is at work in “{folder}”: choose another folder.")
        if not job.get("resume"):
            # What an earlier attempt has told is not of this training.
            for name in (EVENTS, STOP, FINISH):
                (folder / name).unlink(missing_ok=True)
        run._start(job, runtime)
        return run

    def _start(self, job: Mapping[str, Any], runtime: Runtime) -> None:
        self.job = {"command": "train", **job}
        arguments = worker_command(runtime, "train", "--job", str(self.folder / JOB), "--progress", "json")
        try:
            (self.folder / JOB).write_text(json.dumps(self.job, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            with (self.folder / TOLD).open("wb") as told, (self.folder / LOG).open("wb") as log:
                self._process = _start_detached(arguments, told, log)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._answer, self._progress, self._messages = {}, {}, []
        self._own = GrowingFile(self.folder / TOLD)
        self.look()

    # -- what is known --------------------------------------------------------------------------

    def look(self) -> bool:
        """Read what is new; True where anything changed.  Cheap: call it once a second while it is shown."""
        before = (self.state, len(self._told.epochs), len(self._told.steps), self._told.last, len(self._messages))
        # Before the files are read: what a process told before its end is then there.
        self._alive = self.is_alive()
        events, anew = self._events.read()
        if anew:
            self._told = _Told()
        for event in events:
            self._take(event)
        for event in self._own.read()[0]:
            self._take_own(event)
        self.state = self._find_state()
        return before != (
            self.state, len(self._told.epochs), len(self._told.steps), self._told.last, len(self._messages),
        )  # fmt: skip

    @property
    def is_behind(self) -> bool:
        """True where it has told more than was read: look again, before anything is concluded."""
        return self._events.is_behind or self._own.is_behind

    def is_alive(self) -> bool:
        """True while the process lives, whoever started it."""
        if self._process is not None and self._process.poll() is None:
            return True
        return is_locked(self.folder / LOCK)

    def _find_state(self) -> str:
        told = self._told
        if self._alive:
            if told.last == "exporting":
                return EXPORTING
            if (self.folder / STOP).exists():
                return PAUSING
            if (self.folder / FINISH).exists() or told.last == "finishing":
                return FINISHING
            return RUNNING if told.last in ("start", "step", "epoch", "checkpoint", "note", "refit") else STARTING
        answer = self._answer.get("event")
        if answer == "result" or (told.last in ("end", "optimism") and told.end and answer != "error"):
            return FINISHED
        if told.last == "stopped" or self._answer.get("code") == Cancelled.code:
            return PAUSED if self._has_checkpoint() else INTERRUPTED
        if answer == "error" or told.last == "error" or self._died_of():
            return FAILED
        return STARTING if not told.last and has_just_begun(self.folder) else INTERRUPTED

    def _has_checkpoint(self) -> bool:
        return (self.folder / CHECKPOINT).exists()

    @property
    def problem(self) -> str:
        """Why it failed, in a sentence; empty where it did not."""
        if self.state != FAILED:
            return ""
        return str(self._answer.get("message") or "") or self._died_of() or self._told.problem

    def _died_of(self) -> str:
        """The sentence for a process of ours that ended without a word of its own."""
        if self._process is None or self._alive or self._answer:
            return ""
        status, tail = self._process.returncode, _tail(self.folder / LOG, 20_000)
        lacking = lacking_package(tail)
        if lacking:
            return lacking
        if was_killed(status):
            return (
                "The training was killed, probably because memory ran out: choose a smaller batch, or close other "
                "programs. It can go on from its last checkpoint."
            )
        return f"The training ended unexpectedly ({how_it_ended(status)}); its log says more."

    @property
    def name(self) -> str:
        """Of the model, or of the folder."""
        return str(self.job.get("name") or "") or self.folder.name

    @property
    def network(self) -> str:
        """The network that is trained, or empty where that is not known yet."""
        return str(self._told.recipe.get("network") or self.job.get("network") or "")

    @property
    def dataset(self) -> str:
        """Folder of the training set."""
        return self._told.dataset or str(self.job.get("dataset") or "")

    @property
    def recipe(self) -> dict[str, Any]:
        """All that was decided before."""
        return self._told.recipe

    @property
    def monitor(self) -> str:
        """Figure of the validation part that chooses the epoch."""
        return str(self._told.recipe.get("monitor") or "overall accuracy")

    @property
    def epochs(self) -> int:
        """How many are planned; 0 where that is not known yet."""
        planned = self._told.recipe.get("epochs")
        return planned if isinstance(planned, int) else 0

    @property
    def epochs_done(self) -> list[EpochDone]:
        """Those that have ended."""
        return self._told.epochs

    @property
    def steps(self) -> list[StepDone]:
        """Steps, at most four a second."""
        return self._told.steps

    @property
    def best_epoch(self) -> int | None:
        """The epoch that is kept, from 0."""
        return next((entry.epoch for entry in reversed(self._told.epochs) if entry.best), None)

    @property
    def position(self) -> float:
        """Where it is, in epochs."""
        done = float(self._told.epochs[-1].epoch + 1) if self._told.epochs else 0.0
        return max(done, self._told.steps[-1].position) if self._told.steps else done

    @property
    def refit(self) -> tuple[int, int] | None:
        """Epoch, from 0, and number of epochs of the last training, which has the validation part too, once it runs."""
        return self._told.refit

    def _done_and_planned(self) -> tuple[float, float]:
        """Epochs: of both trainings, where the recipe asks for a last one."""
        again = self.epochs if self._told.recipe.get("refit") else 0
        if self._told.refit is None:
            return min(self.position, self.epochs), self.epochs + again
        epoch, epochs = self._told.refit
        return self.epochs + epoch + 1, self.epochs + epochs

    @property
    def fraction(self) -> float:
        """Where it is, from 0 to 1."""
        if self.state == FINISHED:
            return 1.0
        done, planned = self._done_and_planned()
        return min(done / planned, 1.0) if planned else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until its end, by the last epochs; None where that cannot be told."""
        if self.state not in (RUNNING, PAUSING) or not self.epochs:
            return None
        if self._told.epochs:
            recent = self._told.epochs[-5:]
            each = sum(entry.seconds for entry in recent) / len(recent)
            done, planned = self._done_and_planned()
            return max(planned - done, 0.0) * each
        left = self._progress.get("seconds_left")
        return float(left) if isinstance(left, (int, float)) else None

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures of the finished model."""
        found = self._told.end.get("metrics") if self.state == FINISHED else None
        return dict(found) if isinstance(found, dict) else {}

    @property
    def part(self) -> str:
        """Of the training set, that :attr:`metrics` are of."""
        return str(self._told.end.get("part") or "test")

    @property
    def model_path(self) -> Path | None:
        """The finished model, where it is still there."""
        path = self.folder / "model.onnx"
        return path if self.state == FINISHED and path.exists() else None

    @property
    def stored(self) -> str:
        """The model's name in the store, or empty."""
        return str(self._told.end.get("stored") or "") if self.state == FINISHED else ""

    @property
    def messages(self) -> list[str]:
        """What the trainer said in words, and errors."""
        return [*self._told.notes, *self._messages]

    def log_tail(self, characters: int = 20_000) -> str:
        """The end of what the process wrote besides: warnings of libraries, tracebacks."""
        details = str(self._answer.get("details") or "")
        return "\n".join(filter(None, (_tail(self.folder / LOG, characters).strip(), details)))[-characters:]

    # -- what can be done -----------------------------------------------------------------------

    @property
    def may_pause(self) -> bool:
        """True where it can stop with a checkpoint."""
        return self.state == RUNNING and self._keeps_checkpoints()

    @property
    def may_finish(self) -> bool:
        """True where it can end with the best epoch so far."""
        if self.state in (PAUSED, INTERRUPTED, FAILED):
            return self._has_checkpoint() and (self.folder / BEST).exists()
        return self.state == RUNNING

    @property
    def may_go_on(self) -> bool:
        """True where it can go on from a checkpoint, or begin anew where there is none."""
        return self.state in (PAUSED, INTERRUPTED, FAILED) and bool(self.job)

    @property
    def may_discard(self) -> bool:
        """True where its process can be ended."""
        return self._alive

    def _keeps_checkpoints(self) -> bool:
        # Those of scikit-learn have no steps.
        return bool(self._told.steps) or self._has_checkpoint()

    def pause(self) -> None:
        """Stop with a checkpoint, after the present step.

        Raises:
            OutputError: the folder cannot be written.
        """
        self._wish(STOP)

    def finish(self, runtime: Runtime | None = None) -> None:
        """End now; the best epoch becomes the model.

        Raises:
            OutputError: the folder cannot be written.
            RuntimeMissingError: it was paused, and there is no runtime to go on with.
        """
        self._wish(FINISH)
        if not self.is_alive():
            self.go_on(runtime)

    def go_on(self, runtime: Runtime | None = None) -> None:
        """Go on from the last checkpoint, or begin anew where there is none.

        Raises:
            OutputError: the folder cannot be written.
            RuntimeMissingError: there is no runtime, or it does not start.
        """
        if self.is_alive():
            return
        (self.folder / STOP).unlink(missing_ok=True)
        self._start({**self.job, "output": str(self.folder), "resume": True}, require_runtime(runtime))

    def cancel(self) -> None:
        """End the process at once, with all that it started; the folder stays.

        Raises:
            InputError: it runs on another machine.
        """
        if self._process is not None and self._process.poll() is None:
            kill_group(self._process.pid)
            self._process.wait()
        else:
            self._kill_owner()
        self._answer = {"event": "error", "code": Cancelled.code, "message": "Cancelled."}
        self.look()

    def _kill_owner(self) -> None:
        owner = _read_json(self.folder / LOCK)
        pid, host = owner.get("pid"), owner.get("host")
        # The lock tells that this very process lives: no other one can have its number.
        if not is_locked(self.folder / LOCK) or not isinstance(pid, int) or pid <= 1:
            return
        if host != socket.gethostname():
            raise InputError(f"The training runs on “{host}”: pause it, or end it there.")
        kill_group(pid)
        _wait(lambda: not is_locked(self.folder / LOCK))

    def _wish(self, name: str) -> None:
        try:
            (self.folder / name).touch()
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self.look()

    # -- reading --------------------------------------------------------------------------------

    def _take(self, event: dict[str, Any]) -> None:
        told, kind = self._told, event["event"]
        if kind == "step":
            self._take_step(event)
        elif kind == "epoch":
            self._take_epoch(event)
        elif kind == "start":
            told.recipe = event["recipe"] if isinstance(event.get("recipe"), dict) else {}
            told.dataset, told.end, told.problem = str(event.get("dataset") or ""), {}, ""
            told.refit = None
            first = event.get("epoch")
            if isinstance(first, int):
                # What came after the checkpoint that it goes on from is trained again.
                told.epochs[:] = [entry for entry in told.epochs if entry.epoch < first]
        elif kind == "end":
            told.end = event
        elif kind == "error":
            told.problem = str(event.get("message") or "")
        elif kind == "refit":
            numbers = event.get("epoch"), event.get("epochs")
            told.refit = numbers if all(isinstance(value, int) for value in numbers) else None
        elif kind == "note":
            told.notes.append(str(event.get("message") or ""))
        elif kind not in ("checkpoint", "stopped", "finishing", "exporting", "optimism"):
            return
        told.last = kind

    def _take_step(self, event: dict[str, Any]) -> None:
        epoch, step, steps = (event.get(name) for name in ("epoch", "step", "steps"))
        if not all(isinstance(value, int) for value in (epoch, step, steps)):
            return
        position = epoch + step / max(steps, 1)
        steps_told = self._told.steps
        while steps_told and steps_told[-1].position >= position:
            steps_told.pop()
        steps_told.append(StepDone(position, _number(event.get("loss")), _number(event.get("learning_rate"))))

    def _take_epoch(self, event: dict[str, Any]) -> None:
        epoch, figures = event.get("epoch"), event.get("validation")
        if not isinstance(epoch, int):
            return
        known = figures if isinstance(figures, dict) else {}
        numbers = {str(name): value for name, value in known.items() if _number(value) is not None}
        done = EpochDone(
            epoch,
            _number(event.get("train_loss")),
            numbers,
            _number(event.get("seconds")) or 0.0,
            _number(event.get("samples_per_second")) or 0.0,
            _number(event.get("waiting_share")) or 0.0,
            bool(event.get("best")),
        )
        epochs = self._told.epochs
        while epochs and epochs[-1].epoch >= epoch:
            epochs.pop()
        epochs.append(done)

    def _take_own(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            self._progress = event
        elif kind in ("result", "error"):
            self._answer = event
        elif kind == "log":
            self._messages.append(str(event.get("message") or ""))


def has_just_begun(folder: Path) -> bool:
    """Whether a process may have been started that has not come so far as to lock the folder."""
    try:
        begun = os.stat(folder / JOB).st_mtime
        return time.time() - begun < _SECONDS_TO_BEGIN and not os.stat(folder / LOG).st_size
    except OSError:
        return False


class GrowingFile:
    """JSON lines of a file that another process writes: those that are new."""

    def __init__(self, path: Path) -> None:
        self.path, self._place, self._inode = path, 0, 0
        #: The rest comes with the next reading.
        self.is_behind = False

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """New events, and whether the file was begun anew."""
        anew = False
        try:
            with self.path.open("rb") as stream:
                facts = os.fstat(stream.fileno())
                if facts.st_size < self._place or facts.st_ino != self._inode:
                    anew, self._place, self._inode = self._place > 0, 0, facts.st_ino
                stream.seek(self._place)
                text = stream.read(_LONGEST_READ)
        except OSError:
            self.is_behind = False
            return [], False
        # A line that is still being written is read the next time.
        whole = text[: text.rfind(b"\n") + 1]
        self.is_behind = len(text) == _LONGEST_READ
        if self.is_behind and not whole:
            whole = text  # no event is so long
        self._place += len(whole)
        return [event for event in map(_event, whole.splitlines()) if event is not None], anew


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e300 else None


def _tail(path: Path, characters: int) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(os.fstat(stream.fileno()).st_size - 4 * characters, 0))
            return stream.read().decode("utf-8", "replace")[-characters:]
    except OSError:
        return ""


def _unwritable(folder: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(f"The folder “{folder}” cannot be written ({reason}): choose another.", repr(error))


def _start_detached(arguments: list[str], told: Any, log: Any) -> subprocess.Popen:
    """Start a process that outlives this one."""
    options = process_options()
    if sys.platform == "win32":
        # A job object that QGIS runs in would end it together with QGIS.
        options["creationflags"] |= subprocess.CREATE_BREAKAWAY_FROM_JOB
    start: Callable[..., subprocess.Popen] = subprocess.Popen
    common = {"env": clean_environment(), "stdin": subprocess.DEVNULL, "stdout": told, "stderr": log}
    try:
        return start(arguments, **common, **options)
    except PermissionError:
        if sys.platform != "win32":
            raise RuntimeMissingError(
                "The runtime's Python does not start. Open Raster ▸ Thematica ▸ Runtime… and repair it.",
                repr(arguments),
            ) from None
        # Not every job object lets go.
        return start(arguments, **common, **process_options())
    except FileNotFoundError as error:
        raise RuntimeMissingError(
            "The runtime's Python does not start. Open Raster ▸ Thematica ▸ Runtime… and repair it.",
            f"{arguments}\n{error}",
        ) from error


def _wait(is_done: Callable[[], bool], seconds: float = 5.0) -> None:
    limit = time.monotonic() + seconds
    while not is_done() and time.monotonic() < limit:
        time.sleep(0.02)
