"""Folders of products: which files they stand for, and what their metadata say of the stored values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from thematica.engine.products import expand
from thematica.engine.raster import RasterSource
from thematica.errors import InputError, MisfitError
from thematica.models.bands import SENTINEL2_BANDS
from thematica.models.products import BandFile

from .networks import noise, read
from .test_reading import echo, entered

FILE_NAMES = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
SIZES = dict(zip(FILE_NAMES, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20), strict=True))
NAME = "S2A_MSIL{level}_20220601T102601_N0400_R065_T32UNU_20220601T182601"

L2A_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
 <n1:General_Info><Product_Image_Characteristics>
  <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
  <QUANTIFICATION_VALUES_LIST>
   <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
   <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
  </QUANTIFICATION_VALUES_LIST>
  {offsets}
 </Product_Image_Characteristics></n1:General_Info>
</n1:Level-2A_User_Product>
"""
L1C_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-1C.xsd">
 <n1:General_Info><Product_Image_Characteristics>
  <QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
  {offsets}
 </Product_Image_Characteristics></n1:General_Info>
</n1:Level-1C_User_Product>
"""


def offsets(tag: str, value: int) -> str:
    entries = "".join(f'<{tag} band_id="{number}">{value - number}</{tag}>' for number in range(13))
    return f"<LIST>{entries}</LIST>"


def band(path: Path, size: int, seed: int, driver: str = "GTiff") -> Path:
    """A band of 1200 m, and so many metres a pixel."""
    count = 1200 // size
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise((1, count, count), "uint16", seed, low=1, high=4000)
    samples[0, 0, 0] = 0
    lossless = {"QUALITY": 100, "REVERSIBLE": "YES"} if driver != "GTiff" else {}
    with rasterio.open(
        path, "w", driver=driver, width=count, height=count, count=1, dtype="uint16", crs="EPSG:32632",
        transform=from_origin(500_000, 5_500_000, size, size), **lossless,
    ) as dataset:  # fmt: skip
        dataset.write(samples)
    return path


def l2a(folder: Path, driver: str = "GTiff", end: str = ".tif", metadata: str | None = L2A_XML) -> Path:
    """The layout of a level 2A product: every band at its own resolution and at all coarser ones."""
    safe = folder / (NAME.format(level="2A") + ".SAFE")
    images = safe / "GRANULE" / "L2A_T32UNU_A036257_20220601T102559" / "IMG_DATA"
    for size in (60, 20, 10):
        for number, name in enumerate(FILE_NAMES):
            # As delivered: no B10 in level 2A, and B08 at 10 m only.
            if SIZES[name] <= size and name != "B10" and (name != "B08" or size == 10):
                band(images / f"R{size}m" / f"T32UNU_20220601T102559_{name}_{size}m{end}", size, number, driver)
        for name in ("TCI", "AOT", "WVP", "SCL"):
            band(images / f"R{size}m" / f"T32UNU_20220601T102559_{name}_{size}m{end}", size, 50, driver)
    (safe / "GRANULE" / "L2A_T32UNU_A036257_20220601T102559" / "QI_DATA").mkdir()
    if metadata:
        (safe / "MTD_MSIL2A.xml").write_text(metadata.format(offsets=offsets("BOA_ADD_OFFSET", -1000)))
    return safe


def l1c(folder: Path, with_offsets: bool = True) -> Path:
    safe = folder / (NAME.format(level="1C") + ".SAFE")
    images = safe / "GRANULE" / "L1C_T32UNU_A036257_20220601T102559" / "IMG_DATA"
    for number, name in enumerate(FILE_NAMES):
        band(images / f"T32UNU_20220601T102559_{name}.jp2", SIZES[name], number, "JP2OpenJPEG")
    text = offsets("RADIO_ADD_OFFSET", -1000) if with_offsets else ""
    (safe / "MTD_MSIL1C.xml").write_text(L1C_XML.format(offsets=text))
    return safe


def names(files: list[BandFile]) -> list[str]:
    return [Path(file.path).stem for file in files]


@pytest.mark.parametrize(("driver", "end"), [("GTiff", ".tif"), ("JP2OpenJPEG", ".jp2")])
def test_a_level_2a_folder_gives_every_band_at_its_finest(tmp_path: Path, driver: str, end: str) -> None:
    files = expand([str(l2a(tmp_path, driver, end))])
    wanted = [name for name in FILE_NAMES if name != "B10"]
    assert names(files) == [f"T32UNU_20220601T102559_{name}_{SIZES[name]}m" for name in wanted]
    for file, name in zip(files, wanted, strict=True):
        assert file.scale == 1e-4
        assert file.offset == pytest.approx((-1000 - FILE_NAMES.index(name)) * 1e-4)
        assert file.nodata == 0


def test_a_level_1c_folder(tmp_path: Path) -> None:
    files = expand([str(l1c(tmp_path))])
    assert [name.split("_")[-1] for name in names(files)] == FILE_NAMES
    assert [file.offset for file in files][:2] == pytest.approx([-0.1, -0.1001])
    (tmp_path / "old").mkdir()
    # Before January 2022 there was no offset.
    assert {file.offset for file in expand([str(l1c(tmp_path / "old", with_offsets=False))])} == {0.0}


def test_the_metadata_file_stands_for_its_folder_and_a_granule_for_itself(tmp_path: Path) -> None:
    safe = l2a(tmp_path)
    files = expand([str(safe)])
    assert expand([str(safe / "MTD_MSIL2A.xml")]) == files
    assert expand([str(next(safe.glob("GRANULE/*")))]) == files
    coarse = expand([str(next(safe.glob("GRANULE/*/IMG_DATA/R20m")))])
    assert Path(coarse[0].path).stem.endswith("B02_20m")
    assert coarse[0].offset == pytest.approx(-0.1001)


def test_a_single_file_of_a_product_knows_its_metadata(tmp_path: Path) -> None:
    path = next(l2a(tmp_path).rglob("*_B04_20m.tif"))
    (file,) = expand([str(path)])
    assert (file.scale, file.offset, file.nodata) == (1e-4, pytest.approx(-0.1003), 0.0)


def test_the_metadata_of_another_product_further_up_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "MTD_MSIL2A.xml").write_text(L2A_XML.format(offsets=""))
    (file,) = expand([str(band(tmp_path / "a" / "T32UNU_20220601T102559_B04.tif", 10, 1))])
    assert file.scale == 1.0


def test_without_metadata_the_numbers_are_taken_as_they_are(tmp_path: Path) -> None:
    files = expand([str(l2a(tmp_path, metadata=None))])
    assert {(file.scale, file.offset, file.nodata) for file in files} == {(1.0, 0.0, None)}


def test_a_product_is_classified_as_reflectance(tmp_path: Path) -> None:
    """10, 20 and 60 m files of one folder, and the offset of 2022, with nothing said by the user."""
    safe = l2a(tmp_path)
    bands = [SENTINEL2_BANDS[name] for name in ("B2", "B8A", "B1")]
    model = echo(tmp_path / "m.onnx", bands, unit="reflectance", value_range=(0.0, 1.0), gsd=10.0)
    found, missing = entered(tmp_path, safe, model)
    blue = read(next(safe.rglob("*_B02_10m.tif")))[0]
    assert found.shape == (3, 120, 120)
    np.testing.assert_allclose(found[0][~missing], (blue[~missing].astype(float) - 1001) * 1e-4, atol=1e-6)
    # 0 is missing: one pixel of 10 m, of 20 m and of 60 m in the corner.
    expected = np.zeros((120, 120), bool)
    expected[:6, :6] = True
    np.testing.assert_array_equal(missing, expected)


def test_the_finest_file_of_a_band_is_taken_whatever_the_order(tmp_path: Path) -> None:
    safe = l2a(tmp_path)
    files = [next(safe.rglob(f"*_B02_{size}m.tif")) for size in (60, 10, 20)]
    files.append(next(safe.rglob("*_B03_10m.tif")))
    model = echo(tmp_path / "m.onnx", [SENTINEL2_BANDS["B2"], SENTINEL2_BANDS["B3"]], unit="reflectance")
    found, missing = entered(tmp_path, files, model)
    assert found.shape == (2, 120, 120)
    expected = (read(files[1])[0].astype(float) - 1001) * 1e-4
    np.testing.assert_allclose(found[0][~missing], expected[~missing], atol=1e-6)


# Landsat

MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_4 = 2.75e-05
    REFLECTANCE_ADD_BAND_4 = -0.2
    REFLECTANCE_MULT_BAND_5 = 2.75e-05
    REFLECTANCE_ADD_BAND_5 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
    TEMPERATURE_MULT_BAND_ST_B10 = 0.00341802
    TEMPERATURE_ADD_BAND_ST_B10 = 149.0
  END_GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""
MTL_XML = """<?xml version="1.0" encoding="UTF-8"?>
<LANDSAT_METADATA_FILE><LEVEL2_SURFACE_REFLECTANCE_PARAMETERS>
<REFLECTANCE_MULT_BAND_4>2.75e-05</REFLECTANCE_MULT_BAND_4><REFLECTANCE_ADD_BAND_4>-0.2</REFLECTANCE_ADD_BAND_4>
<REFLECTANCE_MULT_BAND_5>2.75e-05</REFLECTANCE_MULT_BAND_5><REFLECTANCE_ADD_BAND_5>-0.2</REFLECTANCE_ADD_BAND_5>
</LEVEL2_SURFACE_REFLECTANCE_PARAMETERS></LANDSAT_METADATA_FILE>
"""
SCENE = "LC08_L2SP_195025_20220601_20220610_02_T1"


@pytest.mark.parametrize(("end", "text"), [("txt", MTL), ("xml", MTL_XML)])
def test_landsat_collection_2(tmp_path: Path, end: str, text: str) -> None:
    folder = tmp_path / SCENE
    for name in ("SR_B4", "SR_B5", "ST_B10", "QA_PIXEL", "SR_QA_AEROSOL"):
        band(folder / f"{SCENE}_{name}.TIF", 30, 1)
    (folder / f"{SCENE}_MTL.{end}").write_text(text)
    files = expand([str(folder)])
    assert names(files) == [f"{SCENE}_{name}" for name in ("SR_B4", "SR_B5", "ST_B10")]
    assert (files[0].scale, files[0].offset, files[0].nodata) == (2.75e-5, -0.2, 0.0)
    if end == "txt":
        assert (files[2].scale, files[2].offset) == (0.00341802, 149.0)
    assert expand([str(folder / f"{SCENE}_MTL.{end}")]) == files
    model = tmp_path / "m.onnx"
    echo(model, [SENTINEL2_BANDS["B4"], SENTINEL2_BANDS["B8"]], unit="reflectance", value_range=(0.0, 1.0))
    found, missing = entered(tmp_path, folder, model)
    expected = read(folder / f"{SCENE}_SR_B4.TIF")[0] * 2.75e-5 - 0.2
    np.testing.assert_allclose(found[0][~missing], expected[~missing], atol=1e-5)
    assert missing[0, 0]


def test_what_a_file_declares_counts_more_than_its_product(tmp_path: Path) -> None:
    path = next(l2a(tmp_path).rglob("*_B04_10m.tif"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.nodata = (0.5,), (1.0,), 7
    with RasterSource([str(path)]) as source:
        (facts,) = source.facts()
    assert (facts.scales, facts.offsets) == ([0.5], [1.0])


# Refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: [folder], "no band files"),
        (lambda folder: [band(folder / "a.tif", 60, 1), folder / "a.tif"], "given twice"),
        (lambda folder: [band(folder / "x_B02.tif", 60, 1), folder], "given twice"),
        (lambda folder: [band(folder / "x_B02.tif", 60, 1), folder / ".." / folder.name / "x_B02.tif"], "given twice"),
        (lambda folder: [band(folder / "a_B02.tif", 60, 1), band(folder / "b_B02.tif", 60, 1), folder][2:],
         "B2 more than once.*a_B02.*b_B02"),
        (lambda folder: [(folder / "measurement").mkdir() or folder], "calibrate"),
        (lambda folder: [l2a(folder, metadata="<nonsense {offsets}")], "MTD_MSIL2A.xml.*cannot be read"),
        (lambda folder: [l2a(folder, metadata="<a>{offsets}</a>")], "MTD_MSIL2A.xml.*cannot be read"),
        (lambda folder: [l2a(folder, metadata=L2A_XML.replace(">10000<", ">0<"))], "cannot be read"),
        (lambda folder: [l2a(folder, metadata=L2A_XML.replace(">10000<", ">nan<"))], "cannot be read"),
    ],
)  # fmt: skip
def test_folders_that_are_no_product(tmp_path: Path, make, words: str) -> None:
    paths = make(tmp_path)
    with pytest.raises(InputError, match=words):
        expand([str(path) for path in paths])


def test_a_missing_band_file_is_named(tmp_path: Path) -> None:
    safe = l2a(tmp_path)
    for path in safe.rglob("*_B11_*"):
        path.unlink()
    model = echo(tmp_path / "m.onnx", [SENTINEL2_BANDS["B2"], SENTINEL2_BANDS["B11"]])
    with pytest.raises(MisfitError, match="B11"):
        entered(tmp_path, safe, model)
