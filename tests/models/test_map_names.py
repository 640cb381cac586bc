"""Names of the files of a network with several outputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.models.bands import Band
from thematica.models.card import FurtherOutput, ModelCard, ModelClass
from thematica.models.map_names import further_files, marked, marks

CLASSES = [ModelClass(0, "Land", "#000000"), ModelClass(1, "Sea", "#0000ff")]


@given(st.lists(st.text(max_size=6), min_size=1, max_size=6))
def test_no_two_outputs_share_a_file_whatever_they_are_called(outputs: list[str]) -> None:
    files = [str(marked("map.tif", mark)).lower() for mark in marks(outputs)]
    assert files[0] == "map.tif"
    assert len(set(files)) == len(outputs)


@pytest.mark.parametrize(
    ("task", "output_name", "files"),
    [
        ("pixel", None, ["out/map_roads.tif", "out/sure_roads.tif", "out/map_output-3.tif", "out/sure_output-3.tif"]),
        ("pixel", "roads", []),
        ("patch", "", []),
    ],
)
def test_files_beside_those_that_were_named(task: str, output_name: str | None, files: list[str]) -> None:
    further = [FurtherOutput(name, CLASSES) for name in ("roads", "水")]
    card = ModelCard("m", task, [Band("1")], CLASSES, output_name="cover", further_outputs=further)
    assert further_files(card, output_name, ["out/map.tif", "out/sure.tif"]) == files
