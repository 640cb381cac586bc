"""The worker's loop: what is served when, and that nothing ends it but the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thematica.engine.live.worker import LiveWorker


class Talk:
    """A worker whose session does what a test says, and all that it sent."""

    def __init__(self, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.worker = LiveWorker(self.events.append, folder)
        self.session = _Scripted()
        self.worker._session = self.session

    def ask(self, number: Any, do: str, **values: Any) -> None:
        self.worker.feed(json.dumps({"id": number, "do": do, **values}))

    def run(self) -> list[tuple[Any, str]]:
        """Serve all that waits; number and event of what was sent."""
        mailbox = self.worker._mailbox
        take = mailbox.take

        def take_or_end() -> Any:
            if not mailbox._waiting:
                mailbox.close()
            return take()

        mailbox.take = take_or_end
        self.worker.run()
        return [(event.get("id"), event["event"]) for event in self.events]


class _Scripted:
    """A session of which every step can be replaced."""

    def __init__(self) -> None:
        self.preview: Callable = lambda request, check: check() or {"file": "x"}
        self.grow: Callable = lambda request, check: check() or {"geometry": None}
        self.statistics: Callable = lambda check: check() or {}

    def open(self, request: Any) -> dict:
        return {"bands": []}

    def set_labels(self, request: Any) -> dict:
        return {"features": 0, "findings": []}

    def close(self) -> None: ...


CANVAS = {"extent": [0, 0, 1, 1], "crs": "EPSG:32632", "size": [4, 4]}
CLICK = {"point": [0, 0], "crs": "", "tolerance": 3}


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def test_ready_comes_first(talk: Talk) -> None:
    talk.run()
    assert talk.events[0] == {"event": "ready", "version": talk.events[0]["version"], "protocol": 1}


def test_of_what_waits_the_most_urgent_is_served_first(talk: Talk) -> None:
    talk.ask(1, "preview", **CANVAS)
    talk.ask(2, "grow", **CLICK)
    talk.ask(3, "open", rasters=["x.tif"])
    talk.ask(4, "labels")
    talk.ask(5, "preview", **CANVAS)
    assert talk.run() == [
        (1, "superseded"), (2, "superseded"), (None, "ready"), (3, "reply"), (4, "reply"), (5, "reply"),
    ]  # fmt: skip


def test_a_running_preview_gives_up_for_a_newer_one(talk: Talk) -> None:
    previews = iter([1, 2])

    def preview(request: Any, check: Callable[[], None]) -> dict:
        if next(previews) == 1:
            talk.ask(8, "labels")
            talk.ask(9, "preview", **CANVAS)
            check()
            pytest.fail("it went on")
        return {"file": "new"}

    talk.session.preview = preview
    talk.ask(7, "preview", **CANVAS)
    assert talk.run()[1:] == [(7, "superseded"), (8, "reply"), (9, "reply")]


def test_a_running_preview_makes_way_for_a_click_and_goes_on(talk: Talk) -> None:
    def preview(request: Any, check: Callable[[], None]) -> dict:
        talk.ask(8, "grow", **CLICK)
        check()
        return {"file": "x"}

    talk.session.preview = preview
    talk.ask(7, "preview", **CANVAS)
    assert talk.run()[1:] == [(8, "reply"), (7, "reply")]


def test_what_is_running_is_of_no_use_for_another_image(talk: Talk) -> None:
    def grow(request: Any, check: Callable[[], None]) -> dict:
        talk.ask(8, "open", rasters=["x.tif"])
        check()
        pytest.fail("it went on")

    talk.session.grow = grow
    talk.ask(7, "grow", **CLICK)
    assert talk.run()[1:] == [(7, "superseded"), (8, "reply")]


def test_the_end_comes_in_the_middle(talk: Talk) -> None:
    def preview(request: Any, check: Callable[[], None]) -> dict:
        talk.worker.close()
        check()
        pytest.fail("it went on")

    talk.session.preview = preview
    talk.ask(7, "preview", **CANVAS)
    assert talk.run()[1:] == []


@pytest.mark.parametrize(
    "error", [KeyError("a fault"), MemoryError(), RecursionError(), UnicodeDecodeError("u", b"", 0, 1, "")]
)
def test_a_fault_is_an_error_and_the_next_request_is_served(talk: Talk, error: Exception) -> None:
    def preview(request: Any, check: Callable[[], None]) -> dict:
        raise error

    talk.session.preview = preview
    talk.ask(7, "preview", **CANVAS)
    talk.ask(8, "grow", **CLICK)
    assert talk.run()[1:] == [(8, "reply"), (7, "error")]
    told = next(event for event in talk.events if event.get("id") == 7)
    assert set(told) == {"id", "event", "code", "message", "details"}
    assert told["code"] == ("memory" if isinstance(error, MemoryError) else "fault")
    assert "Traceback" not in told["message"]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON", "[]", "null", "{}", '{"id": 3}', '{"do": "preview"}', '{"id": 3, "do": "fly"}', "[" * 100_000,
        '{"id": 3, "do": ["preview"]}', '{"id": NaN, "do": "preview"}', '{"id": {}, "do": "preview"}', "\x00", '"x"',
        '{"id": 3, "do": "preview"}', '{"id": 3, "do": "preview", "extent": [0, 0, 1, 1], "size": [1e400, 2]}',
        '{"id": 3, "do": "preview", "extent": [0, 0, 1, NaN], "size": [1, 2]}',
        '{"id": 3, "do": "preview", "extent": "0011", "size": [1, 2]}',
        '{"id": 3, "do": "preview", "extent": [0, 0, 1, true], "size": [1, 2]}',
        '{"id": 3, "do": "preview", "extent": [0, 0, 1, 1' + "0" * 400 + '], "size": [1, 2]}',
        '{"id": 3, "do": "preview", "extent": [0, 0, 1, 1], "size": [1, 2], "crs": "EPSG:99999999"}',
        '{"id": 3, "do": "preview", "extent": [0, 0, 1, 1], "size": [1, 2], "crs": 7}',
        '{"id": 3, "do": "open"}', '{"id": 3, "do": "open", "rasters": "a.tif"}',
        '{"id": 3, "do": "open", "rasters": [1]}', '{"id": 3, "do": "open", "rasters": []}',
        '{"id": 3, "do": "open", "rasters": ["a"], "nodata": "x"}',
        '{"id": 3, "do": "labels", "classes": [{}]}', '{"id": 3, "do": "labels", "classes": 7}',
        '{"id": 3, "do": "labels", "features": [[1, 2]]}', '{"id": 3, "do": "labels", "features": [[1, 2, "zz"]]}',
        '{"id": 3, "do": "labels", "features": [[99999999999999999999, 2, ""]]}',
        '{"id": 3, "do": "labels", "removed": ["x"]}', '{"id": 3, "do": "labels", "features": [[1, Infinity, ""]]}',
        '{"id": 3, "do": "grow"}', '{"id": 3, "do": "grow", "point": [1, 2]}',
        '{"id": 3, "do": "grow", "point": [1, 2], "tolerance": 5, "connectivity": 6}',
    ],
    ids=lambda line: line[:40],
)  # fmt: skip
def test_what_does_not_follow_the_protocol_is_told(talk: Talk, line: str) -> None:
    talk.worker.feed(line)
    talk.ask("good", "labels")
    sent = talk.run()
    assert sorted(event for _, event in sent) == ["error", "ready", "reply"]
    told = next(event for event in talk.events if event["event"] == "error")
    assert told["code"] in ("bad-request", "bad-input")
    assert told["id"] in (3, None)
    # What is sent can be sent.
    json.dumps(talk.events, allow_nan=False)
