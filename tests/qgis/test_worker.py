"""The worker process seen from QGIS: events, errors, cancelling, crashes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QCoreApplication

from thematica.errors import Cancelled, InputError, MisfitError, RuntimeMissingError, ThematicaError
from thematica.plugin import worker
from thematica.plugin.classify_task import ClassifyTask
from thematica.plugin.job import PreparedJob
from thematica.plugin.runtime import Runtime

RESULT = 'say(event="result", files={"output": job["output"]}, report={"classes": []})'


def never() -> bool:
    return False


def run(runtime, events=None, is_cancelled=never, job=None):
    taken = events if events is not None else []
    return worker.run_worker("classify-pixels", job or {"output": "o.tif"}, taken.append, is_cancelled, runtime)


def test_events_and_result(fake_worker):
    events = []
    progress = 'say(event="progress", fraction=0.5, stage="Classifying")'
    result = run(fake_worker(f'{progress}\nsay(event="log", level="warning", message="ä")\n{RESULT}'), events)
    assert [event["event"] for event in events] == ["progress", "log"]
    assert events[1]["message"] == "ä"
    assert result["files"] == {"output": "o.tif"}


def test_the_job_reaches_the_worker_and_its_file_is_deleted(fake_worker, tmp_path):
    seen = tmp_path / "seen"
    code = (
        f"open({str(seen)!r}, 'w').write(sys.argv[sys.argv.index('--job') + 1])\n"
        'assert job == {"command": "classify-pixels", "output": "Straße 1/“ö”.tif", "scale": 0.5}, job\n' + RESULT
    )
    run(fake_worker(code), job={"output": "Straße 1/“ö”.tif", "scale": 0.5})
    assert not Path(seen.read_text()).exists()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("misfit", 2, MisfitError),
        ("something-new", 2, InputError),
        ("something-new", 1, ThematicaError),
        ("cancelled", 3, Cancelled),
    ],
)
def test_errors_become_the_family(fake_worker, code, status, expected):
    said = f'say(event="error", code="{code}", message="Band B4 is missing.", details="more")\nsys.exit({status})'
    with pytest.raises(ThematicaError) as caught:
        run(fake_worker("sys.stderr.write('from stderr')\n" + said))
    assert type(caught.value) is expected
    assert caught.value.message == "Band B4 is missing."
    assert "more" in caught.value.details
    assert "from stderr" in caught.value.details


def test_killed_worker_says_memory(fake_worker):
    with pytest.raises(ThematicaError, match="memory ran out") as caught:
        run(fake_worker('say(event="progress", fraction=0.1)\nos.kill(os.getpid(), signal.SIGKILL)'))
    assert caught.value.code == "fault"


def test_crashed_worker_names_its_signal(fake_worker):
    with pytest.raises(ThematicaError, match="signal 11"):
        run(fake_worker("os.kill(os.getpid(), signal.SIGSEGV)"))


def test_silent_end_is_a_fault(fake_worker):
    with pytest.raises(ThematicaError, match="exit status 0"):
        run(fake_worker("sys.exit(0)"))


def test_missing_package_is_named(fake_worker):
    with pytest.raises(RuntimeMissingError, match="lacks the package onnxruntime"):
        run(fake_worker("sys.stderr.write(\"ModuleNotFoundError: No module named 'onnxruntime.capi'\")\nsys.exit(1)"))


def test_crash_after_the_result_loses_nothing(fake_worker):
    assert run(fake_worker(RESULT + "\nos.kill(os.getpid(), signal.SIGSEGV)"))["event"] == "result"


def test_garbage_goes_to_the_log_but_does_not_flood_it(fake_worker):
    events = []
    code = "for n in range(5000): print('garbage', n)\nprint('[1]'); print('{\"a\": 1}'); print('null')\n" + RESULT
    run(fake_worker(code), events)
    assert events[0] == {"event": "log", "level": "info", "message": "garbage 0"}
    assert 100 <= len(events) <= 200


def test_huge_stderr_neither_blocks_nor_is_kept_whole(fake_worker):
    code = "for n in range(3000): sys.stderr.write('x' * 1000 + '\\n')\nsys.stderr.write('the end')\nsys.exit(1)"
    with pytest.raises(ThematicaError) as caught:
        run(fake_worker(code))
    assert caught.value.details.endswith("the end")
    assert len(caught.value.details) < 30_000


def test_cancel_is_asked_for_on_stdin(fake_worker, tmp_path):
    cleaned = tmp_path / "cleaned"
    code = f"try: wait_for_cancel()\nfinally: open({str(cleaned)!r}, 'w').close()"
    started = time.monotonic()
    with pytest.raises(Cancelled):
        run(fake_worker(code), is_cancelled=lambda: time.monotonic() > started + 0.3)
    assert cleaned.exists()
    assert time.monotonic() - started < 2


def test_a_worker_that_ignores_cancel_is_killed(fake_worker, monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "SECONDS_TO_END", 0.5)
    pid_file = tmp_path / "pid"
    code = f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\nwhile True: print('busy', flush=True)"
    with pytest.raises(Cancelled):
        run(fake_worker(code), is_cancelled=pid_file.exists)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_child_that_keeps_the_pipe_open_does_not_hang(fake_worker):
    started = time.monotonic()
    code = "import subprocess\nsubprocess.Popen(['sleep', '20'])\nos._exit(7)"
    with pytest.raises(ThematicaError, match="exit status 7"):
        run(fake_worker(code))
    assert time.monotonic() - started < 5


def test_a_fault_in_a_listener_ends_the_worker(fake_worker, tmp_path):
    pid_file = tmp_path / "pid"
    code = f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\nsay(event='progress')\ntime.sleep(60)"

    def fail(event):
        raise KeyError("listener")

    with pytest.raises(KeyError):
        worker.run_worker("classify-pixels", {}, fail, never, fake_worker(code))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_an_interpreter_that_does_not_start(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("no program")
    with pytest.raises(RuntimeMissingError, match="does not start"):
        run(Runtime(broken, "setting"))


def run_task(code, fake_worker, monkeypatch, tmp_path, after_start=lambda task: None):
    """Run a task in QGIS's task manager and return the signals that it sent."""
    runtime = fake_worker(code)
    monkeypatch.setenv("THEMATICA_RUNTIME", str(runtime.python))
    temporary = tmp_path / "area"
    temporary.mkdir()
    task = ClassifyTask(PreparedJob({"command": "classify-pixels", "output": "o.tif"}, [temporary]), "Classify")
    sent = []
    task.worker_event.connect(lambda event: sent.append(("event", event)))
    task.succeeded.connect(lambda result: sent.append(("succeeded", result)))
    task.failed.connect(lambda sentence, details: sent.append(("failed", sentence)))
    task.cancelled.connect(lambda: sent.append(("cancelled",)))
    QgsApplication.taskManager().addTask(task)
    started = time.monotonic()
    acted = False
    while not any(entry[0] in ("succeeded", "failed", "cancelled") for entry in sent):
        QCoreApplication.processEvents()
        if sent and not acted:
            acted = True
            after_start(task)
        time.sleep(0.005)
        assert time.monotonic() - started < 20, sent
    assert not temporary.exists()
    return sent


