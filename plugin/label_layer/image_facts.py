"""What labels keep about the image on which they are drawn: its name and its date."""

from __future__ import annotations

import re

from qgis.core import QgsRasterLayer
from qgis.PyQt.QtCore import QDate

from ..job import scene_name

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")


def image_name(layer: QgsRasterLayer) -> str:
    """What labels call an image: its file without the suffix, as a training set will."""
    return scene_name(layer)


def image_date(layer: QgsRasterLayer) -> str:
    """``YYYY-MM-DD`` as the layer's temporal settings or the file's name say it; empty where they do not."""
    span = layer.temporalProperties().fixedTemporalRange() if layer.temporalProperties().isActive() else None
    if span is not None and span.begin().isValid():
        return str(span.begin().date().toString("yyyy-MM-dd"))
    return date_in_name(image_name(layer)) or date_in_name(layer.name())


def date_in_name(name: str) -> str:
    """A date in a file's name, such as ``S2A_20200630`` or Landsat's ``LE70220491999322`` (year and day of it)."""
    for match in _DATE.finditer(name):
        date = QDate(int(match[1]), int(match[3]), int(match[4]))
        if date.isValid():
            return str(date.toString("yyyy-MM-dd"))
    # Landsat: sensor, path, row, year, day of the year.
    match = re.match(r"L[A-Z]\d{7}((?:19|20)\d\d)([0-3]\d\d)", name)
    if match and 1 <= int(match[2]) <= 366:
        return str(QDate(int(match[1]), 1, 1).addDays(int(match[2]) - 1).toString("yyyy-MM-dd"))
    return ""
