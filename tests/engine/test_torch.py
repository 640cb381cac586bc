"""PyTorch files: the same map as from ONNX, and no code of a stranger's."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from thematica.engine import providers
from thematica.engine.backend import deploy, load_network
from thematica.engine.pt2_archive import without_code
from thematica.engine.session import create_session, tile_options
from thematica.engine.torch_session import TorchSession
from thematica.errors import InputError, ModelError, RuntimeMissingError
from thematica.models.card import METADATA_KEY, FurtherOutput
from thematica.models.reading import read_model_card
from thematica.models.store import add_model, list_models, resolve_model

from .networks import image, make_card, noise, read, save, z_scores
from .torch_networks import KINDS, Segmenter, Spectral, seeded, segmenter_card, write
from .workplace import Workplace

ALL_SCORES = ["confidence", "entropy", "margin", "probabilities"]


def outputs(path: Path, samples: np.ndarray, scale: float = 1.0, offset: float = 0.0, scores=ALL_SCORES, **options):
    network = load_network(path, read_model_card(path))
    bands = len(network.card.bands)
    deployment = deploy(network, samples.dtype, [scale] * bands, [offset] * bands, scores)
    session = create_session(deployment, "cpu", **options)
    return session.run(samples, tile_options())


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray], within: float = 1e-4) -> None:
    assert set(first) == set(second)
    for name, array in first.items():
        other = second[name]
        if name == "classes":
            assert array.dtype == other.dtype
            assert array.shape == other.shape
            sure = first["margin"] > 2 * within if "margin" in first else np.ones(array.shape, bool)
            np.testing.assert_array_equal(array[sure], other[sure])
            assert sure.mean() > 0.4
        elif name == "check":
            assert np.isnan(array).any() == np.isnan(other).any()
        else:
            assert tuple(array.shape) == tuple(other.shape), name
            np.testing.assert_allclose(array, other, atol=within, rtol=0, err_msg=name)


# The same network in all forms


@pytest.fixture(scope="module")
def forms(tmp_path_factory) -> dict[str, Path]:
    """One network, written in all forms."""
    folder = tmp_path_factory.mktemp("forms")
    card = segmenter_card(normalisation_steps=z_scores([0.4] * 3, [0.2, 0.3, 0.4]))
    return {kind: write(folder, kind, seeded(Segmenter, 3, 4), card) for kind in KINDS}


@pytest.mark.parametrize("data_type", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
def test_the_same_network_gives_the_same_from_every_file(forms, data_type):
    samples = noise((2, 3, 32, 40), data_type, high={"uint16": 60000, "uint32": 4e9}.get(data_type, 255))
    wanted = outputs(forms["net.onnx"], samples, 1 / samples.max(), 0.01)
    assert set(np.unique(wanted["classes"])) == {0, 1, 2, 3}
    for kind in KINDS[1:]:
        same(wanted, outputs(forms[kind], samples, 1 / samples.max(), 0.01))


@pytest.mark.parametrize(
    ("classes", "fields"),
    [
        (4, {"activation": "softmax"}),
        (4, {"thresholds": (0.6,)}),
        (4, {"thresholds": (0.1, 0.9, 0.3, 0.3)}),
        (300, {}),
        (4, {"normalisation_steps": [{"type": "min-max", "minimum": 20, "maximum": 200}] * 3}),
        (4, {"normalisation_steps": [{"type": "clip", "minimum": 20, "maximum": 90}] * 3}),
    ],
)
def test_decisions_and_limits_are_the_same(tmp_path, classes, fields):
    module = seeded(Segmenter, 3, classes)
    if fields.get("activation") == "softmax":
        module = nn.Sequential(module, nn.Softmax(1)).eval()
    card = segmenter_card(3, classes, **fields)
    samples = noise((1, 3, 32, 32), "uint8")
    scale = 1.0 if "normalisation_steps" in fields else 1 / 255
    wanted = outputs(write(tmp_path, "net.onnx", module, card), samples, scale)
    if "thresholds" in fields:
        assert (wanted["classes"] == classes).any()
    for kind in KINDS[1:]:
        same(wanted, outputs(write(tmp_path, kind, module, card), samples, scale), 1e-3 if scale == 1 else 1e-4)


@pytest.mark.parametrize("activation", ["logits", "sigmoid"])
@pytest.mark.parametrize("thresholds", [(), (0.55,)])
def test_one_score_for_two_classes(tmp_path, activation, thresholds):
    module = seeded(Segmenter, 3, 1)
    if activation == "sigmoid":
        module = nn.Sequential(module, nn.Sigmoid()).eval()
    card = segmenter_card(3, 2, activation=activation, thresholds=thresholds, output_shape=(-1, 1, -1, -1))
    samples = noise((1, 3, 32, 32), "uint8")
    wanted = outputs(write(tmp_path, "net.onnx", module, card), samples, 1 / 255)
    assert set(np.unique(wanted["classes"])) == {0, 1}
    chosen = np.where(wanted["classes"] == 1, wanted["probabilities"][:, 1], wanted["probabilities"][:, 0])
    np.testing.assert_array_equal(wanted["confidence"], chosen)
    for kind in KINDS[1:]:
        same(wanted, outputs(write(tmp_path, kind, module, card), samples, 1 / 255))


def test_per_pixel_networks(tmp_path):
    module = seeded(Spectral, 5, 3)
    card = make_card(5, 3, "pixel", input_shape=(-1, 5), output_shape=(-1, 3))
    samples = noise((1, 5, 20, 30), "uint16", high=10000)
    wanted = outputs(write(tmp_path, "net.onnx", module, card), samples, 1e-4)
    for kind in KINDS[1:]:
        same(wanted, outputs(write(tmp_path, kind, module, card), samples, 1e-4))


class Whole(nn.Module):
    """Looks at all of a 5 × 5 window or patch: (N,C,5,5) or (N,1,C,5,5) → (N,K)."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.last = nn.Linear(bands * 25, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(image.flatten(1))


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("window", (-1, 3, 5, 5)),
        ("window", (-1, 1, 3, 5, 5)),
        ("patch", (-1, 3, 5, 5)),
        ("patch-multilabel", (-1, 3, 5, 5)),
    ],
)
def test_windows_and_patches(tmp_path, task, shape):
    torch.manual_seed(0)
    module = Whole(3, 4).eval()
    card = make_card(3, 4, task, input_shape=shape, output_shape=(-1, 4))
    example = torch.rand(2, *shape[1:])
    onnx_file, torch_file = tmp_path / "net.onnx", tmp_path / "net.pt"
    torch.onnx.export(
        module, (example,), str(onnx_file), input_names=["image"], output_names=["scores"], opset_version=17,
        dynamic_axes={"image": {0: "n"}, "scores": {0: "n"}}, dynamo=False,
    )  # fmt: skip
    save(onnx_file, onnx.load(onnx_file), card)
    torch.jit.trace(module, example).save(str(torch_file))
    torch_file.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    patches = task.startswith("patch")
    found = []
    for path in (onnx_file, torch_file):
        network = load_network(path, read_model_card(path), patches)
        assert (network.kind, network.tile) == ("patch" if patches else "window", (5, 5))
        deployment = deploy(network, np.dtype("uint8"), [1 / 255] * 3, [0.0] * 3, decide=not patches)
        found.append(create_session(deployment, "cpu").run(noise((6, 3, 5, 5))))
    same(*found)
    with pytest.raises(ModelError, match=r"patches|pixels"):
        load_network(torch_file, read_model_card(torch_file), not patches)


