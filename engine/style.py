"""QGIS styles (``.qml``) that lie beside a result, so that it opens with its colours and legend.

QGIS loads ``map.qml`` with ``map.tif`` by itself.  Only elements that QGIS 3.22 to 4 all read are written.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from .pam import ClassRow, rows_of_map, write_beside, xml_text

# Cividis at ten equal steps: even in lightness, and the same to readers with and without a colour vision
# deficiency.  Nuñez, Anderton and Renslow (2018), PLOS ONE 13(7): e0199239, doi:10.1371/journal.pone.0199239
CIVIDIS = (
    "#00224e",
    "#123570",
    "#3b496c",
    "#575d6d",
    "#707173",
    "#8a8678",
    "#a59c74",
    "#c3b369",
    "#e1cc55",
    "#fee838",
)


def thematic_style(classes: Sequence[ClassRow], nodata: int, unclassified: int | None) -> str:
    """The style of a thematic raster: every class with its colour and name; nodata stays transparent.

    Args:
        classes: the classes of the map; see :func:`.pam.rows_of_map`.
        nodata: code of pixels without data.
        unclassified: code of pixels under the model's threshold, or None where the model has none.

    Returns:
        A QML document.
    """
    root, renderer = _document("paletted")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for row in rows_of_map(classes, nodata, unclassified):
        ElementTree.SubElement(
            palette, "paletteEntry", value=str(row.value), label=xml_text(row.name), color=row.color, alpha="255"
        )
    return _text(root)


def score_style(name: str, minimum: float, maximum: float) -> str:
    """The style of a raster of scores (confidence, entropy, margin): a continuous ramp with its legend.

    Args:
        name: what the score is, for the legend.
        minimum: the value that gets the ramp's first colour.
        maximum: the value that gets its last colour; more than ``minimum``.

    Returns:
        A QML document.
    """
    if not minimum < maximum:
        raise ValueError(f"a colour ramp needs minimum < maximum, not {minimum} and {maximum}")
    root, renderer = _document(
        "singlebandpseudocolor", classificationMin=repr(float(minimum)), classificationMax=repr(float(maximum))
    )
    shader = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=repr(float(minimum)),
        maximumValue=repr(float(maximum)),
        labelPrecision="3",
    )
    steps = len(CIVIDIS) - 1
    ramp = ElementTree.SubElement(
        ElementTree.SubElement(shader, "colorramp", type="gradient", name="[source]"), "Option", type="Map"
    )
    stops = ":".join(f"{index / steps:.6g};{_rgba(CIVIDIS[index])}" for index in range(1, steps))
    for key, value in (
        ("color1", _rgba(CIVIDIS[0])),
        ("color2", _rgba(CIVIDIS[-1])),
        ("discrete", "0"),
        ("rampType", "gradient"),
        ("stops", stops),
    ):
        ElementTree.SubElement(ramp, "Option", type="QString", name=key, value=value)
    for index, color in enumerate(CIVIDIS):
        anchor = minimum + (maximum - minimum) * index / steps
        ElementTree.SubElement(
            shader, "item", value=repr(float(anchor)), label=f"{anchor:.3g}", color=color, alpha="255"
        )
    ElementTree.SubElement(
        shader,
        "rampLegendSettings",
        useContinuousLegend="1",
        orientation="2",
        direction="0",
        minimumLabel=f"{minimum:.3g} (low {xml_text(name)})",
        maximumLabel=f"{maximum:.3g} (high {xml_text(name)})",
        prefix="",
        suffix="",
    )
    return _text(root)


def write_style(raster: Path, text: str) -> Path:
    """Write a style as the default style of a raster (``map.tif`` → ``map.qml``).

    Returns:
        The path of the style.

    Raises:
        OutputError: it cannot be written.
    """
    return write_beside(raster.with_suffix(".qml"), text)


def _document(renderer_type: str, **attributes: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The document and its renderer's element."""
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="AllStyleCategories")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", {"type": renderer_type, "band": "1", "opacity": "1", "alphaBand": "-1", **attributes}
    )
    # The values are ours, exact and final: no stretching to the canvas.
    origin = ElementTree.SubElement(renderer, "minMaxOrigin")
    for key, value in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Exact")):
        ElementTree.SubElement(origin, key).text = value
    # Class codes must never be averaged, and a score should be read as it is.
    ElementTree.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ElementTree.SubElement(root, "blendMode").text = "0"
    return root, renderer


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + ElementTree.tostring(root, encoding="unicode") + "\n"


def _rgba(color: str) -> str:
    return ",".join(str(int(color[start : start + 2], 16)) for start in (1, 3, 5)) + ",255"
