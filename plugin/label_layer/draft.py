"""A list of classes that is being made up, before there is a layer; edited like that of a label layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...errors import InputError
from ...models.label_classes import LabelClass, check_classes
from . import class_list
from .class_list import ClassChange, ClassList


class ClassDraft(QObject):
    """The methods of :class:`.label_layer.LabelLayer` that change the list; nothing is written, nothing undone.

    Args:
        classes: to begin with.
        parent: the Qt parent.

    Raises:
        InputError: classes that cannot be; every method raises it likewise.
    """

    classes_changed = pyqtSignal()

    def __init__(self, classes: Sequence[LabelClass] = (), parent: QObject | None = None) -> None:
        super().__init__(parent)
        check_classes(classes)
        self._list = ClassList(tuple(classes))

    def classes(self) -> list[LabelClass]:
        """The classes in the analyst's order."""
        return list(self._list.classes)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Begin anew with other classes."""
        check_classes(classes)
        self._take(ClassList(tuple(classes)))

    def class_of(self, code: int) -> LabelClass:
        """The class with a code."""
        return self._list.find(code)

    def add_class(self, name: str = "", color: str = "", code: int | None = None, macro: str = "") -> LabelClass:
        """Add a class at the end; what is not given is made."""
        self._perform(class_list.added(self._list, name, color, code, macro))
        return self._list.classes[-1]

    def rename(self, code: int, name: str) -> None:
        """Give a class another name."""
        self._perform(class_list.renamed(self._list, code, name))

    def recolor(self, code: int, color: str) -> None:
        """Give a class another colour (``#rrggbb``)."""
        self._perform(class_list.recolored(self._list, code, color))

    def recode(self, code: int, new_code: int) -> None:
        """Give a class another code."""
        self._perform(class_list.recoded(self._list, code, new_code))

    def set_macro(self, code: int, macro: str) -> None:
        """Put a class into a macro-class, or into none."""
        self._perform(class_list.grouped(self._list, code, macro))

    def move(self, code: int, place: int) -> None:
        """Put a class at another place of the list (from 0)."""
        self._perform(class_list.moved(self._list, code, place))

    def merge(self, codes: Collection[int], into: int) -> None:
        """Make classes a part of another one."""
        self._perform(class_list.merged(self._list, codes, into))

    def remove(self, code: int, into: int | None = None) -> None:
        """Remove a class."""
        if into is not None:
            raise InputError("A class without features goes nowhere.")
        self._perform(class_list.removed(self._list, code))

    def _perform(self, change: ClassChange) -> None:
        self._take(change.after)

    def _take(self, classes: ClassList) -> None:
        if classes != self._list:
            self._list = classes
            self.classes_changed.emit()
