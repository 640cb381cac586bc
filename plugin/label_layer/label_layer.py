"""A label layer: a vector layer with a list of classes, and the editing of that list.

Every change of the list is one step on the layer's own undo stack, together with the features that change with it.
Style and form follow at once; the GeoPackage gets the list when the layer's edits are saved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from qgis.core import (
    NULL,
    QgsFeature,
    QgsFeatureRequest,
    QgsField,
    QgsMapLayer,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...errors import InputError, OutputError, ThematicaError
from ...models.label_classes import LabelClass
from ...models.label_settings import ROLES
from ..compat import NO_GEOMETRY, UNDO_COMMAND
from . import class_list
from .class_list import ClassChange, ClassList
from .field_values import FieldValues, key_of
from .form import (
    CLASS_VARIABLE,
    DATE_VARIABLE,
    IMAGE_VARIABLE,
    is_asking,
    list_classes,
    set_asking,
    set_default_class,
    set_variable,
    variable_of,
)
from .keeping import (
    Kept,
    classes_in_file,
    forget_project,
    is_in_project,
    is_kept_in_file,
    read_kept,
    write_file,
    write_project,
    write_role,
)
from .style import is_shown, label_classes, show_classes
from .style_in_file import has_style, write_style

#: Layers that are known, by their id: one object for each.
_KNOWN: dict[str, LabelLayer] = {}


def is_label_layer(layer: QgsMapLayer | None) -> bool:
    """True for a layer that we made or took over."""
    return LabelLayer.of(layer) is not None


def end_all() -> None:
    """Let go of all label layers: the plugin is switched off."""
    for labels in list(_KNOWN.values()):
        labels.end()


class LabelLayer(QObject):
    """The classes of one layer.  Use :meth:`of`, which gives the same object for the same layer.

    Args:
        layer: one that we made or took over; it owns this object.

    Raises:
        InputError: it is none.
    """

    #: The list changed: names, colours, codes, order; by editing, undo, redo or rollback.  Features that change in
    #: the same step may do so a moment later.
    classes_changed = pyqtSignal()
    #: Another class is drawn now; its code, or -1 where there is no class.
    current_changed = pyqtSignal(int)
    #: The labels are for something else now: training, validation or test.
    role_changed = pyqtSignal(str)
    #: Something could not be written; a sentence for the message bar.
    problem = pyqtSignal(str)

    def __init__(self, layer: QgsVectorLayer) -> None:
        kept = read_kept(layer)
        if kept is None:
            raise InputError(f"The layer “{layer.name()}” is no label layer: take it over first.")
        super().__init__(layer)
        # The Python side of the commands on the stack lives as long as that of the stack.
        self._stack = layer.undoStack()
        self._kept = kept
        #: What a rollback goes back to.
        self._saved = kept
        #: More classes that the file has since a commit began; they stay until one succeeds.
        self._written: ClassList | None = None
        self._known_values: FieldValues | None = None
        self._current = -1
        self._added: list[int] = []
        self._id = layer.id()
        _KNOWN[self._id] = self
        for signal, slot in self._connections(layer):
            signal.connect(slot)
        if is_shown(layer, self.class_field):
            show_classes(layer, self.class_field, self.classes(), self.values_of)
        self._offer_in_form()
        self._choose_current()
        #: The project keeps a list that the file did not take.
        self._is_owed = is_kept_in_file(layer, kept.classes) and is_in_project(layer)
        if self._is_owed and not layer.isEditable():
            self._write(kept)

    @staticmethod
    def of(layer: QgsMapLayer | None) -> LabelLayer | None:
        """The label layer that a layer is, or None."""
        if not isinstance(layer, QgsVectorLayer) or sip.isdeleted(layer):
            return None
        known = _KNOWN.get(layer.id())
        if known is not None and not sip.isdeleted(known) and known.layer is layer:
            if known._field_number() >= 0:
                return known
            known.end()  # the field was removed
        return LabelLayer(layer) if read_kept(layer) is not None else None

    def end(self) -> None:
        """Let go of the layer; :meth:`of` makes a new object.  A list that is not saved yet waits in the project."""
        if _KNOWN.get(self._id) is not self:
            return
        del _KNOWN[self._id]
        if self._kept.classes != self._saved.classes:
            write_project(self.layer, self._kept)
        for signal, slot in self._connections(self.layer):
            signal.disconnect(slot)
        self.deleteLater()

    def _layer_gone(self) -> None:
        _KNOWN.pop(self._id, None)

    def _connections(self, layer: QgsVectorLayer) -> list[tuple[Any, Callable[..., None]]]:
        return [
            (layer.willBeDeleted, self._layer_gone),
            (layer.updatedFields, self._fields_changed),
            (layer.beforeEditingStarted, self._before_editing),
            (layer.beforeCommitChanges, self._before_commit),
            (layer.afterCommitChanges, self._after_commit),
            (layer.afterRollBack, self._after_rollback),
            (layer.editCommandStarted, self._command_started),
            (layer.featureAdded, self._feature_added),
            (layer.editCommandEnded, self._command_ended),
        ]

    # -- what it is -----------------------------------------------------------------------------

    @property
    def layer(self) -> QgsVectorLayer:
        """The layer, which owns this object: a reference of our own would keep both for ever."""
        return self.parent()

    @property
    def class_field(self) -> str:
        """Name of the field that holds the class."""
        return self._kept.field

    @property
    def role(self) -> str:
        """What the labels are for: training, validation or test."""
        return self._kept.role

    @property
    def holds_codes(self) -> bool:
        """True where the field holds our codes; else the values stand for classes, and features are never changed."""
        return self._kept.classes.values is None

    def classes(self) -> list[LabelClass]:
        """The classes in the analyst's order."""
        return list(self._kept.classes.classes)

    def class_of(self, code: int) -> LabelClass:
        """The class with a code.

        Raises:
            InputError: there is none.
        """
        return self._kept.classes.find(code)

    def code_of(self, value: Any) -> int | None:
        """The class that a value of the field stands for; None for no class, or one that is not in the list."""
        return self._values().code_of(value)

    def code_of_feature(self, feature: QgsFeature) -> int | None:
        """Likewise for a feature of the layer."""
        number = self._field_number()
        return self.code_of(feature.attribute(number)) if number >= 0 else None

    def values_of(self, code: int) -> list[Any]:
        """What the field holds for a class; new features get the first."""
        return self._values().values_of(code)

    def feature_counts(self) -> dict[int, int]:
        """Code → number of features, as they are on the screen; all classes are there."""
        counts = dict.fromkeys(self._kept.classes.codes(), 0)
        number, values = self._field_number(), self._values()
        if number < 0:
            return counts
        for feature in self.layer.getFeatures(self._codes_only()):
            code = values.code_of(feature.attribute(number))
            if code is not None:
                counts[code] += 1
        return counts

    def images(self) -> list[str]:
        """Names of the images that labels were drawn on; empty where the layer does not say."""
        number = self.layer.fields().lookupField("image")
        if number < 0:
            return []
        return sorted(str(value) for value in self.layer.uniqueValues(number) if value not in (None, NULL, ""))

    # -- what is drawn --------------------------------------------------------------------------

    def current_code(self) -> int:
        """The class that new features get; -1 where there is no class."""
        return self._current

    def set_current(self, code: int) -> None:
        """Choose the class that new features get.

        Raises:
            InputError: there is no such class.
        """
        self._set_current(self.class_of(code).code)

    def _set_current(self, code: int) -> None:
        values = self.values_of(code) if code >= 0 else []
        set_variable(self.layer, CLASS_VARIABLE, values[0] if values else None)
        if code != self._current:
            self._current = code
            self.current_changed.emit(code)

    def set_image(self, name: str, date: str = "") -> None:
        """Say on which image labels are drawn from now on.

        Args:
            name: as training sets know the image; empty for none.
            date: ``YYYY-MM-DD``, or empty where it is not known.
        """
        set_variable(self.layer, IMAGE_VARIABLE, name or None)
        set_variable(self.layer, DATE_VARIABLE, date or None)

    def image(self) -> str:
        """The image that new labels are for, or empty."""
        return str(variable_of(self.layer, IMAGE_VARIABLE) or "")

    def set_asking(self, asking: bool) -> None:
        """Ask for the class of each new feature, or draw without asking."""
        set_asking(self.layer, asking)

    def is_asking(self) -> bool:
        """Whether the class of a new feature is asked for."""
        return is_asking(self.layer)

    def set_role(self, role: str) -> None:
        """Say what the labels are for; the file knows it at once.

        Raises:
            InputError: no such role.
            OutputError: the file cannot be written.
        """
        if role not in ROLES:
            raise InputError(f"Labels are for training, validation or test, not “{role}”.")
        if role == self.role:
            return
        if is_kept_in_file(self.layer, self._saved.classes):
            write_role(self.layer, role)
        self._kept, self._saved = replace(self._kept, role=role), replace(self._saved, role=role)
        self._keep_in_project()
        self.role_changed.emit(role)

    def show_names(self, shown: bool) -> None:
        """Write each feature's class beside it, or no longer."""
        label_classes(self.layer, self.class_field, self.classes(), self.values_of, shown)

    # -- editing the list -----------------------------------------------------------------------

    def add_class(self, name: str = "", color: str = "", code: int | None = None, macro: str = "") -> LabelClass:
        """Add a class at the end; what is not given is made.  Returns it.

        Raises:
            InputError: code or name are taken already, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.added(before, name, color, code, macro))
        return self.classes()[-1]

    def rename(self, code: int, name: str) -> None:
        """Give a class another name.

        Raises:
            InputError: no such class, a name that is empty or taken, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.renamed(before, code, name))

    def recolor(self, code: int, color: str) -> None:
        """Give a class another colour (``#rrggbb``).

        Raises:
            InputError: no such class, no colour, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.recolored(before, code, color))

    def set_macro(self, code: int, macro: str) -> None:
        """Put a class into a macro-class, or into none (empty).

        Raises:
            InputError: no such class, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.grouped(before, code, macro))

    def recode(self, code: int, new_code: int) -> None:
        """Give a class another code; its features get it, too.

        Raises:
            InputError: no such class, a code that is taken or out of range, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.recoded(before, code, new_code))

    def move(self, code: int, place: int) -> None:
        """Put a class at another place of the list (from 0).

        Raises:
            InputError: no such class, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.moved(before, code, place))

    def merge(self, codes: Collection[int], into: int) -> None:
        """Make classes a part of another one: their features get its code, and they are gone.

        Raises:
            InputError: no such class, nothing to merge, or the layer cannot be edited.
        """
        self._perform(lambda before: class_list.merged(before, codes, into))

    def remove(self, code: int, into: int | None = None) -> None:
        """Remove a class.

        Args:
            code: of the class.
            into: the class that its features go to; None refuses to remove a class that has any.

        Raises:
            InputError: no such class, it still has features, or the layer cannot be edited.
        """
        self.refresh()
        count = self.feature_counts().get(self.class_of(code).code, 0)
        if count and into is None:
            what = "one polygon or point" if count == 1 else f"{count} polygons or points"
            raise InputError(
                f"The class “{self.class_of(code).name}” still has {what}: say which class they go to, or delete them."
            )
        if self.holds_codes:
            self._refuse_filter()
        if count:
            self._perform(lambda before: class_list.merged(before, [code], into))
        else:
            self._perform(lambda before: class_list.removed(before, code))

    def assign(self, features: Iterable[int], code: int) -> int:
        """Give features (their ids) a class, in one undo step.  Returns how many changed.

        Raises:
            InputError: no such class, or the layer cannot be edited.
        """
        entry, number = self.class_of(code), self._field_number()
        self._require_field()
        values = self.values_of(code)
        request = self._codes_only()
        request.setFilterFids(list(features))
        changes = [
            (feature.id(), feature.attributes()[number])
            for feature in self.layer.getFeatures(request)
            if self.code_of_feature(feature) != code
        ]
        if not changes or not values:
            return 0
        self._start_editing()
        self._in_one_step(
            f"Class “{entry.name}”",
            lambda: self._change_values([(feature, values[0], old) for feature, old in changes]),
        )
        return len(changes)

    # -- how a change is made -------------------------------------------------------------------

    def _perform(self, edit: Callable[[ClassList], ClassChange]) -> None:
        self.refresh()
        before = self._kept.classes
        change = edit(before)
        if change.after == before:
            return
        command = _ListCommand(self, before, change)
        if not self.holds_codes and not self.layer.isEditable():
            # The features stay as they are: this can be undone until the layer is edited.
            self._stack.push(command)
            return
        changes = []
        if self.holds_codes:
            if change.codes:
                self._refuse_filter()
            self._start_editing()
            changes = self._features_with(change.codes) if change.codes else []

        def make() -> None:
            self._stack.push(command)
            self._change_values(changes)

        self._in_one_step(change.text, make)

    def _in_one_step(self, text: str, make: Callable[[], None]) -> None:
        layer = self.layer
        layer.beginEditCommand(text)
        try:
            make()
        except BaseException:
            layer.destroyEditCommand()
            raise
        layer.endEditCommand()
        layer.triggerRepaint()

    def _start_editing(self) -> None:
        self._require_field()
        if not self.layer.isEditable() and not self.layer.startEditing():
            raise OutputError(
                f"The layer “{self.layer.name()}” cannot be edited: its file may be read-only or in use; export the "
                "layer and work on the copy."
            )

    def _require_field(self) -> None:
        if self._field_number() < 0:
            raise InputError(f"The layer “{self.layer.name()}” has no field “{self.class_field}” any more.")

    def _refuse_filter(self) -> None:
        if self.layer.subsetString():
            raise InputError(
                f"The layer “{self.layer.name()}” has a filter, and polygons that it hides would keep the old code: "
                "save the edits, remove the filter (right-click ▸ Filter…) and try again."
            )

    def _features_with(self, codes: dict[int, int]) -> list[tuple[int, Any, Any]]:
        number = self._field_number()
        changes = []
        for feature in self.layer.getFeatures(self._codes_only()):
            old = feature.attributes()[number]
            code = self.code_of(old)
            if code in codes:
                changes.append((feature.id(), codes[code], old))
        return changes

    def _change_values(self, changes: Iterable[tuple[int, Any, Any]]) -> None:
        number = self._field_number()
        for feature, new, old in changes:
            if not self.layer.changeAttributeValue(feature, number, new, old):
                raise OutputError(
                    f"The class of a feature in “{self.layer.name()}” could not be changed: the layer may be "
                    "read-only, or its field computed or joined; copy it into a new label layer."
                )

    def _take(self, classes: ClassList, codes: dict[int, int]) -> None:
        """Show another list, whatever made it so."""
        if classes == self._kept.classes:
            return
        place = self._kept.classes.codes().index(self._current) if self._current in self._kept.classes.codes() else 0
        self._kept, self._known_values = replace(self._kept, classes=classes), None
        self._keep_in_project()
        if is_shown(self.layer, self.class_field):
            show_classes(self.layer, self.class_field, self.classes(), self.values_of)
        if self.layer.labelsEnabled():
            self.show_names(True)
        self._offer_in_form()
        self.classes_changed.emit()
        self._choose_current(codes.get(self._current), place)

    def _offer_in_form(self) -> None:
        list_classes(self.layer, self.class_field, self.classes(), self.values_of)
        set_default_class(self.layer, self.class_field)

    def _choose_current(self, wanted: int | None = None, place: int = 0) -> None:
        codes = self._kept.classes.codes()
        if wanted in codes:
            self._set_current(wanted)
        elif self._current in codes:
            self._set_current(self._current)
        else:
            self._set_current(codes[min(place, len(codes) - 1)] if codes else -1)

    def _keep_in_project(self) -> None:
        if not is_kept_in_file(self.layer, self._kept.classes):
            write_project(self.layer, self._kept)

    # -- the layer's edit session ---------------------------------------------------------------

    def refresh(self) -> None:
        """Take over what another layer of the same table, or another program, has made of the list in the file."""
        if self.layer.isEditable() or self._is_owed or not is_kept_in_file(self.layer, self._kept.classes):
            return
        kept = read_kept(self.layer)
        if kept is not None and kept != self._kept and kept.field == self.class_field:
            role, self._kept = self.role, replace(self._kept, role=kept.role)
            self._take(kept.classes, {})
            self._saved = self._kept
            if kept.role != role:
                self.role_changed.emit(kept.role)

    def _before_editing(self) -> None:
        # Steps from before would go back with a rollback of this session.
        if not self.holds_codes:
            self._stack.clear()
        self.refresh()
        self._saved = self._kept

    def _before_commit(self, *_: object) -> None:
        """Let the file know new classes before it has features of them: a commit may break off in the middle."""
        if not self._may_write_now():
            return
        self._meet_others()
        if self._kept.classes == self._saved.classes:
            return
        try:
            both = class_list.both(self._saved.classes, self._kept.classes)
            write_file(self.layer, replace(self._kept, classes=both))
            self._written = both
        except ThematicaError as error:
            self.problem.emit(error.message)

    def _meet_others(self) -> None:
        """Take over what another project has made of the list in the file since editing began here."""
        theirs = ClassList(tuple(classes_in_file(self.layer)))
        if not theirs.classes or theirs == self._saved.classes:
            return
        base, mine = self._saved.classes, self._kept.classes
        for entry in theirs.classes:
            own = next((own for own in mine.classes if own.code == entry.code), entry)
            if entry.code not in base.codes() and own.name != entry.name:
                self.problem.emit(
                    f"Another project has made a class “{entry.name}” of the code {entry.code}, which is “{own.name}” "
                    f"here: polygons of both are “{own.name}” now. Look at those that came from there."
                )
        self._saved = replace(self._saved, classes=theirs)
        self._take(class_list.met(base, mine, theirs), {})

    def _may_write_now(self) -> bool:
        """A transaction of QGIS holds the whole file until the session ends."""
        provider = self.layer.dataProvider()
        return is_kept_in_file(self.layer, self._kept.classes) and provider.transaction() is None

    def _after_commit(self) -> None:
        changed = self._kept.classes != self._saved.classes or self._written is not None or self._is_owed
        self._saved, self._written = self._kept, None
        if changed:
            self._write(self._kept)

    def _after_rollback(self) -> None:
        self._take(self._saved.classes, {})
        if self._written is not None:
            # A commit broke off: features of the new classes may be in the file already.
            self._written = None
            self._write(self._kept)

    def _write(self, kept: Kept) -> None:
        if not is_kept_in_file(self.layer, kept.classes):
            return
        kept = self._with_classes_in_use(kept)
        try:
            write_file(self.layer, kept)
            if has_style(self.layer):
                write_style(self.layer)
            forget_project(self.layer)
            self._is_owed = False
        except ThematicaError as error:
            # The project keeps it until the file takes it.
            write_project(self.layer, kept)
            self._is_owed = True
            self.problem.emit(error.message)

    def _with_classes_in_use(self, kept: Kept) -> Kept:
        """The list, with classes that it lacks and features in the file have: no polygon may lose its class.

        Another project may have drawn them, or a merge was taken back while the plugin was switched off.
        """
        lost = [entry for entry in classes_in_file(self.layer) if entry.code not in kept.classes.codes()]
        if lost and not self.layer.subsetString():
            provider = self.layer.dataProvider()
            used = {key_of(value) for value in provider.uniqueValues(provider.fields().lookupField(kept.field))}
            lost = [entry for entry in lost if str(entry.code) in used]
        if not lost:
            return kept
        self._take(class_list.both(ClassList(tuple(lost)), kept.classes), {})
        self._saved = self._kept
        return self._kept

    # -- what is drawn by hand is the next one's class ------------------------------------------

    def _command_started(self, *_: object) -> None:
        self._added = []

    def _feature_added(self, feature: int) -> None:
        self._added.append(feature)

    def _command_ended(self) -> None:
        added, self._added = self._added, []
        if len(added) == 1:
            code = self.code_of_feature(self.layer.getFeature(added[0]))
            if code is not None and code != self._current:
                self._set_current(code)

    # -- small change ---------------------------------------------------------------------------

    def _values(self) -> FieldValues:
        # It is asked for each feature of the layer.
        if self._known_values is None:
            number = self._field_number()
            if number < 0:  # removed: nothing has a class
                return FieldValues(QgsField(), ClassList())
            self._known_values = FieldValues(self.layer.fields().at(number), self._kept.classes)
        return self._known_values

    def _fields_changed(self) -> None:
        self._known_values = None

    def _field_number(self) -> int:
        return self.layer.fields().lookupField(self.class_field)

    def _codes_only(self) -> QgsFeatureRequest:
        request = QgsFeatureRequest()
        request.setFlags(request.flags() | NO_GEOMETRY)
        request.setSubsetOfAttributes([self._field_number()])
        return request


class _ListCommand(UNDO_COMMAND):
    """One change of the list on the undo stack; the features that go with it are further commands of the same step."""

    def __init__(self, labels: LabelLayer, before: ClassList, change: ClassChange) -> None:
        super().__init__(change.text)
        self._labels, self._before, self._change = labels, before, change

    def redo(self) -> None:
        if not sip.isdeleted(self._labels):
            self._labels._take(self._change.after, dict(self._change.codes))

    def undo(self) -> None:
        if not sip.isdeleted(self._labels):
            self._labels._take(self._before, {})
