"""Labelled patches whose threshold can be moved: the layer shows it at once, and the labels can be written anew.

The style of such a layer asks for the layer's variable :data:`VARIABLE`; the probabilities are in the table.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from qgis.core import NULL, QgsExpressionContextUtils, QgsFeatureRequest, QgsMapLayer, QgsVectorLayer

from ..errors import OutputError
from .compat import NO_GEOMETRY
from .results import report_of_layer

#: Layer variable that the style of labelled patches compares probabilities with.
VARIABLE = "thematica_threshold"
#: Between the labels of a patch in the column ``label``.
SEPARATOR = "; "
_LABEL_COLUMN = "label"
_PROBABILITY_PREFIX = "p_"
_USUAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class Label:
    """One label that patches may have.

    Args:
        name: what the analyst reads.
        color: ``#rrggbb``.
        column: number of the attribute that holds its probability.
    """

    name: str
    color: str
    column: int


def labels_of_layer(layer: QgsMapLayer | None) -> list[Label]:
    """The labels of a layer of patches with several labels each; empty for any other layer."""
    if not isinstance(layer, QgsVectorLayer):
        return []
    report = report_of_layer(layer)
    if report is None or report.get("task") != "patch-multilabel":
        return []
    fields = layer.fields()
    columns = [i for i in range(fields.count()) if fields.at(i).name().startswith(_PROBABILITY_PREFIX)]
    classes = report.get("classes", [])
    if len(columns) != len(classes) or fields.lookupField(_LABEL_COLUMN) < 0:
        return []
    # The columns stand in the order of the classes; their names are only what a table allows.
    return [Label(str(e["name"]), str(e.get("color") or ""), column) for e, column in zip(classes, columns)]


class PatchLabels:
    """The probabilities of a layer's patches, and what a threshold makes of them.

    Args:
        layer: one that :func:`labels_of_layer` knows.
    """

    def __init__(self, layer: QgsVectorLayer) -> None:
        self.layer = layer
        self.labels = labels_of_layer(layer)
        self._sorted: list[array[float]] = []
        self._best: array[float] = array("f")
        self.read()

    def read(self) -> None:
        """Read the probabilities, as they are on the screen; four bytes per patch and label are kept."""
        columns = [label.column for label in self.labels]
        values = [array("f") for _ in columns]
        best = array("f")
        for feature in self.layer.getFeatures(_columns(columns)):
            attributes = feature.attributes()
            row = [_probability(attributes[column]) for column in columns]
            for kept, value in zip(values, row):
                kept.append(value)
            best.append(max(row, default=-1.0))
        self._sorted = [array("f", sorted(column)) for column in values]
        self._best = array("f", sorted(best))

    @property
    def count(self) -> int:
        """Number of patches."""
        return len(self._best)

    def counts(self, threshold: float) -> list[int]:
        """How many patches have each label at a threshold (0 to 1)."""
        return [_at_least(column, threshold) for column in self._sorted]

    def without_label(self, threshold: float) -> int:
        """How many patches have no label at a threshold (0 to 1)."""
        return self.count - _at_least(self._best, threshold)

    def threshold(self) -> float:
        """The threshold that the layer shows."""
        value = QgsExpressionContextUtils.layerScope(self.layer).variable(VARIABLE)
        try:
            return min(max(float(value), 0.0), 1.0)
        except (TypeError, ValueError):
            return self.own_threshold()

    def own_threshold(self) -> float:
        """The threshold that the result was made with; the middle one where every label has its own."""
        given: Any = (report_of_layer(self.layer) or {}).get("threshold")
        if isinstance(given, list) and given:
            given = sorted(given)[len(given) // 2]
        return float(given) if isinstance(given, (int, float)) else _USUAL_THRESHOLD

    def show(self, threshold: float) -> None:
        """Let the layer show a threshold (0 to 1)."""
        QgsExpressionContextUtils.setLayerVariable(self.layer, VARIABLE, threshold)
        self.layer.triggerRepaint()

    def write(self, threshold: float) -> int:
        """Write the labels at a threshold into the column ``label``, in the layer's edit buffer: it can be undone.

        Returns:
            How many patches got another text.

        Raises:
            OutputError: the layer cannot be edited.
        """
        layer = self.layer
        if not layer.isEditable() and not layer.startEditing():
            raise OutputError(
                f"The layer “{layer.name()}” cannot be edited: its file may be read-only or in use; export the layer "
                "and write the labels into the copy."
            )
        target = layer.fields().lookupField(_LABEL_COLUMN)
        layer.beginEditCommand(f"Labels from {100 * threshold:g} %")
        changed = 0
        for feature in layer.getFeatures(_columns([target, *(label.column for label in self.labels)])):
            attributes = feature.attributes()
            old = attributes[target]
            text = SEPARATOR.join(
                label.name for label in self.labels if _reaches(_probability(attributes[label.column]), threshold)
            )
            if ("" if old is None or old == NULL else str(old)) != text:
                layer.changeAttributeValue(feature.id(), target, text, old)
                changed += 1
        layer.endEditCommand()
        return changed


def _columns(numbers: list[int]) -> QgsFeatureRequest:
    request = QgsFeatureRequest()
    request.setFlags(request.flags() | NO_GEOMETRY)
    request.setSubsetOfAttributes(numbers)
    return request


def _probability(value: Any) -> float:
    """A patch without data has no probability, and no label at any threshold."""
    return value if isinstance(value, float) and math.isfinite(value) else -1.0


# Single precision keeps 0.7 as a little less: a probability that the table shows as 0.7 must reach 0.7.
_ROUNDING = 1e-6


def _reaches(probability: float, threshold: float) -> bool:
    return probability >= threshold - _ROUNDING and probability >= 0


def _at_least(ordered: array[float], threshold: float) -> int:
    return len(ordered) - bisect_left(ordered, max(threshold - _ROUNDING, 0.0))
