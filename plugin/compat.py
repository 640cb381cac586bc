"""The few QGIS names that moved between 3.22 and 4.x, each under one name here.

Enums went from their classes to ``Qgis`` and lost their prefixes; the old names mostly remain as
aliases, but not all of them in every version.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from qgis import core
from qgis.PyQt import QtGui, QtWidgets


def _first(*names: str) -> Any:
    """The first of the dotted names that this QGIS has."""
    for name in names:
        try:
            return reduce(getattr, name.split("."), core)
        except AttributeError:
            continue
    raise AttributeError(f"this QGIS has none of {', '.join(names)}")


ALPHA_BAND = _first("Qgis.RasterColorInterpretation.AlphaBand", "QgsRaster.AlphaBand")
POLYGON_GEOMETRY = _first("Qgis.GeometryType.Polygon", "QgsWkbTypes.GeometryType.PolygonGeometry")
METRES = _first("Qgis.DistanceUnit.Meters", "QgsUnitTypes.DistanceUnit.DistanceMeters")
GPKG_ADD_LAYER = _first("QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer")
GPKG_NEW_FILE = _first("QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteFile")
POINT = _first("Qgis.WkbType.Point", "QgsWkbTypes.Type.Point")
MULTI_POINT = _first("Qgis.WkbType.MultiPoint", "QgsWkbTypes.Type.MultiPoint")
MULTI_POLYGON = _first("Qgis.WkbType.MultiPolygon", "QgsWkbTypes.Type.MultiPolygon")
WKT_PREFERRED = _first("Qgis.CrsWktVariant.Preferred", "QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED")
AVOID_NOTHING = _first(
    "Qgis.AvoidIntersectionsMode.AllowIntersections", "QgsProject.AvoidIntersectionsMode.AllowIntersections"
)
AVOID_IN_LAYER = _first(
    "Qgis.AvoidIntersectionsMode.AvoidIntersectionsCurrentLayer",
    "QgsProject.AvoidIntersectionsMode.AvoidIntersectionsCurrentLayer",
)
WRITER_NO_ERROR = _first("QgsVectorFileWriter.WriterError.NoError", "QgsVectorFileWriter.NoError")

SOURCE_POLYGON = _first("Qgis.ProcessingSourceType.VectorPolygon", "QgsProcessing.SourceType.TypeVectorPolygon")
SOURCE_VECTOR = _first("Qgis.ProcessingSourceType.VectorAnyGeometry", "QgsProcessing.SourceType.TypeVectorAnyGeometry")
SOURCE_RASTER = _first("Qgis.ProcessingSourceType.Raster", "QgsProcessing.SourceType.TypeRaster")
NUMBER_INTEGER = _first("Qgis.ProcessingNumberParameterType.Integer", "QgsProcessingParameterNumber.Type.Integer")
NUMBER_DOUBLE = _first("Qgis.ProcessingNumberParameterType.Double", "QgsProcessingParameterNumber.Type.Double")
FOLDERS = _first("Qgis.ProcessingFileParameterBehavior.Folder", "QgsProcessingParameterFile.Behavior.Folder")
PARAMETER_ADVANCED = _first(
    "Qgis.ProcessingParameterFlag.Advanced", "QgsProcessingParameterDefinition.Flag.FlagAdvanced"
)
POLYGON_LAYERS = _first("Qgis.LayerFilter.PolygonLayer", "QgsMapLayerProxyModel.PolygonLayer")
POINT_LAYERS = _first("Qgis.LayerFilter.PointLayer", "QgsMapLayerProxyModel.PointLayer")
RASTER_LAYERS = _first("Qgis.LayerFilter.RasterLayer", "QgsMapLayerProxyModel.RasterLayer")
VECTOR_LAYERS = _first("Qgis.LayerFilter.VectorLayer", "QgsMapLayerProxyModel.VectorLayer")
#: What can hold labels.
LABEL_LAYERS = POLYGON_LAYERS | POINT_LAYERS | RASTER_LAYERS
RASTER_HINT = _first("QgsProcessingUtils.LayerHint.Raster", "QgsProcessingUtils.Raster")
RASTER_TYPE = _first("Qgis.LayerType.Raster", "QgsMapLayerType.RasterLayer")
VECTOR_TYPE = _first("Qgis.LayerType.Vector", "QgsMapLayerType.VectorLayer")
AVOID_IN_LAYERS = _first(
    "Qgis.AvoidIntersectionsMode.AvoidIntersectionsLayers", "QgsProject.AvoidIntersectionsMode.AvoidIntersectionsLayers"
)
SNAP_IN_ACTIVE_LAYER = _first("Qgis.SnappingMode.ActiveLayer", "QgsSnappingConfig.SnappingMode.ActiveLayer")
SNAP_AS_LISTED = _first(
    "Qgis.SnappingMode.AdvancedConfiguration", "QgsSnappingConfig.SnappingMode.AdvancedConfiguration"
)
SNAP_TO_VERTEX = _first("Qgis.SnappingType.Vertex", "QgsSnappingConfig.VertexFlag")
SNAP_TO_SEGMENT = _first("Qgis.SnappingType.Segment", "QgsSnappingConfig.SegmentFlag")
PIXELS_ON_SCREEN = _first("Qgis.MapToolUnit.Pixels", "QgsTolerance.UnitType.Pixels")
FORM_SHOWN = _first("Qgis.AttributeFormSuppression.Off", "QgsEditFormConfig.SuppressOff")
FORM_SUPPRESSED = _first("Qgis.AttributeFormSuppression.On", "QgsEditFormConfig.SuppressOn")
POINT_GEOMETRY = _first("Qgis.GeometryType.Point", "QgsWkbTypes.GeometryType.PointGeometry")
STYLE_PARTS = [
    _first(f"QgsMapLayer.StyleCategory.{name}")
    for name in ("Symbology", "Labeling", "Fields", "Forms", "AttributeTable")
]
NO_GEOMETRY = _first(
    "Qgis.FeatureRequestFlag.NoGeometry", "QgsFeatureRequest.Flag.NoGeometry", "QgsFeatureRequest.NoGeometry"
)
TASK_CAN_CANCEL = _first("QgsTask.Flag.CanCancel", "QgsTask.CanCancel")

LEVEL_INFO = _first("Qgis.MessageLevel.Info", "Qgis.Info")
LEVEL_WARNING = _first("Qgis.MessageLevel.Warning", "Qgis.Warning")
LEVEL_CRITICAL = _first("Qgis.MessageLevel.Critical", "Qgis.Critical")
LEVEL_SUCCESS = _first("Qgis.MessageLevel.Success", "Qgis.Success")

# Qt 6 has it in QtGui, Qt 5 in QtWidgets.
UNDO_COMMAND = next(module.QUndoCommand for module in (QtGui, QtWidgets) if hasattr(module, "QUndoCommand"))


def enum_number(value: Any) -> int:
    """The number behind an enum member: an ``int`` of its own in Qt5, an ``Enum`` in Qt6."""
    return int(getattr(value, "value", value))
