"""Spoiled ONNX files: read by QGIS's own reader within bounds, and run by the engine to a map or a sentence."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import strategies as st
from onnx import helper

from ..engine.networks import Net, image, light, make_card, mlp, noise, save
from .campaign import fuzz
from .child import command, function
from .laws import ends_well
from .messages import spoil_message
from .mutate import BYTES, TEXT, spoil_bytes, spoil_text, steps

READER_MEGABYTES = 1500


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small good networks of all kinds, and a scene for them."""
    folder = tmp_path_factory.mktemp("seeds")
    image(folder / "scene.tif", noise((3, 40, 50)), names=[""] * 3)
    light(folder / "light.onnx")
    mlp(folder / "mlp.onnx", 3)
    bare = onnx.load(folder / "light.onnx")
    del bare.metadata_props[:]
    save(folder / "bare.onnx", bare)
    deepness = {"model_type": "Segmentor", "class_names": '{"0": "a", "1": "b", "2": "c"}', "resolution": "1000",
                "tiles_size": "64", "seg_thresh": "0.5", "standardization_mean": "[0, 0, 0]"}  # fmt: skip
    save(folder / "deepness.onnx", bare, metadata=deepness)
    net = Net(3, shape=["n", 3, 8, 8])
    pooled = net.node("GlobalAveragePool", net.conv(net.input, 4))
    save(folder / "window.onnx", net.model(net.node("Flatten", pooled), ["n", 4]), make_card(3, 4, "window"))
    net = Net(3)
    save(folder / "sigmoid.onnx", net.model(net.node("Sigmoid", net.conv(net.input, 1))), make_card(3, 2))
    net = Net(3)
    x = net.conv(net.input, 3)
    two = net.model(x)
    two.graph.node.append(helper.make_node("Relu", [x], ["second"]))
    two.graph.output.append(helper.make_tensor_value_info("second", 1, ["n", 3, "h", "w"]))
    save(folder / "two.onnx", two)
    net = Net(3)
    deep = net.resize(net.conv(net.pool(net.conv(net.input, 4)), 4), 2)
    save(folder / "deep.onnx", net.model(net.conv(net.concat(deep, net.conv(net.input, 2)), 3)), make_card(3, 3))
    net = Net(3)
    outside = net.model(net.conv(net.input, 2))
    helper.set_model_props(outside, {"thematica_card": make_card(3, 2).to_json()})
    onnx.save_model(outside, folder / "outside.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    return folder


NETWORKS = ("light", "mlp", "bare", "deepness", "window", "sigmoid", "two", "deep", "outside")
_messages = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.integers(0, 2**16)), min_size=1, max_size=3
)


def place(seeds: Path, folder: Path, content: bytes) -> Path:
    """The network, its weights beside it."""
    (folder / "m.bin").write_bytes((seeds / "m.bin").read_bytes())
    (folder / "net.onnx").write_bytes(content)
    return folder / "net.onnx"


def classify(seeds: Path, folder: Path, model: Path) -> None:
    """Run Classify pixels with the network, and hold it to the law."""
    before = {path.name for path in folder.iterdir()}
    arguments = ["classify-pixels", str(seeds / "scene.tif"), "--model", str(model), "--output",
                 str(folder / "map.tif"), "--threads", "1"]  # fmt: skip
    ends_well(command(arguments, seeds / "run.log"), folder, before)


def test_networks_with_a_spoiled_field_end_in_a_map_or_a_sentence(
    seeds: Path, fresh_folder: Callable[[], Path]
) -> None:
    def spoiled_network(name: str, mutations: list) -> None:
        folder = fresh_folder()
        content = spoil_message((seeds / f"{name}.onnx").read_bytes(), mutations)
        classify(seeds, folder, place(seeds, folder, content))

    fuzz(spoiled_network, st.sampled_from(NETWORKS), _messages, examples=50)


