"""Facts of a layer are the facts that the engine reads from its file, so the dialog predicts the run."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer, QgsRasterRange

from thematica.errors import InputError
from thematica.models.bands import Band, match_bands
from thematica.models.card import ModelCard, ModelClass
from thematica.models.fit import check_fit
from thematica.plugin.raster_facts import facts_of_layer, ground_sampling_distance
from thematica.plugin.runtime import clean_environment


def layer_of(path) -> QgsRasterLayer:
    layer = QgsRasterLayer(str(path), "scene")
    assert layer.isValid()
    return layer


def test_bands_type_and_sample(make_raster):
    ramp = [float(value) for value in range(100)]
    path = make_raster(
        "a.tif", [ramp, [value + 1000 for value in ramp]], 10, kind=gdal.GDT_UInt16, descriptions=["B2, blue"], nodata=0
    )
    facts = facts_of_layer(layer_of(path))
    assert facts.bands == [Band("B2, blue"), Band("")]
    assert facts.data_type == "uint16"
    assert facts.scales == [1.0, 1.0]
    assert facts.offsets == [0.0, 0.0]
    # 0 is nodata, so percentiles are those of 1 … 99.
    assert facts.sample[1] == pytest.approx((2.96, 97.04))
    assert facts.sample[2] == pytest.approx((1001.98, 1097.02))
    assert facts.gsd == pytest.approx(10, rel=2e-3)


def test_sample_is_of_stored_values_although_qgis_scales(make_raster):
    path = make_raster("a.tif", [[float(value) for value in range(100)]], 10, kind=gdal.GDT_Int16)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(0.0001)
    dataset.GetRasterBand(1).SetOffset(-0.1)
    del dataset
    facts = facts_of_layer(layer_of(path))
    assert (facts.scales, facts.offsets) == ([0.0001], [-0.1])
    assert facts.sample[1] == pytest.approx((1.98, 97.02), abs=0.01)


def test_wavelengths_and_alpha(make_raster):
    path = make_raster("a.tif", [[1.0] * 4] * 4, 2, kind=gdal.GDT_Byte)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetMetadata({"wavelength": "664.6", "wavelength_units": "Nanometers"})
    dataset.GetRasterBand(2).SetMetadata({"wavelength": "0.83"})
    dataset.GetRasterBand(4).SetColorInterpretation(gdal.GCI_AlphaBand)
    del dataset
    facts = facts_of_layer(layer_of(path))
    assert [band.wavelength for band in facts.bands] == [pytest.approx(0.6646), pytest.approx(0.83), None, None]
    assert [band.unit for band in facts.bands] == ["", "", "", "alpha"]
    red = Band("B4", "red", 0.6646, "", 0.031)
    assert match_bands([red], [facts.bands])[0].how == "wavelength"


def test_a_large_raster_is_sampled_in_windows(tmp_path):
    path = tmp_path / "large.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 4000, 3000, 1, gdal.GDT_Byte, ["SPARSE_OK=TRUE"])
    dataset.GetRasterBand(1).Fill(7)
    del dataset
    assert facts_of_layer(layer_of(path)).sample == {1: (7.0, 7.0)}


def test_only_nodata_gives_no_sample(make_raster):
    assert facts_of_layer(layer_of(make_raster("a.tif", [[-1.0] * 9], 3, nodata=-1.0))).sample == {}


def test_complex_numbers_are_named_so(make_raster):
    assert (
        facts_of_layer(layer_of(make_raster("a.tif", [[1.0] * 4], 2, kind=gdal.GDT_CFloat32))).data_type == "complex64"
    )


def test_pixel_size_follows_the_layers_crs(make_raster):
    layer = layer_of(make_raster("a.tif", [[1.0] * 4], 2, epsg=None))
    layer.setCrs(QgsCoordinateReferenceSystem())
    assert ground_sampling_distance(layer) is None
    # At 60° north, a pixel of 10 m in Web Mercator measures 5 m.
    dataset = gdal.Open(layer.source(), gdal.GA_Update)
    dataset.SetGeoTransform((0, 10, 0, 8399737.89, 0, -10))
    del dataset
    layer = layer_of(layer.source())
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    assert ground_sampling_distance(layer) == pytest.approx(5.0, rel=5e-3)


_PRODUCT = """<n1:Product xmlns:n1="x"><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
<BOA_ADD_OFFSET band_id="3">-1000</BOA_ADD_OFFSET></n1:Product>"""


@pytest.fixture
def band_of_a_product(make_raster, tmp_path):
    """Band B04 in a SAFE folder of processing baseline 04.00: 0 beyond the swath, and the offset in its numbers."""
    images = Path("S2A_MSIL2A_20220601T102601_N0400.SAFE", "GRANULE", "L2A_T32UNU", "IMG_DATA", "R10m")
    (tmp_path / images).mkdir(parents=True)
    (tmp_path / images.parts[0] / "MTD_MSIL2A.xml").write_text(_PRODUCT)
    values = [0.0] * 50 + [1200.0 + number for number in range(50)]
    return make_raster(str(images / "T32UNU_20220601T102559_B04_10m.tif"), [values], 10, kind=gdal.GDT_UInt16)


def test_a_band_of_a_product_has_its_scale_offset_and_nodata(band_of_a_product):
    facts = facts_of_layer(layer_of(band_of_a_product))
    assert (facts.scales, facts.offsets) == ([1e-4], [pytest.approx(-0.1)])
    assert facts.sample[1] == pytest.approx((1200.98, 1248.02))
    red = ModelCard("m", "pixel", [Band("B4", "red")], [ModelClass(0, "a", "#000000"), ModelClass(1, "b", "#ffffff")])
    fit = check_fit(replace(red, unit="reflectance", value_range=(0.0, 1.0)), [facts])
    assert (fit.scale, fit.offset, fit.warnings) == ([1e-4], [pytest.approx(-0.1)], [])


def test_nodata_set_on_the_layer_counts_more_than_the_products(band_of_a_product):
    layer = layer_of(band_of_a_product)
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(1249, 1249)])
    assert facts_of_layer(layer).sample[1] == pytest.approx((0, 1246.04))


def test_the_engine_sees_a_product_as_the_dialog_does(band_of_a_product, real_runtime, repository):
    engine = _engine_facts(band_of_a_product, real_runtime, repository)
    facts = facts_of_layer(layer_of(band_of_a_product))
    assert (facts.scales, facts.offsets) == (engine["scales"], engine["offsets"])
    assert facts.sample[1] == pytest.approx(engine["sample"]["1"])


def test_metadata_that_cannot_be_read_are_told(band_of_a_product):
    next(parent for parent in band_of_a_product.parents if parent.suffix == ".SAFE").joinpath(
        "MTD_MSIL2A.xml"
    ).write_text("<broken")
    with pytest.raises(InputError, match="metadata"):
        facts_of_layer(layer_of(band_of_a_product))


_ENGINE_FACTS = """
import dataclasses, json, sys
sys.path.insert(0, sys.argv[1])
from thematica.engine.raster import RasterSource
with RasterSource([sys.argv[2]]) as source:
    print(json.dumps(dataclasses.asdict(source.facts()[0])))
