"""Numbers, times, bands and models in words; and what the fit looks like band by band."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

import thematica.errors
from thematica.models.bands import SENSORS, Band, parse_band_option
from thematica.models.card import ModelCard, ModelClass
from thematica.models.fit import RasterFacts
from thematica.ui.fitting import band_keys, band_option, raster_band_labels, view_fit
from thematica.ui.wording import (
    band_label,
    duration_label,
    for_dialog,
    for_processing,
    model_summary,
    number_label,
    progress_label,
    wavelength_label,
)

CLASSES = [ModelClass(0, "Wasser & <Eis>", "#0000ff"), ModelClass(1, "Wald", "#00ff00")]


def card(bands, **more):
    return ModelCard("m", more.pop("task", "pixel"), bands, CLASSES, **more)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.2, "1 min 0 s"), (12.3, "13 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert duration_label(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0001, "0.0001"), (-0.1, "-0.1"), (0, "0"), (11250.0, "11250"), (2.75e-5, "2.75e-05")]
)
def test_numbers(value, text):
    assert number_label(value) == text


def test_progress_says_only_what_is_known():
    assert progress_label({"stage": "Reading", "pixels_per_second": None, "seconds_left": None}) == "Reading"
    event = {"stage": "Classifying", "pixels_per_second": 1.2e8, "seconds_left": 61}
    assert progress_label(event) == "Classifying · 120 Mpx/s · 1 min 1 s left"


def test_bands():
    assert band_label(Band("B8A", "nir08", 0.865)) == "B8A · nir08"
    assert band_label(Band("blue", "blue")) == "blue"
    assert wavelength_label(Band("B8A", "", 0.8647)) == "865 nm"
    assert wavelength_label(Band("thermal", "", 11.45)) == "11.4 µm"
    assert wavelength_label(Band("x")) == ""


def test_sentences_lose_the_shells_options():
    assert for_dialog("Set scale and offset (--scale, --offset) to match.") == "Set scale and offset to match."
    assert (
        for_dialog("assign them with --bands MODELBAND=RASTERBAND,… or choose") == "assign them in the table or choose"
    )
    assert for_dialog("use --scale 0.0001 --offset -0.1.") == "use scale 0.0001 and offset -0.1."
    assert for_dialog("describe it with a model card (--card).") == "describe it with a model card."


@pytest.mark.parametrize(
    ("shell", "dialog"),
    [
        ("the run goes on with 4 at a time (--batch 4 starts so).", "the run goes on with 4 at a time."),
        (
            "use a smaller --tile, or half precision (--precision fp16), or another --provider.",
            "use a smaller “Tile”, or half precision, or another entry under “Compute on”.",
        ),
        (
            "let it be resampled to a finer grid (--gsd 10), or",
            "let it be resampled to a finer grid (“Map's pixels” 10 m), or",
        ),
        (
            "expect a worse map, or resample with --gsd 2.5.",
            "expect a worse map, or resample with “Map's pixels” 2.5 m.",
        ),
        ("assign the bands by hand (--bands MODELBAND=FILE:BAND).", "assign the bands by hand in the table."),
        ("“a” is used (--output-name chooses another: b, c).", "“a” is used."),
        ("choose one of them (--output-name a).", "choose one of them under “Output”."),
        ("set the CRS (--raster-crs), or give", "set the CRS, or give"),
        (
            "name them once (thematica inspect MODEL --classes NAME,… --keep), or give a model card (--card).",
            "name them once with “Describe…”, or give a model card.",
        ),
        ("give --gsd in metres.", "give “Map's pixels” in metres."),
        ("leave --gsd away, or", "leave “Map's pixels” as the finest raster, or"),
        ("exists; use --overwrite to replace it, or choose another name.", "exists; choose another name."),
        ("set its CRS in QGIS or with --area-crs.", "set its CRS in QGIS."),
        ("set --scale 1 --offset 0 if", "set scale 1 and offset 0 if"),
        ("use --provider cpu.", "choose cpu under “Compute on”."),
        ("in pixels with --patch, or in the model card (thematica:tile).", "in pixels with “Describe…”."),
        ("--nodata must be finite.", "Nodata value must be finite."),
        (
            "Give a smaller --block, --split polygons, or --cut-polygons.",
            "Give a smaller “Block”, or choose polygons under “Split by”.",
        ),
        ("have no polygons; choose --split blocks.", "have no polygons; choose blocks under “Split by”."),
        ("set --test or --validation to 0, or", "set “Test” or “Validation” to 0, or"),
        ("name another folder, or give --overwrite to replace it.", "name another folder."),
        ("the training can go on from there with --resume.", "the training can go on from there."),
        ("make room, and go on with --resume.", "make room, and press “Go on”."),
        ("is damaged; start anew without --resume.", "is damaged; begin a new training."),
        ("cannot be written (7); choose another with --output.", "cannot be written (7); choose another folder."),
        (
            "“7” changes nothing; write --set KEY=VALUE, such as --set batch=7.",
            "“7” changes nothing; write KEY=VALUE, such as batch=7.",
        ),
        ("leave --weights and --freeze away.", "leave “Start from” and “Freeze” away."),
        ("choose another recipe, or --network mlp.", "choose another recipe, or “Network” mlp."),
        ("split at random: make it with --split blocks.", "split at random: choose blocks under “Split by”."),
        ("“/data/a --tile (x --b)/c.tif” exists.", "“/data/a --tile (x --b)/c.tif” exists."),
    ],
)
def test_advice_names_the_dialogs_fields(shell, dialog):
    assert for_dialog(shell) == dialog


def test_processing_names_only_parameters_that_it_has():
    names = {"TILE", "GSD", "OUTPUT_NAME", "SCALE", "OFFSET"}
    assert for_processing("use a smaller --tile, or set it (--raster-crs).", names) == "use a smaller TILE, or set it."
    assert for_processing("choose one of them (--output-name a).", names) == "choose one of them (OUTPUT_NAME a)."
    assert for_processing("exists; use --overwrite to replace it, or choose", names) == "exists; choose"
    assert for_processing("give --scale and --offset.", names) == "give SCALE and OFFSET."
    assert "--" not in for_processing("use a smaller --stride.", names)


def _shell_sentences(folder):
    """What the code of a folder can say that names an option; values of an f-string are 7, or “, 7” after a word."""
    parts_of_others, found = set(), {}
    for path in sorted((Path(thematica.errors.__file__).parent / folder).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts_of_others.update(node.values)
            elif isinstance(node, ast.Expr):
                parts_of_others.add(node.value)  # a docstring
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                parts_of_others.update(part for whole in ast.walk(node) for part in ast.iter_child_nodes(whole))
        for node in ast.walk(tree):
            text = ""
            if isinstance(node, ast.JoinedStr) and node not in parts_of_others:
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                text = re.sub("(?<=[a-z])\0", ", 7", text).replace("\0", "7")
            elif isinstance(node, ast.Constant) and node not in parts_of_others:
                text = str(node.value)
            if re.search(r"--[a-z]", text) and " " in text:
                found[text] = f"{path.name}:{node.lineno}"
    return found


@pytest.mark.parametrize("folder", ["engine", "engine/labels", "models", "cli", "trainer", "trainer/dataset"])
def test_no_sentence_of_the_program_reads_badly_in_a_dialog(folder):
    sentences = _shell_sentences(folder)
    assert sentences
    for sentence, place in sentences.items():
        said = for_dialog(sentence)
        assert "--" not in said, (place, said)
        assert not re.search(r"\b([a-z]+) \1\b", said), (place, said)
        # Nothing is left of what was taken out: empty brackets, "use ." or a name that only the shell knows.
        assert not re.search(r"\( ?\)|  |\b(with|use|give|set|leave|or|a|another|smaller) ?[.,;:)]", said), (
            place,
            said,
        )
        assert not re.search(r"MODELBAND|thematica inspect|\b(output-name|raster-crs|area-crs|gsd)\b", said), (
            place,
            said,
        )


def test_the_summary_is_safe_for_any_class_name():
    text = model_summary(card([Band("1")]))
    assert "Wasser &amp; &lt;Eis&gt;" in text
    assert "carries no model card" in text


def raster(count, names=(), path="x.tif"):
    bands = [Band(names[i] if i < len(names) else "") for i in range(count)]
    return RasterFacts(path, bands, "float32", [1.0] * count, [0.0] * count)


def test_what_is_there_is_shown_beside_what_is_missing():
    fit = view_fit(card(list(SENSORS["sentinel2-4"])), [raster(3, ("B2", "B4", "B8"))])
    assert not fit.fits
    assert [match.band if match else None for match in fit.matches] == [1, None, 2, 3]


def test_a_choice_by_hand_is_kept_while_another_band_is_missing():
    fit = view_fit(card(list(SENSORS["sentinel2-4"])), [raster(3, ("B2", "?", "B8"))], {"B3": (1, 2)})
    assert not fit.fits
    assert [match.band if match else None for match in fit.matches] == [1, 2, None, 3]


def test_bands_that_were_found_are_shown_where_only_the_scale_is_wrong():
    rgb = [Band(name, name) for name in ("red", "green", "blue")]
    model = card(rgb, unit="reflectance", value_range=(0.0, 1.0))
    photo = replace(raster(3, path="photo.jpg"), data_type="uint8", sample=dict.fromkeys((1, 2, 3), (10.0, 250.0)))
    for facts, how in ((replace(photo, colours=["red", "green", "blue"]), "name"), (photo, "position")):
        fit = view_fit(model, [facts])
        assert not fit.fits
        assert "scale" in fit.sentence
        assert [(match.band, match.how) if match else None for match in fit.matches] == [(n, how) for n in (1, 2, 3)]


def test_the_colours_of_a_picture_are_shown_beside_a_band_that_is_missing():
    model = card([Band("red", "red"), Band("blue", "blue")])
    fit = view_fit(model, [replace(raster(3, path="photo.jpg"), colours=["red", "green", "blue"])], {"blue": (1, 7)})
    assert not fit.fits
    assert [match and match.band for match in fit.matches] == [1, 7]


def test_of_a_band_in_several_files_the_finest_is_shown_beside_one_that_is_missing():
    coarse, fine = (replace(raster(1, ("B2",), path), gsd=gsd) for path, gsd in (("c.tif", 60.0), ("f.tif", 10.0)))
    fit = view_fit(card([Band("B2", "blue"), Band("B4", "red")]), [coarse, fine])
    assert not fit.fits
    assert [match and match.source for match in fit.matches] == [2, None]


@pytest.mark.parametrize("task", ["pixel", "window", "segmentation", "patch", "patch-multilabel"])
def test_these_tasks_are_served(task):
    assert view_fit(card([Band("1")], task=task), [raster(1)]).fits


def test_change_between_dates_is_refused_with_a_sentence():
    fit = view_fit(card([Band("1")], task="change"), [raster(1)])
    assert not fit.fits
    assert "choose a model" in fit.sentence


def test_band_assignments_survive_the_command_line():
    bands = [Band("B4"), Band("a,b"), Band("x=y"), Band("same"), Band("same"), Band("")]
    keys = band_keys(bands)
    assert keys == ["B4", "2", "3", "4", "5", "6"]
    assigned = {key: (1, number) for number, key in enumerate(keys, start=1)}
    assert parse_band_option(band_option(assigned)) == assigned


def test_raster_bands_are_called_by_name_or_by_the_sensors_order():
    assert raster_band_labels(raster(2, ("red", ""))) == ["1: red", "Band 2"]
    assert raster_band_labels(raster(4), "sentinel2-4") == ["1: B2", "2: B3", "3: B4", "4: B8"]
    assert raster_band_labels(raster(1, ("Band 1",))) == ["Band 1"]
