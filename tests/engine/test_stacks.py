"""Several rasters as one image: on one grid or many, resampled as they are read, whatever the windows.

The reference is GDAL's: the whole band warped to the map's grid at once, and the network run once over all of it.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import from_origin
from rasterio.warp import reproject
from rasterio.windows import Window

from thematica.engine import PixelJob, bands_of_file, classify, tiling
from thematica.engine.classify_patches import classify_patches
from thematica.engine.job import PatchJob
from thematica.engine.patch_layer import probability_columns
from thematica.engine.raster import RasterSource, gdal_environment
from thematica.errors import InputError, MisfitError
from thematica.models.bands import SENTINEL2_BANDS, Band, BandMatch

from .networks import Net, image, light, make_card, noise, read, save, z_scores
from .patch_networks import table
from .test_reading import echo, entered

SENTINEL2 = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"]


def first_bands(count: int) -> list[BandMatch]:
    """The first band of every file."""
    return [BandMatch(Band(f"B{number}"), number, 1, "given") for number in range(1, count + 1)]


def warped(path: Path, like: Path, method: str, band: int = 1) -> np.ndarray:
    """One band at a map's pixels, by GDAL and all at once; NaN where there is none."""
    with rasterio.open(path) as dataset, rasterio.open(like) as target:
        result = np.full((target.height, target.width), np.nan)
        reproject(
            dataset.read(band).astype("float64"), result, src_transform=dataset.transform, src_crs=dataset.crs,
            dst_transform=target.transform, dst_crs=target.crs, src_nodata=dataset.nodata, dst_nodata=np.nan,
            resampling=Resampling[method], tolerance=0,
        )  # fmt: skip
        return result


# Whatever the window


