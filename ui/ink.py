"""What plots are drawn with: the theme's own text and ground, and colours that are seen on either."""

from __future__ import annotations

from qgis.PyQt.QtGui import QColor, QPalette

_LEAST_CONTRAST = 90  # of 255 steps of lightness


def is_dark(palette: QPalette) -> bool:
    """Whether the theme writes light on dark."""
    return palette.color(QPalette.ColorRole.Base).lightness() < 128


def ink(palette: QPalette) -> QColor:
    """The palette's text, or what can be read where a theme (QGIS's Night Mapping) colours by style sheet only."""
    text, ground = (palette.color(role) for role in (QPalette.ColorRole.Text, QPalette.ColorRole.Base))
    if abs(text.lightness() - ground.lightness()) >= _LEAST_CONTRAST:
        return text
    return QColor("#dddddd" if is_dark(palette) else "#222222")


def faint(color: QColor, alpha: int = 130) -> QColor:
    """The colour, half as strong."""
    paler = QColor(color)
    paler.setAlpha(alpha)
    return paler
