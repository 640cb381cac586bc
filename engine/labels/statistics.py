"""What labels say on an image: their figures, from reading to warnings."""

from __future__ import annotations

from typing import Any

from ...progress import Monitor
from ..ground_area import PixelArea
from ..image import Image
from .figures import LabelFigures
from .labels import LabelMap, Labels
from .pixel_cache import PixelCache
from .samples import labelled_pixels

# The rest of the time goes into comparing classes and polygons.
_SHARE_OF_READING = 0.8


def label_statistics(
    image: Image,
    label_map: LabelMap,
    monitor: Monitor | None = None,
    labels: Labels | None = None,
    cache: PixelCache | None = None,
) -> dict[str, Any]:
    """What labels say on an image.

    Args:
        image: open.
        label_map: the labels as its pixels.
        monitor: gets progress, and may end the work.
        labels: the labels as shapes, which know the features of the layer; None: those of the map, if it has any.
        cache: of the image's pixels, where figures are made again after every edit.

    Returns:
        What ``thematica labels stats --json`` prints, see docs/labels-figures.md.  Labels without any pixel are no
        error here: the layer may just have been made.

    Raises:
        InputError: a file is damaged.
    """
    monitor = monitor or Monitor()
    source = image.source
    area = PixelArea(source.crs, source.transform, source.width, source.height, [0])
    figures = LabelFigures(image.bands, image.scales, source.data_type, label_map.legend, area)
    for pixels in labelled_pixels(source, label_map, cache=cache):
        monitor.check()
        figures.add(pixels)
        if len(pixels):
            monitor.progress("Reading labelled pixels", _SHARE_OF_READING * int(pixels.rows[-1]) / source.height)
    monitor.check()
    result = figures.result(labels or getattr(label_map, "labels", None), label_map.findings, monitor)
    monitor.progress("Reading labelled pixels", 1.0)
    return result
