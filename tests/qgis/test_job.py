"""What QGIS knows and the file does not must reach the worker."""

from __future__ import annotations

import gc
import os
import shutil

import pytest
from osgeo import gdal, ogr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from thematica.errors import InputError
from thematica.plugin.job import PreparedJob, raster_job, raster_source, write_area


def pixel_job(layer: QgsRasterLayer, *arguments, **options):
    return raster_job("classify-pixels", [layer], *arguments, **options)


def layer_of(path) -> QgsRasterLayer:
    layer = QgsRasterLayer(str(path), "scene")
    assert layer.isValid()
    return layer


def polygons(*wkts: str, crs: str = "EPSG:32633", kind: str = "Polygon") -> QgsVectorLayer:
    layer = QgsVectorLayer(f"{kind}?crs={crs}&field=name:string", "fields", "memory")
    for number, wkt in enumerate(wkts):
        feature = QgsFeature(layer.fields())
        feature.setAttribute("name", f"field {number}")
        feature.setGeometry(QgsGeometry.fromWkt(wkt))
        layer.dataProvider().addFeature(feature)
    return layer


def square(left: float, side: float = 10) -> str:
    return f"Polygon(({left} 0, {left + side} 0, {left + side} {side}, {left} {side}, {left} 0))"


def areas(path) -> list[float]:
    dataset = ogr.Open(str(path))
    return sorted(round(feature.GetGeometryRef().GetArea(), 6) for feature in dataset.GetLayer(0))


def test_a_plain_layer(scene):
    prepared = pixel_job(layer_of(scene), "basic", "o.tif", options={"tile": 512, "bands": "", "scale": None})
    assert prepared.job == {
        "command": "classify-pixels",
        "rasters": [str(scene)],
        "model": "basic",
        "output": "o.tif",
        "tile": 512,
    }
    assert prepared.warnings == []


def test_a_crs_set_on_the_layer_travels(scene):
    layer = layer_of(scene)
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
    assert "UTM zone 34N" in pixel_job(layer, "m", "o.tif").job["raster_crs"]


def test_nodata_set_on_the_layer_travels(scene, make_raster):
    plain = layer_of(make_raster("plain.tif", [[0.0, 1.0, 2.0, 3.0]], 2))
    plain.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0.0, 0.0)])
    assert pixel_job(plain, "m", "o.tif").job["nodata"] == 0.0
    assert pixel_job(plain, "m", "o.tif", options={"nodata": 5.0}).job["nodata"] == 5.0

    declared = layer_of(scene)
    declared.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0.0, 0.0)])
    with pytest.raises(InputError, match=r"several nodata values \(-1, 0\)"):
        pixel_job(declared, "m", "o.tif")
    for band in range(1, 11):
        declared.dataProvider().setUseSourceNoDataValue(band, False)
    assert pixel_job(declared, "m", "o.tif").job["nodata"] == 0.0
    declared.dataProvider().setUserNoDataValue(1, [])
    assert "shows the file's nodata value as data" in pixel_job(declared, "m", "o.tif").warnings[0]


def test_a_range_of_nodata_is_refused(make_raster):
    layer = layer_of(make_raster("plain.tif", [[0.0, 1.0, 2.0, 3.0]], 2))
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0.0, 1.0)])
    with pytest.raises(InputError, match="0 to 1"):
        pixel_job(layer, "m", "o.tif")


@pytest.fixture
def mask(make_raster):
    return layer_of(make_raster("mask.tif", [[0.0, 1.0, 2.0, 255.0]], 2, nodata=2.0))


def test_a_mask_as_its_file_says_travels(scene, mask):
    mask.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0.0, 0.0)])  # nothing is classified there anyway
    prepared = pixel_job(layer_of(scene), "m", "o.tif", mask=mask)
    assert prepared.job["mask"] == mask.source()
    assert prepared.warnings == []


def test_nodata_set_on_a_mask_is_refused_before_other_pixels_are_classified(scene, mask):
    mask.dataProvider().setUserNoDataValue(1, [QgsRasterRange(255.0, 255.0)])
    with pytest.raises(InputError, match=r"nodata value that was set on the mask “scene” \(255\)"):
        pixel_job(layer_of(scene), "m", "o.tif", mask=mask)


def test_a_mask_that_shows_its_nodata_as_data_is_warned_of(scene, mask):
    mask.dataProvider().setUseSourceNoDataValue(1, False)
    (warning,) = pixel_job(layer_of(scene), "m", "o.tif", mask=mask).warnings
    assert "nothing is classified there" in warning


def test_a_crs_set_on_a_mask_is_refused_or_where_the_file_has_none_warned_of(scene, mask, make_raster):
    mask.setCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
    with pytest.raises(InputError, match="CRS that was set on the mask"):
        pixel_job(layer_of(scene), "m", "o.tif", mask=mask)
    without = layer_of(make_raster("without.tif", [[0.0, 1.0, 1.0, 1.0]], 2, epsg=None))
    without.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    (warning,) = pixel_job(layer_of(scene), "m", "o.tif", mask=without).warnings
    assert "is not passed on" in warning


def test_extent_with_its_own_crs(scene):
    extent = QgsRectangle(1, 2, 3, 4)
    crs = QgsCoordinateReferenceSystem("EPSG:4326")
    job = pixel_job(layer_of(scene), "m", "o.tif", extent=extent, extent_crs=crs).job
    assert job["area"] == [1, 2, 3, 4]
    assert "WGS 84" in job["area_crs"]
    job = pixel_job(layer_of(scene), "m", "o.tif", extent=extent).job
    assert "UTM zone 33N" in job["area_crs"]
    assert "area" not in pixel_job(layer_of(scene), "m", "o.tif", extent=QgsRectangle()).job


