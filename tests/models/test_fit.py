"""Whether a model fits a raster, told before anything runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.errors import MisfitError
from thematica.models.bands import SENTINEL2_BANDS, Band
from thematica.models.card import ModelCard, ModelClass
from thematica.models.fit import RasterFacts, check_fit


def card(**fields) -> ModelCard:
    given = {"unit": "reflectance", "value_range": (0.0, 1.0), **fields}
    return ModelCard("m", "segmentation", [Band("1"), Band("2")], [ModelClass(0, "a", "#000000")], **given)


def facts(low: float = 0.02, high: float = 0.5, **fields) -> RasterFacts:
    given = {"path": "scene.tif", "data_type": "float32", "gsd": 10.0, **fields}
    return RasterFacts(bands=[Band(), Band()], sample={1: (low, high), 2: (low, high)}, **given)


@pytest.mark.parametrize("gsd", [2.5, 5.0, 10.0, 20.0, 40.0])
def test_resolutions_within_a_factor_of_four(gsd: float) -> None:
    warnings = check_fit(card(gsd=10.0), [facts(gsd=gsd)]).warnings
    assert any("measure" in warning for warning in warnings) == (gsd != 10.0)


@pytest.mark.parametrize(("gsd", "direction"), [(1.0, "coarser"), (2.4, "coarser"), (41.0, "finer"), (100.0, "finer")])
def test_resolutions_beyond(gsd: float, direction: str) -> None:
    with pytest.raises(MisfitError, match=direction):
        check_fit(card(gsd=10.0), [facts(gsd=gsd)])


def test_the_cards_own_range_of_resolutions() -> None:
    assert len(check_fit(card(gsd=30.0, gsd_range=(5.0, 100.0)), [facts(gsd=95.0)]).warnings) == 1  # of the order
    with pytest.raises(MisfitError):
        check_fit(card(gsd=30.0, gsd_range=(5.0, 100.0)), [facts(gsd=120.0)])
    check_fit(card(gsd=10.0), [facts(gsd=None)])


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (200.0, 4000.0, "× 10000"),
        (2.0, 60.0, "× 100"),
        (20.0, 200.0, "× 255"),
        (1e8, 1e9, "scale"),
        (-4e4, 0.5, "scale"),
        (2e-6, 5e-5, "times less"),
    ],
)
def test_values_of_another_scale(low: float, high: float, words: str) -> None:
    with pytest.raises(MisfitError, match=words):
        check_fit(card(), [facts(low, high)])


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (0.0, 1.6), (-0.1, 0.3), (0.01, 0.03), (0.0, 0.06)])
def test_values_that_are_only_dark_or_bright(low: float, high: float) -> None:
    check_fit(card(), [facts(low, high)])


def test_the_scale_that_the_sentence_proposes_is_right() -> None:
    raster = facts(200.0, 4000.0, data_type="uint16")
    check_fit(card(), [raster], scale=0.0001)
    check_fit(card(), [raster], scale=0.0001, offset=-0.1)
    with pytest.raises(MisfitError):
        check_fit(card(), [raster], scale=0.0001 * 0.0001)


@pytest.mark.parametrize("path", ["LC08_L2SP_021048_20200101_02_T1_SR_B4.TIF", "scene.tif"])
def test_landsats_own_scale_is_proposed(path: str) -> None:
    """Divided by 10000, as Sentinel-2 is, numbers of Collection 2 would lie in the range and be wrong."""
    names = ["1", "2"] if path.startswith("L") else ["SR_B4", "SR_B6"]
    raster = RasterFacts(path, [Band(name) for name in names], "uint16", sample={1: (7500, 19000), 2: (7500, 19000)})
    with pytest.raises(MisfitError, match=r"0\.0000275 and offset -0\.2"):
        check_fit(card(), [raster], {"1": (1, 1), "2": (1, 2)})


@pytest.mark.parametrize(("path", "warned"), [("stack.tif", True), ("S2A_stack.tif", False)])
def test_a_sensor_told_by_the_number_of_bands_alone(path: str, warned: bool) -> None:
    """Two Landsat dates of six bands are twelve bands too."""
    wanted = ModelCard("m", "pixel", [SENTINEL2_BANDS["B4"]], [ModelClass(0, "a", "#000000")])
    raster = RasterFacts(path, [Band()] * 12, "uint16")
    assert any("by their number" in warning for warning in check_fit(wanted, [raster]).warnings) is warned
    assert not check_fit(wanted, [raster], sensor="sentinel2-l2a").warnings


def test_declared_scale_and_what_replaces_it() -> None:
    raster = facts(200.0, 4000.0, scales=[0.0001, 0.0001], offsets=[-0.1, -0.1])
    fit = check_fit(card(), [raster])
    assert (fit.scale, fit.offset) == ([0.0001] * 2, [-0.1] * 2)
    fit = check_fit(card(), [raster], scale=0.0002)
    assert (fit.scale, fit.offset) == ([0.0002] * 2, [0.0] * 2)
    fit = check_fit(card(), [raster], offset=0.0)
    assert (fit.scale, fit.offset) == ([0.0001] * 2, [0.0] * 2)
    fit = check_fit(card(unit="dn", value_range=None), [raster])
    assert (fit.scale, fit.offset) == ([1.0] * 2, [0.0] * 2)


@pytest.mark.parametrize(
    ("path", "warned"),
    [
        ("S2A_MSIL2A_20230601T102559_N0509_R108_T32UNU_20230601T170003.tif", True),
        ("S2A_MSIL2A_20200601T102559_N0214_R108_T32UNU_20200601T170003.tif", False),
        ("scene.tif", False),
    ],
)
def test_the_trap_of_sentinel_2s_offset(path: str, warned: bool) -> None:
    raster = facts(1200.0, 4000.0, path=path, data_type="uint16")
    warnings = check_fit(card(), [raster], scale=0.0001).warnings
    assert any("1000 too high" in warning for warning in warnings) is warned
    assert not any("1000" in warning for warning in check_fit(card(), [raster], scale=0.0001, offset=-0.1).warnings)


@pytest.mark.parametrize(("darkest", "warned"), [(0.101, True), (0.02, False)])
@pytest.mark.parametrize("names", [("B2", "B12"), ("blue", "swir2")])
def test_an_offset_that_shows_in_the_darkest_pixels(names: tuple[str, str], darkest: float, warned: bool) -> None:
    """Whatever the model calls its bands: the six-band model must warn where the ten-band model does."""
    model = card()
    model.bands = [Band(names[0], "blue", 0.492), Band(names[1], "swir22", 2.202)]
    bands = [Band(name) for name in ("B2", "B3", "B8A", "B12")]
    scene = RasterFacts("scene.tif", bands, "float32", sample=dict.fromkeys(range(1, 5), (darkest, 0.5)))
    assert any("offset" in warning for warning in check_fit(model, [scene]).warnings) == warned


def test_dark_pixels_say_nothing_of_other_sensors() -> None:
    model = card()
    model.bands = [Band("blue", "blue", 0.485), Band("swir2", "swir22", 2.22)]
    scene = RasterFacts("desert.tif", [Band("blue"), Band("swir2")], "float32", sample={1: (0.2, 0.5), 2: (0.2, 0.5)})
    assert check_fit(model, [scene]).warnings == []


@pytest.mark.parametrize("kind", ["complex64", "complex128", "complex_int16", "CInt16"])
def test_complex_numbers(kind: str) -> None:
    if kind == "CInt16":
        kind = kind.lower()
    with pytest.raises(MisfitError, match="complex"):
        check_fit(card(), [facts(data_type=kind)])


number = st.floats(-1e7, 1e7)


@given(number, number, st.none() | number.filter(bool), st.none() | number, st.none() | st.floats(0.01, 1e5))
def test_whatever_the_raster_there_is_a_fit_or_a_sentence(low, high, scale, offset, gsd) -> None:
    low, high = min(low, high), max(low, high)
    try:
        fit = check_fit(card(gsd=10.0), [facts(low, high, gsd=gsd)], scale=scale, offset=offset)
    except MisfitError as error:
        assert error.message.endswith(".")  # noqa: PT017
    else:
        assert len(fit.matches) == len(fit.scale) == len(fit.offset) == 2


# Several rasters


def stack(*gsds: float, name: str = "B{}.tif") -> list[RasterFacts]:
    """One band a file; the first feeds the model's first band and so on."""
    return [
        RasterFacts(name.format(index), [Band(str(index))], "float32", gsd=gsd, sample={1: (0.02, 0.5)})
        for index, gsd in enumerate(gsds, start=1)
    ]


