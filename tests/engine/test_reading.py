"""What enters the network, and which pixels are missing.

An *echo* network gives back what it gets, so that its probabilities are the values that entered: which band, scaled
how, filled with what.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.windows import Window

from thematica.engine import PixelJob, classify
from thematica.engine.raster import RasterSource, gdal_environment
from thematica.errors import MisfitError
from thematica.models.bands import SENTINEL2_BANDS, Band, BandMatch

from .networks import Net, image, make_card, noise, read, save, z_scores


def echo(path: Path, bands, **card) -> Path:
    """A network that gives what it gets."""
    count = bands if isinstance(bands, int) else len(bands)
    net = Net(count)
    return save(path, net.model(net.node("Identity", net.input)), make_card(bands, count, activation="softmax", **card))


def entered(folder: Path, rasters, model: Path, **options) -> tuple[np.ndarray, np.ndarray]:
    """What entered the network, (C, H, W), and which pixels are missing."""
    rasters = [rasters] if isinstance(rasters, Path) else rasters
    classify(
        PixelJob([str(path) for path in rasters], str(model), str(folder / "map.tif"), overwrite=True,
                 probabilities=str(folder / "p.tif"), **options)
    )  # fmt: skip
    return read(folder / "p.tif"), read(folder / "map.tif")[0] == 255


def validity(paths, count: int, invalid: str = "any", nodata: float | None = None, shape=None) -> np.ndarray:
    """Validity of all pixels by the engine's reader; ``count`` bands, from one file or one each from several."""
    paths = [paths] if isinstance(paths, Path) else paths
    one = len(paths) == 1
    matches = [BandMatch(Band(str(i)), 1 if one else i + 1, i + 1 if one else 1, "given") for i in range(count)]
    with gdal_environment(), RasterSource([str(path) for path in paths], nodata=nodata) as source:
        source.select(matches, invalid)
        _, valid = source.read(Window(0, 0, source.width, source.height))
        # Window by window it must be the same.
        if valid is None:
            valid = np.ones((source.height, source.width), bool)
        top = source.read(Window(3, 0, source.width - 3, 2))[1]
        np.testing.assert_array_equal(True if top is None else top, valid[:2, 3:])
        return valid


# Missing pixels


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]),
    nodata=st.sampled_from([0, 7, 255]),
    invalid=st.sampled_from(["any", "all"]),
    with_nan=st.booleans(),
    seed=st.integers(0, 99),
    count=st.integers(1, 3),
)
def test_nodata_and_nan(
    tmp_path: Path, kind: str, nodata: int, invalid: str, with_nan: bool, seed: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    samples = random.choice([nodata, 3, 100, 200], (count, 8, 9)).astype(kind)
    missing = samples == nodata
    if kind.startswith("float") and with_nan:
        holes = random.random(samples.shape) < 0.2
        samples[holes] = random.choice([np.nan, np.inf], int(holes.sum()))
        missing |= holes
    path = image(tmp_path / "scene.tif", samples, nodata=nodata)
    expected = ~(missing.any(axis=0) if invalid == "any" else missing.all(axis=0))
    np.testing.assert_array_equal(validity(path, count, invalid), expected)


@pytest.mark.parametrize("invalid", ["any", "all"])
def test_a_nodata_value_for_each_band(tmp_path: Path, invalid: str) -> None:
    samples = np.random.default_rng(1).choice([0, 1, 255], (3, 8, 9)).astype("uint8")
    image(tmp_path / "scene.tif", samples)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}">{declared}<SimpleSource><SourceFilename relativeToVRT="1">'
        f"scene.tif</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i, declared in ((1, "<NoDataValue>0</NoDataValue>"), (2, "<NoDataValue>255</NoDataValue>"), (3, ""))
    )
    path = tmp_path / "scene.vrt"
    path.write_text(f'<VRTDataset rasterXSize="9" rasterYSize="8">{bands}</VRTDataset>')
    missing = np.stack([samples[0] == 0, samples[1] == 255, np.zeros((8, 9), bool)])
    expected = ~(missing.any(axis=0) if invalid == "any" else missing.all(axis=0))
    np.testing.assert_array_equal(validity(path, 3, invalid), expected)
    # Only the bands that are used count.
    np.testing.assert_array_equal(validity(path, 1, invalid), ~missing[0])


