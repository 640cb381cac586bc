"""QGIS's settings for drawing polygons that share borders and do not overlap: switched on, and told."""

from __future__ import annotations

from qgis.core import QgsProject, QgsSnappingConfig, QgsVectorLayer, QgsWkbTypes

from ..compat import (
    AVOID_IN_LAYER,
    AVOID_IN_LAYERS,
    AVOID_NOTHING,
    PIXELS_ON_SCREEN,
    POLYGON_GEOMETRY,
    SNAP_AS_LISTED,
    SNAP_IN_ACTIVE_LAYER,
    SNAP_TO_SEGMENT,
    SNAP_TO_VERTEX,
)

_TOLERANCE = 12.0


def prepare_drawing(layer: QgsVectorLayer, project: QgsProject | None = None) -> str:
    """Switch on snapping, topological editing and the avoiding of overlaps, where they are off.

    What the analyst had set up stays as it is; nothing is switched off again later.

    Args:
        layer: a label layer of the project.
        project: the current one where None.

    Returns:
        One sentence that says what was switched on, and where it is switched off; empty where nothing was.
    """
    project = project or QgsProject.instance()
    if QgsWkbTypes.geometryType(layer.wkbType()) != POLYGON_GEOMETRY:
        return ""
    done = []
    if _snap(layer, project):
        done.append("snapping to the borders of the label layer")
    if not project.topologicalEditing():
        project.setTopologicalEditing(True)
        done.append("topological editing")
    if _avoid_overlaps(layer, project):
        done.append("the cutting of new polygons where they would overlap others")
    if not done:
        return ""
    what = done[0] if len(done) == 1 else f"{', '.join(done[:-1])} and {done[-1]}"
    return f"Switched on for drawing: {what}. The snapping toolbar switches them off."


def _snap(layer: QgsVectorLayer, project: QgsProject) -> bool:
    config = project.snappingConfig()
    if config.enabled() and config.mode() != SNAP_AS_LISTED:
        return False  # on for the active layer, or for all
    types = SNAP_TO_VERTEX | SNAP_TO_SEGMENT
    if config.mode() == SNAP_AS_LISTED and (config.enabled() or _any_listed(config)):
        settings = config.individualLayerSettings(layer)
        if config.enabled() and settings.valid() and settings.enabled():
            return False
        config.setIndividualLayerSettings(
            layer, QgsSnappingConfig.IndividualLayerSettings(True, types, _TOLERANCE, PIXELS_ON_SCREEN)
        )
    else:
        config.setMode(SNAP_IN_ACTIVE_LAYER)
        config.setTypeFlag(types)
        config.setTolerance(_TOLERANCE)
        config.setUnits(PIXELS_ON_SCREEN)
    config.setEnabled(True)
    project.setSnappingConfig(config)
    return True


def _any_listed(config: QgsSnappingConfig) -> bool:
    return any(settings.enabled() for settings in config.individualLayerSettings().values())


def _avoid_overlaps(layer: QgsVectorLayer, project: QgsProject) -> bool:
    mode = project.avoidIntersectionsMode()
    if mode == AVOID_NOTHING:
        # Not by a list of layers: polygons of any layer would be cut by the labels then.
        project.setAvoidIntersectionsMode(AVOID_IN_LAYER)
        return True
    if mode == AVOID_IN_LAYERS and layer not in project.avoidIntersectionsLayers():
        project.setAvoidIntersectionsLayers([*project.avoidIntersectionsLayers(), layer])
        return True
    return False
