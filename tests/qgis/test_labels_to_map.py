"""Labels to a map by ``qgis_process`` alone, on real scenes; what the map shows on polygons that were held out."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from osgeo import gdal, ogr

from .test_processing import qgis_process  # noqa: F401 - a fixture

#: Scene, labels, network, seed of the split, and the reference: a random forest in cross-validation over polygons.
SCENES = [
    pytest.param(
        "landsat7_chiapas", "LE70220491999322EDC01_stack.gtif", "training_data.shp", "random-forest", 1, 0.73,
        id="chiapas",
    ),
    pytest.param("sentinel2_brazil", "sen2_brazil.tif", "training_sen2.gpkg", "mlp", 1, 0.999, id="brazil"),
]  # fmt: skip


@pytest.fixture
def process(qgis_process, real_runtime, tmp_path):  # noqa: F811
    """``process("train", KEY=value, …)``: run an algorithm of ours; gives its results."""

    def run(name, **parameters):
        given = [f"--{key}={value}" for key, value in parameters.items()]
        done = qgis_process(
            "--json", "run", f"thematica:{name}", *given,
            THEMATICA_RUNTIME=str(real_runtime), THEMATICA_MODELS=str(tmp_path / "store"),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["results"]

    return run


def burn(labels, numbers, codes, like):
    """Codes of the classes of some polygons, by their numbers in the layer, as GDAL burns them on a map's grid."""
    source = ogr.Open(str(labels))
    polygons = source.GetLayer(0)
    kept = ogr.GetDriverByName("Memory").CreateDataSource("kept")
    layer = kept.CreateLayer("kept", polygons.GetSpatialRef())
    layer.CreateField(ogr.FieldDefn("code", ogr.OFTInteger))
    for number, polygon in enumerate(polygons):
        if number in numbers:
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetGeometry(polygon.GetGeometryRef())
            feature["code"] = codes[polygon["class"]]
            layer.CreateFeature(feature)
    burned = gdal.GetDriverByName("MEM").Create("", like.RasterXSize, like.RasterYSize, 1)
    burned.SetGeoTransform(like.GetGeoTransform())
    burned.SetProjection(like.GetProjection())
    gdal.RasterizeLayer(burned, [1], layer, options=["ATTRIBUTE=code"])
    return burned.ReadAsArray()


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "image", "labels", "network", "seed", "reference"), SCENES)
def test_labels_become_a_map_that_is_right_where_nobody_trained(
    process, real_data, tmp_path, folder, image, labels, network, seed, reference
):
    # QGIS writes beside what it opens.
    scene = tmp_path / "scene"
    shutil.copytree(real_data(folder), scene)
    dataset, run, output = tmp_path / "set", tmp_path / "run", tmp_path / "map.tif"
    process("builddataset", INPUT=scene / image, LABELS=scene / labels, FIELD="class", SPLIT="polygons", SEED=seed,
            OUTPUT=dataset)  # fmt: skip
    trained = process("train", DATASET=dataset, NETWORK=network, NAME="from labels", OUTPUT=run)
    assert trained["STORED"] == "from labels"
    process("classifypixels", INPUT=scene / image, MODEL="from labels", OUTPUT=output)

    told = json.loads((dataset / "dataset.json").read_text())
    codes = {entry["name"]: entry["code"] for entry in told["classes"]}
    shown = gdal.Open(str(output))
    band = shown.GetRasterBand(1)
    table, colours = band.GetDefaultRAT(), band.GetColorTable()
    names = {table.GetValueAsInt(row, 0): table.GetValueAsString(row, 2) for row in range(table.GetRowCount())}
    for entry in told["classes"]:
        assert names[entry["code"]] == entry["name"]
        assert "#{:02x}{:02x}{:02x}".format(*colours.GetColorEntry(entry["code"])[:3]) == entry["color"].lower()
    assert shown.GetGeoTransform() == gdal.Open(str(scene / image)).GetGeoTransform()

    places = {
        part: np.concatenate([np.load(path) for path in sorted(dataset.glob(f"{part}-*.places.npy"))])
        for part in ("train", "validation", "test")
    }
    held_out = {int(number) for number in places["test"]["shape"]}
    assert not held_out & {int(n) for part in ("train", "validation") for n in places[part]["shape"]}
    truth, found = burn(scene / labels, held_out, codes, shown), shown.ReadAsArray()
    # GDAL burns the same pixels that were kept for the test.
    tested = truth > 0
    assert {*zip(*np.nonzero(tested), strict=False)} == {
        *zip(places["test"]["row"], places["test"]["col"], strict=False)
    }
    accuracy = (found == truth)[tested].mean()
    # Figures are rounded to four digits.
    assert round(accuracy, 4) == trained["ACCURACY"]
    assert accuracy >= reference