@pytest.mark.parametrize("internal", [True, False])
def test_mask_bands(tmp_path: Path, internal: bool) -> None:
    mask = np.random.default_rng(2).random((20, 30)) > 0.3
    path = tmp_path / "scene.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "w", driver="GTiff", width=30, height=20, count=2, dtype="uint8") as dataset,
    ):
        dataset.write(noise((2, 20, 30)))
        dataset.write_mask(mask)
    assert (tmp_path / "scene.tif.msk").exists() is not internal
    np.testing.assert_array_equal(validity(path, 2), mask)


@pytest.mark.parametrize(("bands", "invalid", "missing"), [(2, "any", True), (2, "all", False), (1, "any", False)])
def test_a_mask_of_one_band(tmp_path: Path, bands: int, invalid: str, missing: bool) -> None:
    """A band that the model uses has a mask of its own, and it is not the first."""
    mask = np.random.default_rng(2).random((20, 30)) > 0.3
    image(tmp_path / "data.tif", noise((1, 20, 30)))
    image(tmp_path / "mask.tif", mask[None].astype("uint8") * 255)

    def band(number: int, file: str, inside: str = "") -> str:
        source = f"<SimpleSource><SourceFilename relativeToVRT='1'>{file}</SourceFilename></SimpleSource>"
        return f"<VRTRasterBand dataType='Byte' band='{number}'>{source}{inside}</VRTRasterBand>"

    own = f"<MaskBand>{band(1, 'mask.tif')}</MaskBand>"
    text = band(1, "data.tif") + band(2, "data.tif", own)
    path = tmp_path / "scene.vrt"
    path.write_text(f"<VRTDataset rasterXSize='30' rasterYSize='20'>{text}</VRTDataset>")
    np.testing.assert_array_equal(validity(path, bands, invalid), mask if missing else np.ones_like(mask))


def test_an_alpha_band_that_feeds_the_model_is_an_image_band(tmp_path: Path) -> None:
    """GDAL takes the near infrared of four bands of bytes for alpha."""
    path = image(tmp_path / "rgbn.tif", noise((4, 20, 30), low=0, high=4))
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    assert validity(path, 4).all()
    assert not validity(path, 3).all()


def test_a_mask_and_nodata_together(tmp_path: Path) -> None:
    samples = np.random.default_rng(3).choice([0, 9], (1, 20, 30)).astype("uint8")
    mask = np.random.default_rng(2).random((20, 30)) > 0.3
    path = image(tmp_path / "scene.tif", samples, nodata=0)
    with rasterio.open(
        tmp_path / "scene.tif.msk", "w", driver="GTiff", width=30, height=20, count=1, dtype="uint8"
    ) as file:
        file.write(mask.astype("uint8") * 255, 1)
        file.update_tags(INTERNAL_MASK_FLAGS_1="2")
    np.testing.assert_array_equal(validity(path, 1), mask & (samples[0] != 0))


def test_alpha(tmp_path: Path) -> None:
    samples = noise((4, 20, 30), low=1)
    samples[3] = np.random.default_rng(2).choice([0, 1, 255], (20, 30))
    path = image(tmp_path / "scene.tif", samples, photometric="RGB", alpha="YES")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    np.testing.assert_array_equal(validity(path, 3), samples[3] != 0)


def test_an_alpha_band_is_no_band_of_the_model(tmp_path: Path) -> None:
    samples = noise((4, 20, 30), low=1)
    samples[3] = 255
    path = image(tmp_path / "scene.tif", samples, photometric="RGB", alpha="YES", names=[""] * 4)
    found, missing = entered(tmp_path, path, echo(tmp_path / "m.onnx", 3))
    np.testing.assert_array_equal(found, samples[:3])
    assert not missing.any()


@pytest.mark.parametrize(
    ("kind", "nodata", "expected"),
    [("uint8", 200.0, "200"), ("uint8", -9999.0, "none"), ("uint8", 0.5, "none"), ("uint8", float("nan"), "none"),
     ("float32", 200.0, "200"), ("float32", float("nan"), "none"), ("int16", -9999.0, "none")],
)  # fmt: skip
def test_a_nodata_given_replaces_the_declared_one(tmp_path: Path, kind: str, nodata: float, expected: str) -> None:
    samples = np.random.default_rng(4).choice([0, 7, 200], (2, 8, 9)).astype(kind)
    path = image(tmp_path / "scene.tif", samples, nodata=7)
    valid = ~(samples == 200).any(axis=0) if expected == "200" else np.ones((8, 9), bool)
    np.testing.assert_array_equal(validity(path, 2, nodata=nodata), valid)


