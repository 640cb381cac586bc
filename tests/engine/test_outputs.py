"""Networks with several outputs, with class numbers, with outputs smaller or coarser than the input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from thematica.models.card import FurtherOutput, ModelClass, distinct_colors
from thematica.models.reading import read_model_card

from .networks import Net, image, make_card, noise, read, save
from .workplace import Workplace

_KINDS = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8, "int32": TensorProto.INT32,
}  # fmt: skip


def several(net: Net, outputs: dict[str, tuple[str, list]], kinds: dict[str, str] | None = None) -> onnx.ModelProto:
    """A network with these outputs: name → (tensor, shape)."""
    nodes = [helper.make_node("Identity", [tensor], [name]) for name, (tensor, _) in outputs.items()]
    kind = "float16" if net.data_type == "float16" else "float32"
    graph = helper.make_graph(
        [*net.nodes, *nodes],
        "net",
        [helper.make_tensor_value_info("image", _KINDS[net.data_type], net.shape)],
        [
            helper.make_tensor_value_info(name, _KINDS[(kinds or {}).get(name, kind)], shape)
            for name, (_, shape) in outputs.items()
        ],
        net.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=8)


def classes(count: int, first: int = 0, word: str = "class") -> list[ModelClass]:
    return [ModelClass(first + n, f"{word} {n}", color) for n, color in enumerate(distinct_colors(count))]


FULL = ["n", 3, "h", "w"]


def maps(channels: int) -> list:
    return ["n", channels, "h", "w"]


def two_maps(path: Path, names: tuple[str, ...] = ("cover", "roads"), card: bool = True) -> Path:
    """The first output has 3 classes, the others one score each."""
    net = Net(3)
    x = net.relu(net.conv(net.input, 4))
    outputs = {name: (net.conv(x, 1 if n else 3), maps(1 if n else 3)) for n, name in enumerate(names)}
    described = make_card(
        3, 3, output_name=names[0], class_list=classes(3, 5, "cover"),
        further_outputs=[FurtherOutput(name, classes(2, 0, name)) for name in names[1:]],
    )  # fmt: skip
    return save(path, several(net, outputs), described if card else None)


def direct(model: Path, samples: np.ndarray, pad: int = 8) -> dict[str, np.ndarray]:
    """What the file gives for the whole image, padded by reflection: (K, H, W) of each output, the padding cropped."""
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[entry.type]
    padded = np.pad(samples, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")[None].astype(kind)
    results = session.run(None, {entry.name: padded})
    return {
        output.name: result[0][..., pad:-pad, pad:-pad] if result.ndim > 2 else result[0]
        for output, result in zip(session.get_outputs(), results, strict=True)
    }


def result_of(outcome) -> dict:
    assert outcome.status == 0, outcome.out + outcome.err
    return outcome.events[-1]


# Names of files


def test_every_output_has_its_files(workplace: Workplace) -> None:
    model = two_maps(workplace / "two.onnx")
    result = result_of(
        workplace.run(
            "--confidence", workplace / "sure.tif", "--probabilities", workplace / "p.tif", "--progress", "json",
            model=model,
        )
    )  # fmt: skip
    files = {name: Path(path).name for name, path in result["files"].items()}
    assert files == {
        "output": "map.tif", "style": "map.qml", "report": "map.report.json", "confidence": "sure.tif",
        "probabilities": "p.tif", "output:roads": "map_roads.tif", "confidence:roads": "sure_roads.tif",
        "probabilities:roads": "p_roads.tif",
    }  # fmt: skip
    for name in ("map.tif.aux.xml", "map_roads.tif.aux.xml", "map_roads.qml", "sure_roads.qml", "p_roads.qml"):
        assert (workplace / name).is_file(), name
    scores = direct(model, read(workplace.scene))
    np.testing.assert_array_equal(read(workplace / "map.tif")[0], scores["cover"].argmax(axis=0) + 5)
    np.testing.assert_array_equal(read(workplace / "map_roads.tif")[0], scores["roads"][0] >= 0)
    np.testing.assert_allclose(
        read(workplace / "p_roads.tif")[1], 1 / (1 + np.exp(-scores["roads"][0].astype(np.float64))), atol=1e-5
    )
    assert read(workplace / "p.tif").shape[0] == 3
    report = result["report"]
    assert report["output_name"] == "cover"
    (further,) = report["further_outputs"]
    assert (further["output_name"], further["file"]) == ("roads", "map_roads.tif")
    counts = np.bincount(read(workplace / "map_roads.tif").ravel(), minlength=2)
    assert [entry["pixels"] for entry in further["classes"]] == list(counts[:2])
    assert [entry["name"] for entry in report["classes"]] == ["cover 0", "cover 1", "cover 2"]
    assert json.loads((workplace / "map.report.json").read_text(encoding="utf-8")) == report


@pytest.mark.parametrize("name", ["cover", "roads"])
def test_one_output_alone(workplace: Workplace, name: str) -> None:
    model = two_maps(workplace / "two.onnx")
    result = result_of(workplace.run("--output-name", name, "--progress", "json", model=model))
    assert set(result["files"]) == {"output", "style", "report"}
    assert "further_outputs" not in result["report"]
    scores = direct(model, read(workplace.scene))
    expected = scores["cover"].argmax(axis=0) + 5 if name == "cover" else scores["roads"][0] >= 0
    np.testing.assert_array_equal(read(workplace.output)[0], expected)


def test_an_output_that_there_is_not(workplace: Workplace) -> None:
    before = workplace.files()
    outcome = workplace.run("--output-name", "rivers", model=two_maps(workplace / "two.onnx"))
    assert outcome.status == 2
    assert "no output “rivers”; its outputs are cover, roads" in outcome.sentence
    assert set(workplace.files()) == {*before, "two.onnx"}


@pytest.mark.parametrize(
    "names", [("cover", "the roads", "the-roads"), ("cover", "a/b", "a:b"), ("cover", "Ways", "ways"),
              ("cover", "水", "木"), ("a", "b", "b-3", "b ")],
)  # fmt: skip
def test_names_that_no_file_can_have_stay_apart(workplace: Workplace, names: tuple[str, ...]) -> None:
    model = two_maps(workplace / "many.onnx", names)
    result = result_of(workplace.run("--progress", "json", model=model))
    files = [path for name, path in result["files"].items() if name.startswith("output")]
    assert len({Path(path).name.lower() for path in files}) == len(names)
    scores = direct(model, read(workplace.scene))
    for name, path in zip(names[1:], files[1:], strict=True):
        np.testing.assert_array_equal(read(path)[0], scores[name][0] >= 0)
    assert [entry["output_name"] for entry in result["report"]["further_outputs"]] == list(names[1:])


@pytest.mark.parametrize("name", ["map_roads.tif", "map_roads.qml"])
def test_files_of_a_further_output_are_not_replaced_unasked(workplace: Workplace, name: str) -> None:
    model = two_maps(workplace / "two.onnx")
    (workplace / name).write_text("somebody's", encoding="utf-8")
    before = workplace.files()
    outcome = workplace.run(model=model)
    assert outcome.status == 2
    assert name in outcome.sentence
    assert "--overwrite" in outcome.sentence
    assert workplace.files() == before
    assert workplace.run("--overwrite", model=model).status == 0
    assert workplace.files()[name] != before[name]


def test_a_further_output_that_would_hit_a_score(workplace: Workplace) -> None:
    before = workplace.files()
    outcome = workplace.run(
        "--confidence", workplace / "map_roads.tif", model=two_maps(workplace / "two.onnx")
    )  # fmt: skip
    assert outcome.status == 2
    assert "asked for twice" in outcome.sentence
    assert set(workplace.files()) == {*before, "two.onnx"}


def test_a_failed_run_leaves_the_old_maps(workplace: Workplace) -> None:
    """Both outputs: the second is replaced only together with the first."""
    model = two_maps(workplace / "two.onnx")
    assert workplace.run(model=model).status == 0
    before = workplace.files()
    net = Net(3)
    one = net.conv(net.input, 3)
    broken = net.node("Log", net.node("Neg", net.node("Abs", net.conv(net.input, 1))))
    spoiled = save(
        workplace.folder.parent / "broken.onnx",
        several(net, {"cover": (one, maps(3)), "roads": (broken, maps(1))}),
        make_card(3, 3, output_name="cover", further_outputs=[FurtherOutput("roads", classes(2))]),
    )
    outcome = workplace.run("--overwrite", model=spoiled)
    assert outcome.status == 2
    assert "NaN" in outcome.sentence
    assert workplace.files() == before


# Which outputs are maps


def embedding_and_map(path: Path, first: str) -> Path:
    net = Net(3)
    cover = net.conv(net.input, 4)
    vector = net.node("Flatten", net.node("GlobalAveragePool", net.conv(net.input, 64)))
    outputs = {"cover": (cover, maps(4)), "embedding": (vector, ["n", 64])}
    return save(path, several(net, dict(sorted(outputs.items(), key=lambda entry: entry[0] != first))))


@pytest.mark.parametrize("first", ["cover", "embedding"])
def test_an_embedding_beside_a_map_is_no_map(workplace: Workplace, first: str) -> None:
    model = embedding_and_map(workplace / "net.onnx", first)
    result = result_of(workplace.run("--progress", "json", model=model))
    assert set(result["files"]) == {"output", "style", "report"}
    expected = direct(model, read(workplace.scene))["cover"].argmax(axis=0)
    np.testing.assert_array_equal(read(workplace.output)[0], expected)


def test_an_embedding_in_the_card_is_refused_by_name(workplace: Workplace) -> None:
    model = embedding_and_map(workplace / "net.onnx", "cover")
    card = make_card(3, 4, output_name="cover", further_outputs=[FurtherOutput("embedding", classes(64))])
    (workplace / "card.json").write_text(card.to_json(), encoding="utf-8")
    outcome = workplace.run("--card", workplace / "card.json", model=model)
    assert outcome.status == 2
    assert "(free, 64)" in outcome.sentence
    assert workplace.run("--card", workplace / "card.json", "--output-name", "cover", model=model).status == 0


def test_features_of_a_patch_network_do_not_make_it_one_for_pixels(tmp_path: Path) -> None:
    net = Net(3, shape=["n", 3, 64, 64])
    features = net.pool(net.conv(net.input, 8), 8, 8)
    label = net.dense(net.node("Flatten", net.node("GlobalAveragePool", features)), 5)
    model = several(net, {"label": (label, ["n", 5]), "features": (features, ["n", 8, 8, 8])})
    card = read_model_card(save(tmp_path / "net.onnx", model))
    assert (card.task, card.output_name, len(card.classes), card.further_outputs) == ("patch", "label", 5, [])


# Class numbers


def numbers(net: Net, x: str, kind: str, keepdims: int = 0) -> str:
    found = net.node("ArgMax", x, axis=1, keepdims=keepdims)
    return found if kind == "int64" else net.node("Cast", found, to=_KINDS[kind])


@pytest.mark.parametrize("kind", ["int64", "uint8", "int32"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("known", [3, 2])
def test_class_numbers(workplace: Workplace, kind: str, keepdims: int, known: int) -> None:
    """Numbers count the card's classes; those beyond them are unclassified."""
    net = Net(3)
    x = net.conv(net.input, 4)
    shape = ["n", 1, "h", "w"] if keepdims else ["n", "h", "w"]
    model = several(net, {"label": (numbers(net, x, kind, keepdims), shape)}, {"label": kind})
    path = save(workplace / "net.onnx", model, make_card(3, known, class_list=classes(known, 10)))
    result = result_of(workplace.run("--progress", "json", "--tile", "16", model=path))
    expected = direct(path, read(workplace.scene))["label"].reshape(40, 50).astype(int)
    assert len(np.unique(expected)) == 3
    found = read(workplace.output)[0]
    np.testing.assert_array_equal(found, np.where(expected < known, expected + 10, 254))
    assert result["report"]["unclassified"]["pixels"] == (expected >= known).sum()


