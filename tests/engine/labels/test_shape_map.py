"""Shapes as pixels: by their centres, the same in whichever window, and compared with the definition itself."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thematica.engine.labels import scanlines
from thematica.engine.labels.labels import UNLABELLED
from thematica.engine.labels.scanlines import Outlines
from thematica.engine.labels.shape_map import ShapeMap

from .layers import labels_of

HEIGHT, WIDTH = 23, 31


def by_definition(shapes, places, height=HEIGHT, width=WIDTH):
    """Every pixel's centre asked of every shape; and whether it lies on an outline, where either answer is right."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    numbers = np.full((height, width), UNLABELLED)
    disputed, on_edge = np.zeros((height, width), bool), np.zeros((height, width), bool)
    order = sorted(range(len(shapes)), key=lambda n: shapes[n].geom_type not in ("Polygon", "MultiPolygon"))
    for number in order:
        shape = shapes[number]
        if shape.geom_type in ("Polygon", "MultiPolygon"):
            inside = shapely.contains_xy(shape, x, y)
            on_edge |= shapely.distance(shape.boundary, shapely.points(x, y)) < 1e-9
        else:
            inside = np.zeros((height, width), bool)
            for px, py in shapely.get_coordinates(shape):
                if 0 <= px < width and 0 <= py < height:
                    inside[int(py // 1), int(px // 1)] = True
        free = inside & (numbers == UNLABELLED)
        numbers[free] = number
        disputed |= inside & (np.array(places)[numbers] != places[number])
    numbers[disputed] = UNLABELLED
    return numbers, on_edge


coordinates = st.one_of(
    st.floats(-6, 36).map(lambda v: round(v, 3)),
    st.integers(-6, 36).map(lambda v: v + 0.5),  # on centres
    st.integers(-6, 36).map(float),
)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9, unique=True)


@st.composite
def shape(draw):
    kind = draw(st.sampled_from(["polygon", "polygon", "hollow", "point", "points"]))
    if kind == "point":
        return shapely.Point(draw(st.tuples(coordinates, coordinates)))
    if kind == "points":
        return shapely.MultiPoint(draw(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=5)))
    outline = shapely.make_valid(shapely.Polygon(draw(rings)))
    if kind == "hollow":
        outline = outline.difference(shapely.make_valid(shapely.Polygon(draw(rings))))
    parts = [part for part in shapely.get_parts(shapely.get_parts(outline)) if part.geom_type == "Polygon"]
    return shapely.union_all(parts) if parts else shapely.box(1, 1, 4, 4)


scenes = st.lists(st.tuples(shape(), st.integers(0, 2)), min_size=1, max_size=7)
windows = st.tuples(st.integers(-4, HEIGHT), st.integers(-4, WIDTH), st.integers(0, 30), st.integers(0, 40))


@given(scenes)
def test_a_pixel_belongs_to_the_shape_that_holds_its_centre(scene):
    shapes, places = zip(*scene, strict=True)
    classes, numbers = ShapeMap(labels_of(shapes, places), HEIGHT, WIDTH).read(0, 0, HEIGHT, WIDTH)
    expected, on_edge = by_definition(shapes, places)
    assert (numbers == expected)[~on_edge].all()
    assert (classes == np.append(places, UNLABELLED)[numbers]).all()


@given(scenes, windows)
def test_any_window_is_that_part_of_the_whole(scene, window):
    shapes, places = zip(*scene, strict=True)
    labels = ShapeMap(labels_of(shapes, places), HEIGHT, WIDTH)
    margin = 40
    whole = [np.full((HEIGHT + 2 * margin, WIDTH + 2 * margin), UNLABELLED) for _ in range(2)]
    for part, read in zip(whole, labels.read(0, 0, HEIGHT, WIDTH), strict=True):
        part[margin : margin + HEIGHT, margin : margin + WIDTH] = read
    row, col, height, width = window
    for part, read in zip(whole, labels.read(*window), strict=True):
        assert read.shape == (height, width)
        assert (read == part[row + margin : row + margin + height, col + margin : col + margin + width]).all()


