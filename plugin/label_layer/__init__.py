"""Label layers: polygons or points with a list of classes, drawn with QGIS's own tools."""

from .create import create_label_layer
from .label_layer import LabelLayer, is_label_layer

__all__ = ["LabelLayer", "create_label_layer", "is_label_layer"]