def wanting(*bands: Band, **fields) -> ModelCard:
    given = {"unit": "reflectance", "value_range": (0.0, 1.0), **fields}
    return ModelCard("m", "segmentation", list(bands), [ModelClass(0, "a", "#000000")], **given)


BY_HAND = {"1": (1, 1), "2": (2, 1)}


@pytest.mark.parametrize("gsds", [(10.0, 20.0), (60.0, 10.0), (10.0, 90.0), (30.0, 10.0)])
def test_coarser_bands_beside_fine_ones_are_usual(gsds: tuple[float, float]) -> None:
    assert check_fit(card(gsd=10.0), stack(*gsds), BY_HAND).warnings == []


def test_a_far_coarser_band_is_told() -> None:
    (warning,) = check_fit(card(gsd=10.0), stack(10.0, 250.0), BY_HAND).warnings
    assert "B2.tif" in warning
    assert "less detail" in warning


def test_the_resolution_asked_for_counts() -> None:
    fine = stack(1.0, 1.0)
    with pytest.raises(MisfitError, match="--gsd 10"):
        check_fit(card(gsd=10.0), fine, BY_HAND)
    assert check_fit(card(gsd=10.0), fine, BY_HAND, gsd=10.0).warnings == []
    with pytest.raises(MisfitError, match="would measure 100 m"):
        check_fit(card(gsd=10.0), fine, BY_HAND, gsd=100.0)
    (warning,) = check_fit(card(gsd=10.0), stack(40.0, 40.0), BY_HAND, gsd=10.0).warnings
    assert "no more detail" in warning


