"""``thematica live`` as QGIS has it: a process of its own, lines through its pipes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS

from ..engine.live.scenes import CLASSES, COLORS, boxes, striped, stripes
from ..engine.networks import image

UTM = CRS.from_epsg(32632).to_wkt()
EXTENT = [500_000, 5_499_400, 500_600, 5_500_000]
#: Far longer than anything takes: a test that waits so long has failed.
PATIENCE = 20.0


class Live:
    """The worker's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        program = Path(sys.executable).with_name("thematica")
        self.process = subprocess.Popen(
            [program, "live"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Its pictures go into a folder of the test's.
            env={**os.environ, "TMPDIR": str(folder)},
        )
        self._number = 0
        self._events: queue.Queue[dict | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.ready = self.next()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def next(self) -> dict:
        """The next event."""
        event = self._events.get(timeout=PATIENCE)
        assert event is not None, self.process.stderr.read().decode()
        return event

    def send(self, do: str, **values: Any) -> int:
        self._number += 1
        self.write(json.dumps({"id": self._number, "do": do, **values}) + "\n")
        return self._number

    def write(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ask(self, do: str, **values: Any) -> dict:
        number = self.send(do, **values)
        event = self.next()
        assert event["id"] == number, event
        return event

    def open(self, *rasters: Path) -> dict:
        return self.ask("open", rasters=[str(path) for path in rasters])

    def labels(self, features: Any, **more: Any) -> dict:
        return self.ask("labels", **drawn(features, **more))

    def left(self) -> list[Path]:
        """What lies in its folder for temporary files."""
        return sorted(self.folder.rglob("*"))

    def ends(self) -> int:
        """Its exit status, and that nothing is left behind."""
        status = self.process.wait(PATIENCE)
        assert self.left() == []
        return status


def drawn(features: Any, **more: Any) -> dict[str, Any]:
    """A ``labels`` request."""
    classes = [{"code": c.code, "name": c.name, "color": c.color, "macro": c.macro} for c in CLASSES]
    shapes = [[fid, code, shape.hex()] for fid, code, shape in features]
    return {"crs": UTM, "classes": classes, "replace": True, "features": shapes, "removed": [], **more}


CANVAS = {"extent": EXTENT, "crs": UTM, "size": [60, 60]}
CLICK = {"point": [500_300, 5_499_700], "crs": UTM}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    worker = Live(tmp_path / "temporary")
    yield worker
    worker.process.kill()
    worker.process.wait(PATIENCE)
    for stream in (worker.process.stdin, worker.process.stdout, worker.process.stderr):
        try:
            stream.close()
        except OSError:  # what was not flushed has nowhere to go
            pass


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene that takes a while to look at as a whole."""
    path = tmp_path_factory.mktemp("large") / "scene.tif"
    samples = np.tile(stripes(10, 512)[0], (1, 4, 4))
    return image(path, samples, tiled=True, compress="deflate", zlevel=1, interleave="pixel")


def test_a_whole_dialogue(live: Live, tmp_path: Path) -> None:
    assert (live.ready["event"], live.ready["protocol"]) == ("ready", 1)
    assert [band["name"] for band in live.open(striped(tmp_path / "Größe 水.tif"))["bands"]] == ["B1", "B2", "B3"]
    features = boxes()
    assert live.labels(features[:5])["features"] == 5
    assert live.ask("labels", **drawn(features[5:], replace=False))["features"] == 6
    reply = live.ask("preview", **CANVAS, veil=False)
    content = Path(reply["file"]).read_bytes()
    os.unlink(reply["file"])
    picture = np.frombuffer(content, "<u4").reshape(60, 60)
    assert (picture == COLORS[stripes()[1]]).mean() > 0.99
    found = live.ask("grow", **CLICK, tolerance=35)
    assert found["pixels"] == pytest.approx(1200, rel=0.02)
    assert bytes.fromhex(found["geometry"])
    assert live.ask("grow", **CLICK, tolerance=0)["pixels"] < found["pixels"]
    assert len(live.ask("statistics")["statistics"]["classes"]) == 3
    live.process.stdin.close()
    assert live.ends() == 0
    assert live.process.stderr.read() == b""


def test_an_error_is_a_reply_and_the_worker_goes_on(live: Live, tmp_path: Path) -> None:
    assert live.ask("preview", **CANVAS)["code"] == "not-open"
    assert live.open(tmp_path / "nowhere.tif")["code"] == "bad-input"
    live.write("nonsense\n")
    assert live.next()["code"] == "bad-request"
    live.write("\n  \n")
    live.open(striped(tmp_path / "scene.tif"))
    live.labels(boxes()[:1])
    told = live.ask("preview", **CANVAS)
    assert (told["event"], told["code"]) == ("error", "too-few-labels")
    assert "Water" in told["message"]
    live.labels(boxes())
    assert live.ask("preview", **CANVAS)["event"] == "reply"


def test_lines_may_come_in_pieces_and_many_at_once(live: Live, tmp_path: Path) -> None:
    live.open(striped(tmp_path / "scene.tif"))
    line = json.dumps({"id": "a", "do": "labels", **drawn(boxes())}) + "\n"
    for piece in (line[:7], line[7:500], line[500:]):
        live.write(piece)
    assert live.next()["id"] == "a"
    live.write(line.replace('"a"', '"b"') + line.replace('"a"', '"c"'))
    assert [live.next()["id"], live.next()["id"]] == ["b", "c"]


def test_of_many_previews_the_newest_is_shown(live: Live, large: Path) -> None:
    live.open(large)
    live.labels(boxes())
    whole = {"extent": [500_000, 5_479_520, 520_480, 5_500_000], "crs": UTM, "size": [500, 500]}
    numbers = [live.send("preview", **whole) for _ in range(5)]
    # A click is answered although previews were asked for before, and labels although nobody waits for them.
    click = live.send("grow", **CLICK, tolerance=20)
    change = live.send("labels", **drawn(boxes(), replace=False))
    newest = live.send("preview", **{**whole, "size": [400, 400]})
    events = {}
    while newest not in events:
        event = live.next()
        events[event["id"]] = event
    assert [events[number]["event"] for number in numbers] == ["superseded"] * 5
    assert events[newest]["size"] == [400, 400]
    assert {events[click]["event"], events[change]["event"]} == {"reply"}
    assert [path for path in live.left() if path.is_file()] == [Path(events[newest]["file"])]


@pytest.mark.parametrize("how", ["end of stdin", "SIGTERM", "SIGINT"])
def test_it_ends_in_the_middle_of_work(live: Live, large: Path, how: str) -> None:
    live.open(large)
    live.labels(boxes())
    live.send("preview", extent=[500_000, 5_479_520, 520_480, 5_500_000], crs=UTM, size=[2000, 2000])
    live.send("statistics")
    if how == "end of stdin":
        live.process.stdin.close()
        assert live.ends() == 0
    else:
        live.process.send_signal(getattr(signal, how))
        assert live.ends() == 3
    assert b"Traceback" not in live.process.stderr.read()


def test_it_ends_although_it_is_in_the_middle_of_a_librarys_call(live: Live, tmp_path: Path) -> None:
    """A raster whose server does not answer: a pipe that nobody writes into."""
    scene = tmp_path / "scene.tif"
    os.mkfifo(scene)
    live.send("open", rasters=[str(scene)])
    live.process.stdin.close()
    assert live.ends() == 0


def test_it_ends_when_nobody_listens_any_more(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    program = Path(sys.executable).with_name("thematica")
    process = subprocess.Popen(
        [program, "live"], env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    assert b"ready" in os.read(ours, 1000)
    os.close(ours)
    try:
        process.stdin.write(b"nonsense\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 3
        assert list(tmp_path.iterdir()) == []
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_worker_left_goes_after_a_day(tmp_path: Path) -> None:
    for name in ("thematica-live-old", "thematica-live-new", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "preview-1.argb").write_bytes(b"1234")
    os.utime(tmp_path / "thematica-live-old", (0, 0))
    os.utime(tmp_path / "other", (0, 0))
    program = Path(sys.executable).with_name("thematica")
    done = subprocess.run(
        [program, "live"], env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["event"] == "ready"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "thematica-live-new"]