@pytest.mark.parametrize("text", ["-3.4e38", "-3.402823e+38", "0.1", "1e20"])
def test_nodata_written_as_decimals_of_single_precision(tmp_path: Path, text: str) -> None:
    """The header's decimals need not be the exact number that is stored in 32 bits."""
    samples = np.array([[[np.float32(text), 1.0, np.float32(text), 2.0, 3.0]] * 3], np.float32)
    path = image(tmp_path / "scene.tif", samples)
    virtual = tmp_path / "scene.vrt"
    copy(path, virtual, driver="VRT")
    virtual.write_text(virtual.read_text().replace('band="1">', f'band="1"><NoDataValue>{text}</NoDataValue>', 1))
    np.testing.assert_array_equal(validity(virtual, 1), samples[0] < 4 if text == "1e20" else samples[0] > 0.5)


@pytest.mark.parametrize("invalid", ["any", "all"])
def test_files_without_nodata_keep_pixels_under_the_rule_all(tmp_path: Path, invalid: str) -> None:
    """``all``: a pixel is missing only where every band is; a file that can never miss any keeps all of them."""
    first = image(tmp_path / "a.tif", np.random.default_rng(1).choice([0, 9], (1, 8, 9)).astype("uint8"), nodata=0)
    second = image(tmp_path / "b.tif", noise((1, 8, 9), low=1))
    expected = read(first)[0] != 0 if invalid == "any" else np.ones((8, 9), bool)
    np.testing.assert_array_equal(validity([first, second], 2, invalid), expected)


@pytest.mark.parametrize("nodata", [-9999.0, float("nan")])
def test_a_band_missing_alone_enters_as_the_fill_value(tmp_path: Path, nodata: float) -> None:
    """Under the rule ``all`` a pixel with one missing band is classified; its -9999 or NaN must not enter."""
    samples = np.full((2, 8, 9), 5.0, np.float32)
    samples[0, 2, 3] = nodata
    samples[:, 4, 5] = nodata
    path = image(tmp_path / "scene.tif", samples, nodata=nodata)
    model = echo(tmp_path / "m.onnx", 2, normalisation_steps=z_scores([3.0, 3.0], [2.0, 2.0]))
    found, missing = entered(tmp_path, path, model, invalid="all")
    assert missing.sum() == 1
    assert missing[4, 5]
    assert found[:, 2, 3] == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_the_nodata_of_the_card_counts_where_the_raster_declares_none(tmp_path: Path, kind: str) -> None:
    samples = noise((2, 8, 9), low=1).astype(kind)
    samples[:, 3, 4] = 0
    model = echo(tmp_path / "m.onnx", 2, nodata=0.0)
    assert entered(tmp_path, image(tmp_path / "a.tif", samples), model)[1].sum() == 1
    # The raster's own word counts more.
    assert (
        entered(tmp_path, image(tmp_path / "b.tif", samples, nodata=250), model)[1].sum()
        == (samples == 250).any(0).sum()
    )


# Bands


SENTINEL = [SENTINEL2_BANDS[name] for name in ("B2", "B3", "B4", "B8")]


def shuffled(tmp_path: Path, names, tags=None) -> tuple[Path, np.ndarray]:
    samples = noise((len(names), 8, 9), "uint16", high=9000)
    path = image(tmp_path / "scene.tif", samples, names=names)
    if tags:
        with rasterio.open(path, "r+") as dataset:
            for index, (namespace, entries) in enumerate(tags, start=1):
                dataset.update_tags(index, ns=namespace, **entries)
    return path, samples


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["B08", "B04", "B03", "B02"], [3, 2, 1, 0]),
        (["b8", "b4", "b3", "b2"], [3, 2, 1, 0]),
        (["nir", "red", "green", "blue"], [3, 2, 1, 0]),
        (["SCL", "NIR", "Red", "Green", "Blue"], [4, 3, 2, 1]),
        (["T32UNU_20220601T102559_B02_10m", "T32UNU_20220601T102559_B08_10m", "x_B03", "x_B04"], [0, 2, 3, 1]),
        (["Band 2: Blue", "Band 3: Green", "Band 8: NIR", "Band 4: Red"], [0, 1, 3, 2]),
    ],
)
def test_bands_by_name_and_common_name(tmp_path: Path, names: list[str], order: list[int]) -> None:
    path, samples = shuffled(tmp_path, names)
    found, _ = entered(tmp_path, path, echo(tmp_path / "m.onnx", SENTINEL))
    np.testing.assert_array_equal(found, samples[order])