"""


def _engine_facts(path, real_runtime, repository):
    code = [str(real_runtime), "-c", _ENGINE_FACTS, str(repository / "build" / "pkg"), str(path)]
    done = subprocess.run(code, env=clean_environment(), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name",
    [
        "sentinel2_brazil/sen2_brazil.tif",
        "landsat7_chiapas/LE70220491999322EDC01_stack.gtif",
        "modis_mato_grosso/ndvi.tif",
        "naip_pair/m_4709963_se_14_1_20090818.tif",
        "onnx_deepness_keys/dummy_fotomap_small.tif",
    ],
)
@pytest.mark.real
def test_the_engine_sees_the_same(name, real_data, real_runtime, repository, tmp_path):
    path = Path(shutil.copy(real_data(name), tmp_path))  # QGIS writes statistics beside what it opens
    engine = _engine_facts(path, real_runtime, repository)
    facts = facts_of_layer(layer_of(path))
    assert [band.name for band in facts.bands] == [band["name"] for band in engine["bands"]]
    assert facts.data_type == engine["data_type"]
    assert facts.gsd == pytest.approx(engine["gsd"], rel=0.01)
    for number, (low, high) in facts.sample.items():
        theirs = engine["sample"][str(number)]
        assert (low, high) == pytest.approx(theirs, abs=0.1 * (theirs[1] - theirs[0]))
