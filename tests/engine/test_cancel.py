"""Cancelling: within two seconds, with exit status 3, and nothing stays behind; and what must not cancel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from thematica.engine import Monitor, PixelJob, classify, cog
from thematica.errors import Cancelled

from .networks import image, noise
from .workplace import Workplace, run_there, slow_run


def ends_cancelled(process: subprocess.Popen, since: float) -> None:
    assert process.wait(10) == 3
    assert time.monotonic() - since < 2
    events = [json.loads(line) for line in process.stdout]
    assert events[-1] == {"event": "error", "code": "cancelled", "message": "Cancelled.", "details": ""}
    assert not any(event["event"] == "result" for event in events)
    assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels(workplace: Workplace, number: signal.Signals) -> None:
    before = workplace.files()
    with slow_run(workplace) as process:
        since = time.monotonic()
        process.send_signal(number)
        ends_cancelled(process, since)
    assert workplace.files() == before


@pytest.mark.parametrize("how", ["line", "end"])
def test_the_caller_cancels_through_stdin(workplace: Workplace, how: str) -> None:
    before = workplace.files()
    with slow_run(workplace, stdin=subprocess.PIPE) as process:
        since = time.monotonic()
        if how == "line":
            process.stdin.write("cancel\n")
            process.stdin.flush()
        else:
            process.stdin.close()
        ends_cancelled(process, since)
    assert workplace.files() == before


def test_the_worker_ends_with_its_caller(workplace: Workplace) -> None:
    """When QGIS is killed nobody says cancel, but the pipe ends."""
    read, write = os.pipe()
    with slow_run(workplace, stdin=read) as process:
        os.close(read)
        since = time.monotonic()
        os.close(write)
        ends_cancelled(process, since)


def test_with_large_tiles_too(workplace: Workplace) -> None:
    with slow_run(workplace, "--tile", 1024) as process:
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ends_cancelled(process, since)


def test_while_overviews_are_made(workplace: Workplace) -> None:
    """GDAL makes a COG in one call that nobody can interrupt: for a large map it takes minutes."""
    before = workplace.files()
    scores = ("--probabilities", workplace / "p.tif", "--tile", 512)
    with slow_run(workplace, *scores, stage="Writing overviews", layers=0) as process:
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ends_cancelled(process, since)
    assert workplace.files() == before


def test_what_cannot_be_interrupted_is_left_behind(monkeypatch: pytest.MonkeyPatch, workplace: Workplace) -> None:
    """A COG that would take minutes; GDAL is replaced by a long sleep."""
    release = threading.Event()
    monkeypatch.setattr(cog, "write_cog", lambda *_: release.wait(30))
    before = workplace.files()
    monitor = Monitor(lambda event: threading.Timer(0.2, monitor.cancel).start())
    since = time.monotonic()
    try:
        with pytest.raises(Cancelled):
            classify(PixelJob([str(workplace.scene)], str(workplace.model), str(workplace.output)), monitor)
        assert time.monotonic() - since < 2
        assert workplace.files() == before
        assert any(thread.name == cog.LEFT_BEHIND for thread in threading.enumerate())
    finally:
        release.set()


def test_cancelling_twice_is_once(workplace: Workplace) -> None:
    with slow_run(workplace, stdin=subprocess.PIPE) as process:
        since = time.monotonic()
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
        process.stdin.write("cancel\ncancel\n")
        process.stdin.close()
        ends_cancelled(process, since)


def test_the_earlier_result_stays(workplace: Workplace) -> None:
    assert workplace.run().status == 0
    before = workplace.files()
    with slow_run(workplace, "--overwrite") as process:
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ends_cancelled(process, since)
    assert workplace.files() == before


def test_an_empty_stdin_says_nothing(workplace: Workplace) -> None:
    """As under cron, in a pipeline of a shell, or started by a service."""
    assert run_there(*workplace.command("--progress", "json")).status == 0


def test_a_closed_pipe_says_nothing(workplace: Workplace) -> None:
    read, write = os.pipe()
    os.close(write)
    program = Path(sys.executable).with_name("thematica")
    done = subprocess.run(
        [program, *workplace.command("--progress", "json")], stdin=read, capture_output=True, timeout=60
    )
    os.close(read)
    assert done.returncode == 0


def test_without_json_stdin_is_not_listened_to(workplace: Workplace) -> None:
    """``while read name; do thematica …; done < list`` must neither end nor eat the list."""
    scene = image(workplace / "larger.tif", noise((3, 800, 800)))
    program = Path(sys.executable).with_name("thematica")
    process = subprocess.Popen([program, *workplace.command(raster=scene)], stdin=subprocess.PIPE)
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize("stage", ["Opening", "Classifying", "Writing overviews"])
def test_in_every_stage(workplace: Workplace, stage: str) -> None:
    """From Python, the monitor asks; here in the very moment in which a stage is announced."""
    before = workplace.files()
    monitor = Monitor(lambda event: monitor.cancel() if event.get("stage") == stage else None)
    job = PixelJob([str(workplace.scene)], str(workplace.model), str(workplace.output))
    with pytest.raises(Cancelled):
        classify(job, monitor)
    assert workplace.files() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("read", "infer"))]


def test_after_the_end_it_is_too_late(workplace: Workplace) -> None:
    monitor = Monitor(lambda event: monitor.cancel() if event.get("stage") == "Done" else None)
    classify(PixelJob([str(workplace.scene)], str(workplace.model), str(workplace.output)), monitor)
    assert workplace.output.exists()
