"""What of a label layer has changed since it was last told: polygons as they are on the screen, unsaved ones too.

Signals of the layer only say where to look.  What is there is read from the layer itself, a few features at a time so
that QGIS stays fluid, and compared with what was told before: whatever an edit, an undo, a save (which gives new
features other numbers) or a rollback did, only differences go out.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from qgis.core import QgsFeatureRequest, QgsGeometry, QgsWkbTypes
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ..models.label_classes import LabelClass

#: Edits come in flocks: a moved vertex with topological editing is several.
MILLISECONDS_TO_WAIT = 150
#: How long QGIS's own thread is kept from the window at a time.
_SECONDS_AT_A_TIME = 0.015
_FEATURES_AT_A_TIME = 100

#: In label layers of ours.
IMAGE_FIELD = "image"

#: Code and geometry of a feature, shortened to what tells it from another.
_Told = tuple[int, int]


@dataclass
class LabelChange:
    """What is new.

    Args:
        features: number of the feature (negative where it is not saved yet), code of its class, its geometry in WKB.
        removed: numbers of features that are gone, hidden by a filter, or have no class or geometry any more.
        classes: all the classes.
        elsewhere: numbers of features that are left out: they were drawn on another image.
        is_everything: nothing that was told before holds.
        changes_map: False where features only got other numbers.
    """

    features: list[tuple[int, int, bytes]] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    classes: list[LabelClass] = field(default_factory=list)
    elsewhere: list[int] = field(default_factory=list)
    is_everything: bool = False
    changes_map: bool = True


class LabelChanges(QObject):
    """Follows a label layer; nothing is told before :meth:`tell_all`.

    Args:
        labels: the label layer (:class:`.label_layer.LabelLayer`).
        image: name of the image that is classified: features that name another one are left out; empty takes all.
        parent: the Qt parent.
    """

    #: A :class:`LabelChange`.
    changed = pyqtSignal(object)
    #: The layer is being removed, or its project is being closed.
    gone = pyqtSignal()

    def __init__(self, labels: Any, image: str = "", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.labels, self.layer, self.image = labels, labels.layer, image
        self._told: dict[int, _Told] = {}
        self._told_classes: list[LabelClass] = []
        self._elsewhere: set[int] = set()
        self._told_elsewhere: set[int] = set()
        self._dirty: set[int] = set()
        self._all_dirty = self._everything = self._is_on = False
        #: Since it was last told: what features are now (None: gone), and what was told of them before.
        self._now: dict[int, tuple[int, bytes] | None] = {}
        self._before: dict[int, _Told | None] = {}
        self._read_soon = QTimer(self, singleShot=True, interval=MILLISECONDS_TO_WAIT)
        self._read_soon.timeout.connect(self._read)
        self._read_on = QTimer(self, singleShot=True, interval=0)
        self._read_on.timeout.connect(self._read)
        layer = self.layer
        self._connections: list[tuple[Any, Any]] = []
        for signal in (layer.featureAdded, layer.featureDeleted, layer.geometryChanged, layer.attributeValueChanged):
            self._connect(signal, self._touched)
        for signal in (
            layer.afterRollBack, layer.editingStopped, layer.dataChanged, layer.subsetStringChanged,
            layer.dataSourceChanged, layer.updatedFields,
        ):  # fmt: skip
            self._connect(signal, self._all_touched)
        self._connect(layer.crsChanged, self.tell_all)
        self._connect(layer.willBeDeleted, self._gone)
        self._connect(labels.classes_changed, self._classes_touched)

    def _connect(self, signal: Any, slot: Any) -> None:
        signal.connect(slot)
        self._connections.append((signal, slot))

    @property
    def codes(self) -> Counter[int]:
        """How many features of each class were told."""
        return Counter(code for code, _ in self._told.values())

    def tell_all(self, *_: object) -> None:
        """Tell everything, whatever was told before."""
        for store in (self._told, self._now, self._before, self._elsewhere):
            store.clear()
        self._is_on = self._everything = True
        self._all_touched()
        self._read_soon.start(0)

    def end(self) -> None:
        """Follow the layer no longer; may be called twice."""
        self._read_soon.stop()
        self._read_on.stop()
        for signal, slot in self._connections:
            try:
                signal.disconnect(slot)
            except (RuntimeError, TypeError):
                pass  # the layer is gone already
        self._connections.clear()

    def _touched(self, fid: int, *_: object) -> None:
        self._dirty.add(fid)
        self._wait()

    def _all_touched(self, *_: object) -> None:
        self._all_dirty = True
        self._wait()

    def _classes_touched(self, *_: object) -> None:
        # Features of a class that was not in the list were left out.
        if {entry.code for entry in self.labels.classes()} != {entry.code for entry in self._told_classes}:
            self._all_dirty = True
        self._wait()

    def _wait(self) -> None:
        if self._is_on:
            self._read_soon.start(MILLISECONDS_TO_WAIT)

    def _gone(self) -> None:
        self.end()
        self.gone.emit()

    # -- reading --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read on for a moment; tell what changed when all is read."""
        # An edit that comes meanwhile is only more to read.
        limit = time.monotonic() + _SECONDS_AT_A_TIME
        if self._all_dirty:
            self._all_dirty = False
            # Asked for by its number a feature is found, though the layer's filter hides it.
            self._dirty = set(self.layer.allFeatureIds())
            for fid in self._told.keys() - self._dirty:
                self._take_away(fid)
            self._elsewhere &= self._dirty
        fields = [self.layer.fields().lookupField(name) for name in (self.labels.class_field, IMAGE_FIELD)]
        while self._dirty and time.monotonic() < limit:
            some = [self._dirty.pop() for _ in range(min(len(self._dirty), _FEATURES_AT_A_TIME))]
            self._read_some(some, *fields)
        if self._dirty:
            self._read_on.start()
        else:
            self._tell()

    def _read_some(self, fids: list[int], of_class: int, of_image: int) -> None:
        request = QgsFeatureRequest().setFilterFids(fids)
        request.setSubsetOfAttributes([number for number in (of_class, of_image) if number >= 0])
        left = set(fids)
        self._elsewhere -= left
        for feature in self.layer.getFeatures(request) if of_class >= 0 else ():
            if of_image >= 0 and self._is_of_another_image(feature.attribute(of_image)):
                self._elsewhere.add(feature.id())
                continue
            code, wkb = self.labels.code_of(feature.attribute(of_class)), _wkb(feature.geometry())
            if code is not None and wkb is not None:
                left.discard(feature.id())
                self._put(feature.id(), code, wkb)
        for fid in left:
            self._take_away(fid)

    def _is_of_another_image(self, value: Any) -> bool:
        return bool(self.image and isinstance(value, str) and value and value != self.image)

    def _take_away(self, fid: int) -> None:
        if fid in self._told:
            self._before.setdefault(fid, self._told.pop(fid))
            self._now[fid] = None

    def _put(self, fid: int, code: int, wkb: bytes) -> None:
        told, new = self._told.get(fid), (code, hash(wkb))
        if told != new:
            self._before.setdefault(fid, told)
            self._told[fid] = new
            self._now[fid] = (code, wkb)

    def _tell(self) -> None:
        classes = list(self.labels.classes())
        change = LabelChange(classes=classes, elsewhere=sorted(self._elsewhere), is_everything=self._everything)
        for fid, now in self._now.items():
            if now is not None:
                change.features.append((fid, *now))
            elif self._before[fid] is not None:
                change.removed.append(fid)
        gone = Counter(told for told in self._before.values() if told is not None)
        come = Counter(self._told[fid] for fid, now in self._now.items() if now is not None)
        change.changes_map = self._everything or gone != come or classes != self._told_classes
        has_news = change.changes_map or change.features or change.removed or self._elsewhere != self._told_elsewhere
        self._now.clear()
        self._before.clear()
        self._told_classes, self._everything, self._told_elsewhere = classes, False, set(self._elsewhere)
        if has_news:
            self.changed.emit(change)


def _wkb(geometry: QgsGeometry) -> bytes | None:
    """The geometry as well-known binary that the runtime can read: curves become segments."""
    if geometry.isNull() or geometry.isEmpty():
        return None
    if QgsWkbTypes.isCurvedType(geometry.wkbType()):
        geometry = QgsGeometry(geometry.constGet().segmentize())
    return bytes(geometry.asWkb())
