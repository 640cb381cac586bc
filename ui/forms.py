"""Loading .ui files; they serve Qt 5 and Qt 6 alike because nothing is compiled."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt import uic
from qgis.PyQt.QtWidgets import QWidget

FOLDER = Path(__file__).resolve().parent


def load_form(widget: QWidget, name: str) -> None:
    """Fill ``widget`` with the form ``<name>.ui``; its widgets become attributes of ``widget``.

    Our own widgets stand in the forms with a header like ``.band_table``: the package is given here,
    because the plugin's folder may have any name.
    """
    uic.loadUi(str(FOLDER / f"{name}.ui"), widget, package=__package__)
