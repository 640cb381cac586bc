"""The persistent worker seen from QGIS: questions, answers, floods, deaths, garbage."""

from __future__ import annotations

import os
import signal

import pytest
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QCoreApplication, QEvent

from thematica.errors import InputError, RuntimeMissingError
from thematica.plugin import live_worker
from thematica.plugin.live_message import parse_message
from thematica.plugin.live_worker import LiveWorker
from thematica.plugin.runtime import Runtime

from .driving import settle, wait_for
from .live_parts import SERVES, FakeLive, is_gone
from .test_worker_garbage import GARBAGE, HARMLESS


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeLive(tmp_path, monkeypatch)


@pytest.fixture
def make(fake, monkeypatch):
    """``make(code)``: a worker with what it signalled in ``worker.told``."""
    monkeypatch.setattr(live_worker, "PAUSES", (0.01, 0.02))
    workers = []

    def start(code=SERVES):
        worker = LiveWorker(fake(code))
        worker.told = []
        for name in ("died", "restarted", "stopped", "log"):
            getattr(worker, name).connect(lambda *values, name=name: worker.told.append((name, *values)))
        worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        pid = worker.pid
        if not sip.isdeleted(worker):
            worker.end()
        if pid is not None:
            wait_for(lambda pid=pid: is_gone(pid))


def ask(worker, do, **values):
    """Ask and wait for the answer: a reply or an error."""
    answers = []
    worker.request(do, values, answers.append, answers.append)
    wait_for(lambda: answers)
    return answers[0]


def names(worker):
    return [entry[0] for entry in worker.told]


def test_questions_and_answers_find_each_other(make, fake):
    worker = make()
    answers = []
    for number in range(5):
        worker.request("labels", {"features": [[number, 1, "00"]] * number, "text": "ä"}, answers.append)
    wait_for(lambda: len(answers) == 5)
    assert [answer["features"] for answer in answers] == [0, 1, 2, 3, 4]
    assert len({request["id"] for request in fake.seen()}) == 5
    assert {request["text"] for request in fake.seen()} == {"ä"}


def test_an_error_is_one_of_the_family_with_its_code(make):
    code = """
def refuse(request):
    code = request["code"]
    say(id=request["id"], event="error", code=code, message="Draw polygons.", details="deep")
ready(); serve(preview=refuse)
"""
    worker = make(code)
    error = ask(worker, "preview", code="too-few-labels")
    assert (error.code, error.message, error.details) == ("too-few-labels", "Draw polygons.", "deep")
    assert isinstance(ask(worker, "preview", code="bad-input"), InputError)


def test_while_dragging_only_the_newest_is_asked(make, fake, tmp_path):
    go = tmp_path / "go"
    code = f"""
def slowly(request):
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
    reply(request, geometry=None, tolerance=request["tolerance"])
ready(); serve(grow=slowly)
"""
    worker = make(code)
    answers = []
    for tolerance in range(50):
        worker.request("grow", {"tolerance": tolerance}, answers.append)
    # Other questions pass the ones that wait.
    worker.request("labels", {"features": []}, answers.append)
    settle()
    go.touch()
    wait_for(lambda: len(answers) == 4)
    assert [request["tolerance"] for request in fake.seen("grow")] == [0, 1, 49]
    assert answers[-1]["tolerance"] == 49


def test_a_superseded_request_lets_the_next_through(make, fake):
    code = """
ready()
for request in asked():
    if request["n"] < 3: say(id=request["id"], event="superseded")
    else: reply(request, n=request["n"])
"""
    worker = make(code)
    answers = []
    for n in range(4):
        worker.request("preview", {"n": n}, answers.append, answers.append)
    wait_for(lambda: answers)
    assert [answer["n"] for answer in answers] == [3]


def test_large_requests_do_not_block_while_the_worker_is_busy(make, tmp_path):
    """A pipe takes 64 KiB; the worker reads nothing until it has been told to."""
    go = tmp_path / "go"
    worker = make(f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n{SERVES}")
    answers = []
    for _ in range(5):
        worker.request("labels", {"features": [[1, 1, "00" * 100_000]]}, answers.append)
    go.touch()  # only reached when the requests did not wait
    wait_for(lambda: len(answers) == 5)


def test_a_killed_worker_is_started_again(make, fake):
    worker = make()
    ask(worker, "labels", features=[])
    first = worker.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: "restarted" in names(worker))
    assert "signal 9" in dict(entry[:2] for entry in worker.told if entry[0] == "died")["died"]
    assert worker.pid != first
    assert ask(worker, "labels", features=[])["event"] == "reply"
    assert fake.starts() == 2


