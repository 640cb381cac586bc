"""A polygon becomes a feature of a label layer: with its class and the layer's defaults, in one undo step.

QGIS's own digitizing does this for what is drawn by hand; a polygon that a tool makes must be treated the same:
overlaps avoided and shared borders kept where the project says so.
"""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeatureRequest,
    QgsGeometry,
    QgsPoint,
    QgsPointXY,
    QgsProject,
    QgsVectorLayer,
    QgsVectorLayerUtils,
    QgsWkbTypes,
)

from ..errors import InputError, OutputError
from .compat import AVOID_IN_LAYER, AVOID_NOTHING, POLYGON_GEOMETRY

#: Vertices that get a twin in a neighbour's border: each costs a search in the layer.
_MOST_SHARED_VERTICES = 300


def add_label(
    labels: Any,
    polygon: QgsGeometry,
    crs: QgsCoordinateReferenceSystem,
    code: int,
    inside: QgsPointXY | None = None,
    text: str = "Add polygon",
) -> int:
    """Add a polygon to a label layer; starts editing it where that is not so yet.

    Args:
        labels: the label layer (:class:`.label_layer.LabelLayer`).
        polygon: what is added.
        crs: of the polygon.
        code: of its class.
        inside: a place in the polygon, in its CRS: of the parts that neighbours leave, the one around it is taken.
        text: what the undo step is called.

    Returns:
        The feature's number.

    Raises:
        InputError: the layer takes no polygons, there is no such class, or nothing is left between the neighbours.
        OutputError: the layer cannot be edited.
    """
    layer = labels.layer
    if QgsWkbTypes.geometryType(layer.wkbType()) != POLYGON_GEOMETRY:
        raise InputError(f"The label layer “{layer.name()}” has no polygons: choose a layer of polygons.")
    values = labels.values_of(code)
    if not values:
        raise InputError("Choose the class of the polygon first, in the Labels dock.")
    geometry, place = QgsGeometry(polygon), QgsGeometry.fromPointXY(inside) if inside is not None else None
    for shape in (geometry, place):
        if shape is not None:
            _transform(shape, crs, layer)
    if not geometry.isGeosValid():
        geometry = geometry.makeValid()
    neighbours = _neighbours(layer, geometry)
    if neighbours is not None:
        geometry = geometry.difference(neighbours)
    geometry = _one_part(geometry, place)
    if geometry is None:
        raise InputError("Nothing of the polygon is left between its neighbours, which it must not overlap.")
    if QgsWkbTypes.isMultiType(layer.wkbType()):
        geometry.convertToMultiType()
    if not layer.isEditable() and not layer.startEditing():
        raise OutputError(
            f"The layer “{layer.name()}” cannot be edited: its file may be read-only or in use; export the layer and "
            "work on the copy."
        )
    field = layer.fields().lookupField(labels.class_field)
    feature = QgsVectorLayerUtils.createFeature(layer, geometry, {field: values[0]}, layer.createExpressionContext())
    layer.beginEditCommand(text)
    if not layer.addFeature(feature):
        layer.destroyEditCommand()
        raise OutputError(f"The layer “{layer.name()}” does not take the polygon: see the log of QGIS.")
    if QgsProject.instance().topologicalEditing():
        for vertex in _shared_vertices(geometry, neighbours):
            layer.addTopologicalPoints(vertex)
    layer.endEditCommand()
    layer.triggerRepaint()
    return feature.id()


def _transform(geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem, layer: QgsVectorLayer) -> None:
    if not crs.isValid() or not layer.crs().isValid() or crs == layer.crs():
        return
    try:
        geometry.transform(QgsCoordinateTransform(crs, layer.crs(), QgsProject.instance().transformContext()))
    except QgsCsException as error:
        raise InputError(
            f"The polygon cannot be brought into the CRS of the layer “{layer.name()}”: label nearer to where that CRS "
            "is valid.",
            str(error),
        ) from error


def _neighbours(layer: QgsVectorLayer, geometry: QgsGeometry) -> QgsGeometry | None:
    """What the project says the polygon must not overlap, in one geometry of the layer's CRS; None: nothing."""
    project = QgsProject.instance()
    mode = project.avoidIntersectionsMode()
    if mode == AVOID_NOTHING:
        return None
    layers = [layer] if mode == AVOID_IN_LAYER else project.avoidIntersectionsLayers()
    request = QgsFeatureRequest().setNoAttributes()
    request.setDestinationCrs(layer.crs(), project.transformContext())
    request.setFilterRect(geometry.boundingBox())
    found = []
    for other in layers:
        for feature in other.getFeatures(request):
            shape = feature.geometry()
            found.append(shape if shape.isGeosValid() else shape.makeValid())
    return QgsGeometry.unaryUnion(found) if found else None


def _one_part(geometry: QgsGeometry, place: QgsGeometry | None) -> QgsGeometry | None:
    """The polygon around a place, or the largest; None where there is none."""
    parts = [
        part
        for part in geometry.asGeometryCollection()
        if part.type() == POLYGON_GEOMETRY and not part.isEmpty() and part.area() > 0
    ]
    if not parts:
        return None
    around = [part for part in parts if place is not None and part.intersects(place)]
    return QgsGeometry((around or sorted(parts, key=lambda part: -part.area()))[0])


def _shared_vertices(geometry: QgsGeometry, neighbours: QgsGeometry | None) -> list[QgsPoint]:
    """The polygon's vertices that lie on its neighbours' borders."""
    if neighbours is None or neighbours.isEmpty():
        return []
    border = QgsGeometry(neighbours.constGet().boundary())
    engine = QgsGeometry.createGeometryEngine(border.constGet())
    engine.prepareGeometry()
    near = 1e-9 * max(map(abs, geometry.boundingBox().toRectF().getCoords()))
    shared = [vertex for vertex in geometry.vertices() if engine.distance(vertex) <= near]
    return shared[:_MOST_SHARED_VERTICES]