def test_scores_alone_for_who_blends_tiles(forms):
    samples, found = noise((1, 3, 32, 32)), []
    for kind in KINDS:
        network = load_network(forms[kind], read_model_card(forms[kind]))
        deployment = deploy(network, samples.dtype, [1 / 255] * 3, [0.0] * 3, decide=False)
        found.append(create_session(deployment, "cpu").run(samples))
    assert set(found[0]) == {"check", "shape", "probabilities"}
    for other in found[1:]:
        same(found[0], other)


def test_a_per_pixel_network_with_a_fixed_number_of_pixels(tmp_path):
    """As torch.export makes it where nobody says that the batch is free."""
    module = seeded(Spectral, 5, 3)
    card = make_card(5, 3, "pixel", input_shape=(7, 5), output_shape=(7, 3))
    path = tmp_path / "fixed.pt2"
    torch.export.save(torch.export.export(module, (torch.rand(7, 5),)), str(path))
    path.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    samples = noise((1, 5, 4, 5), "uint16", high=10000)
    scores = module(torch.from_numpy((samples[0].reshape(5, -1).T * 1e-4).astype("float32"))).detach()
    found = outputs(path, samples, 1e-4)
    np.testing.assert_array_equal(found["classes"][0].ravel(), scores.argmax(1))