def odd_files(folder: Path) -> list[Path]:
    """Rasters that fit each other in no way but their place."""
    random = np.random.default_rng(5)
    holes = noise((1, 70, 90), "int16", 3, low=1, high=3000)
    holes[random.random(holes.shape) < 0.1] = -9999
    nans = noise((1, 40, 40), "float32", 4, high=1)
    nans[random.random(nans.shape) < 0.1] = np.nan
    turned = Affine.translation(500_100, 5_499_950) @ Affine.rotation(20) @ Affine.scale(13, -13)
    south_up = from_origin(500_000, 5_500_000, 20, 20) @ Affine.translation(0, 40) @ Affine.scale(1, -1)
    return [
        image(folder / "fine.tif", noise((1, 70, 90), "uint16", high=9000), tiled=True, blockxsize=32, blockysize=16),
        image(folder / "same.tif", holes, nodata=-9999),
        image(folder / "coarse.tif", noise((1, 12, 15), "uint16", 2, high=9000), resolution=60),
        image(folder / "shifted.tif", noise((1, 90, 90), "uint8", 2), origin=(499_993, 5_500_021)),
        image(folder / "finer.tif", noise((1, 400, 400), "uint8", 6), resolution=2.5, nodata=0),
        image(folder / "zone.tif", nans, crs="EPSG:32633", resolution=40, origin=(66_200, 5_518_000)),
        image(folder / "degrees.tif", noise((1, 60, 60), "uint8", 7), crs="EPSG:4326", resolution=0.0003,
              origin=(8.995, 49.655)),
        image(folder / "turned.tif", noise((1, 60, 60), "float32", 8), transform=turned),
        image(folder / "south_up.tif", noise((1, 40, 50), "uint8", 9), transform=south_up),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return odd_files(tmp_path_factory.mktemp("odd"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_pixel_does_not_depend_on_the_window_it_is_read_in(odd: list[Path], data) -> None:
    files = data.draw(st.lists(st.sampled_from(odd), min_size=1, max_size=4, unique=True))
    gsd = data.draw(st.sampled_from([None, None, 10.0, 7.0, 33.0]))
    method = data.draw(st.sampled_from([None, "nearest", "bilinear", "cubic", "average"]))
    invalid = data.draw(st.sampled_from(["any", "all"]))
    matches = first_bands(len(files))
    with gdal_environment(), RasterSource([str(path) for path in files], gsd=gsd, resampling=method) as source:
        try:
            source.select(matches, invalid)
        except InputError:
            # Some pairs lie beside each other; tests/engine/test_grid.py looks at the sentences.
            return
        whole, valid = source.read(Window(0, 0, source.width, source.height))
        source.fill_single_bands(whole, np.arange(len(files)))
        valid = np.ones(whole.shape[1:], bool) if valid is None else valid
        top = data.draw(st.integers(0, source.height - 1))
        left = data.draw(st.integers(0, source.width - 1))
        height = data.draw(st.integers(1, source.height - top))
        width = data.draw(st.integers(1, source.width - left))
        most = data.draw(st.sampled_from([1, 300, 1 << 23]))
        with mock.patch.object(bands_of_file, "_MOST_SAMPLES", most if height * width < 2000 else 1 << 23):
            part, there = source.read(Window(left, top, width, height))
        source.fill_single_bands(part, np.arange(len(files)))
        here = slice(top, top + height), slice(left, left + width)
        there = np.ones(part.shape[1:], bool) if there is None else there
        np.testing.assert_array_equal(there, valid[here])
        np.testing.assert_array_equal(part[:, there], whole[(slice(None), *here)][:, there])


def test_memory_does_not_depend_on_how_much_coarser_the_pixels_are(tmp_path: Path) -> None:
    """A window of 100 × 100 pixels of 400 m is 16 million samples at 10 m: read in pieces."""
    path = tmp_path / "fine.tif"
    profile = {"driver": "GTiff", "width": 4000, "height": 4000, "count": 1, "dtype": "uint16", "tiled": True}
    transform = from_origin(500_000, 5_500_000, 10, 10)
    with rasterio.open(path, "w", crs="EPSG:32632", transform=transform, sparse_ok=True, **profile):
        pass
    with gdal_environment(), RasterSource([str(path)], gsd=400) as source:
        source.select(first_bands(1))
        assert (source.width, source.height) == (100, 100)
        with mock.patch.object(bands_of_file, "_MOST_SAMPLES", 1 << 18):
            tracemalloc.start()
            source.read(Window(0, 0, 100, 100))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert peak < 8 << 20


# Real scenes, against the whole bands


def tiny_network(path: Path, bands: Sequence[str | Band], mean: Sequence[float], deviation: Sequence[float]) -> Path:
    """A convolution of 3 × 3, no padding known to nobody: what a tile lacks shows."""
    net = Net(len(bands), 3)
    wanted = [SENTINEL2_BANDS[band] if isinstance(band, str) else band for band in bands]
    card = make_card(wanted, 4, normalisation_steps=z_scores(mean, deviation))
    return save(path, net.model(net.conv(net.relu(net.conv(net.input, 6)), 4, 1)), card)


def whole_run(model: Path, bands: np.ndarray, mean: Sequence[float], deviation: Sequence[float]) -> np.ndarray:
    """Probabilities of one run over whole bands, reflected at the border as the engine does it."""
    normalised = (bands - np.reshape(mean, (-1, 1, 1))) / np.reshape(deviation, (-1, 1, 1))
    padded = np.pad(normalised, ((0, 0), (1, 1), (1, 1)), mode="reflect").astype(np.float32)
    scores = onnxruntime.InferenceSession(str(model)).run(None, {"image": padded[None]})[0][0][:, 1:-1, 1:-1]
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def check_map(
    folder: Path, rasters: Sequence[Path], files: Sequence[Path], bands, **options
) -> tuple[dict, np.ndarray]:
    """Classify rasters and compare with the whole bands of ``files``, warped by GDAL as the report says."""
    columns = [read(path).astype(float) for path in files]
    mean, deviation = ([max(float(f(column)), 1e-3) for column in columns] for f in (np.mean, np.std))
    model = tiny_network(folder / "net.onnx", bands, mean, deviation)
    given = (
        ",".join(f"{number}={number}:1" for number in range(1, len(bands) + 1)) if options.pop("by_number", 0) else ""
    )
    output = folder / "map.tif"
    # Tiles far smaller than the map, and chunks of a few of them.
    with mock.patch.object(tiling, "CHUNK_PIXELS", 9000):
        result = classify(
            PixelJob([str(path) for path in rasters], str(model), str(output), probabilities=str(folder / "p.tif"),
                     tile=64, overwrite=True, bands=given, **options)
        )  # fmt: skip
    report = result["report"]
    ways = {entry["path"]: entry["resampling"] for entry in report["inputs"]}
    stack = []
    for path in files:
        method = ways[str(path)]
        band = warped(path, output, method if method != "none" else "nearest")
        with rasterio.open(path) as dataset:
            stack.append(np.rint(band) if dataset.dtypes[0] != "float32" else band)
    expected = whole_run(model, np.array(stack), mean, deviation)
    found = read(folder / "p.tif")
    # A number that GDAL and we round to different sides changes little.
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(found - expected).mean() < 1e-4
    sure = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0] > 0.02
    np.testing.assert_array_equal(read(output)[0][sure], expected.argmax(axis=0)[sure])
    assert sure.mean() > 0.5
    return report, read(output)[0]


@pytest.mark.real
@pytest.mark.parametrize("radar", [False, True])
def test_bigearthnet_patches_at_three_resolutions(tmp_path: Path, real_data: Callable, radar: bool) -> None:
    """One folder: 12 files at 10, 20 and 60 m; and Sentinel-1 of the same place beside it."""
    patch = real_data("bigearthnet_tiny/S2/S2A_MSIL2A_20170617T113321_4_55")
    beside = real_data("bigearthnet_tiny/S1/S1A_IW_GRDH_1SDV_20170617T064724_29UPU_4_55")
    bands: list = [*SENTINEL2]
    files = [patch / f"{patch.name}_{band if band == 'B8A' else f'B{int(band[1:]):02}'}.tif" for band in bands]
    if radar:
        bands += [Band("VV", unit="dB"), Band("VH", unit="dB")]
        files += [beside / f"{beside.name}_{band}.tif" for band in ("VV", "VH")]
    report, _ = check_map(tmp_path, [patch, beside] if radar else [patch], files, bands)
    assert (report["grid"]["width"], report["grid"]["height"]) == (120, 120)
    with rasterio.open(files[1]) as dataset, rasterio.open(tmp_path / "map.tif") as made:
        assert made.transform == dataset.transform
        assert made.crs == dataset.crs
    ways = {Path(entry["path"]).stem[-3:]: entry["resampling"] for entry in report["inputs"]}
    assert ways["B02"] == ways["B08"] == "none"
    assert ways["B05"] == ways["B01"] == "bilinear"
    # Coarser bands are how Sentinel-2 is made.
    assert not [warning for warning in report["warnings"] if "measure" in warning]


@pytest.mark.real
def test_two_dates_on_different_grids(tmp_path: Path, real_data: Callable) -> None:
    """OSCD's saclay_e: 688 × 639 and 679 × 631 pixels in degrees, 13 files each."""
    names = ["B02", "B04", "B05", "B01"]
    dates = [real_data(f"oscd/saclay_e/imgs_{number}") for number in (1, 2)]
    files = [next(date.glob(f"*_{name}.tif")) for date in dates for name in names]
    bands = [Band(f"{name} of date {date}") for date in (1, 2) for name in names]
    report, _ = check_map(tmp_path, files, files, bands, by_number=True)
    assert (report["grid"]["width"], report["grid"]["height"]) == (688, 639)
    assert report["grid"]["crs"] == "EPSG:4326"


@pytest.mark.real
def test_one_date_in_a_folder(tmp_path: Path, real_data: Callable) -> None:
    date = real_data("oscd/saclay_e/imgs_2")
    names = ["B01", "B02", "B8A", "B12"]
    files = [date / f"T31UDQ_20170829T105019_{name}.tif" for name in names]
    report, _ = check_map(tmp_path, [date], files, ["B1", "B2", "B8A", "B12"])
    assert (report["grid"]["width"], report["grid"]["height"]) == (679, 631)
    assert [Path(entry["path"]).stem[-3:] for entry in report["inputs"] if entry["resampling"] == "none"] == ["B02"]


@pytest.mark.real
@pytest.mark.parametrize("gsd", [None, 30])
def test_elevation_beside_spectra(tmp_path: Path, real_data: Callable, gsd: float | None) -> None:
    """The stack of a raster of twelve bands and an elevation; on coarser pixels, too."""
    scene, elevation = real_data("sentinel2_brazil/sen2_brazil.tif"), real_data("sentinel2_brazil/srtm_sen2.tif")
    bands = [SENTINEL2_BANDS["B4"], SENTINEL2_BANDS["B8"], Band("elevation", unit="m")]
    model = echo(tmp_path / "echo.onnx", bands, unit="reflectance", value_range=(0.0, 1.0))
    found, missing = entered(tmp_path, [scene, elevation], model, gsd=gsd)
    assert not missing.any()
    way = "nearest" if gsd is None else "average"
    like = tmp_path / "map.tif"
    expected = np.array([warped(scene, like, way, 4), warped(scene, like, way, 8), warped(elevation, like, way)])
    # The last coarse pixels reach beyond the scene, where GDAL weighs otherwise.
    inner = (slice(-1), slice(-1)) if gsd else (slice(None), slice(None))
    for band, tolerance in ((0, 1e-5), (1, 1e-5), (2, 0.51)):
        np.testing.assert_allclose(found[band][inner], expected[band][inner], atol=tolerance)


@pytest.mark.real
def test_aerial_images_one_metre_and_one_row_apart(tmp_path: Path, real_data: Callable) -> None:
    dates = [real_data(f"naip_pair/m_4709963_se_14_1_{date}.tif") for date in ("20090818", "20200831")]
    model = echo(tmp_path / "echo.onnx", 2)
    found, missing = entered(tmp_path, dates, model, bands="1=1:1,2=2:1")
    np.testing.assert_array_equal(found[0][~missing], warped(dates[0], tmp_path / "map.tif", "nearest")[~missing])
    expected = warped(dates[1], tmp_path / "map.tif", "bilinear")
    assert np.abs(found[1] - expected)[~missing].max() <= 0.51


@pytest.mark.real
@pytest.mark.parametrize(
    ("scene", "bands", "options"),
    [
        ("landsat_taizhou/2000TM", 6, {}),  # ENVI without extension, UTM without EPSG code
        ("landsat_taizhou/2000TM", 6, {"gsd": 60}),
        ("landsat7_chiapas/LE70220491999322EDC01_stack.gtif", 6, {}),
        ("landsat7_chiapas/LE70220491999322EDC01_stack.gtif", 6, {"gsd": 15}),
        ("modis_mato_grosso/ndvi.tif", 12, {}),  # sinusoidal, Float64, nodata -1.7e308
        ("modis_mato_grosso/ndvi.tif", 12, {"gsd": 500}),
    ],
)
def test_odd_formats_and_crss(tmp_path: Path, real_data: Callable, scene: str, bands: int, options: dict) -> None:
    path = real_data(scene)
    model = echo(tmp_path / "echo.onnx", bands)
    given = ",".join(f"{number}={number}" for number in range(1, bands + 1))
    found, missing = entered(tmp_path, path, model, bands=given, **options)
    method = {15: "bilinear"}.get(options.get("gsd"), "average") if options else "nearest"
    expected = np.array([warped(path, tmp_path / "map.tif", method, number) for number in range(1, bands + 1)])
    there = ~missing & np.isfinite(expected).all(axis=0)
    # The last coarse pixels reach beyond the scene, where GDAL weighs otherwise.
    there[-1], there[:, -1] = False, False
    assert there.mean() > 0.8
    np.testing.assert_allclose(found[:, there], expected[:, there], atol=0.51 if "modis" not in scene else 1e-4)
    with rasterio.open(path) as dataset, rasterio.open(tmp_path / "map.tif") as made:
        assert made.crs == dataset.crs
        assert made.transform.c == dataset.transform.c


@pytest.mark.real
def test_patches_of_a_stack(tmp_path: Path, real_data: Callable) -> None:
    """BigEarthNet's twelve files as a network for patches with several labels sees them."""
    patch = real_data("bigearthnet_tiny/S2/S2A_MSIL2A_20170617T113321_4_55")
    classes = ["Pastures", "Peat bogs", "Sea and ocean"]
    net = Net(12, 1, ["n", 12, 60, 60])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.relu(net.conv(net.input, 6)))), len(classes))
    card = make_card([SENTINEL2_BANDS[name] for name in SENTINEL2], classes, "patch-multilabel",
                     normalisation_steps=z_scores([2000.0] * 12, [900.0] * 12))  # fmt: skip
    model = save(tmp_path / "net.onnx", net.model(x, ["n", len(classes)]), card)
    classify_patches(PatchJob([str(patch)], str(model), str(tmp_path / "map.gpkg")))
    found = table(tmp_path / "map.gpkg")
    files = [patch / f"{patch.name}_{band if band == 'B8A' else f'B{int(band[1:]):02}'}.tif" for band in SENTINEL2]
    fine = files[1]
    stack = np.array(
        [np.rint(warped(path, fine, "nearest" if read(path).shape[1] == 120 else "bilinear")) for path in files]
    )
    session = onnxruntime.InferenceSession(str(model))
    for index in range(4):
        row, column = int(found["row"][index]), int(found["column"][index])
        seen = (stack[:, row * 60 : row * 60 + 60, column * 60 : column * 60 + 60] - 2000) / 900
        logits = session.run(None, {"image": seen[None].astype(np.float32)})[0][0]
        names = probability_columns(card.classes)
        np.testing.assert_allclose([found[name][index] for name in names], 1 / (1 + np.exp(-logits)), atol=1e-3)
    assert len(found["row"]) == 4