def test_negative_class_numbers_are_unclassified(workplace: Workplace) -> None:
    net = Net(3)
    x = net.node("Cast", net.node("ArgMax", net.conv(net.input, 4), axis=1, keepdims=0), to=TensorProto.INT32)
    x = net.node("Sub", x, net.weight(np.array(1, np.int32)))
    path = save(
        workplace / "net.onnx", several(net, {"label": (x, ["n", "h", "w"])}, {"label": "int32"}), make_card(3, 3)
    )
    assert workplace.run(model=path).status == 0
    expected = direct(path, read(workplace.scene))["label"]
    np.testing.assert_array_equal(read(workplace.output)[0], np.where(expected < 0, 254, expected))


@pytest.mark.parametrize("option", ["--confidence", "--entropy", "--margin", "--probabilities", "--mode"])
def test_class_numbers_have_no_scores(workplace: Workplace, option: str) -> None:
    net = Net(3)
    x = numbers(net, net.conv(net.input, 4), "int64")
    path = save(
        workplace / "net.onnx", several(net, {"label": (x, ["n", "h", "w"])}, {"label": "int64"}), make_card(3, 4)
    )
    outcome = workplace.run(option, "smooth" if option == "--mode" else workplace / "x.tif", model=path)
    assert outcome.status == 2
    assert "class numbers and no scores" in outcome.sentence


