"""What must hold after every run, whatever was in its input."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import rasterio

from .child import Ended

#: A run with a threads option of 1 and these results.
RESULTS = ("map.tif", "map.tif.aux.xml", "map.qml", "map.report.json")


def ends_well(ended: Ended, folder: Path, before: set[str]) -> None:
    """Done with a whole result, or refused with a sentence and nothing written; a library may crash the process.

    Args:
        ended: how the run ended.
        folder: where the result was to be.
        before: names of the files that were there.
    """
    new = {path.name for path in folder.iterdir()} - before
    if ended.crashed:
        # A hidden folder may be left; the next run removes it.
        assert not {name for name in new if not name.startswith(".map-")}, new
        return
    if ended.status == 0:
        assert set(RESULTS) <= new, new
        whole(folder)
        return
    assert new == set(), new
    if ended.status == 3:
        assert ended.asked
        return
    sentences = [line for line in ended.err.splitlines() if line.startswith("thematica: ")]
    assert ended.status in (1, 2), (ended.status, ended.err[-3000:])
    assert len(sentences) == 1, ended.err[-3000:]
    # 1 is a fault of ours; memory that does not suffice is the only one that input may bring about.
    assert ended.status == 2 or "memory" in sentences[0], ended.err[-3000:]
    assert "Traceback" not in ended.err, ended.err[-3000:]


def whole(folder: Path) -> None:
    """Every file of the result can be read to its end."""
    with rasterio.open(folder / "map.tif") as dataset:
        for _, window in dataset.block_windows(1):
            dataset.read(window=window)
    ET.parse(folder / "map.tif.aux.xml")
    ET.parse(folder / "map.qml")
    json.loads((folder / "map.report.json").read_text("utf-8"), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
