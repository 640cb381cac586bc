"""Spoiled job files: a job that can be checked, or an InputError; and some of them through the whole program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from thematica.engine.job import PatchJob, PixelJob, read_job
from thematica.errors import InputError

from ..engine.networks import image, light, noise
from .campaign import fuzz
from .child import command
from .laws import ends_well
from .test_cards import said
from .values import ANYTHING, spoiled

_JOB: dict[str, Any] = {
    "command": "classify-pixels", "rasters": ["scene.tif"], "model": "net.onnx", "output": "map.tif", "batch": 1,
    "bands": "B1=1", "scale": 1.0, "offset": 0.0, "nodata": 0, "area": [500_000, 5_499_800, 500_200, 5_500_000],
    "area_crs": "EPSG:32632", "raster_crs": "EPSG:32632", "sensor": "sentinel2-l2a", "invalid": "any", "threads": 1,
    "report": "report.json", "overwrite": False, "mode": "exact", "tile": 32, "overlap": 8, "gsd": 10.0,
    "resampling": "nearest", "provider": "cpu",
}  # fmt: skip
_PATCHES = {**_JOB, "command": "classify-patches", "output": "map.gpkg", "stride": 8, "threshold": 0.5, "patch": 8}
for _key in ("mode", "tile", "overlap"):
    del _PATCHES[_key]


def test_a_spoiled_job_file_is_a_job_or_an_input_error(fresh_folder: Callable[[], Path]) -> None:
    folder = fresh_folder()

    def spoiled_job(content: Any, raw: bytes, kind: type) -> None:
        (folder / "job.json").write_bytes(json.dumps(content).encode() + raw)
        try:
            job = read_job(folder / "job.json", kind)
            job.check()
        except InputError as error:
            return said(error)
        # What goes into the report.
        json.dumps(job.to_dict(), allow_nan=False)
        job.report_path()
        return None

    raws = st.one_of(st.just(b""), st.just(b""), st.binary(max_size=5))
    contents = st.one_of(spoiled(_JOB), spoiled(_PATCHES), ANYTHING)
    fuzz(spoiled_job, contents, raws, st.sampled_from((PixelJob, PatchJob)), examples=500)


def test_spoiled_job_files_through_the_program(tmp_path: Path, fresh_folder: Callable[[], Path]) -> None:
    image(tmp_path / "scene.tif", noise((3, 40, 50)))
    light(tmp_path / "net.onnx")
    good = {key: value for key, value in _JOB.items() if key not in ("sensor", "report")}

    def run_job(content: Any) -> None:
        folder = fresh_folder()
        # Names stay where they are: any other place would be written to.
        for key, value in (("output", str(folder / "map.tif")), ("model", str(tmp_path / "net.onnx"))):
            if isinstance(content.get(key), str):
                content[key] = value
        content["rasters"] = [str(tmp_path / "scene.tif")] if content.get("rasters") == ["scene.tif"] else ["x", 1]
        content.update(dict.fromkeys(("report", "confidence", "entropy", "margin", "probabilities")))
        (tmp_path / "job.json").write_text(json.dumps(content))
        ended = command(["classify-pixels", "--job", str(tmp_path / "job.json")], tmp_path / "run.log")
        ends_well(ended, folder, set())

    fuzz(run_job, spoiled(good).filter(lambda content: isinstance(content, dict)), examples=25)
