"""A network for the documentation's pictures: patches of a Sentinel-2 scene, several labels each.

Nobody trained it: it takes vegetation and water indices of the pixels and gives, per label, the share of the patch
that looks like it.  Run it with the runtime's Python: ``python docs/example_network.py FILE.onnx``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from thematica.models.bands import SENTINEL2_BANDS
from thematica.models.card import METADATA_KEY, ModelCard, ModelClass

SIDE = 12
_BANDS = ("B3", "B4", "B8")
_LABELS = (
    ("Dense vegetation", "#1b7837"),
    ("Sparse vegetation", "#a6d96a"),
    ("Bare soil", "#c2814b"),
    ("Water", "#2c6fbb"),
)
# Three questions to a pixel: is its NDVI above 0.6, above 0.35; is its NDWI above 0.05?
_LIMITS = ((0, 0.6), (0, 0.35), (1, 0.05))
# Labels from the answers: dense; green but not dense; neither green nor water; water.
_ANSWERS = ((1, 0, 0), (-1, 1, 0), (0, -1, -1), (0, 0, 1))
_OTHERWISE = (0, 0, 1, 0)


def make(path: Path) -> None:
    """Write the network, its card inside."""
    nodes, weights = [], []

    def constant(name: str, values: Sequence[float] | np.ndarray, shape: tuple[int, ...]) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values, np.float32).reshape(shape), name))
        return name

    # Two indices of normalised differences: nir - red, green - nir.
    less = constant("less", [0, -1, 1, 1, 0, -1], (2, 3, 1, 1))
    more = constant("more", [0, 1, 1, 1, 0, 1], (2, 3, 1, 1))
    nodes.append(helper.make_node("Conv", ["image", less], ["differences"]))
    nodes.append(helper.make_node("Conv", ["image", more], ["sums"]))
    nodes.append(helper.make_node("Max", ["sums", constant("least", [1e-3], ())], ["positive"]))
    nodes.append(helper.make_node("Div", ["differences", "positive"], ["indices"]))
    steep = np.zeros((len(_LIMITS), 2))
    for row, (index, _) in enumerate(_LIMITS):
        steep[row, index] = 25
    steepness = constant("steepness", steep, (len(_LIMITS), 2, 1, 1))
    limits = constant("limits", [-25 * limit for _, limit in _LIMITS], (len(_LIMITS),))
    nodes.append(helper.make_node("Conv", ["indices", steepness, limits], ["looks"]))
    nodes.append(helper.make_node("Sigmoid", ["looks"], ["answers"]))
    sums = constant("sums_of_answers", np.array(_ANSWERS), (len(_LABELS), len(_LIMITS), 1, 1))
    nodes.append(helper.make_node("Conv", ["answers", sums, constant("otherwise", _OTHERWISE, (4,))], ["signed"]))
    nodes.append(helper.make_node("Relu", ["signed"], ["alike"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["alike"], ["shares"]))
    nodes.append(helper.make_node("Flatten", ["shares"], ["probabilities"]))
    graph = helper.make_graph(
        nodes,
        "example",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", len(_BANDS), SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(_LABELS)])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = ModelCard(
        name="example-patches",
        title="Land cover of patches (example)",
        description="Made for the documentation from two spectral indices; not trained, and no product.",
        task="patch-multilabel",
        bands=[SENTINEL2_BANDS[name] for name in _BANDS],
        classes=[ModelClass(value, name, color) for value, (name, color) in enumerate(_LABELS)],
        activation="sigmoid",
        gsd=10.0,
        unit="reflectance",
    )
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
