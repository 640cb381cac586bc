"""Live classification of one label layer on its rasters: what is drawn goes out, pictures and figures come back.

It begins when it is first asked for something.  The worker is told only what changed; when it had to be started again
it is told everything again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Callable

from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsRasterLayer, QgsRectangle
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QImage

from ..errors import RuntimeMissingError, ThematicaError
from .compat import WKT_PREFERRED
from .job import raster_inputs
from .label_changes import LabelChange, LabelChanges
from .live_message import Grown, discard_preview, read_grown, read_preview, read_statistics
from .live_worker import AnswerLost, LiveWorker

OFF, STARTING, WAITING, COMPUTING, SHOWN, FAILED = "off", "starting", "waiting", "computing", "shown", "failed"

_MILLISECONDS_TO_WAIT = 150
#: Of a picture; a larger window gets one that is stretched a little, instead of one that comes late.
_MOST_PIXELS = 2_000_000
#: Features in one message to the worker.
_FEATURES_AT_A_TIME = 1000
#: Pixels of a hole in a grown region: smaller ones are speckle.
_FILL_HOLES = 12
_DRAW = "Draw polygons of at least two classes."

_OnGrown = Callable[[Grown], None]
_OnFailed = Callable[[ThematicaError], None]


class LiveSession(QObject):
    """What the dock, the overlay and the region growing tool talk to.

    Args:
        labels: the label layer (:class:`.label_layer.LabelLayer`).
        rasters: the raster layers of one scene, the one that gives the grid first.
        canvas: the map canvas whose visible part is classified.
        image: name of that scene in the labels: features that name another image are left out; empty takes all.
        worker: another one than the runtime's, for tests.
        parent: the Qt parent.
    """

    #: Figures of the labels, as ``thematica labels stats --json`` gives them.
    statistics_ready = pyqtSignal(dict)
    #: A sentence why there are none.
    statistics_failed = pyqtSignal(str)
    #: A picture, and where it lies in the canvas's CRS.
    preview_ready = pyqtSignal(QImage, QgsRectangle)
    #: There is no picture any more.
    preview_gone = pyqtSignal()
    #: ``off``, ``starting``, ``waiting`` (for labels), ``computing``, ``shown`` or ``failed``; and a sentence.
    state_changed = pyqtSignal(str, str)
    #: What is to be told of the labels: objects with ``code``, ``message``, ``features``.
    findings_changed = pyqtSignal(list)
    #: The rasters are open: ``bands``, ``width``, ``height``, ``gsd``, ``crs``, ``warnings``.
    opened = pyqtSignal(dict)
    #: Level and text, for the log.
    log = pyqtSignal(str, str)

    def __init__(
        self,
        labels: Any,
        rasters: Sequence[QgsRasterLayer],
        canvas: QgsMapCanvas,
        image: str = "",
        worker: LiveWorker | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.labels, self.canvas = labels, canvas
        self.rasters: list[QgsRasterLayer] = []
        self.state, self.sentence = OFF, ""
        #: What the worker said of the rasters when it opened them.
        self.scene: dict[str, Any] = {}
        self._is_ended = self._is_opening = self._is_open = self._has_labels = False
        self._wants_preview = self._wants_statistics = False
        self._veil = True
        self._inputs: dict[str, Any] = {}
        self._opening = self._previews = 0
        self._elsewhere: list[int] = []
        self._grow_due: tuple[QgsPointXY, float, _OnGrown, _OnFailed | None] | None = None

        self.worker = worker if worker is not None else LiveWorker()
        self.worker.setParent(self)
        self.worker.died.connect(self._worker_died)
        self.worker.restarted.connect(self._open)
        self.worker.stopped.connect(self._worker_stopped)
        self.worker.log.connect(self.log)
        self.changes = LabelChanges(labels, image, self)
        self.changes.changed.connect(self._send_labels)
        self.changes.gone.connect(self.end)

        self._preview_soon = QTimer(self, singleShot=True, interval=_MILLISECONDS_TO_WAIT)
        self._preview_soon.timeout.connect(self._ask_preview)
        self._look_soon = QTimer(self, singleShot=True, interval=_MILLISECONDS_TO_WAIT)
        self._look_soon.timeout.connect(self._look_at_rasters)
        for name, slot in self._canvas_signals().items():
            getattr(canvas, name).connect(slot)
        canvas.destroyed.connect(self.end)
        self._follow(rasters)

    def _canvas_signals(self) -> dict[str, Callable[..., None]]:
        return {
            "extentsChanged": self._canvas_moved,
            "rotationChanged": self._canvas_moved,
            "destinationCrsChanged": self._crs_changed,
        }

    @property
    def is_ended(self) -> bool:
        """True once the labels are gone, or :meth:`end` was called: make another one."""
        return self._is_ended

    # -- what is wanted -------------------------------------------------------------------------

    def set_preview(self, on: bool) -> None:
        """Switch the preview on or off.  On, after a failure, tries again."""
        if self._is_ended or (on == self._wants_preview and self.state != FAILED):
            return
        self._wants_preview = on
        if on:
            self._ask_preview() if self._is_open else self._begin()
        else:
            self._preview_soon.stop()
            self._previews += 1  # what is still being computed is not shown any more
            self.preview_gone.emit()
            self._set_state(OFF)

    def want_statistics(self, on: bool = True) -> None:
        """Whether figures are wanted, now and after each edit: while somebody can see them."""
        if self._is_ended or on == self._wants_statistics:
            return
        self._wants_statistics = on
        if on:
            self._ask_statistics() if self._is_open else self._begin()

    def set_veil(self, on: bool) -> None:
        """Whether the picture is paler where the classifier is in doubt."""
        if on != self._veil:
            self._veil = on
            self._preview_soon.start()

    def set_rasters(self, rasters: Sequence[QgsRasterLayer], image: str = "") -> None:
        """Take another scene: its rasters, and its name in the labels."""
        if not self._is_ended and (list(rasters), image) != (self.rasters, self.changes.image):
            self.changes.image = image
            self._unfollow()
            self._follow(rasters)
            self._reopen()

    def grow(self, point: QgsPointXY, tolerance: float, on_grown: _OnGrown, on_failed: _OnFailed | None = None) -> None:
        """Let a region grow around a pixel; only the newest call is answered.

        Args:
            point: in the canvas's CRS.
            tolerance: 0 (only the same) to 100 (nearly everything).
            on_grown: gets the region, in the canvas's CRS.
            on_failed: gets the error.
        """
        if self._is_ended:
            return
        if not self._is_open:
            self._grow_due = (point, tolerance, on_grown, on_failed)
            self._begin()
            return

        def take(reply: dict[str, Any]) -> None:
            try:
                on_grown(read_grown(reply))
            except ThematicaError as error:
                fail(error)

        def fail(error: ThematicaError) -> None:
            self.log.emit("warning", f"{error.message}\n{error.details}".strip())
            if on_failed is not None:
                on_failed(error)

        values = {"point": [point.x(), point.y()], "tolerance": tolerance, "fill_holes": _FILL_HOLES}
        values.update(self._canvas_crs())
        self.worker.request("grow", values, take, fail)

    def end(self, *_: object) -> None:
        """End the worker and follow nothing any more; may be called twice."""
        if self._is_ended:
            return
        self._is_ended = True
        self._preview_soon.stop()
        self._look_soon.stop()
        self.worker.end()
        self.changes.end()
        self._unfollow()
        for name, slot in self._canvas_signals().items():
            try:
                getattr(self.canvas, name).disconnect(slot)
            except (RuntimeError, TypeError):
                pass  # Qt has deleted the canvas
        self.preview_gone.emit()
        self._set_state(OFF)

    # -- rasters --------------------------------------------------------------------------------

    def _follow(self, rasters: Sequence[QgsRasterLayer]) -> None:
        self.rasters = list(rasters)
        for layer in self.rasters:
            layer.willBeDeleted.connect(self._raster_gone)
            # Also after the layer's properties were changed.
            layer.repaintRequested.connect(self._raster_touched)
            layer.crsChanged.connect(self._raster_touched)
            layer.dataSourceChanged.connect(self._raster_touched)

    def _unfollow(self) -> None:
        for layer in self.rasters:
            try:
                signals = (layer.repaintRequested, layer.crsChanged, layer.dataSourceChanged)
            except RuntimeError:
                continue  # Qt has deleted it
            for signal in signals:
                _disconnect(signal, self._raster_touched)
            _disconnect(layer.willBeDeleted, self._raster_gone)
        self.rasters = []

    def _raster_touched(self, *_: object) -> None:
        self._look_soon.start()

    def _look_at_rasters(self) -> None:
        """CRS, nodata or source of a layer may have been changed."""
        try:
            inputs = raster_inputs(self.rasters).job
        except ThematicaError as error:
            inputs = {"error": error.message}
        if self._inputs and inputs != self._inputs:
            self._reopen()

    def _raster_gone(self) -> None:
        self._unfollow()
        self._is_open = False
        self.preview_gone.emit()
        if self._wants_preview or self._wants_statistics:
            self._fail(ThematicaError("The raster layer of the labels was removed: choose another one."))

    # -- the worker -----------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start what is not started yet; what is wanted is asked for when the rasters are open."""
        if self._is_opening:
            self._starting()
            return
        try:
            self.worker.start()
        except RuntimeMissingError as error:
            self._fail(error)
        else:
            self._open()

    def _reopen(self) -> None:
        self._is_open = False
        self.preview_gone.emit()
        if self.worker.is_running:
            self._open()

    def _starting(self) -> None:
        if self._wants_preview:
            self._set_state(STARTING, "Starting…")

    def _open(self) -> None:
        """Tell the worker which rasters; it knows nothing."""
        self._is_open = self._has_labels = False
        try:
            prepared = raster_inputs(self.rasters)
        except ThematicaError as error:
            self._inputs = {"error": error.message}
            self._fail(error)
            return
        for warning in prepared.warnings:
            self.log.emit("warning", warning)
        self._inputs, self._is_opening = prepared.job, True
        self._opening += 1
        number = self._opening
        self._starting()
        self.worker.request(
            "open",
            prepared.job,
            lambda reply: self._opened(number, reply),
            lambda error: self._refused(number, error),
        )

    def _opened(self, number: int, reply: dict[str, Any]) -> None:
        if number != self._opening:
            return
        self._is_opening, self._is_open, self.scene = False, True, reply
        for warning in _texts(reply.get("warnings")):
            self.log.emit("warning", warning)
        self.opened.emit(reply)
        self.changes.tell_all()
        if self._grow_due is not None:
            due, self._grow_due = self._grow_due, None
            self.grow(*due)

    def _refused(self, number: int, error: ThematicaError) -> None:
        """The rasters, or the labels, could not be taken."""
        if number != self._opening or isinstance(error, AnswerLost):
            return
        self._is_open = False
        self._fail(error)

    def _worker_died(self, sentence: str) -> None:
        self._is_open = self._has_labels = False
        self._is_opening = True
        if self._wants_preview:
            self._set_state(STARTING, sentence)

    def _worker_stopped(self, sentence: str, details: str) -> None:
        self._is_open = self._has_labels = False
        self.preview_gone.emit()
        self._fail(ThematicaError(sentence, details))

    def _fail(self, error: ThematicaError) -> None:
        self._is_opening = False
        self.log.emit("error", f"{error.message}\n{error.details}".strip())
        if self._grow_due is not None:
            on_failed, self._grow_due = self._grow_due[3], None
            if on_failed is not None:
                on_failed(error)
        if self._wants_statistics:
            self.statistics_failed.emit(error.message)
        self._set_state(FAILED, error.message)

    # -- labels ---------------------------------------------------------------------------------

    def _send_labels(self, change: LabelChange) -> None:
        if not self._is_open:
            return  # all is told again when it is
        number, layer = self._opening, self.labels.layer
        self._elsewhere = change.elsewhere
        classes = [
            {"code": entry.code, "name": entry.name, "color": entry.color, "macro": entry.macro}
            for entry in change.classes
        ]
        common = {"classes": classes, "crs": layer.crs().toWkt(WKT_PREFERRED) if layer.crs().isValid() else ""}
        features, removed, replace = change.features, change.removed, change.is_everything
        for start in range(0, max(len(features), 1), _FEATURES_AT_A_TIME):
            part = [[fid, code, wkb.hex()] for fid, code, wkb in features[start : start + _FEATURES_AT_A_TIME]]
            self.worker.request(
                "labels",
                {**common, "replace": replace, "features": part, "removed": removed},
                self._labels_taken,
                lambda error: self._refused(number, error),
            )
            removed, replace = [], False
        self._has_labels = True
        self._ask_statistics()
        if change.changes_map:
            self._ask_preview()

    def _labels_taken(self, reply: dict[str, Any]) -> None:
        findings = reply.get("findings")
        if isinstance(findings, list):
            told = [finding for finding in findings if isinstance(finding, dict)]
            self.findings_changed.emit([*self._left_out(), *told])

    def _left_out(self) -> list[dict[str, Any]]:
        """What the worker did not even get."""
        count = len(self._elsewhere)
        if not count:
            return []
        what = "1 label was" if count == 1 else f"{count} labels were"
        them = "it is" if count == 1 else "they are"
        sentence = f"{what} drawn on another image than “{self.changes.image}”: {them} left out here."
        return [{"code": "other-image", "message": sentence, "features": self._elsewhere}]

    def _ask_statistics(self) -> None:
        if self._wants_statistics and self._has_labels:
            self.worker.request("statistics", {}, self._statistics_came, self._statistics_refused)

    def _statistics_came(self, reply: dict[str, Any]) -> None:
        try:
            self.statistics_ready.emit(read_statistics(reply))
        except ThematicaError as error:
            self._statistics_refused(error)

    def _statistics_refused(self, error: ThematicaError) -> None:
        if not isinstance(error, AnswerLost):
            self.log.emit("warning", f"{error.message}\n{error.details}".strip())
            self.statistics_failed.emit(error.message)

    # -- the preview ----------------------------------------------------------------------------

    def _canvas_moved(self, *_: object) -> None:
        self._preview_soon.start()

    def _crs_changed(self) -> None:
        """The picture lies in another CRS than the canvas now."""
        self._previews += 1
        self.preview_gone.emit()
        self._preview_soon.start()

    def _ask_preview(self) -> None:
        if not (self._wants_preview and self._is_open and self._has_labels) or self._is_ended:
            return
        if len(self.changes.codes) < 2:
            self._wait_for_labels(_DRAW)
            return
        extent, size = self._view()
        if extent.isEmpty() or not extent.isFinite() or min(size) < 1:
            return
        self._previews += 1
        number = self._previews
        values = {
            "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
            "size": size,
            "veil": self._veil,
            **self._canvas_crs(),
        }
        self._set_state(COMPUTING, "Computing…")
        crs = self.canvas.mapSettings().destinationCrs()
        self.worker.request(
            "preview",
            values,
            lambda reply: self._preview_came(number, crs, reply),
            lambda error: self._preview_refused(number, error),
        )

    def _view(self) -> tuple[QgsRectangle, list[int]]:
        """What of the map is visible, and how many pixels wide and high the picture of it is.

        The rectangle around it where the map is rotated: the overlay turns the picture.
        """
        settings = self.canvas.mapSettings()
        extent, unit = settings.visibleExtent(), settings.mapUnitsPerPixel()
        if not unit > 0:
            return QgsRectangle(), [0, 0]
        width, height = (max(1, round(side / unit)) for side in (extent.width(), extent.height()))
        shrink = math.sqrt(min(1.0, _MOST_PIXELS / (width * height)))
        return extent, [max(1, round(side * shrink)) for side in (width, height)]

    def _canvas_crs(self) -> dict[str, str]:
        crs = self.canvas.mapSettings().destinationCrs()
        return {"crs": crs.toWkt(WKT_PREFERRED)} if crs.isValid() else {}

    def _preview_came(self, number: int, crs: QgsCoordinateReferenceSystem, reply: dict[str, Any]) -> None:
        if self._is_ended or not self._wants_preview or crs != self.canvas.mapSettings().destinationCrs():
            discard_preview(reply)
            return
        try:
            preview = read_preview(reply)
        except ThematicaError as error:
            self._preview_refused(number, error)
            return
        # One that an edit has overtaken is still better than the one before it.
        self.preview_ready.emit(preview.image, preview.extent)
        if number == self._previews:
            self._set_state(SHOWN, _shown(reply))

    def _preview_refused(self, number: int, error: ThematicaError) -> None:
        if number != self._previews or not self._wants_preview or isinstance(error, AnswerLost):
            return
        if error.code == "too-few-labels":
            self._wait_for_labels(error.message or _DRAW)
            return
        self.log.emit("error", f"{error.message}\n{error.details}".strip())
        self.preview_gone.emit()
        self._set_state(FAILED, error.message)

    def _wait_for_labels(self, sentence: str) -> None:
        self._previews += 1
        self.preview_gone.emit()
        self._set_state(WAITING, sentence)

    def _set_state(self, state: str, sentence: str = "") -> None:
        if (state, sentence) != (self.state, self.sentence):
            self.state, self.sentence = state, sentence
            self.state_changed.emit(state, sentence)


def _shown(reply: dict[str, Any]) -> str:
    """What the picture is, in a sentence."""
    parts = []
    samples, accuracy = reply.get("samples"), reply.get("accuracy")
    if isinstance(samples, int) and not isinstance(samples, bool):
        parts.append(f"Preview from {samples:,} labelled pixels".replace(",", "\u202f"))
    else:
        parts.append("Preview")
    if isinstance(accuracy, float) and 0 <= accuracy <= 1:
        parts.append(f"{100 * accuracy:.0f} % right on polygons left out of training")
    return "; ".join(parts) + "."


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _disconnect(signal: Any, slot: Any) -> None:
    try:
        signal.disconnect(slot)
    except (RuntimeError, TypeError):
        pass  # Qt has deleted its object