@pytest.mark.parametrize(
    "tags",
    [
        [("IMAGERY", {"CENTRAL_WAVELENGTH_UM": value}) for value in ("0.833", "0.665", "0.56", "0.492")],
        [(None, {"wavelength": value, "wavelength_units": "Nanometers"}) for value in ("833", "665", "560", "492")],
        [(None, {"WAVELENGTH": value}) for value in ("0.833", "0.665", "0.56", "0.492")],
        [(None, {"common_name": value}) for value in ("nir", "red", "green", "blue")],
    ],
    ids=["imagery", "nanometres", "micrometres", "common_name"],
)
def test_bands_by_wavelength_and_tags(tmp_path: Path, tags) -> None:
    path, samples = shuffled(tmp_path, ["", "", "", ""], tags)
    found, _ = entered(tmp_path, path, echo(tmp_path / "m.onnx", SENTINEL))
    np.testing.assert_array_equal(found, samples[::-1])


def test_bands_by_number_from_several_files(tmp_path: Path) -> None:
    files = [image(tmp_path / f"{i}.tif", noise((2, 8, 9), "uint16", i, high=9000), names=["", ""]) for i in range(3)]
    model = echo(tmp_path / "m.onnx", SENTINEL)
    found, _ = entered(tmp_path, files, model, bands="B2=3:2, green=1:1,B4=2, B8=2:1")
    expected = [read(files[2])[1], read(files[0])[0], read(files[0])[1], read(files[1])[0]]
    np.testing.assert_array_equal(found, expected)


def test_files_of_different_types_and_layouts(tmp_path: Path) -> None:
    """One file per band, as products are delivered; the common type loses nothing."""
    layouts = [{"tiled": True, "blockxsize": 16, "blockysize": 16}, {"blockysize": 1}, {"compress": "lzw"}, {}]
    kinds = ["uint8", "int16", "uint16", "float32"]
    files = [
        image(tmp_path / f"{band}.tif", noise((1, 40, 50), kind, i, high=200), names=[band], **layout)
        for i, (band, kind, layout) in enumerate(zip(["B08", "B04", "B02", "B03"], kinds, layouts, strict=True))
    ]
    found, _ = entered(tmp_path, files, echo(tmp_path / "m.onnx", SENTINEL), tile=16)
    np.testing.assert_array_equal(found, np.concatenate([read(files[i]) for i in (2, 3, 1, 0)]).astype("float32"))


def test_a_sensor_preset_names_unnamed_bands(tmp_path: Path) -> None:
    path, samples = shuffled(tmp_path, [""] * 12)
    model = echo(tmp_path / "m.onnx", [*SENTINEL, SENTINEL2_BANDS["B11"]])
    found, _ = entered(tmp_path, path, model, sensor="sentinel2-l2a")
    np.testing.assert_array_equal(found, samples[[1, 2, 3, 7, 10]])


def test_a_band_that_is_named_otherwise_is_not_taken_by_position(tmp_path: Path) -> None:
    path, _ = shuffled(tmp_path, ["B5", "B6", "B7", "B9"])
    with pytest.raises(MisfitError, match="blue"):
        entered(tmp_path, path, echo(tmp_path / "m.onnx", SENTINEL))


# Scale


