"""Images without a model: which bands they have, what those are, and which are none of the image's."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from thematica.engine.image import open_image
from thematica.engine.pam import ClassRow, write_pam
from thematica.errors import InputError

from .networks import image, noise


def names(opened) -> list[str]:
    return [band.name for band in opened.bands]


def stack(path, *parts: np.ndarray, **options):
    return image(path, np.stack(parts), **options)


def scene(rows=40, columns=50, seed=0) -> np.ndarray:
    return noise((1, rows, columns), "int16", seed, 200, 4000)[0]


LANDSAT = [f"band {n} reflectance" for n in (1, 2, 3, 4, 5, 7)]


def test_all_bands_with_their_scales_and_nodata(tmp_path):
    path = image(tmp_path / "a.tif", noise((3, 20, 30), "uint16", high=5000), nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,) * 3, (-0.1,) * 3
    with open_image([path]) as opened, rasterio.open(path) as dataset:
        assert names(opened) == ["B1", "B2", "B3"]
        assert opened.scales == [(0.0001, -0.1)] * 3
        assert opened.nodata == [0.0] * 3
        assert opened.numbers == [(1, 1), (1, 2), (1, 3)]
        assert opened.warnings == []
        window = Window(3, 4, 10, 5)
        assert (opened.source.read(window)[0] == dataset.read(window=window)).all()


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        ("1-2", [(1, 1), (1, 2)]),
        ("3, 1", [(1, 3), (1, 1)]),
        ("1:3,2:1", [(1, 3), (2, 1)]),
        ("2:1-2", [(2, 1), (2, 2)]),
        ("4", [(2, 1)]),
        ("nir,NDVI", [(2, 1), (2, 2)]),
        ("b03", [(1, 2)]),
        ("green", [(1, 2)]),
    ],
)
def test_bands_are_chosen_by_number_and_name(tmp_path, chosen, numbers):
    one = image(tmp_path / "S2A_a.tif", noise((3, 20, 30), "uint16"), names=["B2", "B3", "B4"])
    two = image(tmp_path / "b.tif", noise((2, 20, 30), "uint16"), names=["nir", "NDVI"])
    with open_image([one, two], bands=chosen) as opened:
        assert opened.numbers == numbers
        assert opened.source.read(Window(0, 0, 5, 5))[0].shape[0] == len(numbers)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("0", "numbered 1 to 3"),
        ("4", "numbered 1 to 3"),
        ("3-1", "numbered 1 to 3"),
        ("2:1", "names file 2"),
        ("1,1", "chosen twice"),
        ("B1,b01", "chosen twice"),
        (",", "names no band"),
        ("B9", "no band “B9”.*B1, B2, B3"),
        ("1-", "no band “1-”"),
    ],
)
def test_bands_that_are_not_there_are_refused(tmp_path, chosen, words):
    path = image(tmp_path / "a.tif", noise((3, 20, 30), "uint16"))
    with pytest.raises(InputError, match=words), open_image([path], bands=chosen):
        pass


def test_a_name_that_several_bands_have_is_refused(tmp_path):
    paths = [image(tmp_path / f"{n}.tif", noise((2, 20, 30), seed=n), names=["red", "nir"]) for n in (1, 2)]
    with pytest.raises(InputError, match=r"Several bands.*1:1, 2:1"), open_image(paths, bands="red"):
        pass
    with open_image(paths) as opened:
        assert names(opened) == ["red", "nir", "red (2)", "nir (2)"]


def test_a_nameless_mask_among_known_bands_is_left_out_and_told(tmp_path):
    mask = np.random.default_rng(0).choice([0, 2, 4, 255], (40, 50)).astype("int16")
    parts = [scene(seed=n) for n in range(6)]
    for name, last in (("LE07_a.tif", ""), ("LE07_b.tif", "Band 8")):
        path = stack(tmp_path / name, *parts, mask, names=[*LANDSAT, last])
        with open_image([path]) as opened:
            assert names(opened) == ["blue", "green", "red", "nir", "swir1", "swir2"]
            assert opened.bands[3].wavelength == 0.835
            (told,) = opened.warnings
            assert "band 7" in told
            assert "a mask by its values" in told
        with open_image([path], bands="1-7") as opened:
            assert len(opened.bands) == 7
            assert opened.warnings == []


def test_a_mask_that_is_the_same_everywhere_is_found_too(tmp_path):
    parts = [scene(seed=n) for n in range(6)]
    path = stack(tmp_path / "LE07_a.tif", *parts, np.zeros((40, 50), "int16"), names=[*LANDSAT, ""])
    with open_image([path]) as opened:
        assert len(opened.bands) == 6


@pytest.mark.parametrize("values", [(2335, 2386, 2436), (-3, 0, 4), (0.5, 1.5, 2.5)], ids=["cold", "negative", "parts"])
def test_a_nameless_band_of_few_but_other_values_stays(tmp_path, values):
    extra = np.random.default_rng(0).choice(np.array(values, "float32"), (40, 50))
    parts = [scene(seed=n).astype("float32") for n in range(6)]
    path = stack(tmp_path / "LE07_a.tif", *parts, extra, names=[*LANDSAT, ""])
    with open_image([path]) as opened:
        assert len(opened.bands) == 7


def test_where_nothing_is_known_of_any_band_a_mask_is_only_suspected(tmp_path):
    mask = np.random.default_rng(0).choice([0, 1], (40, 50)).astype("int16")
    path = stack(tmp_path / "stack.tif", *[scene(seed=n) for n in range(3)], mask, names=[""] * 4)
    with open_image([path]) as opened:
        assert names(opened) == ["Band 1", "Band 2", "Band 3", "Band 4"]
        assert "like a mask: 4" in opened.warnings[0]


def test_bands_called_classes_or_flags_are_left_out(tmp_path):
    path = image(tmp_path / "a.tif", noise((3, 20, 30), "uint16"), names=["B1", "QA_PIXEL", "B3"])
    scl = image(tmp_path / "T31_SCL_20m.tif", noise((1, 20, 30)), names=[""])
    with open_image([path, scl]) as opened:
        assert opened.numbers == [(1, 1), (1, 3)]
        assert "1:2 (QA_PIXEL)" in opened.warnings[0]
        assert "2:1" in opened.warnings[0]


def test_bands_with_class_names_or_colours_are_left_out(tmp_path):
    spectral = image(tmp_path / "a.tif", noise((2, 20, 30)))
    coloured = image(tmp_path / "b.tif", noise((1, 20, 30)))
    with rasterio.open(coloured, "r+") as dataset:
        dataset.write_colormap(1, {1: (255, 0, 0)})
    named = image(tmp_path / "c.tif", noise((1, 20, 30)))
    write_pam(named, [ClassRow(1, "Forest", "#00ff00")], 255, None)
    with open_image([spectral, coloured, named]) as opened:
        assert opened.numbers == [(1, 1), (1, 2)]
    with pytest.raises(InputError, match="Every band is left out"), open_image([named]):
        pass


def test_transparency_is_no_band_and_not_worth_a_word(tmp_path):
    path = image(tmp_path / "a.tif", noise((4, 20, 30)), photometric="RGB", alpha="YES")
    with open_image([path]) as opened:
        assert len(opened.bands) == 3
        assert opened.warnings == []


def test_a_preset_names_the_bands(tmp_path):
    path = image(tmp_path / "a.tif", noise((6, 20, 30), "uint16"), names=[""] * 6)
    with open_image([path], sensor="landsat-6") as opened:
        assert names(opened) == ["blue", "green", "red", "nir", "swir1", "swir2"]
    with pytest.raises(InputError, match="no sensor preset “spot”"), open_image([path], sensor="spot"):
        pass


def test_rasters_on_several_grids_are_one_image(tmp_path):
    fine = image(tmp_path / "a.tif", noise((2, 40, 60), "uint16"), names=["B2", "B3"])
    coarse = image(tmp_path / "b.tif", noise((1, 20, 30), "uint16"), resolution=20, names=["B5"])
    with open_image([coarse, fine]) as opened:
        assert (opened.source.height, opened.source.width) == (40, 60)
        assert names(opened) == ["B5", "B2", "B3"]


def test_complex_numbers_are_refused(tmp_path):
    path = image(tmp_path / "a.tif", np.ones((1, 5, 5), "complex64"))
    with pytest.raises(InputError, match="complex"), open_image([path]):
        pass


@pytest.mark.real
def test_the_real_landsat_stacks_give_the_same_seven_bands(real_data):
    for name in ("LE70220491999322EDC01_stack.gtif", "LE70220492002106EDC00_stack.gtif"):
        with open_image([real_data(f"landsat7_chiapas/{name}")]) as opened:
            assert names(opened) == ["blue", "green", "red", "nir", "swir1", "swir2", "thermal"]
            assert "band 8" in opened.warnings[0]
            assert opened.nodata[0] == (-9999.0 if "1999" in name else None)


@pytest.mark.real
def test_real_images_keep_all_their_bands(real_data):
    for paths, count in (
        (["sentinel2_brazil/sen2_brazil.tif", "sentinel2_brazil/srtm_sen2.tif"], 13),
        (["salinas_a/salinasA_204.tif"], 204),
        (["landsat_taizhou/2000TM"], 6),
        (["naip_pair/m_4709963_se_14_1_20090818.tif"], 4),
        (["modis_mato_grosso/ndvi.tif", "modis_mato_grosso/evi.tif"], 274),
        (["bigearthnet_tiny/S2/S2A_MSIL2A_20171221T112501_56_35"], 12),
        (["oscd/saclay_e/imgs_1"], 13),
    ):
        found = [real_data(path) for path in paths]
        with open_image(found) as opened:
            assert len(opened.bands) == count, paths
            assert not opened.warnings
            assert len(set(names(opened))) == count
