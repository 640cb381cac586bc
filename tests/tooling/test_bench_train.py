"""``make bench ONLY=train`` runs, where nobody looks at its figures: loops, device, and the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..trainer.networks.sets import absorptions, grains, marks, rings

TOOLS = ROOT / "tools"


def measured(way: str, network: str, place: Path, *more: str) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, str(TOOLS / "bench_train_loops.py"), way, network, str(place), "--rounds", "1", *more],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(run.stdout.partition("FIGURES ")[2])


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, float]]:
    folder = tmp_path_factory.mktemp("sets")
    small = ("--changes", "batch=16", "network_options.width=8", "precision=bf16")
    return {
        "loop mlp 1": measured("pair", "mlp", rings(folder / "pixels")),
        "loop small-resnet 1": measured("pair", "small-resnet", grains(folder / "patches"), "--changes", "batch=64"),
        "processes mlp": {
            "one_per_second": 1000.0, "two_per_second": 1900.0, "ratio": 1.9, "lowest": 1.8, "highest": 2.0,
            "apart": 1.95,
        },
        "dense cnn3d": measured("dense", "cnn3d", absorptions(folder / "windows"), "--scene", "8"),
        "device cpu": measured("pair", "resnet50", marks(folder / "marks"), "--floor", *small),
    }  # fmt: skip


def test_both_loops_see_the_same_samples_and_say_how_fast(found):
    for name in ("loop mlp 1", "loop small-resnet 1", "device cpu"):
        row = found[name]
        assert row["per_second"] > 0
        assert row["lowest"] <= row["ratio"] <= row["highest"]
        assert 0 <= row["waiting"] <= 1
        assert 0 < row["beside"] < 1


def test_the_whole_scene_has_the_scores_of_its_windows(found):
    assert found["dense cnn3d"]["difference"] < 1e-4


def test_the_devices_floor_is_its_peak_by_what_an_image_takes(found):
    row = found["device cpu"]
    assert row["floor_per_second"] == pytest.approx(1000 * row["peak_tflops"] / row["gflop"])
    # Forward once and backward twice through convolutions of a million products per pixel and more.
    assert row["gflop"] > 0.001


def test_the_tables_have_a_row_for_all_that_was_measured(found, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    from bench_train import table_train

    text = table_train(found)
    assert "| `mlp` | 64 | 1 |" in text
    assert "**1.90** | 1.80 to 2.00 | 1.95 |" in text
    assert "`cnn3d` over a scene of 8² pixels and 16 bands" in text
    assert "batches of 16, on `cpu`" in text