def test_class_numbers_without_a_card_ask_for_names_and_then_run(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .workplace import run_here

    monkeypatch.setenv("THEMATICA_HOME", str(workplace / "home"))
    net = Net(3)
    x = numbers(net, net.conv(net.input, 3), "int64")
    path = save(workplace / "net.onnx", several(net, {"label": (x, ["n", "h", "w"])}, {"label": "int64"}))
    outcome = workplace.run(model=path)
    assert outcome.status == 2
    assert "--classes" in outcome.sentence
    assert run_here("inspect", path).status == 0
    kept = run_here("inspect", path, "--title", "Numbers", "--keep")
    assert kept.status == 2
    assert "--classes" in kept.sentence
    assert run_here("inspect", path, "--classes", "water,3=wood,town", "--keep").status == 0
    assert workplace.run(model=path).status == 0
    expected = np.array([0, 3, 2])[direct(path, read(workplace.scene))["label"]]
    np.testing.assert_array_equal(read(workplace.output)[0], expected)


def test_class_numbers_beside_scores_are_left_out(workplace: Workplace) -> None:
    net = Net(3)
    x = net.conv(net.input, 4)
    outputs = {"label": (numbers(net, x, "int64"), ["n", "h", "w"]), "scores": (x, maps(4))}
    path = save(workplace / "net.onnx", several(net, outputs, {"label": "int64"}))
    result = result_of(
        workplace.run("--progress", "json", "--confidence", workplace / "c.tif", model=path)
    )  # fmt: skip
    assert set(result["files"]) == {"output", "style", "report", "confidence"}
    np.testing.assert_array_equal(read(workplace.output)[0], direct(path, read(workplace.scene))["label"])


# Outputs of another size than the input


def valid_convolutions(net: Net, channels: int, *kernels: int) -> str:
    x = net.input
    for kernel in kernels[:-1]:
        x = net.relu(net.conv(x, 5, kernel, pads=(0, 0, 0, 0)))
    return net.conv(x, channels, kernels[-1], pads=(0, 0, 0, 0))


@pytest.mark.parametrize("fixed", [None, 64, 45, 56])
@pytest.mark.parametrize("kernels", [(3,), (5, 3), (29,)])
def test_convolutions_without_padding(workplace: Workplace, fixed: int | None, kernels: tuple[int, ...]) -> None:
    margin = sum(kernel // 2 for kernel in kernels)
    shape = ["n", 3, fixed, fixed] if fixed else FULL
    net = Net(3, shape=shape)
    result = valid_convolutions(net, 4, *kernels)
    size = [fixed - 2 * margin] * 2 if fixed else ["ho", "wo"]
    path = save(workplace / "net.onnx", several(net, {"scores": (result, ["n", 4, *size])}), make_card(3, 4))
    report = result_of(workplace.run("--progress", "json", "--tile", "16", model=path))["report"]
    assert report["tiling"]["exact"], report["tiling"]["why"]
    free = onnx.load(path)
    for tensor in (*free.graph.input, *free.graph.output):
        for place in (2, 3):
            tensor.type.tensor_type.shape.dim[place].dim_param = f"{tensor.name}{place}"
    session = onnxruntime.InferenceSession(free.SerializeToString(), providers=["CPUExecutionProvider"])
    padded = np.pad(read(workplace.scene), ((0, 0), (margin,) * 2, (margin,) * 2), mode="reflect")
    scores = session.run(None, {"image": padded[None].astype(np.float32)})[0][0]
    assert scores.shape == (4, 40, 50)
    np.testing.assert_array_equal(read(workplace.output)[0], scores.argmax(axis=0))


@pytest.mark.parametrize(("side", "works"), [(32, False), (36, True)])
def test_a_fixed_tile_that_is_hardly_larger_than_what_its_output_lacks(
    workplace: Workplace, side: int, works: bool
) -> None:
    net = Net(3, shape=["n", 3, side, side])
    x = net.resize(net.conv(net.input, 4, 4, stride=4), 4)
    x = net.conv(x, 3, 29, pads=(0, 0, 0, 0))
    model = several(net, {"out": (x, ["n", 3, side - 28, side - 28])})
    outcome = workplace.run(model=save(workplace / "net.onnx", model, make_card(3, 3)))
    assert outcome.status == (0 if works else 2)
    assert works or "larger size" in outcome.sentence


def test_outputs_with_different_margins_are_refused_and_can_be_chosen(workplace: Workplace) -> None:
    net = Net(3)
    outputs = {
        "narrow": (net.conv(net.input, 3, 5, pads=(0, 0, 0, 0)), ["n", 3, "h1", "w1"]),
        "wide": (net.conv(net.input, 3), maps(3)),
    }
    path = save(workplace / "net.onnx", several(net, outputs))
    outcome = workplace.run(model=path)
    assert outcome.status == 2
    assert "--output-name narrow" in outcome.sentence
    for name, crop in (("narrow", 2), ("wide", 0)):
        assert workplace.run("--overwrite", "--output-name", name, model=path).status == 0
        padded = np.pad(read(workplace.scene), ((0, 0), (8, 8), (8, 8)), mode="reflect")[None].astype(np.float32)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        scores = session.run([name], {"image": padded})[0][0]
        inside = (slice(None), slice(8 - crop, 48 - crop), slice(8 - crop, 58 - crop))
        np.testing.assert_array_equal(read(workplace.output)[0], scores[inside].argmax(axis=0))


def bilinear(coarse: np.ndarray, factor: int) -> np.ndarray:
    """(K, h, w) resized by a whole factor: between the centres of pixels, the outer ones repeated beyond them."""

    def along(array: np.ndarray, axis: int) -> np.ndarray:
        size = array.shape[axis]
        place = (np.arange(size * factor) + 0.5) / factor - 0.5
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1 if n == axis else 1 for n in range(3)])
        first = np.take(array, np.clip(low, 0, size - 1), axis)
        second = np.take(array, np.clip(low + 1, 0, size - 1), axis)
        return first * (1 - share) + second * share

    return along(along(coarse.astype(np.float64), 1), 2)


