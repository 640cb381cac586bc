"""The model card: round trip, other people's cards, and text that is no card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pystac import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_model.schema import MLModelProperties

from thematica.errors import ModelError
from thematica.models import card as card_module
from thematica.models.bands import Band
from thematica.models.card import (
    FurtherOutput,
    ModelCard,
    ModelClass,
    Normalisation,
    distinct_colors,
    parse_card,
    read_card,
    slug,
)
from thematica.models.onnx_file import read_onnx_facts
from thematica.models.reading import corrected_card_path, read_model_card, save_corrected_card
from thematica.models.store import BUNDLED_FOLDER

from ..engine.networks import Net, light, make_card, save, z_scores

# Everything but what no JSON file can hold.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
words = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,14}[A-Za-z0-9])?", fullmatch=True)
numbers = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-3, 1e6)


def ranges(ends: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: (min(pair), max(pair)))


@st.composite
def cards(draw) -> ModelCard:
    names = draw(st.lists(words, min_size=1, max_size=6, unique=True))
    bands = [
        Band(name, draw(st.sampled_from(["", "red"])), draw(st.none() | positive), "K", draw(st.none() | positive))
        for name in names
    ]
    values = draw(st.lists(st.integers(0, 65533), min_size=1, max_size=5, unique=True))
    # A class must be called something.
    classes = [
        ModelClass(value, draw(text.filter(str.strip)), f"#{draw(st.integers(0, 2**24 - 1)):06x}") for value in values
    ]
    steps = draw(
        st.sampled_from([[], [{"type": "clip", "minimum": 0.0, "maximum": 1.0}]])
        | st.just(z_scores([float(i) for i in range(len(names))], [2.0] * len(names)))
    )
    return ModelCard(
        name=draw(words),
        task=draw(st.sampled_from(card_module.TASKS)),
        bands=bands,
        classes=classes,
        title=draw(text.filter(str.strip)),
        description=draw(text.filter(bool)),
        normalisation=card_module._normalisation(steps, len(names)),
        normalisation_steps=steps,
        activation=draw(st.sampled_from(("", *card_module.ACTIVATIONS))),
        thresholds=draw(st.sampled_from([(), (0.5,), tuple(0.1 for _ in values)])),
        data_type=draw(st.sampled_from(["float32", "float16", "uint8", "uint16"])),
        input_name=draw(words),
        output_name=draw(words),
        input_shape=(-1, len(names), -1, -1),
        output_shape=(-1, len(values), -1, -1),
        value_range=draw(st.none() | ranges(numbers)),
        gsd=draw(st.none() | positive),
        gsd_range=draw(st.none() | ranges(positive)),
        receptive_field=draw(st.integers(0, 1000)),
        tile=draw(st.integers(0, 4096)),
        nodata=draw(st.none() | numbers),
        trained_on=draw(text),
        split=draw(text),
        metrics=draw(st.dictionaries(words, numbers, max_size=3)),
        licence=draw(words),
        sources=draw(st.lists(text, max_size=2)),
        architecture=draw(words),
        parameters=draw(st.none() | st.integers(0, 10**9)),
        weights_sha256=draw(st.sampled_from(["", "ab" * 32])),
    )


@pytest.mark.parametrize(("task", "behind"), [("segmentation", (-1, -1)), ("patch", ())])
def test_an_output_without_a_shape_is_written_with_that_of_its_own_classes(task: str, behind: tuple[int, ...]) -> None:
    card = make_card(3, 3, task, output_name="a", further_outputs=[FurtherOutput("b", make_card(3, 5).classes)])
    read = parse_card(card.to_json())
    assert read.output_shape == (-1, 3, *behind)
    assert read.further_outputs[0].shape == (-1, 5, *behind)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(cards())
def test_a_card_survives_being_written_and_read(card: ModelCard) -> None:
    assert parse_card(card.to_json()) == card


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.floats(-100, 100)), min_size=1, max_size=5),
)
def test_a_normalisation_made_in_code_survives(pairs: list[tuple[float, float]]) -> None:
    normalisation = Normalisation(tuple(gain for gain, _ in pairs), tuple(bias for _, bias in pairs))
    card = make_card(len(pairs), 2, normalisation=normalisation)
    back = parse_card(card.to_json()).normalisation
    np.testing.assert_allclose(back.gain, normalisation.gain, rtol=1e-9)
    np.testing.assert_allclose(back.bias, normalisation.bias, rtol=1e-9, atol=1e-9)


def test_half_a_surrogate_pair_is_replaced() -> None:
    text = make_card(1, ["Wald"]).to_json().replace("Wald", "Wald \\ud800")
    assert parse_card(text).classes[0].name == "Wald ?"


AWKWARD = ['Wald "dicht"', "Äcker, Grünland", "<&>'", "línea\nnueva", "水", "", " ", "a" * 300, "Wald", "Wald"]


def test_class_names_stay_as_the_analyst_wrote_them() -> None:
    names = [name for name in AWKWARD if name.strip()]
    card = make_card(1, names)
    assert [entry.name for entry in parse_card(card.to_json()).classes] == names
    stac = card.to_item()["properties"]["mlm:output"][0]["classification:classes"]
    assert len({entry["name"] for entry in stac}) == len(names)


def check_against_mlm(item: dict) -> None:
    """The MLM part with stac-model, which must not drop any of it; the rest with the STAC core schemas."""
    item = json.loads(json.dumps(item))
    model = MLModelProperties.model_validate(item["properties"])
    kept = json.loads(model.model_dump_json(by_alias=True))
    assert {key for key in item["properties"] if key.startswith("mlm:")} <= set(kept)
    classes = "classification:classes"
    assert kept["mlm:output"][0][classes] == item["properties"]["mlm:output"][0][classes]
    JsonSchemaSTACValidator().validate_core(item, STACObjectType.ITEM, card_module.STAC_VERSION)


@pytest.mark.parametrize("path", sorted(BUNDLED_FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_the_cards_that_ship_are_valid_mlm(path: Path) -> None:
    """The one inside and the one beside, which say the same."""
    inside = json.loads(read_onnx_facts(path).metadata[card_module.METADATA_KEY])
    check_against_mlm(inside)
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == inside


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(cards())
def test_every_card_we_write_is_valid_mlm(card: ModelCard) -> None:
    check_against_mlm(card.to_item())


EDGE = [
    "", " ", "{", "[]", "[1]", "null", "1", '"card"', "{}", '{"properties": []}', '{"properties": null}',
    '{"properties": {"mlm:input": 3}}', '{"properties": {"mlm:input": [], "mlm:output": []}}',
    '{"properties": {"mlm:input": [1], "mlm:output": [2]}}', "[" * 100_000, '{"a":' * 50_000, "\x00", "\ufeff{}",
    '{"properties": {"mlm:input": [{"input": {"shape": [1, Infinity]}}], "mlm:output": [{}]}}',
]  # fmt: skip


@pytest.mark.parametrize("content", EDGE, ids=range(len(EDGE)))
def test_text_that_is_no_card(content: str) -> None:
    with pytest.raises(ModelError):
        parse_card(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(value, place=()):
    """Every place in a JSON document."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*place, key))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_card_with_anything_in_any_place(data: st.DataObject) -> None:
    """One value of a good card is replaced: it is still a card, or gets its sentence."""
    card = make_card(2, 2, thresholds=(0.5,), value_range=(0.0, 1.0), gsd=10.0, gsd_range=(1.0, 2.0), nodata=0.0,
                     metrics={"iou": 1.0}, sources=["x"], normalisation_steps=z_scores([1, 1], [2, 2]))  # fmt: skip
    item = json.loads(card.to_json())
    place = data.draw(st.sampled_from([place for place in _places(item) if place]))
    holder = item
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = data.draw(json_values)
    try:
        parse_card(json.dumps(item))
    except ModelError as error:
        message = error.message
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p["mlm:output"][0]["classification:classes"][0].update(value=1), "same value"),
        (lambda p: p["mlm:output"][0]["classification:classes"][0].update(value=-1), "between 0 and"),
        (lambda p: p["mlm:output"][0]["classification:classes"][0].update(value=65535), "between 0 and"),
        (lambda p: p.update({"thematica:task": "cooking"}), "thematica:task"),
        (lambda p: p.update({"thematica:activation": "relu"}), "thematica:activation"),
        (lambda p: p.update({"thematica:thresholds": [0.1, 0.2, 0.3]}), "thresholds"),
        (lambda p: p["mlm:input"][0].update(value_scaling=[{"type": "z-score", "mean": 1, "stddev": 0}]), "deviation"),
        (lambda p: p["mlm:input"][0].update(value_scaling=[{"type": "processing"}]), "not supported"),
        (lambda p: p["mlm:input"][0].update(value_scaling=[None, None, None]), "value_scaling"),
        (lambda p: p["mlm:input"][0].update(pre_processing_function={"format": "python"}), "pre_processing"),
    ],
)  # fmt: skip
def test_a_card_that_says_nonsense_is_refused(change, words: str) -> None:
    item = make_card(2, 2).to_item()
    change(item["properties"])
    with pytest.raises(ModelError, match=words):
        parse_card(json.dumps(item))


