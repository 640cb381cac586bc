"""A session: an image, labels that change, previews and regions; and what may be wrong with each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from thematica.engine.live.requests import GrowRequest
from thematica.engine.live.session import NothingOpenError, Session, TooFewLabelsError
from thematica.errors import InputError

from ..networks import image, noise
from .scenes import (
    CLASSES,
    COLORS,
    argb,
    boxes,
    labels,
    no_check,
    opening,
    pixels,
    preview,
    striped,
    stripes,
)

UTM = CRS.from_epsg(32632)
EXTENT = (500_000, 5_499_400, 500_600, 5_500_000)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    session = Session(folder)
    yield session
    session.close()


def region(session: Session, x: float, y: float, tolerance: float = 35, crs: CRS | None = UTM, **more) -> dict:
    values = {"most_pixels": 0, "connectivity": 4, "fill_holes": 0, **more}
    return session.grow(GrowRequest((x, y), crs, tolerance, **values), no_check)


def share_right(picture: np.ndarray, stripe: np.ndarray) -> float:
    """Share of the pixels that have the colour of their stripe."""
    return float((picture == COLORS[stripe]).mean())


def test_from_image_and_labels_to_a_picture(tmp_path: Path, session: Session) -> None:
    opened = session.open(opening(striped(tmp_path / "scene.tif")))
    assert [band["name"] for band in opened["bands"]] == ["B1", "B2", "B3"]
    assert (opened["width"], opened["height"], round(opened["gsd"])) == (60, 60, 10)
    assert CRS.from_wkt(opened["crs"]) == UTM
    assert session.set_labels(labels(boxes(), UTM))["features"] == 6
    reply = session.preview(preview(EXTENT, (120, 120), UTM), no_check)
    assert (reply["format"], reply["size"], reply["extent"]) == ("argb32-premultiplied", [120, 120], list(EXTENT))
    assert share_right(pixels(reply), np.kron(stripes()[1], np.ones((2, 2), int))) > 0.99
    assert [entry["code"] for entry in reply["classes"]] == [3, 7, 9]
    assert [entry["share"] for entry in reply["classes"]] == pytest.approx([1 / 3] * 3, abs=0.01)
    assert reply["samples"] == 6 * 64
    assert reply["accuracy"] > 0.95
    assert set(reply["seconds"]) == {"read", "train", "predict", "write", "total"}


def test_labels_come_as_changes(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    features = boxes()
    session.set_labels(labels(features[:3], UTM))
    # One more, one that changes its class, one that goes.
    changed = (1, CLASSES[2].code, features[0][2])
    reply = session.set_labels(labels([features[3], changed], UTM, replace=False, removed=[2, 77]))
    assert reply["features"] == 3
    reply = session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    assert reply["samples"] == 3 * 64
    assert {entry["code"]: entry["share"] > 0 for entry in reply["classes"]} == {3: True, 7: False, 9: True}
    assert session.set_labels(labels(features, UTM))["features"] == 6


def test_the_same_labels_give_the_same_picture_whichever_way_they_came_about(tmp_path: Path, session: Session) -> None:
    session.open(opening(image(tmp_path / "scene.tif", noise((3, 60, 60)))))
    features = boxes()
    session.set_labels(labels(features, UTM))
    once = pixels(session.preview(preview(EXTENT, (60, 60), UTM, veil=True), no_check))
    session.set_labels(labels(features[:2], UTM, replace=False, removed=[1, 2, 5]))
    other = pixels(session.preview(preview(EXTENT, (60, 60), UTM, veil=True), no_check))
    session.set_labels(labels(reversed(features[2:]), UTM, replace=False))
    again = pixels(session.preview(preview(EXTENT, (60, 60), UTM, veil=True), no_check))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_colours_and_names_change_without_reading_or_training(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels(boxes(), UTM))
    session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    monkeypatch.setattr("thematica.engine.live.session.train", None)
    monkeypatch.setattr("thematica.engine.live.session.read_canvas", None)
    recolored = [*CLASSES[:2], type(CLASSES[2])(9, "Beach", "#123456")]
    session.set_labels(labels([], UTM, replace=False, classes=recolored))
    picture = pixels(session.preview(preview(EXTENT, (60, 60), UTM), no_check))
    assert argb("#123456") in picture
    assert argb("#ff8000") not in picture


def test_labels_may_come_before_the_image_and_stay_with_the_next_one(tmp_path: Path, session: Session) -> None:
    assert session.set_labels(labels(boxes(), UTM)) == {"features": 6, "findings": []}
    for name in ("one.tif", "other.tif"):
        session.open(opening(striped(tmp_path / name)))
        assert session.preview(preview(EXTENT, (60, 60), UTM), no_check)["samples"] == 6 * 64


def test_labels_outside_are_told_and_no_fault(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    far = [(9, 3, shapely.to_wkb(shapely.box(0, 0, 10, 10)))]
    reply = session.set_labels(labels([*boxes(), *far], UTM))
    assert {finding["code"] for finding in reply["findings"]} >= {"outside"}
    assert session.preview(preview(EXTENT, (60, 60), UTM), no_check)["samples"] == 6 * 64


@pytest.mark.parametrize("shape", [b"", b"\x01\x02", shapely.to_wkb(shapely.Point()), b"\x00" * 40])
def test_a_shape_that_is_none_is_left_out(tmp_path: Path, session: Session, shape: bytes) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    assert session.set_labels(labels([*boxes(), (9, 3, shape)], UTM))["findings"]
    assert session.preview(preview(EXTENT, (60, 60), UTM), no_check)["samples"] == 6 * 64


@pytest.mark.parametrize("kept", [[], [0], [0, 3]])
def test_one_class_is_too_few(tmp_path: Path, session: Session, kept: list[int]) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels([boxes()[number] for number in kept], UTM))
    with pytest.raises(TooFewLabelsError) as told:
        session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    assert ("Water" in told.value.message) == bool(kept)


def test_a_deleted_class_takes_its_polygons_out(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels(boxes(), UTM))
    reply = session.set_labels(labels([], UTM, replace=False, classes=CLASSES[:2]))
    assert [finding["code"] for finding in reply["findings"]][:1] == ["no-class"]
    assert session.preview(preview(EXTENT, (60, 60), UTM), no_check)["samples"] == 4 * 64
    # And back again, as by undo.
    session.set_labels(labels([], UTM, replace=False))
    assert session.preview(preview(EXTENT, (60, 60), UTM), no_check)["samples"] == 6 * 64


def test_nothing_open(session: Session) -> None:
    session.set_labels(labels(boxes(), UTM))
    for ask in (
        lambda: session.preview(preview(EXTENT, (60, 60), UTM), no_check),
        lambda: region(session, 500_300, 5_499_700),
        lambda: session.statistics(no_check),
    ):
        with pytest.raises(NothingOpenError):
            ask()


def test_a_canvas_beside_the_raster_is_empty(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels(boxes(), UTM))
    for size in ((50, 50), (2, 2)):
        reply = session.preview(preview((0, 0, 100, 100), size, UTM), no_check)
        assert not pixels(reply).any()
        assert {entry["share"] for entry in reply["classes"]} == {0}


def test_a_canvas_and_labels_in_other_crss(tmp_path: Path, session: Session) -> None:
    from rasterio.warp import transform_geom

    session.open(opening(striped(tmp_path / "scene.tif")))
    degrees = [
        (fid, code, shapely.to_wkb(shapely.geometry.shape(transform_geom(UTM, "EPSG:4326", shapely.from_wkb(shape)))))
        for fid, code, shape in boxes()
    ]
    session.set_labels(labels(degrees, CRS.from_epsg(4326)))
    mercator = CRS.from_epsg(3857)
    left, bottom, right, top = rasterio.warp.transform_bounds(UTM, mercator, *EXTENT)
    reply = session.preview(preview((left, bottom, right, top), (90, 90), mercator), no_check)
    picture = pixels(reply)
    assert [entry["share"] for entry in reply["classes"]] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert picture[45, [15, 45, 75]].tolist() == COLORS.tolist()
    found = region(session, *(part[0] for part in rasterio.warp.transform(UTM, mercator, [500_300], [5_499_700])),
                   crs=mercator)  # fmt: skip
    outline = shapely.from_wkb(found["geometry"])
    assert outline.is_valid
    middle = (left + right) / 2
    assert outline.bounds == pytest.approx(
        (middle - (right - left) / 6, bottom, middle + (right - left) / 6, top), abs=20
    )
    assert found["hectares"] == pytest.approx(12, rel=0.02)


@pytest.mark.parametrize("placed", [False, True])
def test_a_raster_without_crs_is_taken_at_the_maps_word(tmp_path: Path, session: Session, placed: bool) -> None:
    """And one without any georeference lies where QGIS shows it: downwards from 0."""
    if placed:
        session.open(opening(striped(tmp_path / "scene.tif", crs=None)))
        features, extent, point = boxes(), EXTENT, (500_300, 5_499_700)
    else:
        session.open(opening(striped(tmp_path / "scene.tif", crs=None, transform=Affine.identity())))
        features, extent, point = boxes(origin=(0, 0), resolution=1), (0, -60, 60, 0), (30, -30)
    session.set_labels(labels(features, UTM))
    reply = session.preview(preview(extent, (60, 60), UTM), no_check)
    assert share_right(pixels(reply), stripes()[1]) > 0.99
    found = region(session, *point)
    left, bottom, right, top = extent
    outline = shapely.from_wkb(found["geometry"])
    third = shapely.box(left + (right - left) / 3, bottom, left + (right - left) * 2 / 3, top)
    assert outline.intersection(third).area > 0.98 * outline.union(third).area
    assert found["hectares"] is None


def test_a_turned_raster(tmp_path: Path, session: Session) -> None:
    turned = Affine(10, 0, 500_000, 0, -10, 5_500_000) * Affine.rotation(30)
    session.open(opening(striped(tmp_path / "scene.tif", transform=turned)))
    features = [
        (fid, code, shapely.to_wkb(shapely.transform(
            shapely.from_wkb(shape), lambda points: np.column_stack(turned * (points[:, 0], -points[:, 1])))))
        for fid, code, shape in boxes(origin=(0, 0), resolution=1)
    ]  # fmt: skip
    session.set_labels(labels(features, UTM))
    x, y = turned * (30, 30)
    reply = session.preview(preview((x - 500, y - 500, x + 500, y + 500), (100, 100), UTM), no_check)
    assert reply["samples"] > 350
    assert [entry["share"] for entry in reply["classes"]] == pytest.approx([1 / 3] * 3, abs=0.03)
    outline = shapely.from_wkb(region(session, x, y)["geometry"])
    assert outline.area == pytest.approx(20 * 60 * 100, rel=0.02)


@pytest.mark.parametrize(("bands", "kind"), [(1, "uint8"), (1, "float32"), (204, "int16"), (12, "float64")])
def test_any_number_of_bands_and_any_type(tmp_path: Path, session: Session, bands: int, kind: str) -> None:
    samples, stripe = stripes(bands, data_type="float64")
    samples = (samples / 13).clip(0, 255) if kind == "uint8" else samples
    session.open(opening(image(tmp_path / "scene.tif", samples.astype(kind))))
    session.set_labels(labels(boxes(), UTM))
    reply = session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    assert share_right(pixels(reply), stripe) > 0.97
    assert region(session, 500_300, 5_499_700)["pixels"] > 1000


def test_pixels_without_data_are_transparent_and_teach_nothing(tmp_path: Path, session: Session) -> None:
    samples, _ = stripes()
    samples[1, :, :10] = 0
    session.open(opening(image(tmp_path / "scene.tif", samples, nodata=0)))
    session.set_labels(labels(boxes(), UTM))
    reply = session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    assert not pixels(reply)[:, :10].any()
    assert pixels(reply)[:, 10:].all()
    assert reply["samples"] == 4 * 64 + 2 * 8
    assert region(session, 500_050, 5_499_700)["geometry"] is None
    # What the analyst says of nodata counts, too.
    path = image(tmp_path / "other.tif", samples)
    session.open(opening(path, nodata=0.0))
    assert not pixels(session.preview(preview(EXTENT, (60, 60), UTM), no_check))[:, :10].any()


def test_a_raster_of_nodata_only(tmp_path: Path, session: Session) -> None:
    session.open(opening(image(tmp_path / "scene.tif", np.zeros((3, 60, 60), np.uint8), nodata=0)))
    session.set_labels(labels(boxes(), UTM))
    with pytest.raises(TooFewLabelsError):
        session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    assert region(session, 500_300, 5_499_700) == {
        "geometry": None, "pixels": 0, "tolerance": 35, "limited": False, "hectares": None,
    }  # fmt: skip


@pytest.mark.parametrize("change", ["vanished", "replaced", "damaged"])
def test_a_raster_that_changes_under_the_labels(tmp_path: Path, session: Session, change: str) -> None:
    path = striped(tmp_path / "scene.tif")
    session.open(opening(path))
    session.set_labels(labels(boxes(), UTM))
    before = pixels(session.preview(preview(EXTENT, (60, 60), UTM), no_check))
    os.rename(path, tmp_path / "away.tif")
    if change == "replaced":
        image(path, stripes()[0][:, :, ::-1].copy())
        after = session.preview(preview(EXTENT, (60, 60), UTM), no_check)
        # The stripes lie the other way round, and so do the classes that are learnt from them.
        assert share_right(pixels(after), stripes()[1]) > 0.99
        assert region(session, 500_300, 5_499_700)["pixels"] > 1000
        return
    if change == "damaged":
        path.write_bytes(b"II*\x00 no more of it")
    for ask in (
        lambda: session.preview(preview(EXTENT, (60, 60), UTM), no_check),
        lambda: region(session, 500_300, 5_499_700),
    ):
        with pytest.raises(InputError, match=r"scene\.tif"):
            ask()
    # The labels are kept, and all is well when the file is back.
    assert session.set_labels(labels([], UTM, replace=False))["features"] == 6
    os.replace(tmp_path / "away.tif", path)
    assert np.array_equal(pixels(session.preview(preview(EXTENT, (60, 60), UTM), no_check)), before)


def test_a_raster_that_is_replaced_in_the_middle_of_a_preview(tmp_path: Path, session: Session) -> None:
    """A click that comes between the preview's stages must not close the image under it."""
    path = striped(tmp_path / "scene.tif")
    session.open(opening(path))
    session.set_labels(labels(boxes(), UTM))

    def replace_and_click() -> None:
        image(tmp_path / "new.tif", stripes()[0][:, :, ::-1].copy())
        os.replace(tmp_path / "new.tif", path)
        assert region(session, 500_300, 5_499_700)["pixels"] > 1000

    reply = session.preview(preview(EXTENT, (60, 60), UTM), replace_and_click)
    assert share_right(pixels(reply), stripes()[1]) > 0.99


