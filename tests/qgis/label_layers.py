"""What tests of label layers share: classes, squares, layers in GeoPackages."""

from __future__ import annotations

from qgis.core import QgsCoordinateReferenceSystem, QgsFeature, QgsGeometry, QgsVectorLayer, QgsVectorLayerUtils

from thematica.models.label_classes import LabelClass
from thematica.plugin.label_layer import LabelLayer, create_label_layer


def utm():
    """Made when it is asked for: the application must be there first."""
    return QgsCoordinateReferenceSystem("EPSG:32633")


CLASSES = [
    LabelClass(1, "Water", "#2c6fbb"),
    LabelClass(2, "Forest", "#2e8b3d", "Vegetation"),
    LabelClass(7, "Grünland, „nass“", "#aacc44", "Vegetation"),
]


def square(left, bottom=0.0, side=10.0):
    return QgsGeometry.fromWkt(
        f"Polygon(({left} {bottom},{left + side} {bottom},{left + side} {bottom + side},{left} {bottom + side},"
        f"{left} {bottom}))"
    )


def make_layer(path, classes=CLASSES, name="labels", **more) -> QgsVectorLayer:
    return create_label_layer(path, name, utm(), classes, **more)


def draw(layer, left, code=None):
    """Add a square as QGIS's tool does: with the layer's defaults, as one step."""
    layer.beginEditCommand("Add feature")
    geometry = square(left).coerceToType(layer.wkbType())[0]
    given = {} if code is None else {layer.fields().lookupField(LabelLayer.of(layer).class_field): code}
    feature = QgsVectorLayerUtils.createFeature(layer, geometry, given, layer.createExpressionContext())
    assert layer.addFeature(feature)
    layer.endEditCommand()
    return feature


def codes_on_screen(layer):
    """Left edge → code of all features."""
    number = layer.fields().lookupField("class")
    return {round(f.geometry().boundingBox().xMinimum()): f.attributes()[number] for f in layer.getFeatures()}


def reopened(layer) -> QgsVectorLayer:
    """The same table, as another project would open it."""
    return QgsVectorLayer(layer.source(), "again", "ogr")


def feature_of(layer, wkt, values) -> QgsFeature:
    feature = QgsFeature(layer.fields())
    feature.setAttributes(values)
    feature.setGeometry(QgsGeometry.fromWkt(wkt))
    return feature
