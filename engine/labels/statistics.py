"""What labels say on an image: their figures, from reading to warnings."""

from __future__ import annotations

from typing import Any

from ...progress import Monitor
from ..ground_area import PixelArea
from ..image import Image
from .figures import LabelFigures
from .labels import LabelMap, Labels
from .samples import labelled_pixels


def label_statistics(
    image: Image, label_map: LabelMap, monitor: Monitor | None = None, labels: Labels | None = None
) -> dict[str, Any]:
    """What labels say on an image.

    Args:
        image: open.
        label_map: the labels as its pixels.
        monitor: gets progress, and may end the work.
        labels: the labels as shapes, which know the features of the layer; None for a raster of labels.

    Returns:
        What ``thematica labels stats --json`` prints, see docs/labels-figures.md.  Labels without any pixel are no
        error here: the layer may just have been made.

    Raises:
        InputError: a file is damaged.
    """