# Georeference of all kinds


@pytest.mark.parametrize("turn", [Affine.scale(1, -1), Affine.rotation(30), Affine.scale(-1, 1)])
def test_a_turned_raster_gives_a_map_turned_alike(tmp_path: Path, turn: Affine) -> None:
    """South-up, rotated, mirrored: alone as it is, and coarser with it."""
    transform = Affine.translation(500_000, 5_500_000) @ turn @ Affine.scale(10, -10)
    path = image(tmp_path / "scene.tif", noise((2, 40, 60), low=1), transform=transform)
    found, _ = entered(tmp_path, path, echo(tmp_path / "m.onnx", 2), tile=16)
    np.testing.assert_array_equal(found, read(path))
    with rasterio.open(tmp_path / "map.tif") as made:
        assert made.transform.almost_equals(transform)
    coarse = image(tmp_path / "coarse.tif", noise((1, 20, 30), seed=2, low=1), names=["B2"],
                   transform=transform @ Affine.scale(2))  # fmt: skip
    found, _ = entered(tmp_path, [path, coarse], echo(tmp_path / "m.onnx", 2), tile=16, bands="1=1:1,2=2:1")
    np.testing.assert_array_equal(found[0], read(path)[0])
    assert np.abs(found[1] - warped(coarse, tmp_path / "map.tif", "bilinear")).max() <= 0.51


