"""Labels with dates on time series: every sample is what the label's days say."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import rasterio
import shapely

from thematica.engine.image import open_image
from thematica.engine.labels.dated import DatedLabels, read_timeline
from thematica.engine.labels.reading import read_labels
from thematica.errors import InputError

from ..networks import image, noise
from .layers import codes_of, labels_of

DATES = np.arange("2010-01-01", "2012-01-01", 30, "datetime64[D]")
HEIGHT, WIDTH = 12, 15


def days(*pairs):
    return np.array(pairs, "datetime64[D]")


@pytest.fixture
def series(tmp_path):
    count = len(DATES)
    return [
        image(
            tmp_path / f"{name}.tif",
            noise((count, HEIGHT, WIDTH), "int16", seed, 1, 9999),
            names=[""] * count,
            nodata=-1,
        )
        for seed, name in enumerate(["ndvi", "nir"])
    ]


def stored(paths) -> np.ndarray:
    parts = []
    for path in paths:
        with rasterio.open(path) as dataset:
            parts.append(dataset.read())
    return np.stack(parts)


def test_a_sample_is_the_values_on_the_days_of_its_label(series):
    spans = days(["2010-01-01", "2010-11-27"], ["2010-06-01", "2011-05-01"], ["2010-06-01", "2011-05-01"])
    steps = [(first <= DATES) & (end > DATES) for first, end in spans]
    assert {int(step.sum()) for step in steps} == {11}
    shapes = [shapely.Point(3.5, 4.5), shapely.box(6, 6, 8, 8), shapely.Point(3.2, 4.1)]
    labels = labels_of(shapes, [0, 1, 1], spans)
    with open_image(series) as opened:
        dated = DatedLabels(opened, labels, DATES)
        assert dated.length == 11
        assert len(dated.bands) == 22 == len(dated.scales) == len(dated.nodata)
        assert dated.bands[0].name == "ndvi 01"
        assert dated.bands[-1].name == "nir 11"
        values = stored(series)
        seen = []
        for part in dated.samples():
            for value, place, shape, row, col in zip(
                part.values, part.places, part.shapes, part.rows, part.cols, strict=True
            ):
                expected = values[:, steps[shape], row, col].ravel()
                assert (value == expected).all()
                assert place == labels.places[shape]
                seen.append((int(shape), int(row), int(col)))
    assert sorted(seen) == [(0, 4, 3), (1, 6, 6), (1, 6, 7), (1, 7, 6), (1, 7, 7), (2, 4, 3)]


def test_one_pixel_may_have_other_classes_at_other_times(series):
    spans = days(["2010-01-01", "2010-06-30"], ["2010-06-30", "2010-12-27"], ["2010-06-30", "2010-12-27"])
    labels = labels_of([shapely.Point(3.5, 4.5)] * 3, [0, 1, 1], spans)
    with open_image(series) as opened:
        dated = DatedLabels(opened, labels, DATES)
        parts = list(dated.samples())
    assert [part.places.tolist() for part in parts] == [[0], [1]]


def test_labels_for_other_numbers_of_dates_are_left_out_and_told(series):
    spans = days(*[["2010-01-01", "2010-07-01"]] * 3, ["2011-10-01", "2012-04-01"], ["2015-01-01", "2015-07-01"])
    labels = labels_of([shapely.Point(n + 0.5, 4.5) for n in range(5)], [0, 1, 1, 0, 1], spans)
    with open_image(series) as opened:
        dated = DatedLabels(opened, labels, DATES)
    (told,) = [finding for finding in dated.findings if finding.code == "series-length"]
    assert told.features == (4, 5)
    assert "2 of 5 labels hold for another number of dates" in told.message


def test_pixels_that_miss_a_date_are_left_out_and_counted(series):
    with rasterio.open(series[1], "r+") as dataset:
        band = dataset.read(2)
        band[4, 3] = -1
        dataset.write(band, 2)
        band = dataset.read(20)
        band[4, 5] = -1
        dataset.write(band, 20)
    labels = labels_of(
        [shapely.Point(3.5, 4.5), shapely.Point(5.5, 4.5)], [0, 1], days(*[["2010-01-01", "2010-07-01"]] * 2)
    )
    with open_image(series) as opened:
        (part,) = DatedLabels(opened, labels, DATES).samples()
    assert part.missing == 1
    assert part.cols.tolist() == [5]
    with open_image(series, invalid="all") as opened:
        (part,) = DatedLabels(opened, labels, DATES).samples()
    assert part.missing == 0
    assert part.cols.tolist() == [3, 5]


def refused(series, spans, words, dates=DATES, bands="", places=(0, 1)):
    labels = labels_of([shapely.Point(n + 0.5, 4.5) for n in range(len(places))], list(places), spans)
    with open_image(series, bands=bands) as opened, pytest.raises(InputError, match=words):
        DatedLabels(opened, labels, dates)


def test_what_does_not_go_together_is_refused(series):
    good = days(*[["2010-01-01", "2010-07-01"]] * 2)
    refused(series, None, "--from-field, --to-field")
    refused(series, good, "has 25 bands, of which 25 are chosen, but the timeline has 24", DATES[:-1])
    refused(series, good, "of which 3 are chosen", bands="1-3")
    refused(series, days(*[["1999-01-01", "1999-07-01"]] * 2), "No label holds for a date.*2010-01-01 to 2011-12-22")
    unequal = days(["2010-01-01", "2010-07-01"], ["2010-01-01", "2011-07-01"], ["2010-01-01", "2010-04-01"])
    refused(series, unequal, "different numbers of dates", places=(0, 1, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("2007-09-14\nsometime\n", "“sometime”"),
        ("2007-09-14\n2007-09-14\n", "do not rise"),
        ("2007-09-14\n2007-08-14\n", "do not rise: 2007-08-14 stands after 2007-09-14"),
        ("2007-13-14\n", "is no date"),
    ],
)
def test_a_timeline_that_is_none_is_refused(tmp_path, text, words):
    path = tmp_path / "timeline"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_timeline(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_timeline(tmp_path / "none")


def test_a_timeline_may_be_written_in_several_ways(tmp_path):
    path = tmp_path / "timeline"
    path.write_bytes('\ufeff"2007-09-14"\r\n2007/09/30\n20071016\n\n'.encode())
    assert read_timeline(path).astype(str).tolist() == ["2007-09-14", "2007-09-30", "2007-10-16"]


@pytest.mark.real
def test_the_real_points_have_the_values_of_their_year(real_data):
    """Compared with the rasters as they are, and with places that PROJ gives."""
    folder = "modis_mato_grosso"
    indices = ["ndvi", "evi", "nir", "mir"]
    paths = [real_data(f"{folder}/{name}.tif") for name in indices]
    dates = read_timeline(real_data(f"{folder}/timeline"))
    values = stored(paths)
    with open(real_data(f"{folder}/samples.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    with open_image(paths) as opened:
        grid = opened.source.grid
        labels = read_labels(real_data(f"{folder}/samples.csv"), "label", grid, from_field="from", to_field="to")
        assert len(labels) == 603
        assert "same-pixel" not in codes_of(labels)
        dated = DatedLabels(opened, labels, dates)
        assert dated.length == 23
        # One date of 2013 is missing in the timeline: the last season has 22.
        (told,) = [finding for finding in dated.findings if finding.code == "series-length"]
        assert len(told.features) == 57
        x, y = rasterio.warp.transform(
            "EPSG:4326", grid.crs, [float(row["longitude"]) for row in rows], [float(row["latitude"]) for row in rows]
        )
        columns, lines = (~grid.transform) @ (np.array(x), np.array(y))
        seen = set()
        for part in dated.samples():
            assert part.missing == 0
            for value, place, shape, line, column in zip(
                part.values, part.places, part.shapes, part.rows, part.cols, strict=True
            ):
                row = rows[shape]
                assert (int(lines[shape]), int(columns[shape])) == (line, column)
                assert labels.legend[place].name == row["label"]
                steps = (dates >= np.datetime64(row["from"])) & (dates < np.datetime64(row["to"]))
                assert (value == values[:, steps, line, column].ravel()).all()
                seen.add(int(shape))
        assert seen == {n for n, row in enumerate(rows) if row["from"] != "2012-09-01"}