def coarse_network(factor: int, data_type: str = "float32", fixed: int | None = None) -> onnx.ModelProto:
    net = Net(3, shape=["n", 3, fixed, fixed] if fixed else FULL, data_type=data_type)
    x = net.conv(net.input, 6)
    while factor > 1:
        x = net.relu(net.conv(x, 6, 2 if factor % 2 == 0 else 3, stride=2 if factor % 2 == 0 else 3))
        factor //= 2 if factor % 2 == 0 else 3
    size = [fixed // 4] * 2 if fixed else ["hc", "wc"]
    return several(net, {"scores": (net.conv(x, 4, 1), ["n", 4, *size])})


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("data_type", ["float32", "float16"])
def test_a_coarser_output_is_resized(workplace: Workplace, factor: int, data_type: str) -> None:
    model = save(workplace / "net.onnx", coarse_network(factor, data_type), make_card(3, 4))
    workplace.scene = image(workplace / "small.tif", noise((3, 40, 50), "float32", high=1))
    result = result_of(
        workplace.run(
            "--progress", "json", "--tile", "16", "--probabilities", workplace / "p.tif", model=model
        )
    )  # fmt: skip
    assert result["report"]["tiling"]["exact"]
    assert Path(result["files"]["output"]).name == "map.tif"
    pad = 24
    samples = read(workplace.scene)
    padded = np.pad(samples, ((0, 0), (pad, pad + -40 % 24), (pad, pad + -50 % 24)), mode="reflect")
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"image": padded[None].astype(data_type)})[0][0]
    scores = bilinear(scores, factor)[:, pad : pad + 40, pad : pad + 50]
    exponents = np.exp(scores - scores.max(axis=0))
    np.testing.assert_allclose(
        read(workplace / "p.tif"), exponents / exponents.sum(axis=0), atol=1e-5 if data_type == "float32" else 1e-2
    )