def test_south_up_and_north_up_lie_on_each_other(tmp_path: Path) -> None:
    samples = noise((1, 40, 60), low=1)
    north = image(tmp_path / "north.tif", samples)
    transform = Affine(10, 0, 500_000, 0, 10, 5_500_000 - 400)
    south = image(tmp_path / "south.tif", samples[:, ::-1], transform=transform)
    found, missing = entered(tmp_path, [north, south], echo(tmp_path / "m.onnx", 2), bands="1=1:1,2=2:1")
    assert not missing.any()
    np.testing.assert_array_equal(found[0], found[1])


def test_another_crs_is_warped(tmp_path: Path) -> None:
    """A neighbouring UTM zone and degrees, against GDAL."""
    first = image(tmp_path / "first.tif", noise((1, 90, 110), "float32", low=1))
    zone = image(tmp_path / "zone.tif", noise((1, 200, 200), "float32", 2, low=1), crs="EPSG:32633", resolution=12,
                 origin=(66_000, 5_519_500))  # fmt: skip
    degrees = image(tmp_path / "degrees.tif", noise((1, 80, 80), "float32", 3, low=1), crs="EPSG:4326",
                    resolution=0.0003, origin=(8.995, 49.656))  # fmt: skip
    found, missing = entered(
        tmp_path, [first, zone, degrees], echo(tmp_path / "m.onnx", 3), tile=16, bands="1=1:1,2=2:1,3=3:1"
    )
    assert missing.mean() < 0.5
    for band, path in ((1, zone), (2, degrees)):
        expected = warped(path, tmp_path / "map.tif", "bilinear")
        difference = np.abs(found[band] - expected)[~missing]
        # Within a fiftieth of a pixel of the edge GDAL sees nothing any more.
        assert np.isfinite(difference).mean() > 0.99
        # A hundredth of a pixel off, between samples that differ by up to 255.
        assert np.nanmax(difference) < 3


