"""Which request is served next, and which are no longer of use."""

from __future__ import annotations

import threading

from thematica.engine.live.mailbox import Mailbox, Request


def filled(*kinds: str) -> Mailbox:
    mailbox = Mailbox()
    for number, kind in enumerate(kinds):
        mailbox.put(Request(number, kind, {}))
    return mailbox


def rest(mailbox: Mailbox) -> list[int]:
    """The numbers of what waits, in the order in which it is served."""
    mailbox.put(Request("last", "statistics", {}))
    numbers = []
    while (request := mailbox.take()).id != "last":
        numbers.append(request.id)
    return numbers


def test_labels_come_before_the_preview_that_was_asked_for_earlier() -> None:
    assert rest(filled("preview", "grow", "labels", "labels")) == [2, 3, 1, 0]


def test_of_previews_and_regions_only_the_newest_is_served() -> None:
    mailbox = filled("preview", "grow")
    assert [old.id for old in mailbox.put(Request(2, "preview", {}))] == [0]
    assert [old.id for old in mailbox.put(Request(3, "grow", {}))] == [1]
    assert mailbox.put(Request(4, "labels", {})) == []
    assert rest(mailbox) == [4, 3, 2]


def test_no_change_of_labels_is_ever_skipped() -> None:
    assert rest(filled("labels", "labels", "labels")) == [0, 1, 2]


def test_another_image_makes_what_was_asked_of_the_one_before_useless() -> None:
    mailbox = filled("labels", "preview", "grow", "statistics")
    assert [old.id for old in mailbox.put(Request(9, "open", {}))] == [1, 2, 3]
    assert rest(mailbox) == [0, 9]


def test_a_running_preview_makes_way_for_regions_and_labels_but_not_for_another_image() -> None:
    running = Request(0, "preview", {})
    mailbox = filled("statistics", "grow", "labels")
    assert mailbox.take_more_urgent(running).do == "labels"
    assert mailbox.take_more_urgent(running).do == "grow"
    assert mailbox.take_more_urgent(running) is None
    mailbox.put(Request(9, "open", {}))
    assert mailbox.take_more_urgent(running) is None


def test_what_supersedes_a_running_request() -> None:
    running = Request(0, "preview", {})
    assert not filled("grow", "labels", "statistics").supersedes(running)
    assert filled("preview").supersedes(running)
    assert filled("open").supersedes(running)
    assert not filled("labels", "open").supersedes(Request(0, "labels", {}))


def test_whoever_waits_is_woken_by_a_request_and_by_the_end() -> None:
    mailbox = Mailbox()
    taken: list[Request | None] = []

    def serve() -> None:
        while (request := mailbox.take()) is not None:
            taken.append(request.id)
        taken.append(None)

    thread = threading.Thread(target=serve)
    thread.start()
    mailbox.put(Request(1, "labels", {}))
    mailbox.put(Request(2, "grow", {}))
    while len(taken) < 2:
        thread.join(0.01)
    mailbox.close()
    thread.join(5)
    assert taken == [1, 2, None]


def test_after_the_end_nothing_is_served() -> None:
    mailbox = filled("labels", "grow")
    mailbox.close()
    assert mailbox.take() is None
    assert mailbox.take_more_urgent(Request(0, "statistics", {})) is None
