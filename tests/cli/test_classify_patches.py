"""The contract of ``thematica classify-patches``: what programs may rely on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ..engine.networks import image, noise
from ..engine.patch_networks import CLASSES, patch_net, table
from ..engine.workplace import Workplace, run_here, run_there


@pytest.fixture
def model(workplace: Workplace) -> Path:
    return patch_net(workplace / "patches.onnx")


def command(workplace: Workplace, model: Path, *more: object) -> list[str]:
    return [
        "classify-patches", str(workplace.scene), "--model", str(model), "--output", str(workplace / "map.gpkg"),
        *map(str, more),
    ]  # fmt: skip


def test_with_json_stdout_is_json_lines_and_nothing_else(workplace: Workplace, model: Path) -> None:
    image(workplace.scene, noise((3, 160, 200)))
    outcome = run_there(*command(workplace, model, "--progress", "json", "--stride", 1))
    assert (outcome.status, outcome.err) == (0, "")
    events = outcome.events
    result = events[-1]
    assert result["event"] == "result"
    assert result["files"] == {
        "output": str(workplace / "map.gpkg"),
        "style": str(workplace / "map.qml"),
        "report": str(workplace / "map.report.json"),
    }
    assert result["report"] == json.loads((workplace / "map.report.json").read_text(encoding="utf-8"))
    progress = [event for event in events if event["event"] == "progress"]
    assert [event["fraction"] for event in progress] == sorted(event["fraction"] for event in progress)
    assert progress[-1]["fraction"] == 1
    assert "Classifying" in {event["stage"] for event in progress}
    assert any(event["pixels_per_second"] for event in progress)


def test_what_the_report_says(workplace: Workplace, model: Path) -> None:
    outcome = run_here(*command(workplace, model, "--progress", "json", "--threshold", 0.5, "--area-crs", "EPSG:32632"))
    report = outcome.events[-1]["report"]
    assert report["command"] == "classify-patches"
    assert report["task"] == "patch"
    assert report["patches"] == {
        "side": 8, "stride": 8, "rows": 5, "columns": 6, "first_row": 0, "first_column": 0, "count": 30,
        "without_data": 0, "below_threshold": report["patches"]["below_threshold"],
    }  # fmt: skip
    assert {
        "thematica", "created", "seconds", "inputs", "model", "parameters", "bands", "scale", "offset", "threshold",
        "backend", "classes", "warnings", "seconds_per_stage", "versions", "files",
    } <= set(report)  # fmt: skip
    assert [entry["name"] for entry in report["classes"]] == list(CLASSES)
    for entry in report["classes"]:
        assert set(entry) == {"value", "name", "color", "patches", "hectares", "percent", "column"}
    counted = sum(entry["patches"] for entry in report["classes"]) + report["patches"]["below_threshold"]
    assert counted == report["patches"]["count"]
    # Enough to run it again: the same job from the report's own words.
    (workplace / "again.json").write_text(
        json.dumps({**report["parameters"], "output": str(workplace / "again.gpkg")}), encoding="utf-8"
    )
    again = run_here("classify-patches", "--job", workplace / "again.json")
    assert again.status == 0, again.err
    assert table(workplace / "again.gpkg")["label"].tolist() == table(workplace / "map.gpkg")["label"].tolist()


def test_a_job_file_and_options_that_win(workplace: Workplace, model: Path) -> None:
    content = {
        "command": "classify-patches", "rasters": [str(workplace.scene)], "model": str(model),
        "output": str(workplace / "from_job.gpkg"), "stride": 4, "threshold": 0, "patch": None,
        "area": [500_000, 5_499_800, 500_200, 5_500_000], "area_crs": None, "overwrite": False,
    }  # fmt: skip
    (workplace / "job.json").write_text(json.dumps(content), encoding="utf-8")
    outcome = run_here(
        "classify-patches", "--job", workplace / "job.json", "--stride", 8, "--output", workplace / "map.tif"
    )
    assert outcome.status == 0, outcome.err
    assert not (workplace / "from_job.gpkg").exists()
    report = json.loads((workplace / "map.report.json").read_text(encoding="utf-8"))
    assert (report["patches"]["stride"], report["threshold"]) == (8, 0)
    # The middles of two and a half patches of 80 m lie in 200 m: two.
    assert (report["patches"]["rows"], report["patches"]["columns"]) == (2, 2)


def test_for_people_there_is_a_table(workplace: Workplace, model: Path) -> None:
    outcome = run_here(*command(workplace, model, "--progress", "bar"))
    assert outcome.status == 0
    assert outcome.out.splitlines()[0].split() == ["Class", "Patches", "Hectares", "Share"]
    assert "Grünland, nass" in outcome.out
    assert outcome.out.splitlines()[-1] == str(workplace / "map.gpkg")


def test_quiet_is_quiet(workplace: Workplace, model: Path) -> None:
    outcome = run_there(*command(workplace, model, "--progress", "none"))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


def test_pixels_and_patches_name_each_other(workplace: Workplace, model: Path) -> None:
    """Whoever takes the wrong command is told the right one."""
    assert "Classify patches" in run_here(*workplace.command(model=model)).sentence
    assert "Classify pixels" in run_here(*command(workplace, workplace.model)).sentence


def test_the_command_lines_of_both_share_their_options(workplace: Workplace) -> None:
    texts = [run_here(name, "--help").out for name in ("classify-pixels", "classify-patches")]
    for option in (
        "--model", "--output", "--batch", "--bands", "--sensor", "--scale", "--offset", "--nodata", "--invalid",
        "--card", "--area", "--area-crs", "--raster-crs", "--output-name", "--provider", "--threads", "--progress",
        "--report", "--overwrite", "--job",
    ):  # fmt: skip
        assert all(option in text for text in texts), option


def test_python_has_the_same(workplace: Workplace, model: Path) -> None:
    from thematica.engine import PatchJob, classify

    job = PatchJob([str(workplace.scene)], str(model), str(workplace / "map.gpkg"), stride=4)
    result = classify(job)
    assert np.sum([entry["patches"] for entry in result["report"]["classes"]]) == result["report"]["patches"]["count"]