def test_networks_that_give_a_dictionary_or_a_tuple(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self, inner, form):
            super().__init__()
            self.inner, self.form = inner, form

        def forward(self, image):
            scores = self.inner(image)
            return {"aux": -scores, "out": scores} if self.form == "dictionary" else (scores, -scores)

    module, card = seeded(Segmenter, 3, 4), segmenter_card()
    samples = noise((1, 3, 32, 32), "uint8")
    wanted = outputs(write(tmp_path, "traced.pt", module, card), samples, 1 / 255)
    for form in ("dictionary", "tuple"):
        path = tmp_path / f"{form}.pt"
        torch.jit.trace(Wrapped(module, form), torch.rand(1, 3, 16, 16), strict=False).save(str(path))
        path.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
        same(wanted, outputs(path, samples, 1 / 255))


class Several(nn.Module):
    """Three classes and one score, in a dictionary or a tuple, or only the first as a tensor."""

    def __init__(self, form: str, kind: type[nn.Module] = Segmenter) -> None:
        super().__init__()
        self.cover, self.roads, self.form = seeded(kind, 3, 3), seeded(kind, 3, 1, 1), form

    def forward(self, image: torch.Tensor):
        first, second = self.cover(image), self.roads(image)
        if self.form == "tensor":
            return first
        return {"roads": second, "cover": first} if self.form == "dictionary" else (first, second)


def several(folder: Path, form: str, kind: type[nn.Module] = Segmenter, outputs: int = 2) -> Path:
    """A traced network whose card names its outputs."""
    free = (-1, -1) if kind is Segmenter else ()
    roads = FurtherOutput("roads", make_card(3, 2).classes, "logits", (0.4,), (-1, 1, *free))
    card = make_card(3, 3, "segmentation" if free else "pixel", output_name="cover", receptive_field=7 if free else 1,
                     further_outputs=[roads][: outputs - 1])  # fmt: skip
    path = folder / f"{form}.pt"
    example = torch.rand(1, 3, 16, 16) if free else torch.rand(7, 3)
    torch.jit.trace(Several(form, kind), example, strict=False).save(str(path))
    path.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", [Segmenter, Spectral])
@pytest.mark.parametrize("form", ["dictionary", "tuple"])
def test_several_outputs_give_a_map_each_or_the_one_that_is_asked_for(tmp_path, form, kind):
    path = several(tmp_path, form, kind)
    samples = noise((1, 3, 32, 32), "uint8")
    both = outputs(path, samples, 1 / 255)
    values = torch.from_numpy(samples.astype("float32") / 255)
    net = Several("tuple", kind)
    with torch.inference_mode():
        if kind is Segmenter:
            cover, roads = net(values)
        else:
            cover, roads = (s.T.reshape(1, -1, 32, 32) for s in net(values[0].reshape(3, -1).T))
    np.testing.assert_allclose(both["probabilities"], cover.softmax(1), atol=1e-5)
    np.testing.assert_allclose(both["probabilities.1"][:, 1], torch.sigmoid(roads)[:, 0], atol=1e-5)
    np.testing.assert_array_equal(both["classes"], cover.argmax(1))
    np.testing.assert_array_equal(both["classes.1"], (torch.sigmoid(roads) >= 0.4)[:, 0])
    for name, mark in (("cover", ""), ("roads", ".1")):
        network = load_network(path, read_model_card(path), output_name=name)
        deployment = deploy(network, samples.dtype, [1 / 255] * 3, [0.0] * 3, ALL_SCORES)
        one = create_session(deployment, "cpu").run(samples)
        for what in ("classes", *ALL_SCORES):
            np.testing.assert_array_equal(one[what], both[what + mark])


def test_several_outputs_of_a_pytorch_file_become_a_map_each(workplace: Workplace) -> None:
    outcome = workplace.run("--scale", 0.01, model=several(workplace.folder, "tuple"))
    assert outcome.status == 0, outcome.out
    assert set(np.unique(read(workplace.output))) <= {0, 1, 2, 255}
    assert set(np.unique(read(workplace / "map_roads.tif"))) <= {0, 1, 255}


