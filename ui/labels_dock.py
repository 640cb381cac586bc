"""The dock "Labels": what was drawn of each class, what the pixels say about it, and a live preview of the map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from qgis.core import QgsApplication, QgsMapLayer, QgsRasterLayer, QgsRectangle, QgsVectorLayer
from qgis.gui import QgsDockWidget
from qgis.PyQt import sip
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QIcon, QImage, QResizeEvent
from qgis.PyQt.QtWidgets import QAction, QBoxLayout, QDialog, QWidget

from ..errors import ThematicaError
from ..plugin.compat import LEVEL_CRITICAL, LEVEL_INFO, LEVEL_WARNING
from ..plugin.label_layer import LabelLayer, is_label_layer
from ..plugin.label_layer.drawing import prepare_drawing
from ..plugin.label_layer.image_facts import image_date, image_name
from ..plugin.label_layer.keys import ClassKeys
from ..plugin.runtime import find_runtime, runtime_problem
from .class_actions import ClassActions
from .class_row import small_font
from .forms import load_form
from .label_layer_menu import LabelLayerMenu
from .label_navigator import LabelNavigator
from .wording import for_dialog

ICONS = Path(__file__).resolve().parents[1] / "plugin" / "icons"
#: More features than these are only counted by the worker.
_MOST_TO_COUNT = 5_000
_MILLISECONDS_TO_COUNT = 100
_SECONDS_TO_READ = 8
#: Of the height that classes and figures share, at most.
_SHARE_OF_CLASSES = 0.46

_NewSession = Callable[..., Any]


class LabelsDock(QgsDockWidget):
    """Composes the parts: each has a file of its own; here is only how they hang together.

    Args:
        iface: QGIS's interface.
        parent: QGIS's main window.
        new_session: makes the live session from label layer, rasters, canvas and the image's name; another one for
            tests.
    """

    #: The analyst wants to set up the runtime.
    runtime_wanted = pyqtSignal()

    def __init__(self, iface: Any, parent: QWidget | None = None, new_session: _NewSession | None = None) -> None:
        super().__init__(parent)
        load_form(self, "labels_dock")
        self.iface = iface
        self.label_layer: LabelLayer | None = None
        self.session: Any = None
        self._new_session = new_session
        #: The preview on the map, once there was one.
        self.overlay: Any = None
        self.grow_tool: Any = None
        self._prepared: set[str] = set()
        #: Open ones; QGIS's main window keeps the window alive, but not the Python object behind it.
        self._dialogs: list[QDialog] = []
        self._sentence = ""
        self._findings: list[dict[str, Any]] = []
        self._statistics: Mapping[str, Any] = {}
        self.navigator = LabelNavigator(iface, self)
        self.actions = ClassActions(self.classes, self)

        icon = QgsApplication.getThemeIcon
        self.new_action = self._action("New label layer…", self.make_layer, "mActionNewGeoPackageLayer.svg")
        self.use_action = self._action("Use a layer…", self.use_layer, "mActionAddLayer.svg")
        self.layer_menu = LabelLayerMenu([self.new_action, self.use_action], self)
        self.layer_menu.failed.connect(self._show_problem)
        self.sources.more_labels.setMenu(self.layer_menu)
        self.new_button.clicked.connect(self.make_layer)
        self.use_button.clicked.connect(lambda: self.use_layer())
        self.draw_button.setIcon(icon("mActionCapturePolygon.svg"))
        self.draw_button.clicked.connect(self._draw)
        self.grow_button.setIcon(QIcon(str(ICONS / "grow.svg")))
        self.grow_button.clicked.connect(self._grow)
        iface.mapCanvas().mapToolSet.connect(self._tool_changed)
        self.add_button.setDefaultAction(self.actions.add)
        self.class_button.setMenu(self.actions.menu)
        self.class_button.setIcon(icon("mActionEditTable.svg"))
        self.training_button.setVisible(False)
        self.train_button.setVisible(False)
        # Beside its text a button would leave too little room in a narrow dock.
        self.notice.layout().setDirection(QBoxLayout.Direction.TopToBottom)
        self.notice.layout().setStretch(0, 0)
        self.notice.layout().setAlignment(self.notice.button, Qt.AlignmentFlag.AlignRight)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.splitterMoved.connect(self._keep_split)
        self._split_by_hand = False
        self.tabs.tabBar().setFont(small_font(self.tabs.font()))  # all three stand side by side in a narrow dock

        self.sources.labels_changed.connect(self._labels_chosen)
        self.sources.rasters_changed.connect(self._rasters_chosen)
        self.classes.class_picked.connect(self._pick)
        self.classes.zoom_wanted.connect(lambda code: self._go_to_classes([code]))
        self.actions.failed.connect(self._show_problem)
        self.actions.assign_wanted.connect(lambda code: self._assign(self.navigator.selected(), code))
        self.actions.select_wanted.connect(lambda code: self._select_classes([code]))
        self.notes.subject_clicked.connect(self._go_to_subject)
        self.spectra.class_clicked.connect(self._pick)
        self.separability.pair_clicked.connect(self._compare)
        self.separability.pair_opened.connect(lambda *_: self.tabs.setCurrentWidget(self.spectra))
        self.lookalikes.polygon_clicked.connect(self._go_to_polygon)
        self.lookalikes.class_wanted.connect(lambda feature, code: self._assign([feature], code))
        self.live.preview_switched.connect(self._switch_preview)
        self.live.veil_switched.connect(lambda on: self.session is not None and self.session.set_veil(on))
        self.live.opacity_changed.connect(self._show_opacity)
        self.notice.clicked.connect(self.runtime_wanted)
        self.visibilityChanged.connect(self._visibility_changed)
        # Layer and rasters come one after the other; the session is made when both are there.
        self._start_soon = QTimer(self, singleShot=True, interval=0)
        self._start_soon.timeout.connect(self._start)
        # A layer may cease to be a label layer: its class field is deleted.
        self._look_again_soon = QTimer(self, singleShot=True, interval=0)
        self._look_again_soon.timeout.connect(self._look_again)
        self._split_soon = QTimer(self, singleShot=True, interval=0)
        self._split_soon.timeout.connect(self._split)
        # The same digits as in the list, while the map has the focus.
        self.keys = ClassKeys(iface.mapCanvas())
        self.keys.refused.connect(self._show_problem)
        # Without a worker there are polygons to count, at least.
        self._count_soon = QTimer(self, singleShot=True, interval=_MILLISECONDS_TO_COUNT)
        self._count_soon.timeout.connect(self._count)
        self.sources.refresh()
        self._labels_chosen()

    def _action(self, text: str, slot: Callable[[], object], icon: str) -> QAction:
        action = QAction(QgsApplication.getThemeIcon(icon), text, self)
        action.triggered.connect(lambda *_: slot())
        return action

    # -- from outside --------------------------------------------------------------------------

    def choose(self, layer: QgsMapLayer | None) -> None:
        """Take the layer that is active in QGIS: labels or image, if it is one."""
        if isinstance(layer, QgsVectorLayer) and is_label_layer(layer):
            self.sources.choose_layer(layer)
        elif isinstance(layer, QgsRasterLayer) and self.session is None:
            self.sources.choose_raster(layer)

    def offer_training_set(self, slot: Callable[[], object]) -> None:
        """Show the button that makes a training set of what is shown."""
        self.training_button.clicked.connect(lambda *_: slot())
        self.training_button.setVisible(True)

    def offer_training(self, slot: Callable[[], object]) -> None:
        """Show the button that trains a network on what is shown."""
        self.train_button.clicked.connect(lambda *_: slot())
        self.train_button.setVisible(True)

    def check_runtime(self) -> None:
        """Look whether there is a runtime now, and begin where there is."""
        self._start_soon.start()

    def end(self) -> None:
        """End the worker, and take everything off the map; the dock is used no more."""
        for timer in (self._start_soon, self._count_soon, self._look_again_soon, self._split_soon):
            timer.stop()
        for dialog in list(self._dialogs):
            dialog.reject()
        self.keys.end()
        self._end_session()
        self._let_go()
        canvas = self.iface.mapCanvas()
        canvas.mapToolSet.disconnect(self._tool_changed)
        if self.grow_tool is not None:
            canvas.unsetMapTool(self.grow_tool)
            self.grow_tool = None
        if self.overlay is not None:
            self.overlay.end()
            self.overlay = None

    def make_layer(self, *_: object) -> None:
        """Open "New Label Layer"."""
        from .new_label_layer import NewLabelLayer

        rasters = self.sources.rasters()
        dialog = NewLabelLayer(self.iface, rasters[0] if rasters else self.iface.activeLayer(), self.iface.mainWindow())
        dialog.created.connect(self.sources.choose_layer)
        self._open(dialog)

    def use_layer(self, layer: QgsVectorLayer | None = None) -> None:
        """Show a label layer; any other is taken over first, in a dialog.

        Args:
            layer: None lets the analyst choose one of the project's.
        """
        if layer is not None and is_label_layer(layer):
            self.sources.choose_layer(layer)
            return
        from .adopt_layer import AdoptLayer

        dialog = AdoptLayer(self.iface, layer, self.iface.mainWindow())
        dialog.taken.connect(lambda labels: self.sources.choose_layer(labels.layer))
        self._open(dialog)

    def _open(self, dialog: QDialog) -> None:
        self._dialogs.append(dialog)
        dialog.finished.connect(lambda _: self._dialogs.remove(dialog))
        dialog.open()

    # -- label layer and session ---------------------------------------------------------------

    def _visibility_changed(self, *_: object) -> None:
        # Behind another tab, or in a window that is minimised, it is invisible, but not hidden.
        if not self.isHidden():
            if self.session is None:
                self.sources.refresh()
                self._start_soon.start()
            return
        # A dock that nobody sees needs no worker, and must leave nothing on the map.
        self._end_session()
        if self.grow_tool is not None:
            self.iface.mapCanvas().unsetMapTool(self.grow_tool)

    def _labels_chosen(self) -> None:
        layer = self.sources.layer()
        label_layer = LabelLayer.of(layer) if layer is not None else None
        if label_layer is not self.label_layer or label_layer is None:
            self._end_session()
            self._let_go()
            self.label_layer = label_layer
            for signal, slot in self._signals_of(label_layer) if label_layer is not None else ():
                signal.connect(slot)
            self.sources.propose_raster()
        self.navigator.label_layer = self.actions.label_layer = self.layer_menu.label_layer = label_layer
        self.guide.setVisible(label_layer is None)
        self.sources.setVisible(label_layer is not None)
        self.body.setVisible(label_layer is not None)
        self._show_classes()
        self._start_soon.start()

    def _let_go(self) -> None:
        label_layer, self.label_layer = self.label_layer, None
        self.navigator.label_layer = self.actions.label_layer = self.layer_menu.label_layer = None
        if label_layer is None or sip.isdeleted(label_layer):
            return
        for signal, slot in self._signals_of(label_layer):
            signal.disconnect(slot)

    def _signals_of(self, label_layer: LabelLayer) -> list[tuple[Any, Any]]:
        """What of the label layer is followed, and by whom."""
        layer = label_layer.layer
        return [
            (label_layer.classes_changed, self._show_classes),
            (label_layer.current_changed, self._show_current),
            (label_layer.problem, self._show_problem),
            (layer.willBeDeleted, self._layer_goes),
            (label_layer.destroyed, self._look_again_later),
            (layer.updatedFields, self._look_again_later),
            (layer.selectionChanged, self.actions.update),
            (layer.featureAdded, self._count_later),
            (layer.featureDeleted, self._count_later),
            (layer.attributeValueChanged, self._count_later),
            (layer.afterRollBack, self._count_later),
        ]

    def _look_again_later(self, *_: object) -> None:
        self._look_again_soon.start()

    def _look_again(self) -> None:
        known = self.label_layer
        if known is not None and (sip.isdeleted(known) or LabelLayer.of(known.layer) is not known):
            self._end_session()
            self._let_go()
            self.sources.refresh()
            self._labels_chosen()

    def _layer_goes(self) -> None:
        self._end_session()
        self._let_go()
        self._labels_chosen()

    def _rasters_chosen(self) -> None:
        self._name_image()
        if self.session is not None and self.sources.rasters():
            rasters = self.sources.rasters()
            self.session.set_rasters(rasters, self._image_of(rasters))
        else:
            self._end_session()
            self._start_soon.start()

    def _name_image(self) -> None:
        """Labels keep on which image they were drawn."""
        rasters = self.sources.rasters()
        if self.label_layer is None or not rasters:
            return
        name = image_name(rasters[0])
        # The date may have been typed when the layer was made: it is not touched without need.
        if self.label_layer.image() != name:
            self.label_layer.set_image(name, image_date(rasters[0]))

    def _image_of(self, rasters: list[QgsRasterLayer]) -> str:
        """What the labels call the image: labels of another date say nothing about its pixels."""
        names = [image_name(raster) for raster in rasters]
        known = self.label_layer.images() if self.label_layer is not None else []
        return next((name for name in names if name in known), names[0])

    def _start(self) -> None:
        """Begin a session if all that it needs is there, or say what is missing."""
        problem = runtime_problem(find_runtime())
        if problem:
            self._end_session()
            self.notice.tell("warning", problem, button="Runtime…")
        else:
            self.notice.clear()
        rasters = self.sources.rasters()
        if self.label_layer is None or problem or not rasters or self.session is not None or self.isHidden():
            self._tell_state()
            return
        self.session = self._make_session(rasters)
        if self.grow_tool is not None:
            self.grow_tool.set_session(self.session)
        self._name_image()
        self._tell_state()
        self.session.set_veil(self.live.veil.isChecked())
        self.session.want_statistics(True)
        self.session.set_preview(self.live.preview.isChecked())

    def _make_session(self, rasters: list[QgsRasterLayer]) -> Any:
        if self._new_session is None:
            from ..plugin.live_session import LiveSession

            self._new_session = LiveSession
        session = self._new_session(self.label_layer, rasters, self.iface.mapCanvas(), self._image_of(rasters))
        session.statistics_ready.connect(self.show_statistics)
        session.statistics_failed.connect(self._statistics_failed)
        session.findings_changed.connect(self._show_findings)
        session.preview_ready.connect(self._show_preview)
        session.preview_gone.connect(self._hide_preview)
        session.state_changed.connect(self._state_changed)
        session.log.connect(_log)
        return session

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if self.grow_tool is not None:
            self.grow_tool.set_session(None)
        if session is not None:
            session.end()
            session.deleteLater()
        self._hide_preview()
        self._sentence, self._findings = "", []
        self.show_statistics({})

    # -- what is shown -------------------------------------------------------------------------

    def _show_classes(self, *_: object) -> None:
        label_layer = self.label_layer
        self.classes.set_classes(label_layer.classes() if label_layer is not None else [])
        self._show_current(label_layer.current_code() if label_layer is not None else -1)
        self._count_later()
        self._split_soon.start()
        self._show_figures()
        self.actions.update()

    def _show_current(self, code: int) -> None:
        """Mark the class that is drawn; -1 for none."""
        self.classes.set_current(code)
        self.spectra.plot.set_current(code)

    def _show_problem(self, sentence: str) -> None:
        self._tell(for_dialog(sentence), LEVEL_WARNING)

    def _tell(self, sentence: str, level: Any = LEVEL_INFO) -> None:
        self.iface.messageBar().pushMessage("Labels", sentence, level, _SECONDS_TO_READ)

    def _count_later(self, *_: object) -> None:
        self._count_soon.start()

    def _count(self) -> None:
        if self.label_layer is None or self._statistics or self.label_layer.layer.featureCount() > _MOST_TO_COUNT:
            self.classes.set_counts({})
        else:
            self.classes.set_counts(self.label_layer.feature_counts())

    def _keep_split(self, *_: object) -> None:
        self._split_by_hand = True

    def _split(self) -> None:
        """As many classes as have room; the figures keep the larger part."""
        total = sum(self.splitter.sizes())
        if total and not self._split_by_hand:
            upper = min(self.upper.sizeHint().height(), int(_SHARE_OF_CLASSES * total))
            self.splitter.setSizes([upper, total - upper])

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Divide the height anew."""
        super().resizeEvent(event)
        self._split_soon.start()

    def show_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Show the figures of the labels."""
        self._statistics = statistics
        self._count_later()
        self._show_figures()

    def _show_figures(self) -> None:
        """The figures, with names and colours as they are now: the worker's are a moment older."""
        entries = {entry.code: entry for entry in self.label_layer.classes()} if self.label_layer is not None else {}
        figures = dict(self._statistics)
        if entries and figures:
            figures["classes"] = [
                {**known, "name": entries[known["code"]].name, "color": entries[known["code"]].color}
                for known in figures.get("classes", ())
                if known["code"] in entries
            ]
        self.classes.set_statistics(figures)
        self.spectra.set_statistics(figures)
        self.separability.set_statistics(figures)
        self.lookalikes.set_statistics(figures)
        count = self.lookalikes.count()
        number = f" {count}" if count else ""
        self.tabs.set_titles(
            [("Spectra", "Spectra"), ("Separability", "Pairs"), (f"Look-alikes{number}", f"Alike{number}")]
        )
        self._show_notes()

    def _show_findings(self, findings: list[dict[str, Any]]) -> None:
        self._findings = findings
        self._show_notes()

    def _show_notes(self) -> None:
        notes = list(self._statistics.get("warnings", ()))
        said = {note["message"] for note in notes}
        self.notes.set_notes([*(entry for entry in self._findings if entry.get("message") not in said), *notes])

    def _statistics_failed(self, sentence: str) -> None:
        self.show_statistics({})
        self._sentence = for_dialog(sentence)
        self._tell_state()

    def _state_changed(self, state: str, sentence: str) -> None:
        self._sentence = for_dialog(sentence)
        self._tell_state()

    def _tell_state(self) -> None:
        if self.notice.kind:
            self.live.tell("")  # the notice says it
        elif not self.sources.rasters():
            self.live.tell("Add an image to the project: the labels say something about its pixels.")
        else:
            self.live.tell(self._sentence)

    # -- what rows and buttons do --------------------------------------------------------------

    def _pick(self, code: int) -> None:
        self.spectra.plot.set_emphasis(set())
        if self.label_layer is not None:
            self.label_layer.set_current(code)

    def _go_to_classes(self, codes: list[int]) -> None:
        if not self.navigator.go_to(self.navigator.features_of(codes)):
            self._tell("Nothing is drawn of this class yet.")

    def _select_classes(self, codes: list[int]) -> None:
        self.navigator.select(self.navigator.features_of(codes))

    def _compare(self, first: int, second: int) -> None:
        """Both classes of a pair: selected on the map and in the list, and brought forward in the plot."""
        self.classes.select([first, second])
        self.spectra.plot.set_emphasis({first, second})
        self._select_classes([first, second])

    def _go_to_polygon(self, feature: int) -> None:
        self.navigator.select([feature])
        if not self.navigator.go_to([feature]):
            self._tell("This polygon is gone; the list is about to be renewed.")

    def _go_to_subject(self, codes: list[int], features: list[int]) -> None:
        if features:
            self.navigator.select(features)
            self.navigator.go_to(features)
        elif codes:
            self.classes.select(codes)
            self._go_to_classes(codes)

    def _assign(self, features: list[int], code: int) -> None:
        try:
            self.navigator.assign(features, code)
        except ThematicaError as error:
            self._show_problem(error.message)

    def _draw(self) -> None:
        if self.label_layer is None:
            return
        if not self.label_layer.classes():
            self._tell("Add a class first: every polygon is of one.")
        elif not self.navigator.draw():
            self._show_problem(
                f"The layer “{self.label_layer.layer.name()}” cannot be edited: its file may be read-only."
            )
        elif self.label_layer.layer.id() not in self._prepared:
            # Once: what the analyst switches off afterwards stays off.
            self._prepared.add(self.label_layer.layer.id())
            told = prepare_drawing(self.label_layer.layer)
            if told:
                bar = self.iface.messageBar()
                bar.pushMessage("Labels", "Snapping and shared borders are on.", told, LEVEL_INFO, _SECONDS_TO_READ)

    # -- live preview and region growing -------------------------------------------------------

    def _switch_preview(self, on: bool) -> None:
        if self.session is not None:
            self.session.set_preview(on)

    def _show_preview(self, image: QImage, extent: QgsRectangle) -> None:
        if self.overlay is None:
            from .live_overlay import LiveOverlay

            self.overlay = LiveOverlay(self.iface.mapCanvas())
            self._show_opacity(self.live.opacity_share)
        if self.label_layer is not None:
            self.overlay.set_labels(self.label_layer.layer)
        self.overlay.set_rasters(self.sources.rasters())
        self.overlay.show_preview(image, extent)

    def _hide_preview(self) -> None:
        if self.overlay is not None:
            self.overlay.clear()

    def _show_opacity(self, share: float) -> None:
        if self.overlay is not None:
            self.overlay.set_opacity(share)

    def _grow(self, on: bool) -> None:
        canvas = self.iface.mapCanvas()
        if not on:
            if self.grow_tool is not None:
                canvas.unsetMapTool(self.grow_tool)
            return
        if self.grow_tool is None:
            from .grow_tool import GrowTool

            self.grow_tool = GrowTool(self.iface, self.session)
        if self.label_layer is not None:
            self.iface.setActiveLayer(self.label_layer.layer)
        canvas.setMapTool(self.grow_tool)

    def _tool_changed(self, tool: Any, *_: object) -> None:
        self.grow_button.setChecked(tool is not None and tool is self.grow_tool)


def _log(level: str, text: str) -> None:
    levels = {"error": LEVEL_CRITICAL, "warning": LEVEL_WARNING}
    QgsApplication.messageLog().logMessage(text, "Thematica", levels.get(level, LEVEL_INFO))
