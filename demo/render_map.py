"""Draw scene and thematic map side by side with QGIS's print layout; run by QGIS's own Python.

Usage: render_map.py PICTURE.json, which ``run.py`` writes.  The layers are styled by the files beside them,
as QGIS's window would: the picture shows what an analyst sees.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFillSymbol,
    QgsLayoutExporter,
    QgsLayoutItem,
    QgsLayoutItemLabel,
    QgsLayoutItemMap,
    QgsLayoutItemPicture,
    QgsLayoutItemScaleBar,
    QgsLayoutItemShape,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsMultiBandColorRenderer,
    QgsPalettedRasterRenderer,
    QgsPrintLayout,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsScaleBarSettings,
    QgsTextFormat,
)
from qgis.PyQt.QtCore import QRectF, Qt
from qgis.PyQt.QtGui import QColor, QFont

# All lengths are millimetres on the page.
MARGIN = 9.0
GAP = 5.0
CELL = 96.0
PANEL = 92.0
HEADER = 25.0
CAPTION = 7.0
DPI = 150

INK = QColor("#1d2a33")
FAINT = QColor("#5d6b75")
PAPER = QColor("#ffffff")
EMPTY = "#b3bec7"  # unlike any class's colour, clouds and snow above all


class Sheet:
    """A page onto which items are put at millimetres from its upper left corner."""

    def __init__(self, project: QgsProject) -> None:
        self.layout = QgsPrintLayout(project)
        self.layout.initializeDefaults()

    def resize(self, width: float, height: float) -> None:
        """Set the page's size."""
        page = self.layout.pageCollection().page(0)
        page.setPageSize(QgsLayoutSize(width, height))

    def put(self, item: QgsLayoutItem, left: float, top: float, width: float, height: float) -> None:
        """Add an item at its place."""
        self.layout.addLayoutItem(item)
        item.attemptMove(QgsLayoutPoint(left, top))
        item.attemptResize(QgsLayoutSize(width, height))

    def text(
        self,
        text: str,
        left: float,
        top: float,
        width: float,
        height: float = 6.0,
        size: float = 9.0,
        bold: bool = False,
        color: QColor = INK,
        right: bool = False,
    ) -> None:
        """Write text; ``size`` in points."""
        label = QgsLayoutItemLabel(self.layout)
        label.setText(text)
        label.setMarginX(0)
        label.setMarginY(0)
        font = QFont("DejaVu Sans")
        font.setPointSizeF(size)
        font.setBold(bold)
        if hasattr(label, "setTextFormat"):  # QGIS 3.24 and newer
            label.setTextFormat(text_format(font, size, color))
        else:
            label.setFont(font)
            label.setFontColor(color)
        label.setHAlign(Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft)
        label.setVAlign(Qt.AlignmentFlag.AlignVCenter)
        self.put(label, left, top, width, height)

    def box(self, left: float, top: float, width: float, height: float, fill: str, line: str = "") -> None:
        """Draw a filled rectangle."""
        shape = QgsLayoutItemShape(self.layout)
        shape.setShapeType(QgsLayoutItemShape.Shape.Rectangle)
        style = {"outline_color": line, "outline_width": "0.2"} if line else {"outline_style": "no"}
        shape.setSymbol(QgsFillSymbol.createSimple({"color": fill, **style}))
        self.put(shape, left, top, width, height)

    def map(self, layer: QgsRasterLayer, crs: Any, extent: QgsRectangle, *place: float) -> QgsLayoutItemMap:
        """Show one layer; ``place`` is left, top, width, height."""
        item = QgsLayoutItemMap(self.layout)
        item.setRect(QRectF(0, 0, place[2], place[3]))
        if crs.isValid():
            item.setCrs(crs)
        item.setLayers([layer])
        item.setKeepLayerSet(True)
        item.setBackgroundColor(QColor(EMPTY))
        item.setFrameEnabled(True)
        item.setFrameStrokeColor(QColor("#9aa5ad"))
        self.put(item, *place)
        item.zoomToExtent(extent)
        return item


