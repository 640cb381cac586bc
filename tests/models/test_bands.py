"""Which raster band feeds which model band."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.errors import InputError, MisfitError
from thematica.models.bands import (
    SENSOR_TITLES,
    SENSORS,
    SENTINEL2_BANDS,
    Band,
    band_in_file_name,
    guess_sensor,
    is_categorical_name,
    match_bands,
    normalise_name,
    parse_band_option,
)

S2 = [SENTINEL2_BANDS[name] for name in ("B2", "B3", "B4", "B8")]
SIX = [
    Band("blue", "blue", 0.49), Band("green", "green", 0.56), Band("red", "red", 0.66), Band("nir", "nir", 0.84),
    Band("swir1", "swir16", 1.61), Band("swir2", "swir22", 2.2),
]  # fmt: skip


def named(*names: str) -> list[Band]:
    return [Band(name) for name in names]


def numbers(model, raster, **options) -> list[int]:
    return [match.band for match in match_bands(model, [raster], **options)]


# How products, programs and people call the red band of Sentinel-2 and Landsat, and others that look alike.
SPELLINGS = {
    "B4": ["B4", "b4", "B04", "B4, red", "B04 (665 nm)", "red (B4)", "4 - B04",
           "T31UDQ_20230101T105441_B04_10m", "S2A_MSIL2A_B04", "B4: Red", "Band 4 - Red", "B4 - Red"],
    "B8": ["B8", "B08", "nir (B08)", "x_B08_10m", "B8 - NIR"],
    "B8A": ["B8A", "B08A", "b8a", "Band 8A", "x_B8A_20m", "B8A, narrow NIR", "nir08"],
    "B11": ["B11", "SWIR 1", "swir16", "SWIR1", "B11 - SWIR1"],
    "B12": ["B12", "swir22", "SWIR-2", "Short wave infrared 2"],
    "B2": ["B2", "B02", "blue", "Blue", "BLUE", "B2 - Blue"],
    "B5": ["B5", "B05", "Red Edge 1", "rededge1", "RE1", "Vegetation Red Edge 1"],
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "spelling"), [(key, text) for key, texts in SPELLINGS.items() for text in texts])
def test_sentinel_2_by_any_name(wanted: str, spelling: str) -> None:
    """Among bands that could be mistaken for it, whatever their order."""
    decoys = [name for name in ("B1", "B3", "B6", "B7", "B9", "B10", "SCL", "AOT") if name != wanted]
    for place in (0, 4, len(decoys)):
        raster = named(*decoys[:place], spelling, *decoys[place:])
        assert numbers([SENTINEL2_BANDS[wanted]], raster) == [place + 1]


@pytest.mark.parametrize(
    ("raster", "expected"),
    [
        # SR_B4 is red on Landsat 8 and near infrared on Landsat 7; only the former has an SR_B6.
        (["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"], [2, 3, 4, 5, 6, 7]),
        (["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "ST_B6", "SR_B7"], [1, 2, 3, 4, 5, 7]),
        (["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"], None),
        (["Blue", "Green", "Red", "NIR", "SWIR 1", "SWIR 2"], [1, 2, 3, 4, 5, 6]),
        (["blue", "green", "red", "near infrared", "swir1", "thermal", "swir2"], [1, 2, 3, 4, 5, 7]),
        (["coastal", "blue", "green", "red", "nir08", "swir16", "swir22"], [2, 3, 4, 5, 6, 7]),
        (["swir2", "swir1", "nir", "red", "green", "blue"], [6, 5, 4, 3, 2, 1]),
    ],
)
def test_landsat_by_name(raster: list[str], expected: list[int] | None) -> None:
    if expected is None:
        with pytest.raises(MisfitError):
            numbers(SIX, named(*raster))
    else:
        assert numbers(SIX, named(*raster)) == expected


@pytest.mark.parametrize(
    ("raster", "expected"),
    [
        (["Coastal Blue", "Blue", "Green", "Red Edge", "Red", "NIR"], [5, 3, 2]),
        (["Blue", "Green I", "Green", "Yellow", "Red", "Red Edge"], [5, 3, 1]),
        (["B1 blue", "B2 green", "B3 red", "B4 near infra red"], [3, 2, 1]),
        (["Blue", "Green", "Red Edge", "NIR"], None),
        (["2019 red", "2020 red", "green", "blue"], None),
    ],
)
def test_a_colour_is_not_another_with_a_longer_name(raster: list[str], expected: list[int] | None) -> None:
    """What is called so as a whole comes first, and what only looks like it is never taken silently."""
    wanted = [Band(name, name) for name in ("red", "green", "blue")]
    if expected is None:
        with pytest.raises(MisfitError, match="red"):
            numbers(wanted, named(*raster))
    else:
        assert numbers(wanted, named(*raster)) == expected


@pytest.mark.parametrize("name", ["T31UDQ_20200101T105441_{}_10m.jp2", "{}.tif", "/data/S2A/x_{}.tif"])
def test_one_file_per_band(name: str) -> None:
    """As a shell sorts them, B8A stands last: the names decide, not the order."""
    files = sorted(name.format(band) for band in ("B02", "B04", "B08", "B8A", "B11"))
    wanted = [SENTINEL2_BANDS[band] for band in ("B2", "B4", "B8", "B8A", "B11")]
    found = match_bands(wanted, [[Band()]] * 5, file_names=files)
    assert [match.source for match in found] == [1, 2, 3, 5, 4]


@pytest.mark.parametrize(
    ("product", "expected"),
    [("LC08_L2SP_x_SR_B{}.TIF", [2, 3, 4, 5, 6, 7]), ("LE07_L1TP_x_B{}.TIF", [1, 2, 3, 4, 5, 7])],
)
def test_one_file_per_band_of_landsat(product: str, expected: list[int]) -> None:
    files = [product.format(number) for number in range(1, 8)]
    assert [match.source for match in match_bands(SIX, [[Band()]] * 7, file_names=files)] == expected


@given(st.permutations(list(SENTINEL2_BANDS)))
def test_the_order_of_named_bands_does_not_matter(order: list[str]) -> None:
    wanted = [SENTINEL2_BANDS[name] for name in ("B2", "B8A", "B8", "B11", "B4", "B12")]
    found = match_bands(wanted, [named(*order)])
    assert [order[match.band - 1] for match in found] == [band.name for band in wanted]
    assert {match.how for match in found} == {"name"}


@given(st.permutations(list(SENTINEL2_BANDS)))
def test_the_order_of_wavelengths_does_not_matter(order: list[str]) -> None:
    raster = [Band("", "", SENTINEL2_BANDS[name].wavelength) for name in order]
    wanted = list(SENTINEL2_BANDS.values())
    assert [order[match.band - 1] for match in match_bands(wanted, [raster])] == [band.name for band in wanted]


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_description_can_be_compared(first: str, second: str) -> None:
    assert normalise_name(normalise_name(first)) == normalise_name(first)
    found = None
    try:
        found = match_bands([Band(first)], [[Band(second), Band("other")]])
    except MisfitError as error:
        assert error.message  # noqa: PT017
    assert found is None or found[0].band in (1, 2)


def test_a_neighbouring_wavelength_is_not_taken() -> None:
    with pytest.raises(MisfitError, match="B8A"):
        match_bands([SENTINEL2_BANDS["B8A"]], [[Band("", "", 0.7828), Band("", "", 0.9451)]])


def test_the_two_near_infrared_bands() -> None:
    """A sensor with one feeds either; a sensor with both feeds each with its own."""
    assert numbers([SENTINEL2_BANDS["B8A"]], named("blue", "nir")) == [2]
    assert numbers([Band("nir", "nir")], named("B4", "B8A", "B8"), sensor=None) == [3]
    both = [SENTINEL2_BANDS["B8"], SENTINEL2_BANDS["B8A"]]
    assert numbers(both, named("B8A", "B8")) == [2, 1]
    with pytest.raises(MisfitError, match="both"):
        numbers(both, named("red", "nir"))


def test_by_position_only_where_nothing_speaks_against_it() -> None:
    unnamed = named("", "", "")
    assert {match.how for match in match_bands(named("1", "2", "3"), [unnamed])} == {"position"}
    with pytest.raises(MisfitError):
        numbers(named("1", "2", "3"), named("", "", "", ""))
    with pytest.raises(MisfitError):
        numbers(S2, named("cyan", "magenta", "yellow", "key"))
    assert numbers(S2, named("Band 1", "Band 2", "Band 3", "Band 4")) == [1, 2, 3, 4]
    with pytest.raises(MisfitError):
        numbers(S2, named("Band 8", "Band 4", "Band 3", "Band 2"))


def test_alpha_and_masks_are_no_bands() -> None:
    raster = [Band("", unit="alpha"), *named("", "", ""), Band("", unit="mask")]
    assert numbers(named("1", "2", "3"), raster) == [2, 3, 4]


def test_given_bands_win() -> None:
    raster = named("B2", "B3", "B4", "B8")
    assert numbers(S2, raster, given={"B4": (1, 1), "blue": (1, 3)}) == [3, 2, 1, 4]
    # Also by number, also one raster band for two.
    assert numbers(S2, raster, given={"4": (1, 1)})[3] in (1, 4)
    assert numbers(S2, named("x", "x"), given=dict.fromkeys(("B2", "B3", "B4", "B8"), (1, 1))) == [1] * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" ", {}),
        ("B4=3", {"B4": (1, 3)}),
        (" B4 = 3 , B8=2:7,", {"B4": (1, 3), "B8": (2, 7)}),
        ("near infrared=4", {"near infrared": (1, 4)}),
        ("1=2", {"1": (1, 2)}),
        ("a=b=3", {"a=b": (1, 3)}),
    ],
)
def test_band_option(text: str, expected: dict) -> None:
    assert parse_band_option(text) == expected


@pytest.mark.parametrize("text", ["B4", "B4=", "=3", "B4=0", "B4=0:1", "B4=1:", "B4=x", "B4=-1", "B4=1.5"])
def test_bad_band_option(text: str) -> None:
    with pytest.raises(InputError, match="band assignment"):
        parse_band_option(text)


@given(st.text(max_size=20))
def test_any_band_option(text: str) -> None:
    try:
        found = parse_band_option(text)
    except InputError:
        found = {}
    assert all(source >= 1 and band >= 1 for source, band in found.values())


# Sensors


@pytest.mark.parametrize("key", SENSORS)
def test_presets_name_all_their_bands(key: str) -> None:
    assert key in SENSOR_TITLES
    unnamed = [Band()] * len(SENSORS[key])
    wanted = [band for band in SENSORS[key] if band.unit != "mask"]
    found = match_bands(wanted, [unnamed], sensor=key)
    assert [SENSORS[key][match.band - 1].name for match in found] == [band.name for band in wanted]


@pytest.mark.parametrize(
    ("count", "name", "sensor"),
    [
        (13, "scene.tif", "sentinel2-l1c"),
        (12, "scene.tif", "sentinel2-l2a"),
        (10, "S2A_MSIL2A_20220601.tif", "sentinel2-10"),
        (10, "scene.tif", None),
        (4, "sentinel2_brazil.tif", "sentinel2-4"),
        (4, "photo.tif", None),
        (3, "S2A.tif", None),
        (6, "LE07_L1TP_021048.tif", "landsat-6"),
        (8, "LE07_L1TP_021048.tif", "landsat7-8"),
        (7, "LC08_L2SP_021048.tif", "landsat8-7"),
        (7, "LE07_L1TP_021048.tif", None),
        (6, "ls2.tif", None),
        (12, "LANDSAT_stack.tif", None),
    ],
)
def test_guessing_the_sensor(count: int, name: str, sensor: str | None) -> None:
    assert guess_sensor([Band()] * count, name) == sensor
    assert guess_sensor(named(*[f"Band {i}" for i in range(1, count + 1)]), name) == sensor
    # Whoever names one band has named them.
    assert guess_sensor([Band("B2"), *[Band()] * (count - 1)], name) is None


def test_an_unknown_sensor() -> None:
    with pytest.raises(InputError, match="sputnik"):
        match_bands(S2, [[Band()] * 4], sensor="sputnik")


# Several files


@pytest.mark.parametrize(
    ("file", "band"),
    [
        ("T31UDQ_20170829T105019_B8A.tif", "B8A"),
        ("T32UNU_20220601T102559_B02_10m.jp2", "B02"),
        ("LC08_L2SP_195025_20220601_20220610_02_T1_SR_B4.TIF", "SR_B4"),
        ("LC08_L2SP_195025_20220601_20220610_02_T1_ST_B10.TIF", "ST_B10"),
        ("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_41_VV.tif", "VV"),
        ("S1A_x_Gamma0_VH_db.tif", "VH"),
        ("T32UNU_20220601T102559_TCI_10m.jp2", None),
        ("T32UNU_20220601T102559_SCL_20m.jp2", None),
        ("LC08_x_QA_PIXEL.TIF", None),
        ("holiday.jpg", None),
    ],
)
def test_the_band_in_a_files_name(file: str, band: str | None) -> None:
    assert band_in_file_name(file) == band


def test_radar_and_elevation_are_known_by_their_files() -> None:
    wanted = [Band("VV"), Band("VH"), Band("elevation"), SENTINEL2_BANDS["B4"]]
    files = ["S1A_1SDV_33UUP_VH.tif", "T31UDQ_20170829T105019_B04.tif", "copernicus_DEM_30m.tif", "S1A_33UUP_VV.tif"]
    matches = match_bands(wanted, [[Band()]] * 4, None, None, files)
    assert [match.source for match in matches] == [4, 1, 3, 2]


def test_of_a_band_in_several_files_the_finest_is_taken() -> None:
    files = [f"T32UNU_20220601T102559_B02_{size}m.jp2" for size in (60, 10, 20)]
    bands = [[Band()]] * 3
    assert match_bands([SENTINEL2_BANDS["B2"]], bands, None, None, files, [60.1, 10.0, 20.0])[0].source == 2
    # Two dates on slightly different grids: the first, for all bands.
    assert match_bands([SENTINEL2_BANDS["B2"]], bands, None, None, files, [10.4, 10.3, 20.0])[0].source == 1
    assert match_bands([SENTINEL2_BANDS["B2"]], bands, None, None, files, [10.001, 10.0, 20.0])[0].source == 1
    assert match_bands([SENTINEL2_BANDS["B2"]], bands, None, None, files, [None, None, None])[0].source == 1


def test_a_preset_is_for_the_file_with_its_number_of_bands() -> None:
    """Twelve unnamed bands of Sentinel-2, and radar beside them: VV is no B1."""
    wanted = [SENTINEL2_BANDS["B4"], Band("VV")]
    matches = match_bands(wanted, [[Band("VV"), Band("VH")], [Band()] * 12], None, "sentinel2-l2a", ["a.tif", "b.tif"])
    assert [(match.source, match.band) for match in matches] == [(2, 4), (1, 1)]


@pytest.mark.parametrize("name", ["SCL", "QA_PIXEL", "Fmask", "cloud_mask", "T32UNU_20220601T102559_SCL_20m", "QA60"])
def test_classes_and_flags_by_name(name: str) -> None:
    assert is_categorical_name(name)


@pytest.mark.parametrize("name", ["B4", "red", "VV", "classic", "unmasked reflectance", "S2A_MSIL2A_B02", "qattara"])
def test_measured_bands_are_no_classes(name: str) -> None:
    assert not is_categorical_name(name)
