"""Samples per second beside the progress."""

from __future__ import annotations

import time

import pytest

from thematica.trainer.dataset.pace import Pace


def test_the_pace_is_what_was_done_by_the_time_it_took(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace("Writing samples")
    assert pace.words(10) == "Writing samples"
    assert pace.left(10, 10) is None
    now[0] += 4
    assert pace.words(50_000) == "Writing samples (12,500 per second)"
    assert pace.words(0) == "Writing samples"
    assert pace.left(100, 50) == pytest.approx(2)