def test_unsaved_edits_are_written(tmp_path):
    layer = polygons(square(0), square(100))
    path = tmp_path / "fields.gpkg"
    options = QgsVectorFileWriter.SaveVectorOptions()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), layer.transformContext(), options)
    on_disk = QgsVectorLayer(str(path), "fields")
    assert on_disk.startEditing()
    first, _ = sorted(on_disk.getFeatures(), key=lambda feature: feature.id())
    on_disk.deleteFeature(first.id())
    added = QgsFeature(on_disk.fields())
    added.setGeometry(QgsGeometry.fromWkt(square(300, 7)))
    on_disk.addFeature(added)
    assert areas(path) == [100, 100]
    assert areas(write_area(on_disk, tmp_path / "area.gpkg")) == [49, 100]
    on_disk.rollBack()

    on_disk.setSubsetString("name = 'field 1'")
    assert areas(write_area(on_disk, tmp_path / "filtered.gpkg")) == [100]


def test_only_selected_features(tmp_path):
    layer = polygons(square(0), square(100, 5))
    layer.select(max(feature.id() for feature in layer.getFeatures()))
    assert areas(write_area(layer, tmp_path / "area.gpkg", selected_only=True)) == [25]
    layer.removeSelection()
    with pytest.raises(InputError, match="no selected polygons"):
        write_area(layer, tmp_path / "none.gpkg", selected_only=True)


def test_curves_heights_and_crs_survive_as_plain_polygons(tmp_path):
    circle = "CurvePolygonZ(CircularStringZ(0 0 5, 10 0 5, 0 0 5))"
    layer = polygons(circle, "CurvePolygonZ EMPTY", crs="EPSG:3857", kind="CurvePolygonZ")
    path = write_area(layer, tmp_path / "area.gpkg")
    assert areas(path) == [pytest.approx(78.54, abs=0.05)]
    dataset = ogr.Open(str(path))
    assert dataset.GetLayer(0).GetGeomType() == ogr.wkbMultiPolygon
    assert dataset.GetLayer(0).GetSpatialRef().GetAuthorityCode(None) == "3857"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (lambda: QgsVectorLayer("Point?crs=EPSG:4326", "points", "memory"), "no polygons"),
        (lambda: QgsVectorLayer("None", "table", "memory"), "no polygons"),
        (lambda: polygons(), "no polygons"),
    ],
)
def test_what_is_no_area_is_refused(layer, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        write_area(layer(), tmp_path / "area.gpkg")


def test_an_area_without_crs_is_refused_and_leaves_nothing(scene, monkeypatch, tmp_path):
    layer = polygons(square(0))
    layer.setCrs(QgsCoordinateReferenceSystem())
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    with pytest.raises(InputError, match="no CRS"):
        pixel_job(layer_of(scene), "m", "o.tif", area_layer=layer)
    assert list((tmp_path / "temp").iterdir()) == []


def test_the_area_file_goes_with_the_job(scene):
    prepared = pixel_job(layer_of(scene), "m", "o.tif", area_layer=polygons(square(0)))
    assert areas(prepared.job["area"]) == [100]
    prepared.discard()
    assert not os.path.exists(os.path.dirname(prepared.job["area"]))
    prepared.discard()


def test_area_and_extent_are_one_too_many(scene):
    with pytest.raises(InputError, match="not both"):
        pixel_job(layer_of(scene), "m", "o.tif", area_layer=polygons(square(0)), extent=QgsRectangle(0, 0, 1, 1))


def test_layers_that_only_qgis_can_read_have_no_source(scene, tmp_path):
    assert raster_source(QgsRasterLayer("type=xyz&url=http://localhost/{z}/{x}/{y}.png", "tiles", "wms")) == ""
    assert raster_source(QgsRasterLayer(f"{scene}|option:NUM_THREADS=2", "options")) == ""
    with pytest.raises(InputError, match="cannot be read"):
        pixel_job(QgsRasterLayer(str(tmp_path / "gone.tif"), "gone"), "m", "o.tif")
    gdal.FileFromMemBuffer("/vsimem/m.tif", scene.read_bytes())
    try:
        assert raster_source(layer_of("/vsimem/m.tif")) == ""
    finally:
        gdal.Unlink("/vsimem/m.tif")


def test_archives_subdatasets_and_odd_names_keep_their_names(scene, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", scene.parent, scene.name)
    inside = f"/vsizip/{archive}/{scene.name}"
    assert raster_source(layer_of(inside)) == inside

    odd = tmp_path / "a|b, c.tif"
    shutil.copy(scene, odd)
    assert raster_source(layer_of(odd)) == str(odd)

    geopackage = tmp_path / "tiles.gpkg"
    image = gdal.GetDriverByName("MEM").Create("", 8, 8, 3, gdal.GDT_Byte)
    image.SetGeoTransform((0, 1, 0, 8, 0, -1))
    gdal.GetDriverByName("GPKG").CreateCopy(str(geopackage), image, options=["RASTER_TABLE=first"])
    subdataset = f"GPKG:{geopackage}:first"
    assert raster_source(layer_of(subdataset)) == subdataset


def test_a_job_that_is_never_run_leaves_nothing():
    prepared = PreparedJob({})
    folder = prepared.folder()
    (folder / "labels.gpkg").write_text("")
    del prepared
    gc.collect()
    assert not folder.exists()