def text_format(font: QFont, size: float, color: QColor) -> QgsTextFormat:
    """A text format in points."""
    form = QgsTextFormat()
    form.setFont(font)
    form.setSize(size)
    form.setColor(color)
    return form


def open_raster(path: str, name: str) -> QgsRasterLayer:
    """Open a raster with the style beside it, or end."""
    layer = QgsRasterLayer(path, name)
    if not layer.isValid():
        raise SystemExit(f"QGIS cannot open {path}")
    return layer


def show_true_colour(layer: QgsRasterLayer, bands: list[int], limits: list[tuple[float, float]]) -> None:
    """Style a scene as true colour, each band stretched between its limits."""
    provider = layer.dataProvider()
    renderer = QgsMultiBandColorRenderer(provider, *bands)
    setters = (renderer.setRedContrastEnhancement, renderer.setGreenContrastEnhancement)
    for band, (low, high), give in zip(bands, limits, (*setters, renderer.setBlueContrastEnhancement), strict=True):
        stretch = QgsContrastEnhancement(provider.dataType(band))
        stretch.setMinimumValue(low)
        stretch.setMaximumValue(high)
        algorithm = QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
        stretch.setContrastEnhancementAlgorithm(algorithm)
        give(stretch)
    layer.setRenderer(renderer)
    # Forest and water are dark beside roofs and clouds.
    layer.brightnessFilter().setGamma(1.4)