def test_the_name_of_a_coarser_output_stays(workplace: Workplace) -> None:
    net = Net(3)
    fine = net.conv(net.input, 3)
    coarse = net.conv(net.pool(fine), 2)
    # Another output made from the coarse one, which must go on seeing it as it was.
    outputs = {
        "fine": (fine, maps(3)),
        "coarse": (coarse, ["n", 2, "hc", "wc"]),
        "again": (net.resize(coarse, 2), maps(2)),
    }
    path = save(workplace / "net.onnx", several(net, outputs))
    result = result_of(workplace.run("--progress", "json", model=path))
    assert {Path(file).name for file in result["files"].values() if file.endswith(".tif")} == {
        "map.tif", "map_coarse.tif", "map_again.tif"
    }  # fmt: skip
    assert workplace.run("--output-name", "coarse", "--overwrite", model=path).status == 0
    np.testing.assert_array_equal(read(workplace.output), read(workplace / "map_coarse.tif"))
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    padded = np.pad(read(workplace.scene), ((0, 0), (8, 8), (8, 8)), mode="reflect")[None].astype(np.float32)
    again = session.run(["again"], {"image": padded})[0][0][:, 8:48, 8:58]
    np.testing.assert_array_equal(read(workplace / "map_again.tif")[0], again.argmax(axis=0))