def test_the_crs_of_the_layer_is_that_of_all_files_without(tmp_path: Path) -> None:
    fine = image(tmp_path / "fine.tif", noise((1, 40, 60)), crs=None)
    coarse = image(tmp_path / "coarse.tif", noise((1, 20, 30)), crs=None, resolution=20)
    entered(tmp_path, [fine, coarse], echo(tmp_path / "m.onnx", 2), bands="1=1:1,2=2:1", raster_crs="EPSG:32632")
    with rasterio.open(tmp_path / "map.tif") as made:
        assert made.crs.to_epsg() == 32632
        assert made.shape == (40, 60)


def test_what_is_left_of_the_first_raster_is_told(tmp_path: Path) -> None:
    scene = image(tmp_path / "scene.tif", noise((2, 40, 60)))
    beside = image(tmp_path / "beside.tif", noise((1, 10, 31)), names=["B3"])
    result = classify(PixelJob([str(scene), str(beside)], str(light(tmp_path / "m.onnx")), str(tmp_path / "map.tif")))
    assert (result["report"]["grid"]["width"], result["report"]["grid"]["height"]) == (31, 10)
    assert any("covers 13% of" in warning for warning in result["report"]["warnings"])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_control_points_alone_give_a_map_without_place_and_a_warning(tmp_path: Path) -> None:
    path = image(tmp_path / "scan.tif", noise((3, 40, 60)), crs=None, transform=None)
    points = [GroundControlPoint(row, column, 500_000 + 10 * column, 5_500_000 - 10 * row)
              for row in (0, 40) for column in (0, 60)]  # fmt: skip
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = points, rasterio.CRS.from_epsg(32632)
    result = classify(PixelJob([str(path)], str(light(tmp_path / "m.onnx")), str(tmp_path / "map.tif")))
    assert any("control points" in warning for warning in result["report"]["warnings"])