def test_networks_with_spoiled_bytes_end_in_a_map_or_a_sentence(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    def spoiled_bytes(name: str, mutations: list) -> None:
        folder = fresh_folder()
        content = spoil_bytes((seeds / f"{name}.onnx").read_bytes(), mutations)
        classify(seeds, folder, place(seeds, folder, content))

    fuzz(spoiled_bytes, st.sampled_from(NETWORKS), steps(BYTES), examples=25)


def test_inspect_of_spoiled_networks(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    def inspected(name: str, mutations: list) -> None:
        folder = fresh_folder()
        model = place(seeds, folder, spoil_message((seeds / f"{name}.onnx").read_bytes(), mutations))
        ended = command(["inspect", str(model), "--json"], seeds / "run.log")
        assert ended.crashed or ended.status in (0, 2), ended.err
        if ended.status == 0:
            json.loads(ended.out, parse_constant=_no_constant)

    fuzz(inspected, st.sampled_from(NETWORKS), _messages, examples=15)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


# QGIS's own reader


def read_all(folders: list[str]) -> int:
    """Read every file of a folder as QGIS does: runs in a process with little memory."""
    from thematica.errors import ModelError
    from thematica.models.reading import read_model_card

    for path in sorted(Path(folders[0]).glob("*.onnx")):
        sys.stdout.write(f"{path.name}\n")
        try:
            card = read_model_card(path)
            card.to_json()
        except ModelError as error:
            sys.stdout.write(f"{error.message}\n")
    return 0


def test_the_reader_in_qgis_never_fails_hangs_or_takes_much_memory(
    seeds: Path, fresh_folder: Callable[[], Path]
) -> None:
    def read_in_qgis(files: list) -> None:
        folder = fresh_folder()
        (folder / "m.bin").write_bytes((seeds / "m.bin").read_bytes())
        for number, (name, mutations, fields) in enumerate(files):
            content = (seeds / f"{name}.onnx").read_bytes()
            content = spoil_message(content, fields) if number % 2 else spoil_bytes(content, mutations)
            (folder / f"{number:03}.onnx").write_bytes(content)
        ended = function(read_all, [str(folder)], seeds / "read.log", READER_MEGABYTES)
        assert ended.status == 0, (ended.out.splitlines()[-1:], ended.err[-3000:])

    file = st.tuples(st.sampled_from(NETWORKS), steps(BYTES, 4), _messages)
    fuzz(read_in_qgis, st.lists(file, min_size=20, max_size=60), examples=15)


def test_the_reader_takes_files_of_its_own_making(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    """Not a network at all: fields of any number and length, nested."""

    def read_anything(files: list) -> None:
        folder = fresh_folder()
        for number, content in enumerate(files):
            (folder / f"{number:03}.onnx").write_bytes(content)
        ended = function(read_all, [str(folder)], seeds / "read.log", READER_MEGABYTES)
        assert ended.status == 0, (ended.out.splitlines()[-1:], ended.err[-3000:])

    fuzz(read_anything, st.lists(_message(), min_size=10, max_size=40), examples=10)


def _message() -> st.SearchStrategy[bytes]:
    """Protocol-buffers messages of the numbers that the reader knows, and others."""

    def varint(value: int) -> bytes:
        content = bytearray()
        while value > 127:
            content.append(value & 127 | 128)
            value >>= 7
        return bytes([*content, value])

    numbers = st.sampled_from((1, 2, 3, 5, 7, 8, 11, 12, 13, 14, 15, 2**28))
    whole = st.sampled_from((0, 1, 8, 2**31, 2**63, 2**64 - 1))

    def field(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        texts = st.one_of(inner, st.binary(max_size=8), st.sampled_from((b"location", b"thematica_card", b"names")))
        packed = st.builds(lambda number, text: varint(number << 3 | 2) + varint(len(text)) + text, numbers, texts)
        plain = st.builds(lambda number, value: varint(number << 3) + varint(value), numbers, whole)
        return st.lists(st.one_of(packed, plain), max_size=6).map(b"".join)

    return st.recursive(st.binary(max_size=4), field, max_leaves=30)


# Packages of Esri


def test_spoiled_definitions_and_packages(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    classes = [{"Value": value, "Name": f"class {value}", "Color": [value, 0, 0]} for value in range(3)]
    definition = json.dumps(
        {"Framework": "arcgis.learn.models._inferencing", "ModelType": "ImageClassification", "ModelName": "UNet",
         "ModelFile": "net.onnx", "ImageHeight": 64, "ImageWidth": 64, "ExtractBands": [0, 1, 2], "Classes": classes,
         "DataRange": [0, 1], "MinCellSize": {"x": 10, "y": 10, "spatialReference": {"wkid": 32632}},
         "NormalizationStats": {"band_min_values": [0, 0, 0], "band_max_values": [255, 255, 255],
                                "scaled_mean_values": [0.5] * 3, "scaled_std_values": [0.2] * 3}}, indent=1,
    )  # fmt: skip

    def spoiled_package(words: list, mutations: list, packed: bool) -> None:
        folder = fresh_folder()
        network = (seeds / "bare.onnx").read_bytes()
        text = spoil_text(definition, words)
        if not packed:
            (folder / "net.onnx").write_bytes(network)
            (folder / "net.emd").write_text(text)
            return classify(seeds, folder, folder / "net.emd")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("net.emd", text)
            archive.writestr("net.onnx", network)
        (folder / "net.dlpk").write_bytes(spoil_bytes(content.getvalue(), mutations))
        return classify(seeds, folder, folder / "net.dlpk")

    fuzz(spoiled_package, steps(TEXT), steps(BYTES), st.booleans(), examples=25)


def test_the_seeds_are_good(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    """What is spoiled here runs otherwise."""
    for name in NETWORKS:
        folder = fresh_folder()
        model = place(seeds, folder, (seeds / f"{name}.onnx").read_bytes())
        classify(seeds, folder, model)
        assert (folder / "map.tif").is_file(), (name, (seeds / "run.err").read_text())
        assert np.unique(onnx.load(seeds / f"{name}.onnx").ir_version) == 8
