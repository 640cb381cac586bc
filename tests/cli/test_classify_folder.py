"""The contract of ``thematica classify-folder``: what programs may rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..engine.patch_networks import CLASSES, patch_net
from ..engine.test_folder import lines, picture
from ..engine.workplace import Workplace, run_here, run_there


@pytest.fixture
def command(workplace: Workplace) -> list[str]:
    for index in range(5):
        picture(workplace / "images" / "sub" / f"{index}.png", seed=index)
    model = patch_net(workplace / "patches.onnx")
    return [
        "classify-folder", str(workplace / "images"), "--model", str(model), "--output", str(workplace / "table.csv"),
    ]  # fmt: skip


def test_with_json_stdout_is_json_lines_and_nothing_else(workplace: Workplace, command: list[str]) -> None:
    outcome = run_there(*command, "--progress", "json", "--batch", 2, "--threads", 1)
    assert (outcome.status, outcome.err) == (0, "")
    result = outcome.events[-1]
    assert result["event"] == "result"
    assert result["files"] == {
        "output": str(workplace / "table.csv"), "report": str(workplace / "table.report.json"),
    }  # fmt: skip
    assert result["report"]["images"]["count"] == 5
    assert {event["event"] for event in outcome.events} <= {"progress", "log", "result"}
    rows = lines(workplace / "table.csv")
    assert [row["file"] for row in rows] == [f"sub/{index}.png" for index in range(5)]
    assert list(rows[0])[:3] == ["file", "label", "score"]


def test_for_people_there_is_a_table(workplace: Workplace, command: list[str]) -> None:
    outcome = run_here(*command, "--progress", "bar")
    assert outcome.status == 0
    assert outcome.out.splitlines()[0].split() == ["Class", "Images", "Share"]
    assert all(name in outcome.out for name in CLASSES)
    assert outcome.out.splitlines()[-1] == str(workplace / "table.csv")


def test_a_damaged_image_is_a_warning_and_no_failure(workplace: Workplace, command: list[str]) -> None:
    (workplace / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    outcome = run_here(*command, "--progress", "json")
    assert outcome.status == 0
    warnings = [event["message"] for event in outcome.events if event.get("level") == "warning"]
    assert any("1 of 6 images could not be classified" in text for text in warnings)
    assert lines(workplace / "table.csv")[0]["label"] == ""


def test_a_job_file_and_options_that_win(workplace: Workplace, command: list[str]) -> None:
    values = {"command": "classify-folder", "folder": command[1], "model": command[3], "output": command[5]}
    (workplace / "job.json").write_text(json.dumps({**values, "threshold": 0.1, "precision": "auto"}))
    job = ["classify-folder", "--job", workplace / "job.json", "--progress", "json"]
    outcome = run_here(*job, "--threshold", 0.7, "--report", workplace / "said.json", "--nodata", "nan")
    assert outcome.status == 0, outcome.out
    parameters = json.loads((workplace / "said.json").read_text())["parameters"]
    assert (parameters["threshold"], parameters["precision"], parameters["nodata"]) == (0.7, "auto", "nan")
    assert len(lines(workplace / "table.csv")) == 5
    for hit in ("--report", "--output"):
        target = workplace / "job.csv"
        target.write_text((workplace / "job.json").read_text())
        again = run_here("classify-folder", "--job", target, hit, target, "--overwrite")
        assert (again.status, target.read_text()) == (2, (workplace / "job.json").read_text())
        assert "overwrite the input" in again.sentence


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: [c[0], *c[2:]], "needs a folder"),
        (lambda c: c[:2] + c[4:], "needs --model"),
        (lambda c: c[:4], "needs --output"),
        (lambda c: [*c, "--threshold", "7"], "between 0 and 1"),
        (lambda c: [c[0], str(Path(c[1]) / "none"), *c[2:]], "no folder"),
    ],
)
def test_bad_input(workplace: Workplace, command: list[str], spoil, words: str) -> None:
    before = workplace.files()
    outcome = run_here(*spoil(command))
    assert outcome.status == 2
    assert words in outcome.sentence
    assert workplace.files() == before


def test_an_existing_table_needs_overwrite(workplace: Workplace, command: list[str]) -> None:
    assert run_here(*command).status == 0
    assert "--overwrite" in run_here(*command).sentence
    assert run_here(*command, "--overwrite").status == 0