def test_what_the_dead_worker_owed_is_told(make):
    worker = make("ready()\nfor request in asked(): os._exit(7)")
    answer = ask(worker, "grow", tolerance=1)
    assert "try once more" in answer.message


def test_dying_again_and_again_ends_with_a_sentence(make, fake):
    worker = make("sys.stderr.write('boom\\n'); os._exit(7)")
    wait_for(lambda: "stopped" in names(worker))
    sentence, details = worker.told[-1][1:]
    assert "3 times in a row" in sentence
    assert "exit status 7" in sentence
    assert "Switch the preview off and on" in sentence
    assert "boom" in details
    assert not worker.is_running
    assert fake.starts() == 3
    assert "is being started again" in ask(worker, "labels").message
    # The analyst tries again.
    worker.told.clear()
    fake(SERVES)
    worker.start()
    assert ask(worker, "labels", features=[])["event"] == "reply"


def test_a_worker_that_runs_out_of_memory_says_so(make):
    worker = make("os.kill(os.getpid(), signal.SIGKILL)")
    wait_for(lambda: "stopped" in names(worker))
    assert "memory ran out" in worker.told[-1][1]


def test_a_runtime_without_a_package_says_which(make, fake):
    worker = make("sys.stderr.write(\"ModuleNotFoundError: No module named 'sklearn'\"); sys.exit(1)")
    wait_for(lambda: "stopped" in names(worker))
    assert "lacks the package sklearn" in worker.told[-1][1]
    assert fake.starts() == 1


def test_a_hung_worker_is_killed_and_started_again(make, monkeypatch):
    monkeypatch.setattr(live_worker, "_MILLISECONDS_TO_WATCH", 50)
    worker = make("ready()\nserve(preview=lambda request: time.sleep(1000) if starts == 1 else picture(request))")
    ask(worker, "labels", features=[])
    pid = worker.pid
    monkeypatch.setattr(live_worker, "SECONDS_TO_ANSWER", 0.3)
    answer = ask(worker, "preview", size=[2, 2], extent=[0, 0, 1, 1])
    assert "try once more" in answer.message
    monkeypatch.setattr(live_worker, "SECONDS_TO_ANSWER", 60.0)
    wait_for(lambda: is_gone(pid))
    wait_for(lambda: "restarted" in names(worker))
    assert ask(worker, "preview", size=[2, 2], extent=[0, 0, 1, 1])["size"] == [2, 2]


def test_an_idle_worker_is_not_taken_for_hung(make, monkeypatch):
    monkeypatch.setattr(live_worker, "_MILLISECONDS_TO_WATCH", 20)
    worker = make()
    ask(worker, "labels", features=[])
    monkeypatch.setattr(live_worker, "SECONDS_TO_ANSWER", 0.1)
    looks = []
    worker._watch.timeout.connect(lambda: looks.append(1))
    wait_for(lambda: len(looks) > 10)
    assert "died" not in names(worker)


def test_a_qgis_that_was_busy_does_not_take_the_worker_for_hung(make):
    worker = make()
    ask(worker, "labels", features=[])
    answers = []
    worker.request("labels", {"features": []}, answers.append)
    told = worker._process.told + 1
    while worker._process.told < told:
        pass  # QGIS's own thread is busy, and lets no event through
    worker._process.heard -= 100
    for request in worker._sent.values():
        request.sent -= 100
    worker._look()
    wait_for(lambda: answers)
    assert "died" not in names(worker)


def test_a_child_that_keeps_the_pipe_open_does_not_hide_the_death(make, monkeypatch):
    monkeypatch.setattr(live_worker, "_MILLISECONDS_TO_WATCH", 50)
    monkeypatch.setattr(live_worker, "_SECONDS_TO_READ", 0.2)
    code = "import subprocess\nif starts == 1:\n    subprocess.Popen(['sleep', '20']); os._exit(7)\n" + SERVES
    worker = make(code)
    wait_for(lambda: "restarted" in names(worker))


def test_end_of_the_worker_ends_the_process(make):
    worker = make()
    ask(worker, "labels", features=[])
    pid = worker.pid
    worker.end()
    wait_for(lambda: is_gone(pid))
    worker.end()
    assert not worker.is_running
    assert "died" not in names(worker)