@given(scenes, st.integers(1, 40))
def test_the_windows_hold_every_label_once(scene, side):
    shapes, places = zip(*scene, strict=True)
    labels = ShapeMap(labels_of(shapes, places), HEIGHT, WIDTH)
    expected = labels.read(0, 0, HEIGHT, WIDTH)[1]
    found = np.full((HEIGHT, WIDTH), UNLABELLED)
    seen = np.zeros((HEIGHT, WIDTH), int)
    given_order = list(labels.windows(side))
    assert given_order == sorted(given_order)
    for row, col, height, width in given_order:
        assert row % side == 0
        assert col % side == 0
        seen[row : row + height, col : col + width] += 1
        found[row : row + height, col : col + width] = labels.read(row, col, height, width)[1]
    assert seen.max(initial=0) <= 1
    assert (found == expected).all()


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=12), st.integers(2, 5))
def test_every_centre_belongs_to_exactly_one_of_polygons_that_share_their_edges(jitter, count):
    """A mosaic of triangles whose corners lie anywhere, many of them on centres."""
    random = np.random.default_rng([int(value * 1e6) for value in jitter])
    x, y = np.meshgrid(np.linspace(0, WIDTH, count + 1), np.linspace(0, HEIGHT, count + 1))
    nodes = np.dstack([x, y])
    inner = nodes[1:-1, 1:-1]
    inner += random.uniform(-1, 1, inner.shape)
    inner[:] = np.where(random.random(inner.shape) < 0.5, np.round(inner) + 0.5, inner)
    triangles = []
    for i in range(count):
        for j in range(count):
            a, b, c, d = nodes[i, j], nodes[i, j + 1], nodes[i + 1, j + 1], nodes[i + 1, j]
            triangles += [shapely.Polygon([a, b, c]), shapely.Polygon([a, c, d])]
    counts = np.zeros((HEIGHT, WIDTH), int)
    outlines = Outlines(np.array(triangles, object))
    for _, rows, columns in outlines.pixels(np.arange(len(triangles)), 0, 0, HEIGHT, WIDTH):
        np.add.at(counts, (rows, columns), 1)
    assume(all(triangle.is_valid and triangle.exterior.is_ccw for triangle in triangles))
    assert (counts == 1).all()
    assert outlines.counts(HEIGHT, WIDTH).sum() == counts.sum()


@settings(max_examples=25)
@given(scenes)
def test_little_memory_changes_nothing(scene):
    shapes, places = zip(*scene, strict=True)
    labels = ShapeMap(labels_of(shapes, places), HEIGHT, WIDTH)
    expected = labels.read(0, 0, HEIGHT, WIDTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanlines, "_MOST_LISTED", 5)
        patch.setattr(scanlines, "_GROUP", 2)
        small = ShapeMap(labels_of(shapes, places), HEIGHT, WIDTH)
        assert (small.read(0, 0, HEIGHT, WIDTH)[1] == expected[1]).all()


def test_two_classes_on_a_pixel_leave_it_without_label_and_one_class_twice_counts_once():
    labels = ShapeMap(
        labels_of(
            [shapely.box(0, 0, 4, 4), shapely.box(2, 0, 6, 4), shapely.box(10, 0, 14, 4), shapely.box(12, 0, 16, 4)],
            [0, 1, 0, 0],
        ),
        6,
        20,
    )
    classes, numbers = labels.read(0, 0, 6, 20)
    assert classes[0].tolist() == [0, 0, -1, -1, 1, 1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1]
    assert numbers[0].tolist() == [0, 0, -1, -1, 1, 1, -1, -1, -1, -1, 2, 2, 2, 2, 3, 3, -1, -1, -1, -1]
    assert (classes[4:] == UNLABELLED).all()


def test_points_of_one_class_share_a_pixel_and_those_of_two_dispute_it():
    points = [(1.2, 1.2), (1.8, 1.1), (3.5, 1.5), (3.6, 1.6), (6.0, 1.0), (20, 20), (-0.1, 1)]
    labels = ShapeMap(labels_of([shapely.Point(p) for p in points], [0, 0, 0, 1, 1, 1, 1]), 6, 8)
    classes, numbers = labels.read(0, 0, 6, 8)
    assert numbers[1].tolist() == [-1, 0, -1, -1, -1, -1, 4, -1]
    assert (classes >= 0).sum() == 2


def test_a_large_raster_is_asked_only_where_labels_lie():
    side = 256
    labels = ShapeMap(
        labels_of([shapely.box(1000, 2000, 1010, 2010), shapely.Point(900_000.5, 900_000.5)], [0, 1]), 10**6, 10**6
    )
    assert list(labels.windows(side)) == [
        (1792, 768, side, side), (899_840, 899_840, side, side),
    ]  # fmt: skip
    assert (labels.read(1792, 768, side, side)[0] == 0).sum() == 100


def test_a_slanted_strip_gives_only_the_windows_that_it_touches():
    strip = shapely.LineString([(0, 0), (10_000, 10_000)]).buffer(1)
    windows = list(ShapeMap(labels_of([strip], [0]), 10_000, 10_000).windows(100))
    assert 100 <= len(windows) <= 300


def test_no_shapes_are_no_labels():
    labels = ShapeMap(labels_of([], []), 10, 10)
    assert (labels.read(0, 0, 10, 10)[0] == UNLABELLED).all()
    assert list(labels.windows(4)) == []


def test_an_outline_of_many_corners_is_read_row_by_row():
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 90 + 5 * np.sin(40 * angle)
    star = shapely.Polygon(np.column_stack([100 + radius * np.cos(angle), 100 + radius * np.sin(angle)]))
    classes, _ = ShapeMap(labels_of([star], [0]), 200, 200).read(0, 0, 200, 200)
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    assert ((classes == 0) == shapely.contains_xy(star, x, y)).all()
