"""BigEarthNet's patches in Processing: a training set, a model for several labels, and a layer of twelve files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from qgis.core import QgsVectorLayer

from .test_build_dataset import _runtime  # noqa: F401 - fixture


@pytest.mark.real
def test_patches_become_a_model_and_a_patch_a_layer_with_its_labels(processing, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    # QGIS writes beside what it opens.
    patches = Path(shutil.copytree(real_data("bigearthnet_tiny") / "S2", tmp_path / "patches"))
    built = processing.run(
        "thematica:builddataset",
        {
            "FOLDER": str(patches), "LAYOUT": "bigearthnet", "NOMENCLATURE": "43", "ALL_CLASSES": True,
            "OUTPUT": str(tmp_path / "set"),
        },
    )  # fmt: skip
    assert len(json.loads(built["CLASSES"])) == 43
    # A narrow network: that of the paper is trained in tests/cli/test_bigearthnet.py.
    trained = processing.run(
        "thematica:train",
        {
            "DATASET": str(tmp_path / "set"), "NETWORK": "resnet50", "EPOCHS": 1, "NAME": "labels of Europe",
            "CHANGES": "batch=2; network_options.width=4", "OUTPUT": str(tmp_path / "run"),
        },
    )  # fmt: skip
    assert trained["STORED"] == "labels of Europe"
    assert "mean average precision" in json.loads(trained["METRICS"])
    folder = patches / "S2A_MSIL2A_20171221T112501_56_35"
    result = processing.run(
        "thematica:classifypatches",
        {
            "INPUT": [str(path) for path in sorted(folder.glob("*_B*.tif"))], "MODEL": "labels of Europe",
            "SCALE": 0.0001, "THRESHOLD": 0.0, "OUTPUT": str(tmp_path / "labels.gpkg"),
        },
    )  # fmt: skip
    layer = QgsVectorLayer(result["OUTPUT"], "labels", "ogr")
    (feature,) = layer.getFeatures()
    # From a probability of 0 on, every label counts.
    assert len(feature["label"].split("; ")) == 43
    probabilities = [field.name() for field in layer.fields() if field.name().startswith("p_")]
    assert len(probabilities) == 43
    assert all(0 <= feature[name] <= 1 for name in probabilities)
    extent = layer.extent()
    assert (extent.width(), extent.height(), layer.crs().authid()) == (1200, 1200, "EPSG:32629")
