"""Files given as models that are no network, or not one that can be used."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..networks import Net, image, light, make_card, noise, save
from ..workplace import Workplace
from . import row, rows, spoiled

# Other frameworks' files


def _zip(entries: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return content.getvalue()


_SAFETENSORS = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
rows(
    "not an ONNX file|cannot be read|cannot be opened|not a .*(network|program)|PyTorch|export",
    "model_is",
    {
        name.replace(".", "_"): lambda w, name=name, content=content: w.command(model=spoiled(w / name, content))
        for name, content in {
            "weights.pt": _zip({"weights/data.pkl": b"\x80\x02}q\x00.", "weights/version": b"3\n"}),
            "weights.pth": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
            "program.pt2": _zip({"program/archive_format": b"pt2", "program/byteorder": b"little"}),
            "keras.h5": b"\x89HDF\r\n\x1a\n" + bytes(512),
            "keras.keras": _zip({"metadata.json": b"{}", "config.json": b"{}"}),
            "lite.tflite": b"\x1c\x00\x00\x00TFL3" + bytes(200),
            "frozen.pb": helper.make_tensor("x", TensorProto.FLOAT, [1], [1.0]).SerializeToString(),
            "hub.safetensors": struct.pack("<Q", len(_SAFETENSORS)) + _SAFETENSORS + bytes(4),
            "forest.pkl": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
            "page.onnx": b"<!DOCTYPE html><html><title>404</title></html>",
            "pointer.onnx": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
            "archive.onnx": _zip({"net.onnx": b""}),
        }.items()
    },
)


@row("is a folder")
def _folder_as_model(w):
    (w / "model.onnx").mkdir()
    return w.command(model=w / "model.onnx")


# Weights in files of their own


def _with_weights_outside(w: Workplace, location: str = "m.bin") -> Path:
    net = Net(3)
    model = net.model(net.conv(net.input, 2))
    helper.set_model_props(model, {"thematica_card": make_card(3, 2).to_json()})
    onnx.save_model(model, w / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    if location != "m.bin":
        model = onnx.load(w / "m.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = location
        (w / "m.onnx").write_bytes(model.SerializeToString())
    return w / "m.onnx"


@row("weights|not a valid ONNX|cannot be read")
def _weights_outside_cut_off(w):
    model = _with_weights_outside(w)
    spoiled(w / "m.bin", (w / "m.bin").read_bytes()[:10])
    return w.command(model=model)


rows(
    "weights in .*cannot be read|not a valid ONNX",
    "weights_outside_in",
    {
        name: lambda w, location=location: w.command(model=_with_weights_outside(w, location))
        for name, location in {
            "a_folder": ".", "a_name_with_nul": "m\0.bin", "an_endless_name": "x" * 5000, "no_name": "",
            "the_folder_above": "../m.bin", "an_absolute_path": "/etc/hostname",
        }.items()
    },
)  # fmt: skip


@row("overwrite")
def _report_in_place_of_the_weights(w):
    return w.command("--report", w / "m.bin", "--overwrite", model=_with_weights_outside(w))


# Inputs


def _with_inputs(w: Workplace, more: int) -> list:
    net = Net(3)
    x = net.input
    for number in range(more):
        x = net.node("Add", x, f"more{number}")
    model = net.model(x)
    for number in range(more):
        model.graph.input.append(helper.make_tensor_value_info(f"more{number}", TensorProto.FLOAT, ["n", 3, "h", "w"]))
    return w.command(model=save(w / "m.onnx", model))


@row("3 inputs")
def _model_of_three_inputs(w):
    return _with_inputs(w, 2)


@row("no input|not an ONNX file|0 inputs|not a network")
def _model_without_input(w):
    model = light(w / "m.onnx").read_bytes()
    network = onnx.ModelProto.FromString(model)
    del network.graph.input[:]
    return w.command(model=spoiled(w / "m.onnx", network.SerializeToString()))


@row("no output|not a network")
def _model_without_output(w):
    network = onnx.ModelProto.FromString(light(w / "m.onnx").read_bytes())
    del network.graph.output[:]
    return w.command(model=spoiled(w / "m.onnx", network.SerializeToString()))


@row("no input|no output|not a network|not a valid")
def _model_of_nothing(w):
    network = helper.make_model(helper.make_graph([], "nothing", [], []))
    return w.command(model=spoiled(w / "m.onnx", network.SerializeToString()))


def _of_input(w: Workplace, kind: int, shape: list | None, card: bool) -> list:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Identity", ["real"], ["scores"]),
        ],
        "net",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3) if card else None))


rows(
    "takes (int8|int32|bool|other|uint32|int16|bfloat16) values",
    "input_of",
    {
        name: lambda w, kind=kind: _of_input(w, kind, ["n", 3, "h", "w"], True)
        for name, kind in {
            "quantised_int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32,
            "uint32": TensorProto.UINT32, "booleans": TensorProto.BOOL, "text": TensorProto.STRING,
            "bfloat16": TensorProto.BFLOAT16, "complex": TensorProto.COMPLEX64,
        }.items()
    },
)  # fmt: skip


@row("not a valid ONNX|axes")
def _input_of_dynamic_rank(w):
    return _of_input(w, TensorProto.FLOAT, None, True)


@row("axes|how many bands")
def _input_of_dynamic_rank_without_a_card(w):
    return _of_input(w, TensorProto.FLOAT, None, False)


@row("how many bands")
def _free_number_of_bands_without_a_card(w):
    return _of_input(w, TensorProto.FLOAT, ["n", "c", "h", "w"], False)


@row("more than 65534 channels")
def _a_billion_bands_without_a_card(w):
    return _of_input(w, TensorProto.FLOAT, ["n", 10**9, "h", "w"], False)


@row("6 axes")
def _six_axes(w):
    return _of_input(w, TensorProto.FLOAT, ["n", 3, 1, 1, "h", "w"], True)


@row("not a valid|cannot load|0 inputs|axes")
def _input_that_is_a_sequence(w):
    graph = helper.make_graph(
        [helper.make_node("SequenceAt", ["image", "zero"], ["scores"])],
        "net",
        [helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor("zero", TensorProto.INT64, [], [0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


# Outputs


def _two_outputs(w: Workplace, **card) -> Path:
    net = Net(3)
    x = net.conv(net.input, 3)
    model = net.model(x)
    model.graph.node.append(helper.make_node("Relu", [x], ["second"]))
    model.graph.output.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["n", 3, "h", "w"]))
    return save(w / "m.onnx", model, make_card(3, 3, **card) if card else None)


@row("no output .third.*scores, second")
def _output_that_is_not_there(w):
    return w.command("--output-name", "third", model=_two_outputs(w))


@row("no output .second")
def _output_name_of_a_network_with_one(w):
    return w.command("--output-name", "second")


@row("exists already")
def _map_of_a_further_output_exists(w):
    (w / "map_second.tif").write_bytes(b"precious")
    return w.command(model=_two_outputs(w))


@row("overwrite the input")
def _map_of_a_further_output_is_the_raster(w):
    return w.command(
        "--overwrite", raster=image(w / "map_second.tif", noise((3, 40, 50))), model=_two_outputs(w)
    )  # fmt: skip


@row("5 axes|shape")
def _output_of_five_axes(w):
    net = Net(3)
    axes = net.weight(np.array([2], np.int64))
    model = net.model(net.node("Unsqueeze", net.conv(net.input, 3), axes), ["n", 3, 1, "h", "w"])
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


@row("shape")
def _output_of_one_axis(w):
    net = Net(3)
    flat = net.node("Reshape", net.conv(net.input, 3), net.weight(np.array([-1], np.int64)))
    return w.command(model=save(w / "m.onnx", net.model(flat, ["k"]), make_card(3, 3)))


@row("two classes")
def _one_score_and_one_class(w):
    net = Net(3)
    return w.command(model=save(w / "m.onnx", net.model(net.conv(net.input, 1)), make_card(3, 1)))


@row("smaller than one pixel|cannot be run|size|load|contradict|fixed")
def _nothing_left_by_convolutions_without_padding(w):
    net = Net(3, shape=["n", 3, 8, 8])
    x = net.conv(net.conv(net.input, 3, 5, pads=[0] * 4), 3, 5, pads=[0] * 4)
    return w.command(model=save(w / "m.onnx", net.model(x, ["n", 3, 0, 0]), make_card(3, 3)))


def _class_numbers(w: Workplace) -> Path:
    net = Net(3)
    index = net.node("ArgMax", net.conv(net.input, 3), axis=1, keepdims=0)
    return save(w / "m.onnx", net.model(index, ["n", "h", "w"], "int64"), make_card(3, 3))


@row("class numbers and no scores")
def _confidence_of_class_numbers(w):
    return w.command("--confidence", w / "c.tif", model=_class_numbers(w))


@row("class numbers and no scores")
def _probabilities_of_class_numbers(w):
    return w.command("--probabilities", w / "p.tif", model=_class_numbers(w))


@row("class numbers and no scores")
def _smooth_class_numbers(w):
    return w.command("--mode", "smooth", model=_class_numbers(w))


@row("how many classes")
def _class_numbers_without_a_card(w):
    model = onnx.load(_class_numbers(w))
    del model.metadata_props[:]
    return w.command(model=save(w / "m.onnx", model))


@row("whole numbers in 3 channels")
def _whole_numbers_in_several_channels(w):
    net = Net(3)
    x = net.node("Cast", net.conv(net.input, 3), to=TensorProto.INT64)
    return w.command(model=save(w / "m.onnx", net.model(x, output_type="int64"), make_card(3, 3)))


# Windows and patches


def _window(w: Workplace, side: object, task: str, **card) -> Path:
    net = Net(3, shape=["n", 3, side, side])
    pooled = net.node("GlobalAveragePool", net.conv(net.input, 4))
    model = net.model(net.node("Flatten", pooled), ["n", 4])
    return save(w / "m.onnx", model, make_card(3, 4, task, **card))


@row("size of its window open")
def _window_of_open_size(w):
    return w.command(model=_window(w, "p", "window"))


@row("patches, not pixels")
def _patch_network_for_pixels(w):
    return w.command(model=_window(w, 8, "patch"))


@row("patches, not pixels")
def _multilabel_patch_network_for_pixels(w):
    return w.command(model=_window(w, 8, "patch-multilabel"))


@row("cannot be run|window")
def _window_of_another_size_than_the_network_takes(w):
    """The file leaves the side open, the card says 9, and a reshape inside wants 8."""
    net = Net(3, shape=["n", 3, "p", "p"])
    rows = net.node("Reshape", net.input, net.weight(np.array([0, 192], np.int64)))
    model = net.model(net.node("MatMul", rows, net.weight(np.ones((192, 4), np.float32))), ["n", 4])
    return w.command(model=save(w / "m.onnx", model, make_card(3, 4, "window", tile=9)))


@row("2 channels beside the bands")
def _window_of_two_dates(w):
    net = Net(3, shape=["n", 2, 3, 8, 8])
    x = net.node("Flatten", net.input)
    model = net.model(net.node("MatMul", x, net.weight(np.ones((384, 4), np.float32))), ["n", 4])
    return w.command(model=save(w / "m.onnx", model, make_card(3, 4, "window")))


@row("two dates")
def _change_network(w):
    return w.command(model=light(w / "m.onnx", task="change"))


# Operator sets and graphs


def _with_opset(w: Workplace, version: int, ir_version: int = 8) -> list:
    net = Net(3, opset=version)
    model = net.model(net.conv(net.input, 2))
    model.ir_version = ir_version
    return w.command(model=save(w / "m.onnx", model, make_card(3, 2)))


@row("not a valid ONNX|cannot load|operator set")
def _operator_set_of_the_future(w):
    return _with_opset(w, 999)


@row("not a valid ONNX|cannot load|operator set")
def _operator_set_zero(w):
    return _with_opset(w, 0)


@row("not a valid ONNX|cannot load")
def _file_format_of_the_future(w):
    return _with_opset(w, 17, 999)


@row("too old to be converted")
def _operator_set_too_old(w):
    """The converter knows no successor of the first Pad."""
    net = Net(3, opset=1)
    x = net.node("Pad", net.input, paddings=[0] * 8)
    return w.command(model=save(w / "m.onnx", net.model(x), make_card(3, 3)))


@row("not a valid ONNX|cannot load|not an ONNX")
def _no_operator_set(w):
    model = onnx.load(light(w / "m.onnx"))
    del model.opset_import[:]
    return w.command(model=save(w / "m.onnx", model))


@row("not a valid ONNX|cannot load")
def _operator_of_a_domain_that_is_not_imported(w):
    net = Net(3)
    model = net.model(net.node("Swish", net.input, domain="com.example.unheard"))
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


def _changed(w: Workplace, change) -> list:
    model = onnx.load(light(w / "m.onnx"))
    change(model)
    return w.command(model=spoiled(w / "m.onnx", model.SerializeToString()))


@row("not a valid ONNX")
def _graph_that_runs_in_a_circle(w):
    def change(model):
        model.graph.node[0].input[0] = model.graph.node[1].output[0]

    return _changed(w, change)


@row("not a valid ONNX")
def _graph_with_a_missing_tensor(w):
    def change(model):
        model.graph.node[1].input[0] = "nowhere"

    return _changed(w, change)


@row("not a valid ONNX|cannot load")
def _weights_of_another_shape_than_their_numbers(w):
    def change(model):
        model.graph.initializer[0].dims[0] = 4000

    return _changed(w, change)


@row("not a valid ONNX|cannot load")
def _weights_larger_than_all_memory(w):
    def change(model):
        model.graph.initializer[0].dims[:] = [2**40, 2**20]

    return _changed(w, change)


@row("cannot load|cannot be run|not a valid")
def _kernel_of_another_size_than_its_weights(w):
    def change(model):
        next(entry for entry in model.graph.node[0].attribute if entry.name == "kernel_shape").ints[:] = [7, 7]

    return _changed(w, change)


@row("memory|cannot be run|cannot load")
def _tensor_larger_than_all_memory_inside(w):
    net = Net(3)
    huge = net.node("Expand", net.conv(net.input, 1), net.weight(np.array([1, 2**24, 2**12, 2**12], np.int64)))
    smallest = net.node("ReduceMax", huge, axes=[1], keepdims=1)
    net.channels[smallest] = 1
    return w.command(model=save(w / "m.onnx", net.model(smallest), make_card(3, 2)))


@row("NaN|infinite")
def _infinite_scores_from_the_network(w):
    net = Net(3)
    nothing = net.weight(np.zeros((1, 1, 1, 1), np.float32))
    model = net.model(net.node("Div", net.node("Mul", net.conv(net.input, 2), nothing), nothing))
    return w.command(model=save(w / "m.onnx", model, make_card(3, 2)))


# Esri's definitions and packages


def _definition(w: Workplace, content: object) -> list:
    light(w / "packed.onnx")
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return w.command(model=spoiled(w / "packed.emd", text))


def _bare(path: Path) -> Path:
    net = Net(3)
    return save(path, net.model(net.conv(net.input, 3)))


def _emd(**more: object) -> dict:
    return {"Framework": "Other", "ModelType": "ImageClassification", "ModelFile": "packed.onnx", **more}


def _bare_definition(w: Workplace, **more: object) -> list:
    _bare(w / "packed.onnx")
    return w.command(model=spoiled(w / "packed.emd", json.dumps(_emd(**more)).encode()))


@row("no file|no model file")
def _no_such_definition(w):
    return w.command(model=w / "none.emd")


@row("not valid JSON")
def _definition_of_text(w):
    return _definition(w, b"ModelFile: packed.onnx")


@row("not valid JSON|cannot be read")
def _definition_in_utf_16(w):
    return _definition(w, json.dumps(_emd()).encode("utf-16"))


@row("not a model definition")
def _definition_that_is_a_list(w):
    return _definition(w, [1])


@row("without a name.*no ONNX")
def _definition_without_a_network(w):
    return _definition(w, {"Framework": "Keras"})


@row("net.pth.*no ONNX")
def _definition_of_a_pytorch_network(w):
    return _definition(w, _emd(ModelFile="net.pth"))


@row("does not lie beside it")
def _definition_whose_network_is_missing(w):
    return _definition(w, _emd(ModelFile="none.onnx"))


@row("does not lie beside it")
def _definition_that_leads_out_of_its_folder(w):
    return _definition(w, _emd(ModelFile="../../secret.onnx"))


@row("object detector")
def _definition_of_a_detector(w):
    return _bare_definition(w, ModelType="ObjectDetection")


@row("2 classes")
def _definition_with_too_few_classes(w):
    entries = [{"Value": 0, "Name": "a"}, {"Value": 5, "Name": "b"}]
    return _bare_definition(w, Classes=entries)


@row("cannot be understood|classes")
def _definition_with_classes_of_another_type(w):
    return _bare_definition(w, Classes=["a", "b", "c"])


@row("cannot be understood")
def _definition_with_a_tile_of_text(w):
    return _bare_definition(w, ImageHeight="large")


@row("positive|cannot be understood")
def _definition_with_a_deviation_of_zero(w):
    return _bare_definition(w, ModelParameters={"mean": [0, 0, 0], "std": [1, 0, 1]})


@row("positive|cannot be understood|deviation")
def _definition_with_scaled_statistics_of_zero(w):
    low, high = [0.0] * 3, [255.0] * 3
    stats = {"band_min_values": low, "band_max_values": high, "scaled_mean_values": low, "scaled_std_values": low}
    return _bare_definition(w, NormalizationStats=stats)


@row("no model package|no model file")
def _no_such_package(w):
    return w.command(model=w / "none.dlpk")


@row("not a model package")
def _package_that_is_no_zip(w):
    return w.command(model=spoiled(w / "p.dlpk", b"no zip at all" * 100))


@row("not a model package")
def _package_cut_off(w):
    content = _zip({"p.emd": json.dumps(_emd()).encode(), "packed.onnx": _bare(w / "m.onnx").read_bytes()})
    return w.command(model=spoiled(w / "p.dlpk", content[: len(content) // 2]))


@row("holds no ONNX")
def _package_of_a_pytorch_network(w):
    return w.command(model=spoiled(w / "p.dlpk", _zip({"p.emd": b"{}", "net.pth": b""})))


@row("holds no ONNX")
def _package_of_nothing(w):
    return w.command(model=spoiled(w / "p.dlpk", _zip({})))


@row("does not lie beside it")
def _package_whose_definition_names_another_network(w):
    content = _zip({"p.emd": json.dumps(_emd()).encode(), "other.onnx": _bare(w / "m.onnx").read_bytes()})
    return w.command(model=spoiled(w / "p.dlpk", content))


@row("not a model package")
def _package_with_a_password(w):
    content = bytearray(_zip({"p.emd": json.dumps(_emd()).encode(), "packed.onnx": b"secret" * 50}))
    # The bit that says "encrypted", in both of the headers of each file.
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 1)
    return w.command(model=spoiled(w / "p.dlpk", bytes(content)))


@row("is a folder|not a model package|no model")
def _folder_as_package(w):
    (w / "p.dlpk").mkdir()
    return w.command(model=w / "p.dlpk")