def test_only_the_files_that_are_used_are_judged() -> None:
    unused = RasterFacts("pan.tif", [Band("pan")], "uint16", gsd=0.5, sample={})
    given = {"1": (2, 1), "2": (3, 1)}
    assert check_fit(card(gsd=10.0), [unused, *stack(10.0, 20.0)], given).warnings == []


def test_scale_is_for_the_spectra_and_not_for_what_stands_beside() -> None:
    """--scale 0.0001 makes reflectance of Sentinel-2's numbers; metres and decibels stay what they are."""
    bands = [Band("B4", "red"), Band("elevation"), Band("VV"), Band("x", unit="dB")]
    rasters = [
        RasterFacts("T31UDQ_20220101T100000_B04.tif", [Band()], "uint16", sample={1: (200.0, 3000.0)}),
        RasterFacts("srtm.tif", [Band()], "int16", sample={1: (-5.0, 2800.0)}),
        RasterFacts("S1A_x_VV.tif", [Band()], "float32", [2.0], [0.5], sample={1: (-25.0, -3.0)}),
        RasterFacts("S1A_x.tif", [Band("x")], "float32", sample={1: (-25.0, -3.0)}),
    ]
    fit = check_fit(wanting(*bands), rasters, scale=1e-4, offset=0.0)
    assert [match.source for match in fit.matches] == [1, 2, 3, 4]
    assert fit.scale == [1e-4, 1.0, 2.0, 1.0]
    assert fit.offset == [0.0, 0.0, 0.5, 0.0]


def test_decibels_where_linear_backscatter_is_wanted_and_the_reverse() -> None:
    linear = RasterFacts("a.tif", [Band("VV"), Band("VH")], "float32", sample={1: (0.0, 0.4), 2: (0.0, 0.1)})
    decibels = RasterFacts("a.tif", [Band("VV"), Band("VH")], "float32", sample={1: (-20, -4), 2: (-30, -10)})
    radar = [Band("VV"), Band("VH")]
    in_decibels = wanting(*radar, unit="dB", value_range=(-30.0, -20.0))
    in_linear = wanting(*radar, unit="", value_range=(0.0, 1.0))
    assert check_fit(wanting(*radar, unit="dB", value_range=(-30.0, 0.0)), [decibels]).warnings == []
    assert check_fit(in_linear, [linear]).warnings == []
    with pytest.raises(MisfitError, match="to decibels first"):
        check_fit(wanting(*radar, unit="dB", value_range=(-30.0, -25.0)), [linear])
    with pytest.raises(MisfitError, match="to linear backscatter first"):
        check_fit(in_linear, [decibels])
    assert in_decibels