def test_a_worker_that_will_not_end_is_killed(make, monkeypatch):
    monkeypatch.setattr(live_worker, "SECONDS_TO_END", 0.2)
    worker = make("ready()\nfor request in asked(): reply(request)\nwhile True: time.sleep(1)")
    ask(worker, "labels")
    pid = worker.pid
    worker.end()
    wait_for(lambda: is_gone(pid), 5)


def test_a_worker_object_that_qt_deletes_takes_the_process_with_it(make):
    worker = make("ready()\nwhile True: say(event='log', level='info', message='x'); time.sleep(0.05)")
    wait_for(lambda: worker.told)
    pid = worker.pid
    worker.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    wait_for(lambda: is_gone(pid))


def test_without_a_runtime_there_is_its_sentence(tmp_path):
    worker = LiveWorker(Runtime(tmp_path / "nowhere" / "python", "setting"))
    with pytest.raises(RuntimeMissingError, match="Raster ▸ Thematica ▸ Runtime"):
        worker.start()
    assert not worker.is_running


@pytest.mark.parametrize("code", HARMLESS)
def test_garbage_does_not_hide_an_answer(make, code):
    """Whatever a library writes to stdout, before a question and between question and answer."""
    worker = make(f"job = {{}}\n{code}\nprint()\nready()\ndef noisy(request):\n"
                  + "".join(f"    {line}\n" for line in code.splitlines())
                  + "    print()\n    reply(request)\nserve(labels=noisy)")  # fmt: skip
    assert ask(worker, "labels")["event"] == "reply"
    assert len([entry for entry in worker.told if entry[0] == "log"]) <= 1001
    assert "died" not in names(worker)


@pytest.mark.parametrize("code", GARBAGE.values(), ids=GARBAGE)
def test_garbage_for_an_answer_never_raises(make, code):
    """At worst the worker is taken for dead, again and again."""
    worker = make(f"job = {{}}\n{code}\nsys.exit(1)")
    wait_for(lambda: "stopped" in names(worker), 40)


def test_answers_that_nobody_asked_for_are_passed_over(make):
    code = """
ready()
for request in asked():
    for n in (-1, 0, 10**30, None, "1", True, [1], {}): say(id=n, event="reply", x=1)
    say(event="reply"); say(id=request["id"], event="party"); say(id=request["id"])
    reply(request, x=2); reply(request, x=3)
"""
    worker = make(code)
    assert ask(worker, "labels")["x"] == 2
    assert ask(worker, "labels")["x"] == 2


@pytest.mark.parametrize(
    "line",
    ["", "[]", "null", "5", '{"event": 5}', '{"event": "reply"}', '{"event": "reply", "id": true}', "{" * 5000,
     '{"event": "superseded", "id": "1"}', '{"id": 1}', '{"event": "result", "files": {"a": "b"}, "report": {}}'],
)  # fmt: skip
def test_a_line_that_is_no_message(line):
    assert parse_message(line) is None


def test_a_picture_of_another_size_or_place_is_not_taken_and_not_deleted(tmp_path, monkeypatch):
    from thematica.errors import ThematicaError
    from thematica.plugin.live_message import read_preview

    def reply(path, **more):
        size = {"size": [2, 2], "extent": [0, 0, 1, 1], "format": "argb32-premultiplied"}
        return {"file": str(path), **size, **more}

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    precious, inside = tmp_path / "precious", temporary / "picture"
    for path in (precious, inside):
        path.write_bytes(b"\0\0\377\377" * 4)
    for bad in (reply(precious), reply(inside, size=[3, 3]), reply(inside, size=[2.5, 2]), reply(inside, size=None),
                reply(inside, extent=[0, 0, 1]), reply(inside, extent=[0, 0, 1, float("nan")]), reply(temporary),
                reply(inside, format="png"), reply(temporary / "none"), reply(inside, size=[0, 0]), {}):  # fmt: skip
        with pytest.raises(ThematicaError):
            read_preview(bad)
    assert precious.exists()
    assert inside.exists()
    preview = read_preview(reply(inside))
    assert not inside.exists()
    assert preview.image.pixelColor(1, 1).name() == "#ff0000"
    assert preview.extent.toRectF().getCoords() == (0, 0, 1, 1)
