"""What a canvas shows of an image: the pixel that is under each of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.warp import transform as transform_points

from thematica.engine.image import open_image
from thematica.engine.live import canvas
from thematica.engine.live.canvas import View, read_canvas
from thematica.errors import InputError

from ..networks import image
from .scenes import no_check

UTM = CRS.from_epsg(32632)


def numbered(path: Path, height: int = 40, width: int = 50, **profile) -> Path:
    """A raster whose samples say where they are: 1 + row × 1000 + column, and ten times that."""
    rows, columns = np.mgrid[:height, :width]
    number = 1 + rows * 1000 + columns
    return image(path, np.stack([number, 10 * number]).astype("int32"), **profile)


def shown(path: Path | list[Path], view: View, **options) -> np.ndarray:
    """The first band as the canvas shows it; 0 where there is nothing."""
    with open_image(path if isinstance(path, list) else [path], **options) as opened:
        pixels = read_canvas(opened.source, view, no_check)
    assert (pixels.samples[1] == 10 * pixels.samples[0])[pixels.valid if pixels.valid is not None else ...].all()
    picture = pixels.samples[0].astype(np.uint32)
    if pixels.valid is not None:
        picture[~pixels.valid] = 0
    return pixels.on_canvas(picture)


def expected(view: View, transform: Affine, height: int, width: int, crs: CRS | None = None) -> np.ndarray:
    """The number of the pixel under the centre of each pixel of the canvas, found one by one."""
    to_map = from_bounds(*view.extent, view.width, view.height)
    columns, rows = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
    x, y = to_map * (columns.ravel(), rows.ravel())
    if crs is not None:
        x, y = map(np.array, transform_points(view.crs, crs, x, y))
    column, row = (np.floor(part).astype(int) for part in ~transform * (x, y))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, 1 + row * 1000 + column, 0).reshape(view.height, view.width)


PLACED = Affine(10, 0, 500_000, 0, -10, 5_500_000)


@pytest.mark.parametrize(
    "extent",
    [
        (500_000, 5_499_600, 500_500, 5_500_000),  # the whole raster
        (500_103, 5_499_711, 500_171, 5_499_777),  # a corner of it, zoomed in, between pixels
        (499_950, 5_499_900, 500_055, 5_500_060),  # beyond its corner
        (400_000, 5_499_900, 400_100, 5_500_000),  # beside it
    ],
)
def test_zoomed_in_every_pixel_is_the_one_under_it(tmp_path: Path, extent) -> None:
    path = numbered(tmp_path / "image.tif")
    view = View(extent, UTM, 73, 61)
    assert np.array_equal(shown(path, view), expected(view, PLACED, 40, 50))


def test_a_turned_raster(tmp_path: Path) -> None:
    turned = PLACED * Affine.rotation(25)
    path = numbered(tmp_path / "image.tif", transform=turned)
    view = View((500_000, 5_499_500, 500_600, 5_500_100), UTM, 200, 200)
    found, wanted = shown(path, view), expected(view, turned, 40, 50)
    # What lies beyond the border by rounding is inside (.resampling).
    rim = (found != wanted) & (wanted == 0)
    assert np.array_equal(found[~rim], wanted[~rim])
    assert rim.mean() < 0.002


def test_a_canvas_in_another_crs(tmp_path: Path) -> None:
    path = numbered(tmp_path / "image.tif")
    view = View((8.9995, 49.646, 9.0075, 49.6505), CRS.from_epsg(4326), 160, 140)
    found, wanted = shown(path, view), expected(view, PLACED, 40, 50, UTM)
    # Places are interpolated to a hundredth of a pixel.
    assert (found != wanted).mean() < 0.03
    assert (found > 0).sum() > 6000


def test_an_image_without_georeference_lies_where_qgis_shows_it(tmp_path: Path) -> None:
    path = numbered(tmp_path / "photo.tif", crs=None, transform=Affine.identity())
    down = Affine.scale(1, -1)
    view = View((-3, -41, 52, 2), None, 110, 86)
    assert np.array_equal(shown(path, view), expected(view, down, 40, 50))


def test_a_raster_without_crs_is_taken_at_the_maps_word(tmp_path: Path) -> None:
    path = numbered(tmp_path / "image.tif", crs=None)
    view = View((500_000, 5_499_600, 500_500, 5_500_000), UTM, 50, 40)
    assert np.array_equal(shown(path, view), expected(view, PLACED, 40, 50))


@pytest.mark.parametrize("overviews", [False, True])
def test_zoomed_out_every_pixel_is_one_that_lies_under_it(tmp_path: Path, overviews: bool) -> None:
    path = numbered(tmp_path / "image.tif", 400, 500)
    if overviews:
        import rasterio

        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4, 8])
    view = View((499_000, 5_495_000, 506_000, 5_501_000), UTM, 70, 60)
    found, wanted = shown(path, view).astype(int), expected(view, PLACED, 400, 500)
    assert ((found > 0) == (wanted > 0)).all()
    inside = found > 0
    # Within one pixel of the canvas, which is ten of the raster's; those of an overview are as wide.
    away = np.maximum(abs((found - 1) // 1000 - (wanted - 1) // 1000), abs((found - 1) % 1000 - (wanted - 1) % 1000))
    assert away[inside].max() <= (18 if overviews else 10)


def test_missing_pixels_are_missing_zoomed_in_and_out(tmp_path: Path) -> None:
    samples = np.ones((2, 40, 40), np.int16)
    samples[0, :, 20:] = -1
    samples *= np.array([1, 10], np.int16)[:, None, None]
    path = image(tmp_path / "image.tif", samples, nodata=-1)
    for size in (80, 10):
        view = View((500_000, 5_499_600, 500_400, 5_500_000), UTM, size, size)
        found = shown(path, view)
        assert (found[:, : size // 2] == 1).all()
        assert (found[:, size // 2 :] == 0).all()


def test_files_on_grids_of_their_own(tmp_path: Path) -> None:
    """Ten and twenty metres: zoomed out, each file gives its own samples."""
    rows, columns = np.mgrid[:400, :400]
    fine = image(tmp_path / "fine.tif", (1 + rows * 1000 + columns)[None].astype("int32"), names=["fine"])
    rows, columns = np.mgrid[:200, :200]
    coarse = image(
        tmp_path / "coarse.tif", (1 + rows * 1000 + columns)[None].astype("int32"), resolution=20.0, names=["coarse"]
    )
    view = View((500_000, 5_496_000, 504_000, 5_500_000), UTM, 40, 40)
    with open_image([fine, coarse]) as opened:
        pixels = read_canvas(opened.source, view, no_check)
    assert pixels.samples.shape == (2, 40, 40)
    assert pixels.valid is None
    for band, most in zip(pixels.samples, (10, 5), strict=True):
        row, column = (band - 1) // 1000, (band - 1) % 1000
        assert (row // most == np.arange(40)[:, None]).all()
        assert (column // most == np.arange(40)).all()


def test_a_large_canvas_is_looked_at_with_coarser_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "_MOST_PIXELS", 500)
    path = numbered(tmp_path / "image.tif")
    view = View((500_000, 5_499_600, 500_500, 5_500_000), UTM, 500, 400)
    with open_image([path]) as opened:
        pixels = read_canvas(opened.source, view, no_check)
    assert pixels.samples[0].size <= 500
    found = pixels.on_canvas(pixels.samples[0].astype(np.uint32)).astype(int)
    wanted = expected(view, PLACED, 40, 50)
    assert found.shape == (400, 500)
    assert abs((found - 1) // 1000 - (wanted - 1) // 1000).max() <= 2


def test_reading_looks_now_and_then_whether_it_is_still_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "_SAMPLES_AT_ONCE", 1000)
    path = numbered(tmp_path / "image.tif")
    for size in (80, 10):
        looked: list[int] = []
        view = View((500_000, 5_499_600, 500_500, 5_500_000), UTM, size, size)
        with open_image([path]) as opened:
            read_canvas(opened.source, view, lambda looked=looked: looked.append(1))
        assert len(looked) > 2


@pytest.mark.parametrize(
    ("extent", "size"),
    [((0, 0, 0, 1), (10, 10)), ((0, 0, 1, 1), (0, 10)), ((0, 0, float("inf"), 1), (9, 9)), ((0, 0, 1, 1), (10**6, 9))],
)
def test_what_is_no_canvas(extent, size) -> None:
    with pytest.raises(InputError):
        View(extent, None, *size)
