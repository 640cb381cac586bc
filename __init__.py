"""Thematica: thematic maps and change maps from satellite and aerial images with deep learning.

This folder is the QGIS plugin and the Python package ``thematica`` at once.  Importing it costs
nothing and needs nothing: QGIS parts are imported when QGIS asks for the plugin, heavy parts when
the engine is used.
"""

__version__ = "0.1.0"


def classFactory(iface):  # noqa: N802 - QGIS calls it by this name
    """Return the plugin object; called by QGIS when it loads the plugin."""
    from .plugin.plugin import ThematicaPlugin

    return ThematicaPlugin(iface)
