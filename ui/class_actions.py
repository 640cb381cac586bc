"""What can be done to the classes of a label layer: the menu of the list of classes."""

from __future__ import annotations

from typing import Any, Callable

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QObject, QPoint, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon
from qgis.PyQt.QtWidgets import QAction, QColorDialog, QInputDialog, QMenu, QMessageBox, QWidget

from ..errors import ThematicaError
from ..models.label_classes import HIGHEST_CODE, LabelClass, next_code
from .class_list import ClassList
from .wording import for_dialog


class ClassActions(QObject):
    """Add, rename, recolour, recode, group, order, merge and remove classes: each one step that undo takes back.

    Args:
        list_of_classes: its selection says which classes are meant.
        parent: the widget over which questions are asked, and in which the keys work.
    """

    #: A sentence that says what could not be done.
    failed = pyqtSignal(str)
    #: The code of the class that the selected polygons are to get.
    assign_wanted = pyqtSignal(int)
    #: The code of the class whose polygons are to be selected.
    select_wanted = pyqtSignal(int)

    def __init__(self, list_of_classes: ClassList, parent: QWidget) -> None:
        super().__init__(parent)
        self._list = list_of_classes
        self._window = parent
        #: The label layer that is shown, or None.
        self.label_layer: Any = None
        icon = QgsApplication.getThemeIcon
        self.add = self._action("Add class…", self._add, icon("symbologyAdd.svg"))
        self.rename = self._action("Rename…", self._rename)
        self.recolor = self._action("Change colour…", self._recolor)
        self.recode = self._action("Change code…", self._recode)
        self.group = self._action("Macro-class…", self._group)
        self.up = self._action("Move up", lambda: self._move(-1), icon("mActionArrowUp.svg"))
        self.down = self._action("Move down", lambda: self._move(1), icon("mActionArrowDown.svg"))
        self.merge = self._action("Merge into…", self._merge)
        self.remove = self._action("Remove class…", self._remove, icon("symbologyRemove.svg"))
        self.zoom = self._action("Go to its polygons", self._zoom, icon("mActionZoomToSelected.svg"))
        self.select = self._action("Select its polygons", lambda: self.select_wanted.emit(self._codes()[0]))
        self.assign = self._action("Give the selected polygons this class", self._assign)
        for action, key in ((self.rename, Qt.Key.Key_F2), (self.remove, Qt.Key.Key_Delete)):
            action.setShortcut(key)
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            self._list.addAction(action)
        self.add.setToolTip("Add a class to the layer")
        self.menu = QMenu(parent)
        for group in (
            (self.zoom, self.select, self.assign),
            (self.add,),
            (self.rename, self.recolor, self.recode, self.group, self.up, self.down),
            (self.merge, self.remove),
        ):
            self.menu.addActions(group)
            self.menu.addSeparator()
        self.menu.aboutToShow.connect(self.update)
        self._list.menu_wanted.connect(self._show_menu)
        self._list.itemSelectionChanged.connect(self.update)
        self.update()

    def _action(self, text: str, slot: Callable[[], None], icon: QIcon | None = None) -> QAction:
        action = QAction(icon or QIcon(), text, self)
        action.triggered.connect(lambda *_: slot())
        return action

    def update(self) -> None:
        """Offer only what can be done now."""
        codes, classes = self._codes(), self._classes()
        one, there = len(codes) == 1, self.label_layer is not None
        self.add.setEnabled(there)
        for action in (self.rename, self.recolor, self.recode, self.zoom, self.select):
            action.setEnabled(there and one)
        self.group.setEnabled(there and bool(codes))
        self.merge.setEnabled(there and bool(codes) and len(classes) > 1)
        self.remove.setEnabled(there and one)
        places = [place for place, entry in enumerate(classes) if entry.code in codes]
        self.up.setEnabled(there and one and places != [0])
        self.down.setEnabled(there and one and places != [len(classes) - 1])
        selected = self.label_layer.layer.selectedFeatureCount() if there else 0
        self.assign.setEnabled(one and selected > 0)
        name = f"“{self._name(codes[0])}”" if one else "this class"
        what = "selected polygon" if selected == 1 else f"{selected or 'selected'} polygons"
        self.assign.setText(f"Give the {what} the class {name}".replace("&", "&&"))

    # -- what the actions do -------------------------------------------------------------------

    def _add(self) -> None:
        entries = self._classes()
        name, ok = QInputDialog.getText(
            self._window, "Add Class", f"Name of the class with the code {next_code(entries)}:"
        )
        if not ok or not name.strip():
            return

        def add() -> None:
            code = self.label_layer.add_class(name.strip()).code
            self.label_layer.set_current(code)
            self._list.select([code])

        self._try(add)

    def _rename(self) -> None:
        code = self._codes()[0]
        name, ok = QInputDialog.getText(self._window, "Rename Class", "New name:", text=self._name(code))
        if ok and name.strip() and name.strip() != self._name(code):
            self._try(lambda: self.label_layer.rename(code, name.strip()))

    def _recolor(self) -> None:
        code = self._codes()[0]
        color = QColorDialog.getColor(QColor(self._entry(code).color), self._window, f"Colour of “{self._name(code)}”")
        if color.isValid():
            self._try(lambda: self.label_layer.recolor(code, color.name()))

    def _recode(self) -> None:
        code = self._codes()[0]
        new, ok = QInputDialog.getInt(
            self._window, "Change Code", f"Code of “{self._name(code)}” in layer and maps:", code, 0, HIGHEST_CODE
        )
        if ok and new != code:
            self._try(lambda: self.label_layer.recode(code, new))

    def _group(self) -> None:
        codes = self._codes()
        known = sorted({entry.macro for entry in self._classes() if entry.macro})
        current = self._entry(codes[0]).macro
        macro, ok = QInputDialog.getItem(
            self._window,
            "Macro-Class",
            "The coarser class that it belongs to (empty for none):",
            ["", *known],
            known.index(current) + 1 if current in known else 0,
        )
        if ok:
            self._try(lambda: [self.label_layer.set_macro(code, macro.strip()) for code in codes])

    def _move(self, by: int) -> None:
        code = self._codes()[0]
        place = [entry.code for entry in self._classes()].index(code)
        self._try(lambda: self.label_layer.move(code, place + by))

    def _merge(self) -> None:
        codes = self._codes()
        # Several chosen ones become one of them; a single one goes into any other.
        targets = [entry for entry in self._classes() if len(codes) == 1 or entry.code in codes]
        if len(codes) == 1:
            targets = [entry for entry in targets if entry.code != codes[0]]
        names = [entry.name for entry in targets]
        what = f"“{self._name(codes[0])}” becomes" if len(codes) == 1 else f"{len(codes)} classes become"
        name, ok = QInputDialog.getItem(self._window, "Merge Classes", f"{what} part of:", names, 0, False)
        if ok:
            into = targets[names.index(name)].code
            self._try(lambda: self.label_layer.merge([code for code in codes if code != into], into))

    def _remove(self) -> None:
        code = self._codes()[0]
        count = self.label_layer.feature_counts().get(code, 0)
        if count:
            self._remove_into(code, count)
            return
        yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
        question = f"Remove the class “{self._name(code)}”? Nothing is drawn of it."
        if QMessageBox.question(self._window, "Remove Class", question, yes | no, yes) == yes:
            self._try(lambda: self.label_layer.remove(code))

    def _remove_into(self, code: int, count: int) -> None:
        """A class that something was drawn of: its polygons must go somewhere."""
        targets = [entry for entry in self._classes() if entry.code != code]
        what = "its polygon goes" if count == 1 else f"its {count} polygons go"
        if not targets:
            self.failed.emit(
                f"“{self._name(code)}” is the only class, and something is drawn of it: add another first."
            )
            return
        names = [entry.name for entry in targets]
        name, ok = QInputDialog.getItem(
            self._window, "Remove Class", f"“{self._name(code)}” is removed, and {what} to:", names, 0, False
        )
        if ok:
            into = targets[names.index(name)].code
            self._try(lambda: self.label_layer.remove(code, into))

    def _zoom(self) -> None:
        self._list.zoom_wanted.emit(self._codes()[0])

    def _assign(self) -> None:
        self.assign_wanted.emit(self._codes()[0])

    # -- helpers -------------------------------------------------------------------------------

    def _try(self, change: Callable[[], object]) -> None:
        try:
            change()
        except ThematicaError as error:
            self.failed.emit(for_dialog(error.message))

    def _classes(self) -> list[LabelClass]:
        return list(self.label_layer.classes()) if self.label_layer is not None else []

    def _codes(self) -> list[int]:
        known = {entry.code for entry in self._classes()}
        return [code for code in self._list.selected() if code in known]

    def _entry(self, code: int) -> LabelClass:
        return next(entry for entry in self._classes() if entry.code == code)

    def _name(self, code: int) -> str:
        return self._entry(code).name

    def _show_menu(self, position: QPoint) -> None:
        self.update()
        self.menu.popup(position)
