"""The models that ship, with plain rasterio and ONNX Runtime: are they whole, and do they make sense?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import rasterio
from rasterio.features import rasterize
from rasterio.warp import transform_geom

from thematica.models.bands import SENSORS
from thematica.models.card import METADATA_KEY, parse_card
from thematica.models.onnx_file import read_onnx_facts
from thematica.models.reading import read_model_card
from thematica.models.store import BUNDLED_FOLDER

NAMES = ("basic-cover-sentinel2", "basic-cover-landsat")
WATER, GREEN, CLOUD = 0, 1, 6
#: Bytes; a model with its card is a few kilobytes, and all that ships must stay small.
LARGEST = 60_000


def classify(name: str, image: np.ndarray) -> np.ndarray:
    """Class codes (rows, columns) of reflectance (bands, rows, columns)."""
    session = onnxruntime.InferenceSession(BUNDLED_FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"])
    pixels = np.ascontiguousarray(image.reshape(len(image), -1).T, dtype=np.float32)
    scores = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return scores.argmax(axis=1).reshape(image.shape[1:])


def inside(raster: Path, polygons: Path, field: str, value: str) -> np.ndarray:
    """Pixels whose centre lies in a polygon of that class."""
    import pyogrio
    import shapely

    meta, _, shapes, columns = pyogrio.raw.read(polygons)
    classes = columns[list(meta["fields"]).index(field)]
    with rasterio.open(raster) as dataset:
        wanted = [
            (transform_geom(meta["crs"], dataset.crs, shapely.geometry.mapping(shapely.from_wkb(shape))), 1)
            for shape, name in zip(shapes, classes, strict=True)
            if name == value
        ]
        return rasterize(wanted, out_shape=dataset.shape, transform=dataset.transform).astype(bool)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_whole_and_honest(name):
    path = BUNDLED_FOLDER / f"{name}.onnx"
    card = read_model_card(path)
    assert card.origin == "embedded"
    assert card.task == "pixel"
    assert card.unit == "reflectance"
    assert card.value_range == (0, 1)
    assert card.receptive_field == 1
    assert card.normalisation.is_identity()
    assert card.input_shape == (-1, len(card.bands))
    assert card.output_shape == (-1, 8)
    assert "imulated spectra only" in card.description
    assert card.sources
    assert len({entry.color for entry in card.classes}) == 8
    preset = SENSORS["sentinel2-10" if name.endswith("sentinel2") else "landsat-6"]
    assert [(band.name, band.common_name, band.wavelength) for band in card.bands] == [
        (band.name, band.common_name, band.wavelength) for band in preset
    ]
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_the_card_beside_is_the_card_inside_and_belongs_to_the_weights(name):
    path = BUNDLED_FOLDER / f"{name}.onnx"
    facts = read_onnx_facts(path)
    beside = path.with_suffix(".json").read_text("utf-8")
    assert facts.metadata[METADATA_KEY] == beside
    card = parse_card(beside)
    assert card.weights_sha256 == facts.weights_sha256
    assert json.loads(card.to_json()) == json.loads(beside)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_validates_against_mlm(name):
    stac_model = pytest.importorskip("stac_model.schema", reason="only this check needs stac-model")
    item = json.loads((BUNDLED_FOLDER / f"{name}.json").read_text("utf-8"))
    stac_model.MLModelProperties.model_validate(item["properties"])


@pytest.mark.real
@pytest.mark.parametrize("offset", [0.0, -0.1], ids=["as delivered", "offset removed"])
@pytest.mark.parametrize("name", NAMES)
def test_sentinel2_brazil(real_data, name, offset):
    """The file still holds the offset of baseline 04.00 (water has 0.10 in B12); both ways must do."""
    scene = real_data("sentinel2_brazil/sen2_brazil.tif")
    polygons = real_data("sentinel2_brazil/training_sen2.gpkg")
    with rasterio.open(scene) as dataset:
        numbers = {description: number for number, description in enumerate(dataset.descriptions, start=1)}
        ten = ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]
        six = ["B2", "B3", "B4", "B8", "B11", "B12"]
        bands = ten if name.endswith("sentinel2") else six
        image = dataset.read([numbers[band] for band in bands]) + offset
    result = classify(name, image)
    water, forest = (inside(scene, polygons, "class", value) for value in ("water", "forest"))
    both = np.concatenate([result[water] == WATER, result[forest] == GREEN])
    assert both.mean() >= 0.9
    assert (result[forest] == GREEN).mean() >= 0.9
    assert (result[water] == WATER).mean() >= 0.9


@pytest.mark.real
def test_landsat7_chiapas(real_data):
    """The polygons were drawn on the date of 1999; 2002 is the end of a dry season, hazy, with clouds."""
    polygons = real_data("landsat7_chiapas/training_data.shp")
    scene = real_data("landsat7_chiapas/LE70220491999322EDC01_stack.gtif")
    with rasterio.open(scene) as dataset:
        result = classify("basic-cover-landsat", dataset.read([1, 2, 3, 4, 5, 6]) * 1e-4)
    water, forest = (inside(scene, polygons, "class", value) for value in ("water", "forest"))
    both = np.concatenate([result[water] == WATER, result[forest] == GREEN])
    assert both.mean() >= 0.8
    assert (result[forest] == GREEN).mean() >= 0.8
    # A river about one pixel wide: most of its sixteen pixels hold as much bank as water.
    assert (result[water] == WATER).mean() >= 0.5


@pytest.mark.real
def test_clouds_of_2002_are_clouds(real_data):
    scene = real_data("landsat7_chiapas/LE70220492002106EDC00_stack.gtif")
    with rasterio.open(scene) as dataset:
        image, mask = dataset.read([1, 2, 3, 4, 5, 6]) * 1e-4, dataset.read(8)
    thick = (image[0] > 0.4) & (mask == 4)
    assert (classify("basic-cover-landsat", image)[thick] == CLOUD).mean() > 0.9
