"""Real labels: how many polygons and pixels each class has, counted in another way."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import rasterio.features
import shapely
from rasterio.warp import transform as transform_points

from thematica.engine.image import open_image
from thematica.engine.labels.open_labels import open_labels
from thematica.engine.labels.reading import read_labels
from thematica.engine.labels.samples import labelled_pixels
from thematica.engine.labels.shape_map import ShapeMap

from .layers import codes_of, finding

pytestmark = pytest.mark.real


def counted(source, labels) -> dict[str, int]:
    found: Counter[str] = Counter()
    for part in labelled_pixels(source, labels):
        found.update(labels.legend[place].name for place in part.places)
    return dict(found)


def burnt(raster, layer, field) -> dict[str, int]:
    """Pixels of each class, burnt by GDAL."""
    with rasterio.open(raster) as dataset:
        meta, _, stored, columns = pyogrio.raw.read(layer)
        values = columns[list(meta["fields"]).index(field)]
        names = sorted(set(values))
        codes = rasterio.features.rasterize(
            [(shape, names.index(value) + 1) for shape, value in zip(shapely.from_wkb(stored), values, strict=True)],
            out_shape=dataset.shape,
            transform=dataset.transform,
        )
    return {str(name): int((codes == number).sum()) for number, name in enumerate(names, 1)}


@pytest.mark.parametrize("date", ["LE70220491999322EDC01", "LE70220492002106EDC00"])
def test_chiapas(real_data, date):
    raster = real_data(f"landsat7_chiapas/{date}_stack.gtif")
    layer = real_data("landsat7_chiapas/training_data.shp")
    with open_image([raster]) as opened:
        labels = read_labels(layer, "class", opened.source.grid)
        pixels = counted(opened.source, ShapeMap(labels, 250, 250))
    assert len(labels) == 30
    polygons = Counter(labels.legend[place].name for place in labels.places)
    assert polygons == {"barren": 6, "forest": 11, "herbaceous": 6, "urban": 2, "water": 5}
    assert pixels == burnt(raster, layer, "class")
    assert pixels == {"barren": 109, "forest": 383, "herbaceous": 145, "urban": 65, "water": 16}
    assert finding(labels, "fields-disagree").features == (6, 8)
    assert "few-samples" in codes_of(labels)


def test_chiapas_by_its_other_field(real_data):
    layer = real_data("landsat7_chiapas/training_data.shp")
    with open_image([real_data("landsat7_chiapas/LE70220491999322EDC01_stack.gtif")]) as opened:
        labels = read_labels(layer, "id", opened.source.grid)
    assert [entry.code for entry in labels.legend] == [1, 2, 3, 4, 5]
    assert finding(labels, "fields-disagree").features == (6, 8)


def test_brazil_in_degrees(real_data):
    raster, layer = real_data("sentinel2_brazil/sen2_brazil.tif"), real_data("sentinel2_brazil/training_sen2.gpkg")
    with open_image([raster]) as opened:
        labels = read_labels(layer, "class", opened.source.grid)
        pixels = counted(opened.source, ShapeMap(labels, 237, 247))
    assert Counter(labels.legend[place].name for place in labels.places) == {
        "dryout": 4, "forest": 8, "village": 9, "water": 4,
    }  # fmt: skip
    assert pixels == burnt(raster, layer, "class")
    assert pixels == {"dryout": 204, "forest": 1056, "village": 614, "water": 496}
    assert not labels.findings


def test_brazil_with_labels_brought_to_another_crs(real_data, tmp_path):
    """The pixels stay the same, but for those whose centres lie on an edge."""
    layer = real_data("sentinel2_brazil/training_sen2.gpkg")
    meta, _, stored, columns = pyogrio.raw.read(layer)
    moved = shapely.transform(
        shapely.segmentize(shapely.from_wkb(stored), 1e-5),
        lambda points: np.column_stack(transform_points("EPSG:4326", "EPSG:32721", points[:, 0], points[:, 1])),
    )
    path = tmp_path / "moved.gpkg"
    pyogrio.raw.write(
        path, shapely.to_wkb(moved), columns, meta["fields"], geometry_type="MultiPolygon", crs="EPSG:32721",
        promote_to_multi=True,
    )  # fmt: skip
    with open_image([real_data("sentinel2_brazil/sen2_brazil.tif")]) as opened:
        whole = [
            ShapeMap(read_labels(source, "class", opened.source.grid), 237, 247).read(0, 0, 237, 247)[0]
            for source in (layer, path)
        ]
    assert (whole[0] != whole[1]).sum() <= 2


def test_salinas(real_data):
    with rasterio.open(real_data("salinas_a/salinasA_gt.tif")) as dataset:
        codes = dataset.read(1)
    with (
        open_image([real_data("salinas_a/salinasA_204.tif")]) as opened,
        open_labels(real_data("salinas_a/salinasA_gt.tif"), "", opened.source.grid) as labels,
    ):
        assert [entry.code for entry in labels.legend] == [1, 10, 11, 12, 13, 14]
        places, _ = labels.read(0, 0, 83, 86)
        pixels = counted(opened.source, labels)
    values = np.array([entry.code for entry in labels.legend] + [0])
    assert (values[places] == codes).all()
    assert pixels == {f"Class {code}": int((codes == code).sum()) for code in (1, 10, 11, 12, 13, 14)}
    assert sum(pixels.values()) == 5348


def test_modis_points_without_their_dates(real_data):
    """Points of one pixel had other crops in other years: without dates they contradict each other."""
    with open_image([real_data("modis_mato_grosso/ndvi.tif")]) as opened:
        labels = read_labels(real_data("modis_mato_grosso/samples.csv"), "label", opened.source.grid)
    assert Counter(labels.legend[place].name for place in labels.places) == {
        "Cotton-fallow": 68, "Forest": 138, "Soybean-cotton": 79, "Soybean-maize": 134, "Soybean-millet": 184,
    }  # fmt: skip
    assert {"same-pixel", "same-pixel-same-class"} <= codes_of(labels)


def test_taizhou_sample_masks(real_data):
    for name, pixels in (("change", 4227), ("unchanged", 17163)):
        with (
            open_image([real_data("landsat_taizhou/2000TM")]) as opened,
            open_labels(real_data(f"landsat_taizhou/{name}.bmp"), "", opened.source.grid) as labels,
        ):
            assert counted(opened.source, labels) == {"Class 255": pixels}
            assert "one-class" in codes_of(labels)