def local_crs(layer: QgsRasterLayer) -> Any:
    """The layer's own CRS, or UTM where that counts in degrees: a map needs metres for its scale bar."""
    crs = layer.crs()
    if not crs.isValid() or not crs.isGeographic():
        return crs
    centre = layer.extent().center()
    zone = min(int((centre.x() + 180) // 6) + 1, 60)
    return QgsCoordinateReferenceSystem(f"EPSG:{(32600 if centre.y() >= 0 else 32700) + zone}")


def extent_in(layer: QgsRasterLayer, crs: Any, project: QgsProject) -> QgsRectangle:
    """The layer's extent in another CRS."""
    if not crs.isValid() or crs == layer.crs():
        return layer.extent()
    return QgsCoordinateTransform(layer.crs(), crs, project).transformBoundingBox(layer.extent())


def draw_legend(sheet: Sheet, dates: list[dict[str, Any]], layer: QgsRasterLayer, left: float, top: float) -> float:
    """Draw the legend with hectares; return where it ends."""
    renderer = layer.renderer()
    if not isinstance(renderer, QgsPalettedRasterRenderer):
        raise SystemExit("The map came without its style: QGIS shows it in grey.")
    column = 21.0
    columns = [left + PANEL - column * (len(dates) - index) for index in range(len(dates))]
    sheet.text("Legend", left, top, PANEL, size=12, bold=True)
    top += 8
    for date, place in zip(dates, columns, strict=True):
        if len(dates) > 1:
            sheet.text(date["label"], place - 1, top - 4.5, column + 1, size=8, bold=True, right=True)
        sheet.text("hectares", place, top, column, size=7, color=FAINT, right=True)
    top += 6
    hectares = [{row["value"]: row["hectares"] for row in date["report"]["classes"]} for date in dates]
    for entry in renderer.classes():
        if int(entry.value) not in hectares[0]:
            continue  # codes for missing data, which have no area
        sheet.box(left, top + 1, 6.5, 4.4, entry.color.name(), "#7d8890")
        sheet.text(entry.label, left + 9, top + 0.2, PANEL - 9 - column * len(dates), size=9)
        for areas, place in zip(hectares, columns, strict=True):
            sheet.text(f"{areas[int(entry.value)]:,.1f}", place, top + 0.2, column, size=9, right=True)
        top += 6.9
    sheet.box(left, top + 1, 6.5, 4.4, EMPTY, "#7d8890")
    sheet.text("No data", left + 9, top + 0.2, 40, size=9, color=FAINT)
    return top + 9


def draw_compass(sheet: Sheet, map_item: QgsLayoutItemMap, left: float, top: float) -> None:
    """Draw scale bar and north arrow."""
    bar = QgsLayoutItemScaleBar(sheet.layout)
    bar.setLinkedMap(map_item)
    bar.applyDefaultSize()
    bar.setStyle("Single Box")
    bar.setNumberOfSegments(2)
    # A round number of metres that is wide enough for its figures.
    bar.setSegmentSizeMode(QgsScaleBarSettings.SegmentSizeMode.SegmentSizeFitWidth)
    bar.setMinimumBarWidth(36)
    bar.setMaximumBarWidth(52)
    font = QFont("DejaVu Sans")
    bar.setTextFormat(text_format(font, 8, INK))
    bar.setHeight(2.2)
    bar.setNumberOfSegmentsLeft(0)
    bar.update()
    sheet.put(bar, left, top, PANEL - 18, 12)
    arrow = Path(QgsApplication.pkgDataPath()) / "svg" / "arrows" / "NorthArrow_02.svg"
    if arrow.is_file():
        picture = QgsLayoutItemPicture(sheet.layout)
        picture.setPicturePath(str(arrow))
        picture.setSvgFillColor(INK)
        sheet.put(picture, left + PANEL - 14, top - 2, 14, 15)


def draw(spec: dict[str, Any]) -> None:
    """Draw the page that the description asks for and save it as a picture."""
    project = QgsProject.instance()
    dates = spec["dates"]
    scenes = [open_raster(date["scene"], f"{date['label']}, true colour") for date in dates]
    maps = [open_raster(date["map"], date["label"]) for date in dates]
    project.addMapLayers([*scenes, *maps])
    crs = local_crs(scenes[0])
    if crs.isValid():
        project.setCrs(crs)
        project.setEllipsoid(crs.ellipsoidAcronym() or "EPSG:7030")
    # One stretch for all dates: otherwise the same field changes its colour with the clouds.  It leaves out the
    # brightest pixels, because snow, clouds and roofs would leave the land in the dark.
    limits = [scenes[0].dataProvider().cumulativeCut(band, 0.01, 0.92) for band in dates[0]["rgb"]]
    for scene, date in zip(scenes, dates, strict=True):
        show_true_colour(scene, date["rgb"], limits)

    extent = extent_in(scenes[0], crs, project)
    height = CELL * min(max(extent.height() / extent.width(), 0.5), 1.6)
    row = height + CAPTION
    panel = 14 + 6.9 * len(dates[0]["report"]["classes"]) + 9 + 24 + 5.5 * len(spec["notes"])
    body = max(row * len(dates) + GAP * (len(dates) - 1), panel)
    sheet = Sheet(project)
    right = MARGIN + 2 * CELL + GAP + 9
    sheet.resize(right + PANEL + MARGIN, HEADER + body + MARGIN)
    sheet.text(spec["title"], MARGIN, 6, 200, 10, size=18, bold=True)
    sheet.text(spec["subtitle"], MARGIN, 16, right + PANEL - MARGIN, 6, size=9, color=FAINT)
    linked = None
    for index, date in enumerate(dates):
        top = HEADER + index * (row + GAP)
        for place, layer, what in ((0, scenes[index], "true colour"), (1, maps[index], "thematic map")):
            left = MARGIN + place * (CELL + GAP)
            sheet.text(f"{date['label']}, {what}", left, top, CELL, CAPTION - 1, size=9, bold=True)
            linked = sheet.map(layer, crs, extent, left, top + CAPTION, CELL, height)
    end = draw_legend(sheet, dates, maps[0], right, HEADER)
    if crs.isValid():
        draw_compass(sheet, linked, right, end + 4)
        end += 24
    for note in spec["notes"]:
        sheet.text(note, right, end, PANEL, 5, size=7, color=FAINT)
        end += 5.5

    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = DPI
    outcome = QgsLayoutExporter(sheet.layout).exportToImage(spec["picture"], settings)
    if outcome != QgsLayoutExporter.ExportResult.Success:
        raise SystemExit(f"QGIS could not write {spec['picture']}")


def main() -> None:
    """Start QGIS without a window, draw, end."""
    application = QgsApplication([], True)
    application.initQgis()
    draw(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    QgsProject.instance().clear()
    application.exitQgis()


if __name__ == "__main__":
    main()
