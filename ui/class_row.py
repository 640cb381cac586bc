"""How one class is drawn in the list of classes: two lines that stay readable in a narrow dock."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.PyQt.QtCore import QLocale, QModelIndex, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPalette, QPen, QTextOption
from qgis.PyQt.QtWidgets import QApplication, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from ..models.label_classes import LabelClass

#: Where the list keeps a row's :class:`ClassRow`, and whether it is the current one.
ROW, CURRENT = Qt.ItemDataRole.UserRole + 1, Qt.ItemDataRole.UserRole + 2

_GAP = 6
_BAR = 3
_LEAST_MACRO = 50


@dataclass(frozen=True)
class ClassRow:
    """What a row tells.

    Args:
        entry: the class.
        key: the digit that picks it, or empty.
        polygons, pixels: None as long as they are not known.
        hectares: None where they are not known, or the scene has no ground size.
        share: of all labelled pixels, 0 to 1.
        largest: the largest share of a class: a bar of full length.
    """

    entry: LabelClass
    key: str = ""
    polygons: int | None = None
    pixels: int | None = None
    hectares: float | None = None
    share: float = 0.0
    largest: float = 0.0

    def figures(self) -> str:
        """The second line."""
        return self.shortened()[0]

    def shortened(self) -> list[str]:
        """The second line, and ever shorter ones for ever narrower docks."""
        locale = QLocale()
        code = "" if str(self.entry.code) == self.key else f"code {self.entry.code}"
        polygons = short = pixels = hectares = ""
        if self.polygons is not None:
            count = locale.toString(self.polygons)
            polygons, short = f"{count} polygon{'' if self.polygons == 1 else 's'}", f"{count} pol."
        if self.pixels is not None:
            pixels = f"{locale.toString(self.pixels)} px"
        if self.hectares is not None:
            decimals = 0 if self.hectares >= 100 else 1 if self.hectares >= 10 else 2
            hectares = f"{locale.toString(self.hectares, 'f', decimals)} ha"
        lines = (
            (code, polygons, pixels, hectares),
            (code, short, pixels, hectares),
            (short, pixels, hectares),
            (short, pixels),
            (pixels,),
        )
        return [" · ".join(filter(None, line)) for line in lines]

    def percent(self) -> str:
        """The share in words."""
        return f"{QLocale().toString(100 * self.share, 'f', 1)} %" if self.pixels else ""

    def tooltip(self) -> str:
        """Everything about the class."""
        lines = [f"{self.entry.name} (code {self.entry.code})"]
        if self.entry.macro:
            lines.append(f"Part of {self.entry.macro}")
        if self.figures():
            share = f", {self.percent()} of all labelled pixels" if self.pixels else ""
            lines.append(f"{self.figures()}{share}")
        lines.append(
            f"Click{f' or press {self.key}' if self.key else ''} to draw this class; double-click to go there."
        )
        return "\n".join(lines)


class ClassRowDelegate(QStyledItemDelegate):
    """Draws key, swatch, name and macro-class, below them the figures, and a bar of the share."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Two lines and a bar."""
        name, small = QFontMetricsF(option.font), QFontMetricsF(small_font(option.font))
        return QSize(120, round(name.height() + small.height() + _BAR + 9))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw one row."""
        row: ClassRow = index.data(ROW)
        current = bool(index.data(CURRENT))
        option = QStyleOptionViewItem(option)
        self.initStyleOption(option, index)
        option.text = ""
        style = option.widget.style() if option.widget is not None else QApplication.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        role = QPalette.ColorRole.HighlightedText if selected else QPalette.ColorRole.Text
        text = option.palette.color(role)
        faint = QColor(text)
        faint.setAlpha(175)
        bold = QFont(option.font)
        bold.setBold(current)
        small = small_font(option.font)
        names, figures = QFontMetricsF(bold), QFontMetricsF(small)
        area = QRectF(option.rect).adjusted(_GAP, 3, -_GAP, -3)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

        # A mark that does not hang on colour: the current class has a bar at its left and a bold name.
        if current:
            mark = option.palette.color(QPalette.ColorRole.Text)
            painter.fillRect(QRectF(option.rect.left(), option.rect.top(), 4, option.rect.height()), mark)
        keys = figures.horizontalAdvance("0") + 4
        painter.setFont(small)
        painter.setPen(faint)
        painter.drawText(
            QRectF(area.left(), area.top(), keys, names.height()), row.key, _aligned(Qt.AlignmentFlag.AlignHCenter)
        )
        side = names.height() - 2
        swatch = QRectF(area.left() + keys + 4, area.top() + 1, 1.4 * side, side)
        painter.setPen(QPen(QColor("#808080"), 1))
        painter.setBrush(QColor(row.entry.color))
        painter.drawRect(swatch)

        left, width = swatch.right() + _GAP, area.right() - swatch.right() - _GAP
        first = QRectF(left, area.top(), width, names.height())
        # The macro-class gives way to the name.
        room = width - names.horizontalAdvance(row.entry.name) - 2 * _GAP
        macro = figures.elidedText(row.entry.macro, Qt.TextElideMode.ElideRight, min(room, 0.5 * width))
        painter.setFont(small)
        painter.setPen(faint)
        if room > _LEAST_MACRO:
            painter.drawText(first, macro, _aligned(Qt.AlignmentFlag.AlignRight))
        painter.setFont(bold)
        painter.setPen(text)
        painter.drawText(
            first,
            names.elidedText(row.entry.name, Qt.TextElideMode.ElideRight, width),
            _aligned(Qt.AlignmentFlag.AlignLeft),
        )
        painter.setFont(small)
        painter.setPen(faint)
        second = QRectF(left, first.bottom(), width, figures.height())
        percent = row.percent()
        room = width - figures.horizontalAdvance(percent) - _GAP
        lines = row.shortened()
        fitting = next((line for line in lines if figures.horizontalAdvance(line) <= room), lines[-1])
        told = figures.elidedText(fitting, Qt.TextElideMode.ElideRight, room)
        painter.drawText(second, told, _aligned(Qt.AlignmentFlag.AlignLeft))
        painter.drawText(second, percent, _aligned(Qt.AlignmentFlag.AlignRight))

        if row.pixels is None:
            painter.restore()
            return
        track = QRectF(left, second.bottom() + 1, width, _BAR)
        ground = QColor(text)
        ground.setAlpha(30)
        painter.fillRect(track, ground)
        if row.largest > 0 and row.share > 0:
            bar = QColor(text)
            bar.setAlpha(150)
            painter.fillRect(QRectF(left, track.top(), max(1.0, width * row.share / row.largest), _BAR), bar)
        painter.restore()


def small_font(font: QFont) -> QFont:
    """The font for what stands back."""
    small = QFont(font)
    if font.pointSizeF() > 0:
        small.setPointSizeF(0.88 * font.pointSizeF())
    else:
        small.setPixelSize(round(0.88 * font.pixelSize()))
    return small


def _aligned(horizontal: Qt.AlignmentFlag) -> QTextOption:
    option = QTextOption(horizontal | Qt.AlignmentFlag.AlignVCenter)
    option.setWrapMode(QTextOption.WrapMode.NoWrap)
    return option
