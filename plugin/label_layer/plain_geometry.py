"""Geometries as the worker and a label layer take them."""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsWkbTypes

from ..compat import POLYGON_GEOMETRY


def plain_geometry(geometry: QgsGeometry) -> QgsGeometry:
    """The geometry without curves, Z and M; an empty one for none."""
    if geometry.isNull() or geometry.isEmpty():
        return QgsGeometry()
    plain = QgsGeometry(geometry.constGet().segmentize())
    plain.get().dropZValue()
    plain.get().dropMValue()
    return plain


def repaired(geometry: QgsGeometry) -> QgsGeometry:
    """A valid polygon that covers the same, without lines and points that fall off; empty where nothing is left."""
    if QgsWkbTypes.geometryType(geometry.wkbType()) != POLYGON_GEOMETRY or geometry.isGeosValid():
        return geometry
    parts = [
        part
        for part in geometry.makeValid().asGeometryCollection()
        if QgsWkbTypes.geometryType(part.wkbType()) == POLYGON_GEOMETRY
    ]
    return QgsGeometry.unaryUnion(parts) if parts else QgsGeometry()
