"""Small squares of a class's colour, outlined so that white is seen on white."""

from __future__ import annotations

from collections.abc import Iterable

from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QColor, QIcon, QPainter, QPixmap, QTextDocument

WIDTH, HEIGHT = 20, 13


def swatch_pixmap(color: str) -> QPixmap:
    """The square for ``#rrggbb``."""
    pixmap = QPixmap(WIDTH, HEIGHT)
    pixmap.fill(QColor(color))
    painter = QPainter(pixmap)
    painter.setPen(QColor("#808080"))
    painter.drawRect(0, 0, WIDTH - 1, HEIGHT - 1)
    painter.end()
    return pixmap


def swatch_icon(color: str) -> QIcon:
    """The square as an icon that keeps its colour in a row that is selected."""
    icon = QIcon(swatch_pixmap(color))
    icon.addPixmap(swatch_pixmap(color), QIcon.Mode.Selected)
    return icon


def swatch_html(color: str) -> str:
    """The image tag for a document that :func:`add_swatches` was called on."""
    return f'<img src="{_name(color)}" width="{WIDTH}" height="{HEIGHT}">'


def add_swatches(document: QTextDocument, colors: Iterable[str]) -> None:
    """Make the squares known to a rich text document; call it before the text is set."""
    for color in colors:
        document.addResource(QTextDocument.ResourceType.ImageResource, QUrl(_name(color)), swatch_pixmap(color))


def _name(color: str) -> str:
    return f"swatch:{QColor(color).name()[1:]}"
