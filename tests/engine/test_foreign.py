"""All networks of the Deepness collection on its orthophoto: the map is that of a direct run, or the refusal is right.

The direct run knows nothing of the engine: rasterio reads, NumPy scales, and ONNX Runtime runs the network as it is
given: with height and width freed, once over the whole image padded by reflection, or, where an operator fixes them,
on tiles of 512 pixels whose outer pixels are thrown away.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from onnx import helper

from .networks import read
from .workplace import run_here

pytestmark = pytest.mark.real

FOLDER = "onnx_deepness_keys"
# More than any of the networks sees beyond a pixel (the largest kernel has 29 × 29 weights).
PAD = 32


@dataclass
class Row:
    """What is expected of one file.

    Args:
        refusal: words of the sentence, or empty.
        outputs: names of its outputs in order.
        activation: what they hold.
        divides: whether it carries Deepness's keys, so that values are divided by 255.
        fixed: whether its operators fix height and width.
        margin: rows and columns that its output lacks on each side.
        names: class names of the first output.
    """

    refusal: str = ""
    outputs: tuple[str, ...] = ("output",)
    activation: str = "sigmoid"
    divides: bool = False
    fixed: bool = False
    margin: int = 0
    names: tuple[str, ...] = ("class 0", "class 1")


TWO = ("output", "output2")
REGRESSION = "is a regression network .*continuous values"
TABLE = {
    "dummy_recognition_model.onnx": Row(REGRESSION),
    "dummy_regression_models/dummy_regression_model.onnx": Row(REGRESSION),
    "dummy_regression_models/dummy_regression_model_batched.onnx": Row(REGRESSION),
    "dummy_superresolution_model.onnx": Row("is a super-resolution network .*finer image"),
    # Their metadata says Segmentor, whatever the folder is called.
    "dummy_regression_models/one_output_sigmoid_bsx1x512x512.onnx": Row(
        divides=True, names=("background", "Happiness")
    ),
    "dummy_regression_models/one_output_sigmoid_bsx512x512.onnx": Row(),
    "dummy_regression_models/two_outputs_sigmoid_bsx1x512x512.onnx": Row(
        outputs=TWO, divides=True, names=("background", "Luck")
    ),
    "dummy_regression_models/two_outputs_sigmoid_bsx512x512.onnx": Row(outputs=TWO),
    "dummy_segmentation_models/different_output_size_512_to_484.onnx": Row(margin=14),
    "dummy_segmentation_models/dummy_model.onnx": Row(activation="logits", names=("class 0", "class 1", "class 2")),
    "dummy_segmentation_models/one_output_sigmoid_bsx1x512x512.onnx": Row(divides=True, names=("background", "Coffee")),
    "dummy_segmentation_models/one_output_sigmoid_bsx512x512.onnx": Row(
        divides=True, fixed=True, names=("background", "Coffee")
    ),
    "dummy_segmentation_models/one_output_softmax_bsx2x512x512.onnx": Row(activation="softmax"),
    "dummy_segmentation_models/two_outputs_sigmoid_bsx1x512x512.onnx": Row(
        outputs=TWO, divides=True, names=("background", "Coffee")
    ),
    "dummy_segmentation_models/two_outputs_sigmoid_bsx512x512.onnx": Row(outputs=TWO, fixed=True),
    "dummy_segmentation_models/two_outputs_softmax_bsx2x512x512.onnx": Row(
        outputs=TWO, activation="softmax", divides=True, names=("Coffee", "Tea")
    ),
    "one_output_sigmoid_red_detector.onnx": Row(),
}
MAPS = {name: row for name, row in TABLE.items() if not row.refusal}
BARE = {name: row for name, row in MAPS.items() if not row.divides}


@pytest.fixture(scope="module")
def photo(real_data) -> tuple[Path, np.ndarray, np.ndarray]:
    """The orthophoto, its three bands, and which pixels have data."""
    path = real_data(f"{FOLDER}/dummy_fotomap_small.tif")
    with rasterio.open(path) as dataset:
        return path, dataset.read([1, 2, 3]), dataset.dataset_mask() > 0


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))


def test_every_file_of_the_collection_is_in_the_table(real_data) -> None:
    folder = real_data(FOLDER)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx")}
    assert found == set(TABLE)
    assert len(found) == 17


def session_of(path: Path, row: Row) -> onnxruntime.InferenceSession:
    model = onnx.load(path)
    for tensor in (*model.graph.input, *model.graph.output):
        dimensions = tensor.type.tensor_type.shape.dim
        places = range(len(dimensions) - 2, len(dimensions)) if not row.fixed else ()
        for place in (0, *places):
            dimensions[place].dim_param = f"{tensor.name}_{place}"
    # Sizes that were noted inside the graph are those of 512 pixels.
    del model.graph.value_info[:]
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def direct(path: Path, row: Row, samples: np.ndarray) -> list[np.ndarray]:
    """Probabilities (K, H, W) of every output."""
    session = session_of(path, row)
    name = session.get_inputs()[0].name

    def run(tile: np.ndarray) -> list[np.ndarray]:
        results = session.run(list(row.outputs), {name: tile[None]})
        return [result[0] if result.ndim == 4 else result for result in results]

    height, width = samples.shape[1:]
    if row.margin:
        padded = np.pad(samples, ((0, 0), (row.margin,) * 2, (row.margin,) * 2), mode="reflect")
        scores = run(padded)
    elif not row.fixed:
        padded = np.pad(samples, ((0, 0), (PAD, PAD), (PAD, PAD)), mode="reflect")
        scores = [result[:, PAD:-PAD, PAD:-PAD] for result in run(padded)]
    else:
        core = 512 - 2 * PAD
        beyond = [(PAD, PAD + -side % core) for side in (height, width)]
        padded = np.pad(samples, ((0, 0), *beyond), mode="reflect")
        scores = [np.zeros((1, height, width), np.float32) for _ in row.outputs]
        for top in range(0, height, core):
            for left in range(0, width, core):
                results = run(np.ascontiguousarray(padded[:, top : top + 512, left : left + 512]))
                for whole, result in zip(scores, results, strict=True):
                    kept = result[:, PAD:-PAD, PAD:-PAD][:, : height - top, : width - left]
                    whole[:, top : top + core, left : left + core] = kept
    found = []
    for result in scores:
        assert result.shape[1:] == (height, width)
        if row.activation == "logits":
            exponents = np.exp(result.astype(np.float64) - result.max(axis=0))
            found.append(exponents / exponents.sum(axis=0))
        else:
            found.append(np.concatenate([1 - result, result]) if len(result) == 1 else result)
    return found


def filled(samples: np.ndarray, valid: np.ndarray, divide: float) -> np.ndarray:
    """What enters the network: missing pixels as 0."""
    return np.where(valid, samples / np.float32(divide), 0).astype(np.float32)


def classify(photo, model: Path | str, output: Path, *more: object) -> dict:
    outcome = run_here(
        "classify-pixels", photo[0], "--model", model, "--output", output, "--progress", "json", "--probabilities",
        output.with_name("p.tif"), *more,
    )  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
    return outcome.events[-1]


def compare(codes: np.ndarray, probabilities: np.ndarray, expected: np.ndarray, valid: np.ndarray) -> None:
    """Probabilities within 1e-5, classes wherever they are clear, nodata where the photo has none."""
    np.testing.assert_array_equal(codes == 255, ~valid)
    assert np.isnan(probabilities[:, ~valid]).all()
    np.testing.assert_allclose(probabilities[:, valid], expected[:, valid], atol=1e-5)
    ordered = np.sort(expected, axis=0)
    clear = valid & (ordered[-1] - ordered[-2] > 2e-5)
    np.testing.assert_array_equal(codes[clear], expected.argmax(axis=0)[clear])


def compare_all(result: dict, row: Row, expected: list[np.ndarray], valid: np.ndarray) -> None:
    for number, name in enumerate(row.outputs):
        key = f":{name}" if number else ""
        files = result["files"]
        compare(read(files[f"output{key}"])[0], read(files[f"probabilities{key}"]), expected[number], valid)


@pytest.mark.parametrize("name", MAPS)
def test_the_map_is_that_of_a_direct_run(photo, real_data, tmp_path: Path, name: str) -> None:
    row, model = TABLE[name], real_data(f"{FOLDER}/{name}")
    _, samples, valid = photo
    result = classify(photo, model, tmp_path / "map.tif")
    assert tuple(entry["name"] for entry in result["report"]["classes"]) == row.names
    assert result["report"]["tiling"]["exact"], result["report"]["tiling"]["why"]
    expected = direct(model, row, filled(samples, valid, 255 if row.divides else 1))
    compare_all(result, row, expected, valid)


@pytest.mark.parametrize("name", BARE)
def test_with_the_scale_that_its_maker_had_in_mind(photo, real_data, tmp_path: Path, name: str) -> None:
    row, model = TABLE[name], real_data(f"{FOLDER}/{name}")
    _, samples, valid = photo
    result = classify(photo, model, tmp_path / "map.tif", "--scale", "0.00392156862745098")
    expected = direct(model, row, filled(samples, valid, 255))
    # Probabilities that are the same everywhere would prove little.
    assert all(np.ptp(entry[1]) > 0.01 for entry in expected)
    compare_all(result, row, expected, valid)


@pytest.mark.parametrize(
    "name",
    [
        "dummy_segmentation_models/different_output_size_512_to_484.onnx",
        # Their batch is free by declaration, and fixed at 1 by what they do.
        "dummy_segmentation_models/two_outputs_sigmoid_bsx512x512.onnx",
        "dummy_segmentation_models/two_outputs_softmax_bsx2x512x512.onnx",
    ],
)
def test_any_tile_gives_the_same_map(photo, real_data, tmp_path: Path, name: str) -> None:
    row, model = TABLE[name], real_data(f"{FOLDER}/{name}")
    _, samples, valid = photo
    result = classify(photo, model, tmp_path / "map.tif", "--tile", "200", "--overlap", "40", "--batch", "3")
    compare_all(result, row, direct(model, row, filled(samples, valid, 255 if row.divides else 1)), valid)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.refusal])
def test_the_refusal_says_what_it_is(photo, real_data, tmp_path: Path, name: str) -> None:
    outcome = run_here(
        "classify-pixels", photo[0], "--model", real_data(f"{FOLDER}/{name}"), "--output", tmp_path / "map.tif",
    )  # fmt: skip
    assert outcome.status == 2
    assert re.search(TABLE[name].refusal, outcome.sentence), outcome.sentence
    assert not list(tmp_path.glob("map*"))


@pytest.mark.parametrize("name", [name for name, row in MAPS.items() if len(row.outputs) > 1])
@pytest.mark.parametrize("number", [0, 1])
def test_one_of_two_outputs(photo, real_data, tmp_path: Path, name: str, number: int) -> None:
    row, model = TABLE[name], real_data(f"{FOLDER}/{name}")
    _, samples, valid = photo
    result = classify(photo, model, tmp_path / "map.tif", "--output-name", row.outputs[number])
    assert set(result["files"]) == {"output", "style", "report", "probabilities"}
    expected = direct(model, row, filled(samples, valid, 255 if row.divides else 1))[number]
    compare(read(tmp_path / "map.tif")[0], read(tmp_path / "p.tif"), expected, valid)


def test_the_second_output_has_its_own_class_names(photo, real_data, tmp_path: Path) -> None:
    model = real_data(f"{FOLDER}/dummy_segmentation_models/two_outputs_softmax_bsx2x512x512.onnx")
    (further,) = classify(photo, model, tmp_path / "map.tif")["report"]["further_outputs"]
    assert [entry["name"] for entry in further["classes"]] == ["Juice", "Beer"]
    assert (further["output_name"], further["file"]) == ("output2", "map_output2.tif")


@pytest.mark.parametrize("name", BARE)
def test_a_description_by_hand_counts_from_then_on(photo, real_data, tmp_path: Path, name: str) -> None:
    """Classes and divisor given once with inspect --keep; what the output holds stays what the file shows."""
    row, model = TABLE[name], real_data(f"{FOLDER}/{name}")
    _, samples, valid = photo
    names = ["rest", "thing", "other"][: len(row.names)]
    kept = run_here("inspect", model, "--classes", ",".join(names), "--divide", "255", "--keep")
    assert kept.status == 0, kept.err
    result = classify(photo, model, tmp_path / "map.tif")
    assert [entry["name"] for entry in result["report"]["classes"]] == names
    assert result["report"]["model"]["card"] == "corrected"
    compare_all(result, row, direct(model, row, filled(samples, valid, 255)), valid)


def test_keys_added_to_a_real_network(photo, real_data, tmp_path: Path) -> None:
    """Mean, deviation, threshold and resolution as Deepness writes them, in a copy of the file."""
    name = "dummy_segmentation_models/one_output_sigmoid_bsx1x512x512.onnx"
    model = onnx.load(real_data(f"{FOLDER}/{name}"))
    mean, deviation = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]
    keys = {
        "model_type": "Segmentor", "seg_thresh": 0.42, "resolution": 2.0, "standardization_mean": mean,
        "standardization_std": deviation, "class_names": {"0": "Coffee"},
    }  # fmt: skip
    helper.set_model_props(model, {key: json.dumps(value) for key, value in keys.items()})
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model.SerializeToString())
    _, samples, valid = photo
    result = classify(photo, copy, tmp_path / "map.tif")
    entered = samples / np.float32(255)
    entered = (entered - np.reshape(mean, (3, 1, 1))) / np.reshape(deviation, (3, 1, 1))
    # A missing pixel enters as nearly as eight bits allow as the mean.
    fill = np.rint(np.array(mean) * 255)[:, None, None] / 255
    fill = (fill - np.reshape(mean, (3, 1, 1))) / np.reshape(deviation, (3, 1, 1))
    entered = np.where(valid, entered, fill).astype(np.float32)
    (expected,) = direct(copy, TABLE[name], entered)
    found = read(tmp_path / "p.tif")
    np.testing.assert_allclose(found[:, valid], expected[:, valid], atol=1e-5)
    clear = valid & (np.abs(expected[1] - 0.42) > 1e-5)
    codes = read(tmp_path / "map.tif")[0]
    np.testing.assert_array_equal(codes[clear], expected[1][clear] >= 0.42)
    assert {0, 1} == set(np.unique(codes[valid]))
    assert result["report"]["warnings"] == []