def _halved_numbers(net: Net) -> tuple[str, list, str]:
    return numbers(net, net.conv(net.pool(net.input), 4), "int64"), ["n", "hc", "wc"], "int64"


def _halved_score_without_axis(net: Net) -> tuple[str, list, str]:
    x = net.conv(net.pool(net.input), 1)
    return net.node("Squeeze", x, net.weight(np.array([1], np.int64))), ["n", "hc", "wc"], "float32"


def _uneven(net: Net) -> tuple[str, list, str]:
    return net.conv(net.input, 4, 3, stride=2, pads=(0, 0, 0, 0)), ["n", 4, "hc", "wc"], "float32"


@pytest.mark.parametrize("build", [_halved_numbers, _halved_score_without_axis, _uneven])
@pytest.mark.parametrize("fixed", [None, 64])
def test_what_cannot_be_resized_is_refused(workplace: Workplace, build: Callable, fixed: int | None) -> None:
    """Also where the size is fixed, and the coarse output could be taken for the middle of the tile."""
    net = Net(3, shape=["n", 3, fixed, fixed] if fixed else FULL)
    tensor, shape, kind = build(net)
    if fixed:
        side = (fixed - 3) // 2 + 1 if build is _uneven else fixed // 2
        shape = [*shape[:-2], side, side]
    path = save(workplace / "net.onnx", several(net, {"out": (tensor, shape)}, {"out": kind}), make_card(3, 4))
    if build is _halved_score_without_axis:
        path = save(path, several(net, {"out": (tensor, shape)}), make_card(3, 2))
    outcome = workplace.run(model=path)
    assert outcome.status == 2
    assert "size of the input" in outcome.sentence or "changes with the size" in outcome.sentence


def test_channels_in_place_of_the_batch_are_refused(workplace: Workplace) -> None:
    """(K, H, W) looks like (N, H, W)."""
    net = Net(3, shape=[1, 3, 64, 64])
    x = net.node("Squeeze", net.conv(net.input, 5), net.weight(np.array([0], np.int64)))
    path = save(workplace / "net.onnx", several(net, {"out": (x, [5, 64, 64])}))
    outcome = workplace.run(model=path)
    assert outcome.status == 2
    assert "batch" in outcome.sentence


def test_what_is_resized_and_what_is_not_stays_aligned_on_odd_sizes(workplace: Workplace) -> None:
    """Attention over the whole tile hides nothing: the total stride still decides which tiles the network can take."""
    net = Net(3)
    a = net.conv(net.input, 4)
    gate = net.node("Sigmoid", net.conv(net.node("GlobalAveragePool", a), 4, 1))
    b = net.relu(net.conv(net.node("Mul", a, gate), 5, 2, stride=2))
    c = net.relu(net.conv(b, 6, 2, stride=2))
    d = net.relu(net.conv(c, 6, 2, stride=2))
    x = net.concat(net.resize(d, 2), c)
    x = net.concat(net.resize(x, 2), b)
    x = net.concat(net.resize(x, 2), a)
    path = save(workplace / "net.onnx", several(net, {"scores": (net.conv(x, 3, 1), maps(3))}), make_card(3, 3))
    report = result_of(workplace.run("--progress", "json", "--overlap", "4", model=path))["report"]
    assert report["tiling"]["stride"] == 8
    assert not report["tiling"]["exact"]
