"""Whatever the worker's process says or does: a result, or one of our errors; never anything else."""

from __future__ import annotations

import random

import pytest

from thematica.errors import ThematicaError
from thematica.plugin import worker
from thematica.plugin.classify_task import ClassifyTask
from thematica.plugin.job import PreparedJob

RESULT = 'say(event="result", files={"output": job["output"]}, report={"classes": []})'


def talk(runtime, events=None):
    taken = events if events is not None else []
    return worker.run_worker("classify-pixels", {"output": "o.tif"}, taken.append, lambda: False, runtime)


GARBAGE = {
    "nothing": "",
    "empty lines": "print('\\n' * 1000)",
    "half a line": "sys.stdout.write('{\"event\": \"resul')",
    "half a result": "sys.stdout.write('{\"event\": \"result\", \"files\": {\"output\"')",
    "bytes that are no text": "sys.stdout.buffer.write(bytes(range(256)) * 20)",
    "nul": "sys.stdout.buffer.write(bytes(10_000))",
    "a gigantic line": "sys.stdout.write('x' * 30_000_000)",
    "a gigantic message": "say(event='log', level='info', message='x' * 5_000_000)",
    "nesting without end": "print('[' * 200_000)",
    "nesting in an event": "print('{\"event\": ' * 100_000)",
    "an endless number": "print('{\"event\": ' + '9' * 10_000 + '}')",
    "half a letter": "print('{\"event\": \"log\", \"message\": \"\\\\ud800\"}')",
    "an event of no kind": "say(event=None)",
    "an event that is a list": "say(event=['result'])",
    "an event that is an object": "say(event={'result': 1})",
    "events of text": "print('\"event\"'); print('\"result\"')",
    "an unknown event": "say(event='party', when='tonight')",
    "progress without figures": "say(event='progress')",
    "progress of text": "say(event='progress', fraction='half', stage=3, pixels_per_second='x', seconds_left=[])",
    "progress that is no number": "print('{\"event\": \"progress\", \"fraction\": NaN, \"stage\": \"x\"}')",
    "infinite progress": "print('{\"event\": \"progress\", \"fraction\": 1e999, \"seconds_left\": -1e999}')",
    "progress beyond all": "say(event='progress', fraction=10**300, pixels_per_second=-1, seconds_left=10**30)",
    "a log without a message": "say(event='log')",
    "a log of other types": "say(event='log', level=5, message={'a': 1})",
    "an error without anything": "say(event='error')",
    "an error of other types": "say(event='error', code=['x'], message={'a': 1}, details=7)",
    "an error of null": "say(event='error', code=None, message=None, details=None)",
    "an error of a code that cannot be a key": "say(event='error', code={'a': []}, message='x')",
    "a result without files": "say(event='result')",
    "a result of other types": "say(event='result', files=['a'], report='x')",
    "a result with files of null": "say(event='result', files={'output': None}, report=None)",
    "a result with files of numbers": "say(event='result', files={'output': 5}, report={})",
    "a result in a list": "print('[{\"event\": \"result\"}]')",
    "stdout closed": "sys.stdout.close(); os.close(1)",
    "stderr of no text": "sys.stderr.buffer.write(bytes(range(256)) * 1000); sys.exit(1)",
    "a status beyond all": "os._exit(255)",
}  # fmt: skip


_ENDING = ("exit", "close", "error", "result'")
# What neither ends the process nor says how it ended.
HARMLESS = [
    code for code in GARBAGE.values() if not any(word in code for word in ("exit", "close", "error", "result'"))
]


@pytest.mark.parametrize("code", GARBAGE.values(), ids=GARBAGE)
def test_garbage_ends_in_one_of_our_errors(fake_worker, code):
    with pytest.raises(ThematicaError) as caught:
        talk(fake_worker(code))
    assert caught.value.message.strip()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("code", HARMLESS)
def test_garbage_before_a_result_does_not_hide_it(fake_worker, code):
    assert talk(fake_worker(f"{code}\nprint()\n{RESULT}"))["files"] == {"output": "o.tif"}


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGKILL"])
def test_a_crash_of_the_libraries_is_a_sentence_and_writes_nothing(fake_worker, tmp_path, signal):
    """What GDAL and ONNX Runtime do to their process on some damaged files."""
    code = f"""
folder = os.path.join({str(tmp_path)!r}, ".map-host-1-x.part")
os.mkdir(folder)
open(os.path.join(folder, "map.tif"), "wb").write(b"half")
say(event="progress", fraction=0.5, stage="Classifying")
os.kill(os.getpid(), signal.{signal})
"""
    with pytest.raises(ThematicaError, match=r"ended unexpectedly.*Nothing was written"):
        talk(fake_worker(code))
    assert not (tmp_path / "map.tif").exists()


def test_random_garbage(fake_worker):
    """Pieces of good lines, torn and mixed with bytes."""
    pieces = [
        b'{"event": "progress", "fraction": 0.5, "stage": "x"}\n', b'{"event": "log", "message": "x"}\n',
        b'{"event": ', b'"result"', b"}\n", b"\n", b"\xff\xfe", b"null", b"[" * 3000, b'"', b"\\ud800", b"\r", b"\x00",
        b'{"event": "error", "code": "misfit", "message": 7}\n', b"1e999", b"\x85", b"\xe2\x80\xa8",
    ]  # fmt: skip
    for seed in range(25):
        chance = random.Random(seed)
        content = b"".join(chance.choice(pieces) for _ in range(chance.randrange(1, 60)))
        with pytest.raises(ThematicaError):
            talk(fake_worker(f"sys.stdout.buffer.write({content!r})\nsys.exit({chance.choice([0, 1, 2, 3, 77])})"))


@pytest.mark.parametrize("code", GARBAGE.values(), ids=GARBAGE)
def test_the_dialogs_task_fails_politely(fake_worker, monkeypatch, code):
    """The task shows events in the window: figures of other types must not break it there."""
    runtime = fake_worker(code)
    monkeypatch.setattr(worker, "require_runtime", lambda _: runtime)
    task = ClassifyTask(PreparedJob({"command": "classify-pixels", "output": "o.tif"}, []), "Classify")
    assert task.run() is False
    assert "Thematica failed" not in task.error.message