def test_a_raster_that_is_none(tmp_path: Path, session: Session) -> None:
    (tmp_path / "scene.tif").write_text("no raster")
    with pytest.raises(InputError):
        session.open(opening(tmp_path / "scene.tif"))
    with pytest.raises(InputError):
        session.open(opening(tmp_path / "nowhere.tif"))


def test_pictures_that_nobody_fetched_go(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels(boxes(), UTM))
    for _ in range(6):
        reply = session.preview(preview(EXTENT, (60, 60), UTM), no_check)
    left = list((tmp_path / "pictures").iterdir())
    assert len(left) == 3
    assert Path(reply["file"]) in left


def test_a_preview_that_gives_up_leaves_no_picture(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels(boxes(), UTM))
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    session.preview(preview(EXTENT, (60, 60), UTM), count)
    for path in (tmp_path / "pictures").iterdir():
        path.unlink()
    for stop in range(1, calls):
        session.set_labels(labels(boxes(), UTM))
        session.open(opening(tmp_path / "scene.tif"))

        left = iter(range(stop))

        def give_up(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyError

        with pytest.raises(KeyError):
            session.preview(preview(EXTENT, (60, 60), UTM), give_up)
        assert list((tmp_path / "pictures").iterdir()) == []
    assert calls > 5


def test_figures_are_those_of_the_labels(tmp_path: Path, session: Session) -> None:
    session.open(opening(striped(tmp_path / "scene.tif")))
    session.set_labels(labels(boxes(), UTM))
    figures = session.statistics(no_check)["statistics"]
    assert [(entry["code"], entry["pixels"], entry["polygons"]) for entry in figures["classes"]] == [
        (3, 128, 2), (7, 128, 2), (9, 128, 2),
    ]  # fmt: skip


def test_real_scenes(real_data: Callable[[str], Path], session: Session) -> None:
    """Hyperspectral without georeference: its ground truth as points."""
    scene = real_data("salinas_a/salinasA_204.tif")
    with rasterio.open(real_data("salinas_a/salinasA_gt.tif")) as dataset:
        truth = dataset.read(1)
    classes = [type(CLASSES[0])(int(code), f"Class {code}", f"#{code:02x}8040") for code in np.unique(truth)[1:]]
    rows, columns = np.nonzero(truth)
    kept = np.random.default_rng(0).permutation(len(rows))[:300]
    features = [
        (int(number), int(truth[rows[number], columns[number]]),
         shapely.to_wkb(shapely.Point(columns[number] + 0.5, -rows[number] - 0.5)))
        for number in kept
    ]  # fmt: skip
    session.open(opening(scene))
    session.set_labels(labels(features, None, classes=classes))
    reply = session.preview(preview((0, -83, 86, 0), (86, 83)), no_check)
    wanted = np.array([argb(f"#{code:02x}8040") if code else 0 for code in truth.ravel()]).reshape(truth.shape)
    assert (pixels(reply) == wanted)[truth > 0].mean() > 0.97