@pytest.mark.parametrize(
    ("step", "stored", "entered"),
    [
        (None, 5.0, 5.0),
        ({"type": "identity"}, 5.0, 5.0),
        ({"type": "z-score", "mean": 3.0, "stddev": 2.0}, 5.0, 1.0),
        ({"type": "min-max", "minimum": 2.0, "maximum": 12.0}, 7.0, 0.5),
        ({"type": "offset", "value": 3.0}, 5.0, 2.0),
        ({"type": "scale", "value": 4.0}, 8.0, 2.0),
        ({"type": "clip", "minimum": 0.0, "maximum": 1.0}, 5.0, 1.0),
        ({"type": "clip-min", "minimum": 6.0}, 5.0, 6.0),
        ({"type": "clip-max", "maximum": 4.0}, 5.0, 4.0),
    ],
)
def test_value_scaling_as_mlm_defines_it(step, stored: float, entered: float) -> None:
    found = card_module._normalisation([step], 1)
    low = -np.inf if found.minimum[0] is None else found.minimum[0]
    high = np.inf if found.maximum[0] is None else found.maximum[0]
    assert np.clip(stored, low, high) * found.gain[0] + found.bias[0] == pytest.approx(entered)


# Which card wins


def test_the_order_of_cards(tmp_path: Path) -> None:
    """Given, corrected, embedded, beside, none."""
    net = Net(2)
    model = net.model(net.conv(net.input, 2))
    path = save(tmp_path / "net.onnx", model)
    assert read_model_card(path).origin == "none"
    (tmp_path / "net.json").write_text(make_card(2, ["beside", "b"]).to_json(), encoding="utf-8")
    assert read_model_card(path).origin == "beside"
    save(path, model, make_card(2, ["embedded", "b"]))
    assert (read_model_card(path).origin, read_model_card(path).classes[0].name) == ("embedded", "embedded")
    correction = make_card(2, ["corrected", "b"])
    correction.weights_sha256 = read_model_card(path).weights_sha256
    kept = save_corrected_card(correction)
    try:
        assert kept == corrected_card_path(correction.weights_sha256)
        assert read_model_card(path).classes[0].name == "corrected"
        given = tmp_path / "given.json"
        given.write_text(make_card(2, ["given", "b"]).to_json(), encoding="utf-8")
        assert read_model_card(path, given).classes[0].name == "given"
    finally:
        kept.unlink()