def test_task_succeeds(fake_worker, monkeypatch, tmp_path):
    code = 'say(event="progress", fraction=0.5)\n' + RESULT
    sent = run_task(code, fake_worker, monkeypatch, tmp_path)
    assert [entry[0] for entry in sent] == ["event", "succeeded"]
    assert sent[1][1]["files"] == {"output": "o.tif"}


def test_task_fails_with_the_sentence(fake_worker, monkeypatch, tmp_path):
    code = 'say(event="error", code="misfit", message="Band B4 is missing.")\nsys.exit(2)'
    assert run_task(code, fake_worker, monkeypatch, tmp_path) == [("failed", "Band B4 is missing.")]


def test_task_never_raises(fake_worker, monkeypatch, tmp_path):
    monkeypatch.setattr("thematica.plugin.classify_task.run_prepared", lambda *_: 1 / 0)
    sent = run_task("", fake_worker, monkeypatch, tmp_path)
    assert sent[0][0] == "failed"
    assert "ZeroDivisionError" in sent[0][1]


def test_task_is_cancelled_within_a_second(fake_worker, monkeypatch, tmp_path):
    cancelled_at = []

    def cancel(task):
        cancelled_at.append(time.monotonic())
        task.cancel()

    code = 'say(event="progress", fraction=0.1)\nwait_for_cancel()'
    sent = run_task(code, fake_worker, monkeypatch, tmp_path, cancel)
    assert sent[-1] == ("cancelled",)
    assert time.monotonic() - cancelled_at[0] < 1.5