def test_the_offset_of_sentinel2_is_told_of_single_band_files() -> None:
    files = [
        RasterFacts(f"T31UDQ_20220601T105019_B0{number}.tif", [Band()], "float32", sample={1: (0.11, 0.4)})
        for number in (2, 3, 4)
    ]
    bands = [SENTINEL2_BANDS[name] for name in ("B2", "B3", "B4")]
    assert any("offset" in warning for warning in check_fit(wanting(*bands), files).warnings)
    files[1].sample[1] = (0.01, 0.4)
    assert check_fit(wanting(*bands), files).warnings == []


def test_a_band_of_two_dates_is_told() -> None:
    """All from the first date, and a sentence; of one date at several resolutions nothing is said."""
    bands = [SENTINEL2_BANDS["B2"], SENTINEL2_BANDS["B5"]]

    def files(*dates: str, sizes: tuple[float, ...] = (10.0, 20.0)) -> list[RasterFacts]:
        return [
            RasterFacts(f"{date}_{name}_{size:g}m.tif", [Band()], "float32", gsd=size, sample={1: (0.01, 0.5)})
            for date in dates
            for name, size in zip(("B02", "B05"), sizes, strict=True)
        ]

    fit = check_fit(wanting(*bands), files("T31UDQ_20160315T201048", "T31UDQ_20170829T105019"))
    assert [match.source for match in fit.matches] == [1, 2]
    (warning,) = fit.warnings
    assert "Bands B2, B5 are in several rasters" in warning
    one = files("T31UDQ_20160315T201048") + files("T31UDQ_20160315T201048", sizes=(20.0, 60.0))
    assert check_fit(wanting(*bands), one).warnings == []
    by_hand = {"B2": (1, 1), "B5": (4, 1)}
    assert check_fit(wanting(*bands), files("T31UDQ_2016", "T31UDQ_2017"), by_hand).warnings == []


def picture(*colours: str) -> RasterFacts:
    return RasterFacts("photo.jpg", [Band()] * len(colours), "uint8", colours=list(colours))


@pytest.mark.parametrize(
    ("wanted", "given", "bands"),
    [
        (["red", "green", "blue"], ["red", "green", "blue"], [1, 2, 3]),
        # By position blue would be taken for red.
        (["blue", "green", "red"], ["red", "green", "blue", ""], [3, 2, 1]),
        (["green"], ["red", "green", "blue"], [2]),
        # Infrared, red and green are shown as red, green and blue: the colours say nothing of them.
        (["nir", "red", "green"], ["red", "green", "blue"], [1, 2, 3]),
        (["red", "green", "blue"], ["", "", ""], [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("has_common_names", [True, False])
def test_a_picture_has_its_colours_where_the_model_wants_but_those(wanted, given, bands, has_common_names):
    asked = [Band(name, name if has_common_names else "") for name in wanted]
    card = ModelCard("rgb", "segmentation", asked, [ModelClass(0, "a", "#000000")] * 2)
    fit = check_fit(card, [picture(*given)])
    assert [match.band for match in fit.matches] == bands
    by_colour = set(wanted) <= {"red", "green", "blue"} and any(given)
    assert ("position" in {match.how for match in fit.matches}) is not by_colour


def test_a_scene_that_is_told_by_its_colours_is_warned_of():
    card = ModelCard("rgb", "segmentation", [Band("1", "red")], [ModelClass(0, "a", "#000000")] * 2)
    photo = picture("red", "green", "blue")
    assert check_fit(card, [photo]).warnings == []
    photo.gsd = 0.2
    (warning,) = check_fit(card, [photo]).warnings
    assert "false colours" in warning
    (match,) = check_fit(card, [photo], {"1": (1, 3)}).matches
    assert (match.band, check_fit(card, [photo], {"1": (1, 3)}).warnings) == (3, [])