@pytest.mark.parametrize(
    ("form", "count", "name", "words"),
    [
        # The card names one output only: others can be asked for where the network names them.
        ("dictionary", 1, "raods", "no output “raods”; its outputs are roads, cover"),
        ("tuple", 1, "second", "gives 2 outputs without a name, so that there is no “second”"),
        ("tensor", 1, "second", "gives a single output without a name, so that there is no “second”"),
        # It names both: what is not among them is told before anything runs.
        ("dictionary", 2, "raods", "no output “raods”; its outputs are cover, roads"),
        ("tensor", 2, None, "no output “roads”: its card names it as number 2, but the network gives 1"),
        ("tensor", 2, "roads", "no output “roads”: its card names it as number 2, but the network gives 1"),
    ],
)
def test_an_output_that_is_not_there_is_refused(workplace: Workplace, form, count, name, words) -> None:
    model = several(workplace.folder, form, outputs=count)
    outcome = workplace.run(*(["--output-name", name] if name else []), model=model)
    assert outcome.status == 2, outcome.out
    assert words in outcome.sentence
    assert not workplace.output.exists()


def test_a_name_that_a_dictionary_holds_may_be_unknown_to_the_card(tmp_path):
    path = several(tmp_path, "dictionary", outputs=1)
    card = read_model_card(path)
    card.classes, card.output_shape = card.classes[:2], (-1, 1, -1, -1)
    network = load_network(path, card, output_name="roads")
    found = create_session(deploy(network, np.dtype("uint8"), [1 / 255] * 3, [0.0] * 3), "cpu").run(
        noise((1, 3, 16, 16))
    )
    assert set(np.unique(found["classes"])) <= {0, 1}
    assert list(found["shape"]) == [1, 1, 16, 16]


# The whole way


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_is_that_of_one_run_over_the_whole_image(workplace: Workplace, kind: str) -> None:
    module = seeded(Segmenter, 3, 4)
    card = segmenter_card(normalisation_steps=z_scores([128] * 3, [64] * 3))
    scene = image(workplace / "scene2.tif", noise((3, 150, 210)))
    model = write(workplace.folder, kind, module, card)
    outcome = workplace.run(
        "--progress", "json", "--tile", 64, "--probabilities", workplace / "p.tif", raster=scene, model=model
    )
    assert outcome.status == 0, outcome.out
    report = outcome.events[-1]["report"]
    assert report["tiling"]["exact"]
    assert report["backend"]["name"] == ("onnxruntime" if kind.endswith("onnx") else "torch")
    entered = (torch.from_numpy(read(scene)).float() - 128) / 64
    # Reflected beyond the border, as the engine does; 160 and 224 are multiples of the total stride.
    padded = torch.nn.functional.pad(entered[None], (32, 32 + 14, 32, 32 + 10), mode="reflect")
    with torch.inference_mode():
        whole = module(padded).softmax(1)[0, :, 32:182, 32:242].numpy()
    np.testing.assert_allclose(read(workplace / "p.tif"), whole, atol=1e-4)


def test_a_card_without_receptive_field_is_not_exact_and_says_so(workplace: Workplace) -> None:
    model = write(workplace.folder, "traced.pt", seeded(Segmenter, 3, 3), segmenter_card(3, 3, receptive_field=0))
    outcome = workplace.run("--progress", "json", "--scale", 0.01, model=model)
    assert outcome.status == 0, outcome.out
    report = outcome.events[-1]["report"]
    assert not report["tiling"]["exact"]
    assert "thematica:receptive_field" in report["tiling"]["why"]
    assert any("receptive_field" in warning for warning in report["warnings"])


