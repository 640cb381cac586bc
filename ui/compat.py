"""The QGIS names that only the dialogs need and that moved between 3.22 and 4.x."""

from __future__ import annotations

from qgis import core

if hasattr(core.Qgis, "LayerFilter"):
    POLYGON_LAYERS = core.Qgis.LayerFilter.PolygonLayer
    RASTER_LAYERS = core.Qgis.LayerFilter.RasterLayer
else:
    POLYGON_LAYERS = core.QgsMapLayerProxyModel.PolygonLayer
    RASTER_LAYERS = core.QgsMapLayerProxyModel.RasterLayer

RASTER_TYPE = core.Qgis.LayerType.Raster if hasattr(core.Qgis, "LayerType") else core.QgsMapLayerType.RasterLayer
