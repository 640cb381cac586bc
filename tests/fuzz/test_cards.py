"""Spoiled cards, definitions and Deepness keys: a card that can be used and written again, or a ModelError.

All of it runs in QGIS's process too, where anything else would reach the analyst as a Python traceback.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from thematica.errors import InputError, ModelError
from thematica.models.bands import Band, parse_band_option
from thematica.models.card import ACTIVATIONS, TASKS, FurtherOutput, ModelCard, parse_card
from thematica.models.deepness import card_from_deepness
from thematica.models.describe import describe, parse_bands, parse_classes
from thematica.models.esri import card_from_emd
from thematica.models.fit import RasterFacts, check_fit
from thematica.models.onnx_file import OnnxFacts, TensorFacts
from thematica.models.store import BUNDLED_FOLDER

from ..engine.networks import make_card, z_scores
from .campaign import fuzz
from .values import ANYTHING, TEXTS, spoiled


def _cards() -> list[dict[str, Any]]:
    """Good cards of many kinds."""
    bands = [Band("B4", "red", 0.665, "reflectance", 0.03), Band("B8", "nir", 0.83, "reflectance", 0.1)]
    rich = make_card(
        bands, ["Grünland", "Wald", "nass"], normalisation_steps=z_scores([0.1, 0.2], [1, 2]), gsd=10.0,
        value_range=(0.0, 1.0), gsd_range=(5.0, 20.0), thresholds=(0.5, 0.4, 0.3), nodata=-1.0, tile=64,
        receptive_field=31, metrics={"accuracy": 0.9}, sources=["x"], licence="CC0-1.0", parameters=12,
        input_shape=(-1, 2, -1, -1), output_shape=(-1, 3, -1, -1),
    )  # fmt: skip
    rich.further_outputs = [FurtherOutput("second", rich.classes[:2], "sigmoid", (0.5,), (-1, 1, -1, -1))]
    steps: list = [
        {"type": "clip", "minimum": 0, "maximum": 1},
        {"type": "min-max", "minimum": 0, "maximum": 255},
        None,
    ]
    return [
        rich.to_item(),
        make_card(3, 2, "patch-multilabel", normalisation_steps=steps).to_item(),
        make_card(4, 3, "pixel", unit="dn").to_item(),
        *(json.loads(path.read_text("utf-8")) for path in sorted(BUNDLED_FOLDER.glob("*.json"))),
    ]


def _facts(first: tuple[int, ...] = (-1, 3, -1, -1), result: tuple[int, ...] = (-1, 3, -1, -1)) -> OnnxFacts:
    return OnnxFacts([TensorFacts("image", "float32", first)], [TensorFacts("scores", "float32", result)])


_sides = st.sampled_from((-1, 0, 1, 2, 3, 64, 1000))
_shapes = st.one_of(
    st.just((-1, 3, -1, -1)), st.just((1, 3, 512, 512)), st.lists(_sides, max_size=5).map(tuple)
)  # fmt: skip
_rasters = st.builds(
    RasterFacts,
    path=st.one_of(TEXTS, st.sampled_from(("S2A_MSIL2A_N0500_x.tif", "LC08_L2SP_1_02_T1_SR_B4.TIF", "T31UD_B04.jp2"))),
    bands=st.lists(
        st.builds(
            Band,
            name=st.one_of(TEXTS, st.sampled_from(("B1", "B2", "B3", "B4", "B8", "red", "Band 1"))),
            common_name=st.sampled_from(("", "red", "nir", "green")),
            wavelength=st.one_of(st.none(), st.floats()),
            unit=st.sampled_from(("", "alpha", "mask", "dn", "reflectance")),
        ),
        max_size=5,
    ),
    data_type=st.sampled_from(("uint8", "uint16", "float32", "complex64", "int16", "")),
    scales=st.lists(st.floats(), max_size=5),
    offsets=st.lists(st.floats(), max_size=5),
    gsd=st.one_of(st.none(), st.floats()),
    sample=st.dictionaries(st.integers(0, 5), st.tuples(st.floats(), st.floats()), max_size=5),
)  # fmt: skip


def holds_together(card: ModelCard) -> None:
    """What everybody who gets a card relies on."""
    assert card.task in TASKS
    # Empty: what the output holds is left to the graph.
    assert card.activation in ("", *ACTIVATIONS)
    assert card.bands or card.unsupported
    assert all(0 <= entry.value < 65534 for entry in card.classes)
    assert len({entry.value for entry in card.classes}) == len(card.classes)
    for sizes in (card.normalisation.gain, card.normalisation.bias):
        assert len(sizes) in (1, len(card.bands))
    card.nodata_code()
    for name in card.output_names():
        card.for_output(name)


def comes_back(card: ModelCard) -> None:
    """Written and read again, it is the same card."""
    text = json.dumps(card.to_item(), allow_nan=card.nodata is not None and card.nodata != card.nodata)
    again = parse_card(text)
    again.origin = card.origin
    assert again.to_item() == parse_card(again.to_json()).to_item()
    assert [(entry.value, entry.color) for entry in again.classes] == [
        (entry.value, entry.color) for entry in card.classes
    ]
    assert (again.task, again.activation, again.tile, again.gsd) == (card.task, card.activation, card.tile, card.gsd)
    count = len(card.bands)
    assert _spread(again.normalisation.gain, count) == pytest.approx(_spread(card.normalisation.gain, count), rel=1e-9)


def _spread(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    return values * count if len(values) == 1 else values


def said(error: InputError) -> None:
    """A sentence that can be shown."""
    assert error.message.strip().endswith((".", "…")), error.message
    assert "\n" not in error.message.strip(), error.message
    assert len(error.message) < 1000, error.message


def test_a_spoiled_card_is_a_card_or_a_model_error() -> None:
    def spoiled_card(item: Any, raster: RasterFacts) -> None:
        try:
            card = parse_card(json.dumps(item))
        except ModelError as error:
            return said(error)
        holds_together(card)
        comes_back(card)
        try:
            fit = check_fit(card, [raster])
            assert len(fit.matches) == len(fit.scale) == len(fit.offset) == len(card.bands)
        except InputError as error:
            said(error)
        return None

    fuzz(spoiled_card, st.one_of(*map(spoiled, _cards())), _rasters, examples=400)


def test_any_json_as_card() -> None:
    def any_card(value: Any) -> None:
        with pytest.raises(ModelError) as caught:
            parse_card(json.dumps(value))
        said(caught.value)

    fuzz(any_card, ANYTHING, examples=100)


def test_good_cards_fit_or_do_not_fit_any_raster() -> None:
    cards = [parse_card(json.dumps(item)) for item in _cards()]

    def fitted(number: int, rasters: list, bands: str, scale: float | None, offset: float | None) -> None:
        card = cards[number % len(cards)]
        try:
            fit = check_fit(card, rasters, parse_band_option(bands), scale, offset)
            assert len(fit.matches) == len(card.bands)
        except InputError as error:
            said(error)

    options = st.one_of(TEXTS, st.sampled_from(("", "B4=1", "B4=2:1,B8=1", "1=1,2=2,3=3", "B4=" + "9" * 5000)))
    number = st.one_of(st.none(), st.floats())
    fuzz(fitted, st.integers(0, 9), st.lists(_rasters, min_size=1, max_size=3), options, number, number, examples=300)


DEEPNESS = {
    "model_type": '"Segmentor"', "class_names": '{"0": "a", "1": "b", "2": "c"}', "names": "{0: 'tree'}",
    "resolution": "10", "tile_size": "64", "tiles_size": "512", "tiles_overlap": "10", "seg_thresh": "0.5",
    "standardization_mean": "[0.1, 0.2, 0.3]", "standardization_std": "[1, 1, 1]",
}  # fmt: skip


def test_spoiled_keys_of_deepness() -> None:
    def deepness(keys: dict, value: Any, raw: str, first: tuple, result: tuple) -> None:
        facts = _facts(first, result)
        facts.metadata = {key: text for key, text in DEEPNESS.items() if keys.get(key) != "out"}
        for key, kind in keys.items():
            if kind != "out":
                facts.metadata[key] = json.dumps(value) if kind == "json" else repr(value) if kind == "python" else raw
        try:
            card = card_from_deepness("net", facts)
        except ModelError as error:
            return said(error)
        if card is not None:
            holds_together(card)
            comes_back(card)
        return None

    kinds = st.dictionaries(
        st.sampled_from(sorted(DEEPNESS)), st.sampled_from(("out", "json", "python", "raw")), min_size=1
    )
    fuzz(deepness, kinds, ANYTHING, TEXTS, _shapes, _shapes, examples=300)


DEFINITION = {
    "Framework": "arcgis.learn.models._inferencing", "ModelType": "ImageClassification", "ModelName": "UNetClassifier",
    "ModelFile": "net.onnx", "Description": "x", "ImageHeight": 64, "ImageWidth": 64, "ExtractBands": [0, 1, 2],
    "DataRange": [0, 1], "Threshold": 0.5, "MultiLabel": True, "Bands": ["red", "green", "blue"],
    "Classes": [{"Value": value, "Name": f"class {value}", "Color": [value, 0, 0]} for value in range(3)],
    "MinCellSize": {"x": 10, "y": 10, "spatialReference": {"wkid": 32632}},
    "ModelParameters": {"mean": [0.4] * 3, "std": [0.2] * 3},
    "NormalizationStats": {"band_min_values": [0, 0, 0], "band_max_values": [255, 255, 255],
                           "scaled_mean_values": [0.5] * 3, "scaled_std_values": [0.2] * 3},
}  # fmt: skip


def test_spoiled_definitions_of_esri(tmp_path: Path) -> None:
    from thematica.models.esri import card_beside

    (tmp_path / "net.onnx").touch()

    def definition(content: Any, first: tuple, result: tuple) -> None:
        (tmp_path / "net.emd").write_text(json.dumps(content))
        try:
            card = card_beside(tmp_path / "net.onnx", _facts(first, result))
        except ModelError as error:
            return said(error)
        # Without classes it is refused where it meets the network's outputs.
        if card is not None and card.classes:
            holds_together(card)
            comes_back(card)
        return None

    assert card_from_emd(DEFINITION, "net", _facts()).classes
    fuzz(definition, spoiled(DEFINITION), _shapes, _shapes, examples=300)


WHAT = (
    "divide",
    "mean",
    "std",
    "threshold",
    "gsd",
    "nodata",
    "title",
    "unit",
    "task",
    "activation",
    "bands",
    "classes",
)


def test_what_is_typed_into_the_form_or_the_shell() -> None:
    cards = [parse_card(json.dumps(item)) for item in _cards()]

    def typed(number: int, text: str, values: list, name: str, which: str) -> None:
        card = cards[number % len(cards)]
        try:
            given: dict[str, Any] = {
                "divide": lambda: values[0], "mean": lambda: values, "std": lambda: values,
                "threshold": lambda: values[0], "gsd": lambda: values[0], "nodata": lambda: values[0],
                "title": lambda: text, "unit": lambda: text, "task": lambda: name, "activation": lambda: name,
                "bands": lambda: parse_bands(text, len(card.bands)), "classes": lambda: parse_classes(text, card),
            }  # fmt: skip
            given = {which: given[which]()}
            described = describe(card, **given)
        except ModelError as error:
            return said(error)
        holds_together(described)
        comes_back(described)
        return None

    names = st.sampled_from((*TASKS, *ACTIVATIONS, "x"))
    lists = st.lists(st.one_of(TEXTS, st.sampled_from(("a", "1=b", "2=c#ff0000", "red", "1:nir"))), max_size=4)
    numbers = st.lists(st.floats(), min_size=1, max_size=4)
    fuzz(typed, st.integers(0, 9), lists.map(",".join), numbers, names, st.sampled_from(WHAT), examples=300)
