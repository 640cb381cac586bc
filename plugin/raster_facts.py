"""What is known of a raster layer before anything runs, as the engine will know of its file.

The dialog checks with these facts whether a model fits.  Only a few thousand values are read.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator

from qgis.core import QgsDistanceArea, QgsPointXY, QgsProject, QgsRasterDataProvider, QgsRasterLayer, QgsRectangle

from ..models.bands import Band
from ..models.fit import RasterFacts
from ..models.products import with_metadata
from .compat import ALPHA_BAND, METRES, enum_number

# Numbers of Qgis.DataType, which are GDAL's, and the names that NumPy has for them.
_DATA_TYPES = {
    1: "uint8",
    2: "uint16",
    3: "int16",
    4: "uint32",
    5: "int32",
    6: "float32",
    7: "float64",
    8: "complex_int16",
    9: "complex_int32",
    10: "complex64",
    11: "complex128",
    14: "int8",
}

# ARGB32, plain and premultiplied.
_PICTURES = (12, 13)

# Numbers of Qgis.RasterColorInterpretation.
_COLOURS = {3: "red", 4: "green", 5: "blue"}

# A raster up to this many pixels is sampled whole and decimated, a larger one in nine windows: a decimated
# read of a large file without overviews would decode all of it.
_SMALL = 1200 * 1200
_SMALL_SAMPLE_SIDE = 64
_WINDOW_SIDE = 24
_WINDOW_PLACES = (0.2, 0.5, 0.8)


def facts_of_layer(layer: QgsRasterLayer) -> RasterFacts:
    """Facts of a raster layer, from its data provider and what is set on the layer.

    Args:
        layer: a valid raster layer.

    Returns:
        Bands (alpha with the unit ``alpha``), data type, scale and offset as the file or its product declares them,
        pixel size on the ground in metres, and the 2nd and 98th percentile of some valid values per band, as stored.

    Raises:
        InputError: the metadata of the file's product cannot be read.
    """
    if is_rendered(layer):
        # A web map is a picture; its pixels get their size when it is exported.
        return RasterFacts(layer.source(), bands_of_layer(layer), "uint8", [1.0] * 4, [0.0] * 4)
    provider = layer.dataProvider()
    numbers = range(1, provider.bandCount() + 1)
    types = [_DATA_TYPES.get(enum_number(provider.sourceDataType(number)), "unknown") for number in numbers]
    is_complex = any(name.startswith("complex") for name in types)
    scales, offsets = ([read(number) for number in numbers] for read in (provider.bandScale, provider.bandOffset))
    file = with_metadata(layer.source())
    if all(scale == 1 for scale in scales) and not any(offsets):
        # The file's own word counts more than its product's.
        scales, offsets = [file.scale] * len(numbers), [file.offset] * len(numbers)
    return RasterFacts(
        path=layer.source(),
        bands=bands_of_layer(layer),
        data_type=next((name for name in types if name.startswith("complex")), types[0] if types else "unknown"),
        scales=scales,
        offsets=offsets,
        gsd=ground_sampling_distance(layer),
        sample={} if is_complex else _sample(layer, file.nodata),
        colours=[_COLOURS.get(enum_number(provider.colorInterpretation(number)), "") for number in numbers],
    )


def bands_of_layer(layer: QgsRasterLayer) -> list[Band]:
    """The bands of a raster layer; of a web map those of the picture that the export will make."""
    if is_rendered(layer):
        return [*(Band(name, name) for name in ("red", "green", "blue")), Band("alpha", unit="alpha")]
    provider = layer.dataProvider()
    wavelengths = _wavelengths(provider)
    return [
        Band(
            name=_description(provider, number),
            wavelength=wavelengths.get(number),
            unit="alpha" if provider.colorInterpretation(number) == ALPHA_BAND else "",
        )
        for number in range(1, provider.bandCount() + 1)
    ]


def is_rendered(layer: QgsRasterLayer) -> bool:
    """True for layers of pictures (WMS, XYZ tiles) instead of numbers."""
    provider = layer.dataProvider()
    return provider.bandCount() == 1 and enum_number(provider.dataType(1)) in _PICTURES


def ground_sampling_distance(layer: QgsRasterLayer) -> float | None:
    """Side of a pixel on the ground in metres, at the layer's centre; None without a CRS.

    The root of the pixel's area on the ellipsoid: pixels in degrees are not square on the ground, those of
    a sinusoidal grid are not even rectangles.
    """
    if not layer.crs().isValid() or not layer.width() or not layer.height():
        return None
    measure = QgsDistanceArea()
    measure.setSourceCrs(layer.crs(), QgsProject.instance().transformContext())
    measure.setEllipsoid("EPSG:7030")  # WGS 84; a CRS's own may be one that QGIS has no name for
    centre = layer.extent().center()
    beside = QgsPointXY(centre.x() + layer.rasterUnitsPerPixelX(), centre.y())
    above = QgsPointXY(centre.x(), centre.y() + layer.rasterUnitsPerPixelY())
    width, height = (
        measure.convertLengthMeasurement(measure.measureLine(centre, other), METRES) for other in (beside, above)
    )
    angle = measure.bearing(centre, beside) - measure.bearing(centre, above)
    area = width * height * abs(math.sin(angle))
    return math.sqrt(area) if math.isfinite(area) and area > 0 else None


def _description(provider: QgsRasterDataProvider, number: int) -> str:
    """The band's own description: QGIS puts "Band 1: " before it, in the interface's language."""
    name = provider.generateBandName(number)
    generic = re.match(rf"[^\d:]*\b0*{number}(?::\s*(.*))?$", name)
    return (generic.group(1) or "").strip() if generic else name


def _wavelengths(provider: QgsRasterDataProvider) -> dict[int, float]:
    """Centre wavelengths in micrometres from band metadata, which QGIS shows in its HTML only."""
    found = {}
    for number, items in re.findall(r">[^<>\d]*(\d+)</td><td><ul>(.*?)</ul>", provider.htmlMetadata(), re.DOTALL):
        tags = dict(re.findall(r"<li>([^=<]+)=([^<]*)</li>", items))
        tags = {html.unescape(key).strip().lower(): html.unescape(value).strip() for key, value in tags.items()}
        try:
            wavelength = float(tags.get("wavelength") or tags.get("center_wavelength") or "")
        except ValueError:
            continue
        units = tags.get("wavelength_units", "").lower()
        # Nanometres are written as numbers in the hundreds, micrometres as 0.4 to 15.
        is_nanometres = units.startswith("nano") or (not units.startswith("micro") and wavelength > 100)
        found[int(number)] = wavelength / 1000 if is_nanometres else wavelength
    return found


def _sample(layer: QgsRasterLayer, of_product: float | None) -> dict[int, tuple[float, float]]:
    """Values per band; ``of_product`` is the product's nodata, for files and layers without a word of their own."""
    provider = layer.dataProvider()
    numbers = range(1, provider.bandCount() + 1)
    if any(provider.sourceHasNoDataValue(number) or provider.userNoDataValues(number) for number in numbers):
        of_product = None
    places = list(_sample_places(layer))
    result = {}
    for number in numbers:
        scale, offset = provider.bandScale(number) or 1.0, provider.bandOffset(number)
        values: list[float] = []
        for extent, columns, rows in places:
            block = provider.block(number, extent, columns, rows)
            values += [block.value(index) for index in range(columns * rows) if not block.isNoData(index)]
        # QGIS applies scale and offset when it reads; facts are about what is stored.
        values = sorted((value - offset) / scale for value in values if math.isfinite(value))
        if of_product is not None:
            values = [value for value in values if value != of_product]
        if values:
            ends = [_percentile(values, share) for share in (0.02, 0.98)]
            result[number] = (min(ends), max(ends))
    return result


def _sample_places(layer: QgsRasterLayer) -> Iterator[tuple[QgsRectangle, int, int]]:
    """Extents to read, each with its columns and rows."""
    width, height, extent = layer.width(), layer.height(), layer.extent()
    if width * height <= _SMALL or min(width, height) <= _WINDOW_SIDE:
        yield extent, min(width, _SMALL_SAMPLE_SIDE), min(height, _SMALL_SAMPLE_SIDE)
        return
    dx, dy = extent.width() / width, extent.height() / height
    for share_y in _WINDOW_PLACES:
        for share_x in _WINDOW_PLACES:
            left = extent.xMinimum() + int((width - _WINDOW_SIDE) * share_x) * dx
            top = extent.yMaximum() - int((height - _WINDOW_SIDE) * share_y) * dy
            window = QgsRectangle(left, top - _WINDOW_SIDE * dy, left + _WINDOW_SIDE * dx, top)
            yield window, _WINDOW_SIDE, _WINDOW_SIDE


def _percentile(ordered: list[float], share: float) -> float:
    """Linear between the two nearest values."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