# Types, missing samples, classes


def test_types_of_one_stack_lose_nothing(tmp_path: Path) -> None:
    """Large whole numbers beside fractions, on different grids."""
    counts = np.full((1, 40, 60), 4_294_967_290, np.uint32)
    counts[0, 3, 4] = 16_777_217
    fine = image(tmp_path / "counts.tif", counts)
    coarse = image(tmp_path / "fractions.tif", np.full((1, 20, 30), 1 / 3, np.float32), resolution=20)
    with gdal_environment(), RasterSource([str(fine), str(coarse)]) as source:
        source.select(first_bands(2))
        samples, _ = source.read(Window(0, 0, 60, 40))
    assert samples.dtype == np.float64
    assert samples[0, 3, 4] == 16_777_217
    assert samples[0, 0, 0] == 4_294_967_290
    assert samples[1, 5, 5] == np.float32(1 / 3)


@pytest.mark.parametrize("invalid", ["any", "all"])
@pytest.mark.parametrize("where", ["fine", "coarse"])
def test_nodata_in_one_file_only(tmp_path: Path, invalid: str, where: str) -> None:
    samples = {"fine": noise((1, 40, 60), low=1), "coarse": noise((1, 20, 30), low=1)}
    samples[where][0, 4:9, 5:8] = 0
    fine = image(tmp_path / "fine.tif", samples["fine"], nodata=0 if where == "fine" else None)
    coarse = image(tmp_path / "coarse.tif", samples["coarse"], resolution=20, nodata=0 if where == "coarse" else None)
    model = echo(tmp_path / "m.onnx", 2, normalisation_steps=z_scores([50.0, 50.0], [1.0, 1.0]))
    found, missing = entered(tmp_path, [fine, coarse], model, bands="1=1:1,2=2:1", invalid=invalid, tile=16)
    expected = samples["fine"][0] == 0 if where == "fine" else np.kron(samples["coarse"][0] == 0, np.ones((2, 2))) > 0
    if invalid == "any":
        np.testing.assert_array_equal(missing, expected)
    else:
        assert not missing.any()
        # What stands for a missing sample: the one that normalises to 0.
        assert found[0 if where == "fine" else 1][expected] == pytest.approx(0)


def test_a_resampled_number_that_equals_nodata_is_not_missing(tmp_path: Path) -> None:
    """Between -10 and 10 lies the 0 that marks missing pixels elsewhere."""
    samples = np.full((1, 20, 30), -10, np.int16)
    samples[:, :, 15:] = 10
    fine = image(tmp_path / "fine.tif", noise((1, 80, 120)), resolution=5)
    coarse = image(tmp_path / "coarse.tif", samples, resolution=20, nodata=0)
    found, missing = entered(tmp_path, [fine, coarse], echo(tmp_path / "m.onnx", 2), bands="1=1:1,2=2:1",
                             resampling="cubic")  # fmt: skip
    assert not missing.any()
    assert found[1].min() < -10


