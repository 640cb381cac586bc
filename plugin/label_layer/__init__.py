"""Label layers: polygons or points with a list of classes, drawn with QGIS's own tools."""

from .adopt import adopt_layer
from .copying import copy_layer
from .create import create_label_layer
from .label_layer import LabelLayer, end_all, is_label_layer

__all__ = ["LabelLayer", "adopt_layer", "copy_layer", "create_label_layer", "end_all", "is_label_layer"]