def test_provider_names_are_understood_for_pytorch_too(workplace: Workplace) -> None:
    model = write(workplace.folder, "traced.pt", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    outcome = workplace.run("--progress", "json", "--provider", "tensorrt,cuda", model=model)
    assert outcome.status == 0, outcome.out
    backend = outcome.events[-1]["report"]["backend"]
    if backend["provider"] == "cpu":
        assert "CPU only" in backend["why_not"]["cuda"] or "NVIDIA" in backend["why_not"]["cuda"]
        assert any("CUDA did not load" in warning for warning in outcome.events[-1]["report"]["warnings"])
    assert "ONNX" in backend["why_not"]["tensorrt"]
    outcome = workplace.run("--provider", "directml", "--overwrite", model=model)
    assert outcome.status == 2
    assert "directml" in outcome.sentence
    assert "PyTorch" in outcome.sentence


def test_without_pytorch_the_sentence_says_how_to_get_it(workplace: Workplace, monkeypatch) -> None:
    model = write(workplace.folder, "traced.pt", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    with pytest.raises(RuntimeMissingError, match="PyTorch is not in this runtime: add it"):
        load_network(model, read_model_card(model))
    outcome = workplace.run(model=model)
    assert outcome.status == 2
    assert "Runtime" in outcome.sentence


# Memory


class Hungry(nn.Module):
    """Needs a petabyte for more than one image at once."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        extra = torch.ones([max(image.shape[0] - self.images, 0) * 1_000_000_000_000_000 + 1]).sum()
        return image[:, :2] * extra


@pytest.mark.parametrize("images", [1, 3])
def test_a_batch_that_memory_does_not_hold_is_halved(tmp_path, images):
    path = tmp_path / "hungry.pt"
    torch.jit.script(Hungry(images)).save(str(path))
    path.with_suffix(".json").write_text(segmenter_card(3, 2).to_json(), encoding="utf-8")
    network = load_network(path, read_model_card(path))
    session = create_session(deploy(network, np.dtype("uint8"), [1.0] * 3, [0.0] * 3, ["margin"]), "cpu")
    samples = noise((7, 3, 8, 8), "uint8")
    found = session.run(samples)
    np.testing.assert_array_equal(found["classes"], samples[:, :2].argmax(1))
    assert found["margin"].shape == (7, 8, 8)
    assert list(found["shape"]) == [7, 2, 8, 8]
    assert session.facts()["largest_batch"] == 1 if images == 1 else 3
    assert "goes on with" in session.warnings[-1]
    told = len(session.warnings)
    session.run(samples)
    assert len(session.warnings) == told


def test_where_one_tile_does_not_fit_the_sentence_names_the_tile(tmp_path):
    path = tmp_path / "hungry.pt"
    torch.jit.script(Hungry(0)).save(str(path))
    path.with_suffix(".json").write_text(segmenter_card(3, 2).to_json(), encoding="utf-8")
    network = load_network(path, read_model_card(path))
    session = create_session(deploy(network, np.dtype("uint8"), [1.0] * 3, [0.0] * 3), "cpu")
    with pytest.raises(ModelError, match="memory with one tile of 8 × 16 pixels: use a smaller --tile"):
        session.run(noise((2, 3, 8, 16), "uint8"))


# Files


def test_pickled_objects_are_refused_and_not_unpickled(tmp_path):
    flag = tmp_path / "run"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(flag),)

    module = seeded(Segmenter, 3, 3)
    made = {}
    for name, content in (("state.pt", module.state_dict()), ("trap.pt", Trap()), ("list.pth", [module.state_dict()])):
        made[name] = tmp_path / name
        torch.save(content, made[name])
    made["legacy.pt"] = tmp_path / "legacy.pt"
    torch.save(Trap(), made["legacy.pt"], _use_new_zipfile_serialization=False)
    made["bare.pt"] = tmp_path / "bare.pt"
    made["bare.pt"].write_bytes(pickle.dumps(Trap()))
    for path in made.values():
        path.with_suffix(".json").write_text(segmenter_card(3, 3).to_json(), encoding="utf-8")
        with pytest.raises(ModelError, match=r"pickled Python objects .*torch\.onnx\.export.*YOLO"):
            read_model_card(path)
    assert not flag.exists()


def _rewritten(source: Path, target: Path, changes: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            name = entry.filename.partition("/")[2]
            new.writestr(entry.filename, changes.pop(name, old.read(entry)))
        for name, data in changes.items():
            new.writestr(f"net/{name}", data)
    target.with_suffix(".json").write_bytes(source.with_suffix(".json").read_bytes())
    return target


def test_an_exported_program_runs_no_code_of_its_maker(tmp_path):
    flag = tmp_path / "run"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(flag),)

    trap = io.BytesIO()
    torch.save((Trap(),), trap)
    source = write(tmp_path, "exported.pt2", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    with zipfile.ZipFile(source) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        program = json.loads(archive.read(names["models/model.json"]))
        weights = json.loads(archive.read(names["data/weights/model_weights_config.json"]))
    samples = noise((1, 3, 16, 16), "uint8")
    wanted = outputs(source, samples)

    # What a network does not need is left out, and the network runs.
    harmless = _rewritten(source, tmp_path / "inputs.pt2", {"data/sample_inputs/model.pt": trap.getvalue()})
    same(wanted, outputs(harmless, samples))
    program["guards_code"] = [f"__import__('os').mkdir({str(flag)!r})"]
    guarded = _rewritten(source, tmp_path / "guards.pt2", {"models/model.json": json.dumps(program).encode()})
    same(wanted, outputs(guarded, samples))

    # What it cannot do without is refused.
    text = json.dumps(program)
    first = next(iter(weights["config"].values()))
    first["use_pickle"] = True
    refused = {
        "weights": {"data/weights/model_weights_config.json": json.dumps(weights).encode(),
                    f"data/weights/{first['path_name']}": trap.getvalue()},
        "legacy": {"data/weights/model.pt": trap.getvalue()},
        "operator": {"models/model.json": text.replace("torch.ops.aten.relu.default", "torch.os.mkdir").encode()},
        "expression": {"models/model.json": text.replace("Symbol(", "__import__('os').mkdir(", 1).encode()},
    }  # fmt: skip
    for name, changes in refused.items():
        path = _rewritten(source, tmp_path / f"{name}.pt2", changes)
        with pytest.raises(ModelError, match="more than a network"):
            outputs(path, samples)
    assert not flag.exists()


def test_the_copy_without_code_says_the_same(tmp_path):
    source = write(tmp_path, "exported.pt2", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    program = torch.export.load(without_code(source))
    given = torch.rand(1, 3, 16, 16)
    assert torch.equal(program.module()(given), torch.export.load(str(source)).module()(given))


@pytest.mark.parametrize("name", ["net.pt", "net.pt2", "net.ts"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"hello", b"\x00" * 5000])
def test_what_is_no_network_is_told(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"empty|not a PyTorch network"):
        read_model_card(path)


def test_other_archives_are_told(tmp_path):
    path = tmp_path / "photos.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(ModelError, match="not a PyTorch network"):
        read_model_card(path)


@pytest.mark.parametrize("kind", ["traced.pt", "exported.pt2"])
def test_a_card_may_lie_inside_beside_or_be_given(tmp_path, kind):
    module, card = seeded(Segmenter, 3, 3), segmenter_card(3, 3)
    path = write(tmp_path, kind, module, card)
    assert read_model_card(path).origin == "beside"
    beside = path.with_suffix(".json").rename(tmp_path / f"{kind}.json")
    assert read_model_card(path).origin == "beside"
    other = beside.rename(tmp_path / "other.json")
    with pytest.raises(ModelError, match=f"its model card beside it .{path.stem}.json.*--card"):
        read_model_card(path)
    assert read_model_card(path, other).origin == "given"
    inside = tmp_path / f"inside{path.suffix}"
    extra = {METADATA_KEY: card.to_json()}
    if kind == "traced.pt":
        torch.jit.save(torch.jit.load(str(path)), str(inside), _extra_files=extra)
    else:
        torch.export.save(torch.export.load(str(path)), str(inside), extra_files=extra)
    found = read_model_card(inside)
    assert found.origin == "embedded"
    assert [entry.name for entry in found.classes] == [entry.name for entry in card.classes]
    outputs(inside, noise((1, 3, 16, 16), "uint8"))


def test_a_card_of_another_network_is_told_when_it_runs(workplace: Workplace) -> None:
    model = write(workplace.folder, "traced.pt", seeded(Segmenter, 3, 5), segmenter_card(3, 3))
    outcome = workplace.run(model=model)
    assert outcome.status == 2
    assert "gives 5 scores per pixel, but its card says 3" in outcome.sentence


def test_the_store_takes_pytorch_files(tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    path = write(tmp_path, "scripted.ts", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    add_model(path, "Meins")
    assert resolve_model("Meins") == tmp_path / "store" / "Meins.ts"
    assert [entry.name for entry in list_models() if not entry.bundled] == ["Meins"]
    other = write(tmp_path, "traced.pt", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    with pytest.raises(InputError, match="already"):
        add_model(other, "Meins")
    add_model(other, "Meins", replace=True)
    assert sorted(entry.name for entry in (tmp_path / "store").iterdir()) == ["Meins.json", "Meins.pt"]


def test_torch_is_loaded_only_for_its_files(workplace: Workplace) -> None:
    import subprocess

    code = (
        "import sys; from thematica.cli.main import main; "
        f"status = main({workplace.command('--progress', 'none')!r}); assert status == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Half precision


@pytest.mark.parametrize("kind", KINDS[1:])
def test_half_precision_computes_the_network_in_16_bits_and_its_edges_in_32(tmp_path, kind):
    """On a GPU; here on the processor, which can do it too, only slowly."""
    card = segmenter_card(normalisation_steps=z_scores([30000] * 3, [20000] * 3))
    path = write(tmp_path, kind, seeded(Segmenter, 3, 4), card)
    network = load_network(path, read_model_card(path))
    deployment = deploy(network, np.dtype("uint16"), [1.0] * 3, [0.0] * 3, ALL_SCORES)
    single = create_session(deployment, "cpu")
    assert isinstance(single, TorchSession)
    half = TorchSession(deployment, single.order, single.used, "cpu", 1, "fp16")
    samples = noise((1, 3, 32, 32), "uint16", high=65535)
    wanted, found = single.run(samples), half.run(samples)
    for name in ALL_SCORES:
        assert found[name].dtype == np.float32
        # The network's last layer magnifies what 16 bits round.
        difference = np.abs(found[name] - wanted[name])
        assert difference.mean() < 5e-3
        assert difference.max() < 0.1
        assert not np.array_equal(found[name], wanted[name])


def test_half_precision_on_the_processor_is_told_to_bring_nothing(workplace: Workplace) -> None:
    model = write(workplace.folder, "traced.pt", seeded(Segmenter, 3, 3), segmenter_card(3, 3))
    outcome = workplace.run("--progress", "json", "--precision", "fp16", "--provider", "cpu", model=model)
    report = outcome.events[-1]["report"]
    assert report["backend"]["precision"] == "fp32"
    assert any("fp16) brings nothing on the CPU" in warning for warning in report["warnings"])


@pytest.mark.parametrize(("kind", "asked", "used"), [
    (Segmenter, "fp16", "fp16"), (Segmenter, "auto", "fp16"), (Spectral, "fp16", "fp32"), (Spectral, "auto", "fp32"),
])  # fmt: skip
def test_per_pixel_networks_stay_in_single_precision_on_a_gpu(tmp_path, monkeypatch, kind, asked, used):
    """On a provider for GPUs, which computes on the processor here."""
    posing = replace(providers.find_provider("CUDAExecutionProvider"), device="cpu")
    monkeypatch.setitem(providers._BY_SHORT, "cuda", posing)
    card = segmenter_card() if kind is Segmenter else make_card(3, 4, "pixel")
    path = write(tmp_path, "traced.pt", seeded(kind, 3, 4), card)
    network = load_network(path, read_model_card(path))
    deployment = deploy(network, np.dtype("uint16"), [1.0] * 3, [0.0] * 3)
    session = create_session(deployment, "cuda", precision=asked)
    assert session.on_gpu
    assert session.precision == used
    told = [warning for warning in session.warnings if "would lose radiometry in this per-pixel network" in warning]
    assert len(told) == (kind is Spectral and asked == "fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_gpu_the_same_as_on_the_processor(tmp_path, kind, precision):
    """For whoever has one: ONNX Runtime with its CUDA provider, and PyTorch."""
    path = write(tmp_path, kind, seeded(Segmenter, 3, 4), segmenter_card())
    network = load_network(path, read_model_card(path))
    deployment = deploy(network, np.dtype("uint16"), [1e-4] * 3, [0.0] * 3, ALL_SCORES)
    session = create_session(deployment, "cuda", precision=precision)
    if kind.endswith(".onnx") and session.why_not:
        pytest.skip(str(session.why_not))
    assert session.on_gpu
    samples = noise((4, 3, 64, 64), "uint16", high=10000)
    same(create_session(deployment, "cpu").run(samples), session.run(samples), 1e-4 if precision == "fp32" else 0.1)