@pytest.mark.parametrize(("bands", "classes", "words"), [(3, 2, "3 bands"), (2, 5, "5 classes")])
def test_a_card_of_another_network_is_refused(tmp_path: Path, bands: int, classes: int, words: str) -> None:
    net = Net(2)
    path = save(tmp_path / "net.onnx", net.model(net.conv(net.input, 2)), make_card(bands, classes))
    with pytest.raises(ModelError, match=words):
        read_model_card(path)


def test_one_score_means_two_classes(tmp_path: Path) -> None:
    """One sigmoid or logit: the other class is what is left, also where no card says so."""
    net = Net(2)
    model = net.model(net.conv(net.input, 1))
    assert len(read_model_card(save(tmp_path / "bare.onnx", model)).classes) == 2
    assert len(read_model_card(save(tmp_path / "two.onnx", model, make_card(2, 2))).classes) == 2


def test_a_card_in_latin_1_or_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(make_card(1, ["Grünland"]).to_json().encode("latin-1"))
    with pytest.raises(ModelError, match="cannot be read"):
        read_card(path)
    path.write_bytes(make_card(1, ["Grünland"]).to_json().encode("utf-8-sig"))
    assert read_card(path).classes[0].name == "Grünland"


def test_names_and_colours() -> None:
    assert slug("Grünland, nass") == "Grunland-nass"
    assert slug("水") == "model"
    colors = distinct_colors(40)
    assert len(set(colors)) == 40
    assert all(len(color) == 7 for color in colors)


def test_a_card_is_read_without_third_parties(tmp_path: Path) -> None:
    """QGIS's Python has neither onnx nor NumPy of ours."""
    path = light(tmp_path / "net.onnx")
    code = (
        "import sys; from thematica.models.reading import read_model_card; "
        f"card = read_model_card({str(path)!r}); assert len(card.classes) == 3; "
        "bad = {'numpy', 'onnx', 'onnxruntime', 'rasterio'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2] / "build" / "pkg")


def test_a_wavelength_without_end_is_refused():
    item = make_card(2, 2).to_item()
    item["assets"]["model"]["bands"][0]["eo:center_wavelength"] = "1e999"
    with pytest.raises(ModelError, match="wavelength of band B1"):
        parse_card(json.dumps(item))
