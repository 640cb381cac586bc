"""From a row of the Labels dock to the map: going to polygons, selecting them, giving them a class, drawing more."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qgis.core import QgsFeatureRequest, QgsVectorLayer
from qgis.PyQt.QtCore import QObject

from ..plugin.compat import NO_GEOMETRY

#: What is around a single polygon tells whether its class is right.
_TIMES_AROUND = 2.5


class LabelNavigator(QObject):
    """Acts on the features of the label layer that the dock shows.

    Args:
        iface: QGIS's interface.
        parent: the Qt parent.
    """

    def __init__(self, iface: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._iface = iface
        #: The label layer that is shown, or None.
        self.label_layer: Any = None

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer behind it."""
        return self.label_layer.layer if self.label_layer is not None else None

    def features_of(self, codes: Collection[int]) -> list[int]:
        """The ids of the features of some classes, unsaved ones too."""
        layer = self.layer
        if layer is None:
            return []
        request = QgsFeatureRequest()
        request.setFlags(NO_GEOMETRY)
        request.setSubsetOfAttributes([layer.fields().lookupField(self.label_layer.class_field)])
        return [
            feature.id() for feature in layer.getFeatures(request) if self.label_layer.code_of_feature(feature) in codes
        ]

    def go_to(self, features: Collection[int]) -> bool:
        """Show some features and let them flash; False where there is nothing to show."""
        layer, canvas = self.layer, self._iface.mapCanvas()
        there = self._there(features)
        if layer is None or not there:
            return False
        canvas.zoomToFeatureIds(layer, there)
        if len(there) == 1:
            canvas.zoomByFactor(_TIMES_AROUND)
        canvas.flashFeatureIds(layer, there)
        return True

    def select(self, features: Collection[int]) -> None:
        """Select these features and no others."""
        if self.layer is not None:
            self.layer.selectByIds(self._there(features))

    def selected(self) -> list[int]:
        """The features that are selected in the layer."""
        return list(self.layer.selectedFeatureIds()) if self.layer is not None else []

    def assign(self, features: Collection[int], code: int) -> None:
        """Give features a class; undo takes it back in one step.

        Raises:
            ThematicaError: the layer cannot be edited.
        """
        if self.label_layer is not None:
            self.label_layer.assign(self._there(features), code)

    def draw(self) -> bool:
        """Start QGIS's own tool that adds a feature; False where the layer cannot be edited."""
        layer = self.layer
        if layer is None:
            return False
        self._iface.setActiveLayer(layer)
        if not layer.isEditable() and not layer.startEditing():
            return False
        self._iface.actionAddFeature().trigger()
        return True

    def _there(self, features: Collection[int]) -> list[int]:
        """Those of the features that are still there: figures may be older than the last edit."""
        if self.layer is None:
            return []
        request = QgsFeatureRequest()
        request.setFlags(NO_GEOMETRY)
        request.setNoAttributes()
        request.setFilterFids(list(features))
        return [feature.id() for feature in self.layer.getFeatures(request)]
