"""The few facts of an ONNX file that QGIS needs, read without the ``onnx`` package.

QGIS's Python has no onnx and must not get one, yet the dialog shows a model's card as soon as a
file is chosen.  An ONNX file is a protocol-buffers message (``ModelProto``); this reader walks its
top level and the graph's inputs and outputs, and skips everything else.  The message layout is
public: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import hashlib
import mmap
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import ModelError

# Field numbers of the messages of onnx.proto that are read here.
_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSETS, _MODEL_METADATA = 1, 7, 8, 14
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14
_LOCATION_IS_EXTERNAL = 1
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_DIMENSION = 1
_DIMENSION_VALUE = 1

_ELEMENT_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip


# Operators that change only the form of a tensor.
# Resizing interpolates: probabilities stay probabilities.
_FORM_ONLY = (
    "Cast", "Flatten", "Gather", "Identity", "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze", "Upsample",
)  # fmt: skip


@dataclass(frozen=True)
class TensorFacts:
    """Name, element type and shape (-1 for free axes) of an input or output.

    Args:
        operator: of an output, the last operator that computes it (those that change only its form left out).
    """

    name: str
    data_type: str
    shape: tuple[int, ...]
    operator: str = ""

    @property
    def holds_whole_numbers(self) -> bool:
        """True for class numbers rather than scores."""
        return self.data_type.startswith(("int", "uint", "bool"))


@dataclass
class OnnxFacts:
    """What is read of an ONNX file.

    Args:
        inputs, outputs: the graph's, constants left out of the inputs.
        metadata: ``metadata_props``.
        weights_sha256: over the serialised graph (nodes and initialisers), which does not hold
            ``metadata_props``: writing a card into the file leaves it as it is; and over the files in
            ``weight_files``.
        weight_files: names of the files beside it that hold weights, as exporters write large networks.
    """

    inputs: list[TensorFacts] = field(default_factory=list)
    outputs: list[TensorFacts] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    weight_files: list[str] = field(default_factory=list)


def class_outputs(facts: OnnxFacts) -> list[TensorFacts]:
    """The outputs that can be classes of what the input is; features and embeddings beside them are none.

    Of an image input, maps win over one vector per image where one of them has the image's size; else the first
    output decides.  Class numbers count only where no output gives scores.
    """
    first = facts.inputs[0].shape
    vectors = [tensor for tensor in facts.outputs if len(tensor.shape) == 2]
    maps = [tensor for tensor in facts.outputs if len(tensor.shape) in (3, 4)] if len(first) == 4 else []
    one_per_image = len(facts.outputs[0].shape) == 2 and not any(tensor.shape[-2:] == first[-2:] for tensor in maps)
    found = vectors if one_per_image or not maps else maps
    return [tensor for tensor in found if not tensor.holds_whole_numbers] or found or facts.outputs[:1]


class _Malformed(Exception):
    """The bytes are no protocol-buffers message of the expected kind."""


def read_onnx_facts(path: str | Path) -> OnnxFacts:
    """Read inputs, outputs and metadata of an ONNX file; weights are hashed, not parsed.

    Raises:
        ModelError: no such file, not an ONNX file, a truncated one, or one without the files that hold its weights.
    """
    path = Path(path)
    facts = _read_file(path)
    if facts.weight_files:
        facts.weights_sha256 = _hash_with_files(path, facts)
    return facts


def read_weight_files(path: str | Path) -> list[str]:
    """Names of the files beside an ONNX file that hold its weights; they need not be there.

    Raises:
        ModelError: no such file, or not an ONNX file.
    """
    return _read_file(Path(path)).weight_files


def _hash_with_files(path: Path, facts: OnnxFacts) -> str:
    digest = hashlib.sha256(facts.weights_sha256.encode())
    for name in facts.weight_files:
        try:
            with (path.parent / name).open("rb") as file:
                for part in iter(lambda: file.read(1 << 20), b""):
                    digest.update(part)
        except (OSError, ValueError) as error:  # a name may hold what no name may
            raise ModelError(
                f"“{path}” keeps its weights in “{name[:80]}”, which cannot be read: put that file beside it, or "
                "export the network into one file.",
                repr(error),
            ) from error
    return digest.hexdigest()


def _read_file(path: Path) -> OnnxFacts:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ModelError(f"“{path}” is a folder; choose an ONNX file (.onnx).")
        if size == 0:
            raise ModelError(f"“{path}” is empty; choose an ONNX file (.onnx).")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            view = memoryview(content)
            try:
                facts = _read_model(view)
            except (_Malformed, UnicodeDecodeError) as error:
                # The frames of the traceback hold parts of the file, which could then not be closed.
                traceback.clear_frames(error.__traceback__)
                raise
            finally:
                view.release()
            return facts
    except FileNotFoundError:
        raise ModelError(f"There is no model file “{path}”; check the path.") from None
    except OSError as error:
        raise ModelError(f"The model file “{path}” cannot be read: {error.strerror or error}.") from error
    except (_Malformed, UnicodeDecodeError) as error:
        raise ModelError(
            f"“{path}” is not an ONNX file, or only part of one: choose another or download it again.", repr(error)
        ) from error


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise _Malformed("number cut off")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, position
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Walk a message: yields field number, wire type, and start and end (or the value twice for numbers)."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _Malformed("field number 0")
        if wire == 0:
            value, position = _varint(data, position)
            yield number, wire, value, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _Malformed(f"wire type {wire}")
        if position + length > len(data):
            raise _Malformed("message cut off")
        yield number, wire, position, position + length
        position += length


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8")


def _read_model(data: memoryview) -> OnnxFacts:
    facts = OnnxFacts()
    has_version = has_graph = has_opsets = False
    for number, wire, start, end in _fields(data):
        if number == _MODEL_IR_VERSION and wire == 0:
            has_version = True
        elif number == _MODEL_OPSETS and wire == 2:
            has_opsets = True
        elif number == _MODEL_GRAPH and wire == 2:
            has_graph = True
            graph = data[start:end]
            facts.weights_sha256 = hashlib.sha256(graph).hexdigest()
            _read_graph(graph, facts)
        elif number == _MODEL_METADATA and wire == 2:
            key, value = _read_entry(data[start:end])
            facts.metadata[key] = value
    if not (has_version and has_graph and has_opsets):
        raise _Malformed("no graph, version or operator set")
    return facts


def _read_graph(graph: memoryview, facts: OnnxFacts) -> None:
    constants: set[str] = set()
    weight_files: set[str] = set()
    inputs: list[TensorFacts] = []
    nodes: list[tuple[int, int]] = []
    for number, wire, start, end in _fields(graph):
        if wire != 2:
            continue
        if number == _GRAPH_NODE:
            nodes.append((start, end))
        if number == _GRAPH_INPUT:
            inputs.append(_read_value(graph[start:end]))
        elif number == _GRAPH_OUTPUT:
            facts.outputs.append(_read_value(graph[start:end]))
        elif number == _GRAPH_INITIALIZER:
            tensor = graph[start:end]
            is_external, place = False, ""
            for field_number, field_wire, a, b in _fields(tensor):
                if field_number == _TENSOR_NAME and field_wire == 2:
                    constants.add(_text(tensor[a:b]))
                elif field_number == _TENSOR_LOCATION and field_wire == 0:
                    is_external = a == _LOCATION_IS_EXTERNAL
                elif field_number == _TENSOR_EXTERNAL and field_wire == 2:
                    key, value = _read_entry(tensor[a:b])
                    place = value if key == "location" else place
            if is_external:
                weight_files.add(place)
    # Before IR version 4 every initialiser was listed as an input too.
    facts.inputs = [tensor for tensor in inputs if tensor.name not in constants]
    facts.weight_files = sorted(weight_files)
    operators = _last_operators(graph, nodes, [tensor.name for tensor in facts.outputs])
    facts.outputs = [replace(tensor, operator=operators.get(tensor.name, "")) for tensor in facts.outputs]


def _last_operators(graph: memoryview, nodes: list[tuple[int, int]], outputs: list[str]) -> dict[str, str]:
    """The operator that computes each output; nodes come in the order of their work, so they are read from the end."""
    # What makes an output, followed back through changes of form.
    sought = {name: [name] for name in outputs}
    found: dict[str, str] = {}
    for node_start, node_end in reversed(nodes):
        if not sought:
            break
        node = graph[node_start:node_end]
        first, operator, made = "", "", []
        for number, wire, start, end in _fields(node):
            if wire == 2 and number == _NODE_OUTPUT:
                made.append(_text(node[start:end]))
            elif wire == 2 and number == _NODE_INPUT and not first:
                first = _text(node[start:end])
            elif wire == 2 and number == _NODE_OPERATOR:
                operator = _text(node[start:end])
        for name in made:
            ends = sought.pop(name, [])
            if operator in _FORM_ONLY:
                sought.setdefault(first, []).extend(ends)
            else:
                found.update(dict.fromkeys(ends, operator))
    return found


def _read_entry(entry: memoryview) -> tuple[str, str]:
    """Key and value of a ``StringStringEntryProto``."""
    strings: dict[int, str] = {}
    # No comprehension: it would hold a part of the file beyond the failure of a line, and the file could not be closed.
    for number, wire, start, end in _fields(entry):
        if wire == 2:
            strings[number] = _text(entry[start:end])
    return strings.get(1, ""), strings.get(2, "")


def _read_value(value: memoryview) -> TensorFacts:
    name, element = "", 0
    shape: list[int] = []
    for number, wire, start, end in _fields(value):
        if number == _VALUE_NAME and wire == 2:
            name = _text(value[start:end])
        elif number == _VALUE_TYPE and wire == 2:
            for type_number, type_wire, a, b in _fields(value[start:end]):
                if type_number == _TYPE_TENSOR and type_wire == 2:
                    element, shape = _read_tensor_type(value[start:end][a:b])
    return TensorFacts(name, _ELEMENT_TYPES.get(element, "other"), tuple(shape))


def _read_tensor_type(tensor: memoryview) -> tuple[int, list[int]]:
    element = 0
    shape: list[int] = []
    for number, wire, start, end in _fields(tensor):
        if number == _TENSOR_TYPE_ELEMENT and wire == 0:
            element = start
        elif number == _TENSOR_TYPE_SHAPE and wire == 2:
            message = tensor[start:end]
            for axis, axis_wire, a, b in _fields(message):
                if axis == _SHAPE_DIMENSION and axis_wire == 2:
                    size = -1
                    for part, part_wire, value, _ in _fields(message[a:b]):
                        if part == _DIMENSION_VALUE and part_wire == 0:
                            size = value
                    shape.append(size)
    return element, shape