def test_declared_scale_and_offset(tmp_path: Path) -> None:
    samples = noise((2, 8, 9), "uint16", high=9000)
    path = image(tmp_path / "scene.tif", samples)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001, 0.01), (-0.1, 3.0)
    physical = samples.astype(float) * np.array([0.0001, 0.01])[:, None, None] + np.array([-0.1, 3.0])[:, None, None]
    model = echo(tmp_path / "m.onnx", 2)
    np.testing.assert_allclose(entered(tmp_path, path, model)[0], physical, atol=1e-5)
    given = entered(tmp_path, path, model, scale=0.5)[0]
    np.testing.assert_allclose(given, samples * 0.5, rtol=1e-6)
    both = entered(tmp_path, path, model, scale=0.5, offset=-7.0)[0]
    np.testing.assert_allclose(both, samples * 0.5 - 7, rtol=1e-6, atol=1e-4)
    offset = entered(tmp_path, path, model, offset=0.0)[0]
    np.testing.assert_allclose(offset, samples * np.array([0.0001, 0.01])[:, None, None], rtol=1e-5)
    numbers = echo(tmp_path / "dn.onnx", 2, unit="dn")
    np.testing.assert_array_equal(entered(tmp_path, path, numbers)[0], samples)


def test_clipping_and_standardisation(tmp_path: Path) -> None:
    samples = noise((2, 8, 9), "int16", low=-500, high=2000)
    path = image(tmp_path / "scene.tif", samples)
    clip = echo(tmp_path / "clip.onnx", 2, normalisation_steps=[{"type": "clip", "minimum": 0.0, "maximum": 0.1}])
    np.testing.assert_allclose(
        entered(tmp_path, path, clip, scale=0.0001)[0], np.clip(samples * 0.0001, 0, 0.1), atol=1e-7
    )
    # A negative scale turns the limits round.
    found = entered(tmp_path, path, clip, scale=-0.0001)[0]
    np.testing.assert_allclose(found, np.clip(samples * -0.0001, 0, 0.1), atol=1e-7)


# Layouts


@pytest.mark.parametrize("driver", ["GTiff", "PNG", "VRT"])
@pytest.mark.parametrize(
    "layout",
    [{}, {"interleave": "band"}, {"interleave": "pixel"}, {"blockysize": 7}, {"compress": "lzw", "predictor": 2},
     {"tiled": True, "blockxsize": 48, "blockysize": 16, "interleave": "pixel"},
     {"tiled": True, "blockxsize": 16, "blockysize": 80, "interleave": "band", "sparse_ok": True}],
    ids=str,
)  # fmt: skip
def test_every_layout_gives_the_same(tmp_path: Path, layout: dict, driver: str) -> None:
    samples = noise((3, 61, 67))
    path = image(tmp_path / "scene.tif", samples, names=[""] * 3, **layout)
    if driver != "GTiff":
        copy(path, tmp_path / "other", driver=driver)
        path = tmp_path / "other"
    found, _ = entered(tmp_path, path, echo(tmp_path / "m.onnx", 3), tile=16)
    np.testing.assert_array_equal(found, samples)


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"])
def test_every_type_of_sample(tmp_path: Path, kind: str) -> None:
    samples = noise((2, 8, 9), kind, high=100)
    found, _ = entered(tmp_path, image(tmp_path / "scene.tif", samples), echo(tmp_path / "m.onnx", 2))
    np.testing.assert_allclose(found, samples, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_place_on_earth(tmp_path: Path) -> None:
    path = image(tmp_path / "photo.tif", noise((3, 20, 30)), crs=None, transform=None)
    entered(tmp_path, path, echo(tmp_path / "m.onnx", 3))
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.crs is None
        assert dataset.transform.is_identity


def test_paths_with_spaces_and_letters_of_all_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "Ärger mit 'Pfaden' & <Zeichen>, 土地"
    folder.mkdir()
    path = image(folder / "Szene, №1 (neu).tif", noise((2, 8, 9)))
    found, _ = entered(folder, path, echo(folder / "Modell ü.onnx", 2))
    np.testing.assert_array_equal(found, read(path))


def test_a_vrt_may_be_given_as_text(tmp_path: Path) -> None:
    """As raster and as mask; it holds file names that are longer than the system allows for one."""
    samples = noise((3, 20, 25), "float32", high=1)
    scene = image(tmp_path / "scene.tif", samples)
    copy(scene, tmp_path / "scene.vrt", driver="VRT")
    text = (tmp_path / "scene.vrt").read_text(encoding="utf-8")
    text = text.replace('relativeToVRT="1">scene.tif', f'relativeToVRT="0">{scene}')
    assert len(text) > 255
    values, missing = entered(tmp_path, [text], echo(tmp_path / "m.onnx", 3), mask=text)
    np.testing.assert_array_equal(values, samples)
    assert not missing.any()