@pytest.mark.parametrize("how", ["card", "option"])
@pytest.mark.parametrize("together", [True, False])
def test_an_elevation_of_nothing_is_not_missing(tmp_path: Path, how: str, together: bool) -> None:
    """0 marks missing pixels of the image, and the sea level in the elevation beside it."""
    samples = noise((3, 40, 60), "int16", low=1)
    samples[:2, 3, 4] = 0
    samples[2, 5:9, 5:9] = 0
    bands = [SENTINEL2_BANDS["B2"], SENTINEL2_BANDS["B3"], Band("elevation", unit="m")]
    files = [image(tmp_path / "all.tif", samples, names=["B2", "B3", "elevation"])]
    if not together:
        # A word of its own in one file is none for the other.
        files = [
            image(tmp_path / "image.tif", samples[:2], names=["B2", "B3"]),
            image(tmp_path / "dem.tif", samples[2:], names=[""], nodata=-32768),
        ]
    model = echo(tmp_path / "m.onnx", bands, **({"nodata": 0.0} if how == "card" else {}))
    _, missing = entered(tmp_path, files, model, **({"nodata": 0.0} if how == "option" else {}))
    expected = np.zeros((40, 60), bool)
    expected[3, 4] = True
    np.testing.assert_array_equal(missing, expected)


@pytest.mark.parametrize("kind", ["name", "palette"])
def test_classes_are_never_averaged(tmp_path: Path, kind: str) -> None:
    fine = image(tmp_path / "fine.tif", noise((1, 40, 60)))
    classes = image(tmp_path / "classes.tif", noise((1, 20, 30), low=3, high=8), resolution=20,
                    names=["SCL" if kind == "name" else "thing"])  # fmt: skip
    if kind == "palette":
        with rasterio.open(classes, "r+") as dataset:
            dataset.write_colormap(1, {value: (value, 0, 0, 255) for value in range(9)})
            assert dataset.colorinterp[0] == ColorInterp.palette
    found, _ = entered(tmp_path, [fine, classes], echo(tmp_path / "m.onnx", 2), bands="1=1:1,2=2:1",
                       resampling="cubic")  # fmt: skip
    np.testing.assert_array_equal(found[1], np.kron(read(classes)[0], np.ones((2, 2))))


# Ground sampling distance


def test_the_models_ground_sampling_distance(tmp_path: Path) -> None:
    path = image(tmp_path / "fine.tif", noise((3, 120, 80), "float32"), resolution=2)
    model = light(tmp_path / "m.onnx", gsd=10.0)
    with pytest.raises(MisfitError, match="--gsd 10"):
        classify(PixelJob([str(path)], str(model), str(tmp_path / "map.tif")))
    result = classify(PixelJob([str(path)], str(model), str(tmp_path / "map.tif"), gsd="model"))
    assert result["report"]["grid"]["width"] == 16
    assert result["report"]["inputs"][0]["resampling"] == "average"
    assert result["report"]["warnings"] == []
    with rasterio.open(tmp_path / "map.tif") as made:
        assert made.res == (10, 10)
    # The report runs the same again.
    again = json.loads((tmp_path / "map.report.json").read_text())["parameters"]
    assert again["gsd"] == "model"


def test_the_own_ground_sampling_distance_changes_nothing(tmp_path: Path) -> None:
    path = image(tmp_path / "scene.tif", noise((2, 40, 60)))
    found, _ = entered(tmp_path, path, echo(tmp_path / "m.onnx", 2), gsd=10)
    np.testing.assert_array_equal(found, read(path))


def test_more_detail_than_there_is_is_told(tmp_path: Path) -> None:
    path = image(tmp_path / "coarse.tif", noise((3, 40, 50)), resolution=60)
    result = classify(PixelJob([str(path)], str(light(tmp_path / "m.onnx")), str(tmp_path / "map.tif"), gsd=10))
    assert any("no more detail" in warning for warning in result["report"]["warnings"])
    assert result["report"]["inputs"][0]["resampling"] == "bilinear"


def test_files_that_no_band_comes_from_do_not_make_the_grid(tmp_path: Path) -> None:
    used = image(tmp_path / "used.tif", noise((3, 40, 50)))
    finer = image(tmp_path / "unused.tif", noise((1, 10, 10)), resolution=1, names=["pan"])
    result = classify(PixelJob([str(finer), str(used)], str(light(tmp_path / "m.onnx")), str(tmp_path / "map.tif")))
    assert result["report"]["grid"]["gsd"] == pytest.approx(10, rel=0.01)
    assert [entry["resampling"] for entry in result["report"]["inputs"]] == ["unused", "none"]
