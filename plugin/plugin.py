"""The plugin object: what Thematica adds to QGIS's menus, and takes away again.

Dialogs are imported when they are opened: loading the plugin must not cost anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from qgis.core import QgsApplication, QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

MENU = "Thematica"
ICON = Path(__file__).resolve().parent / "icons" / "thematica.svg"
LABELS_ICON = ICON.with_name("labels.svg")


class ThematicaPlugin:
    """Created by QGIS when the plugin is switched on.

    Args:
        iface: QGIS's interface; None under ``qgis_process``.
    """

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider: Any = None
        self.actions: list[QAction] = []
        self.classify_dialog: Any = None
        self.runtime_dialog: Any = None
        self.threshold_panel: Any = None
        self.labels_dock: Any = None
        self.dataset_dialog: Any = None
        self.train_dialog: Any = None
        self.training_dock: Any = None
        self.training_watch: Any = None
        #: Open ones; QGIS's main window keeps the window alive, but not the Python object behind it.
        self.area_tables: list[Any] = []
        #: Parent of the runs: they outlive the dialog, and end with the plugin.
        self.runs = QObject()

    # -- coming and going -----------------------------------------------------------------------

    def initProcessing(self) -> None:
        """Register the algorithms; all that is needed under ``qgis_process``."""
        from .provider import ThematicaProvider

        self.provider = ThematicaProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add menu entries, toolbar button and layer actions."""
        from .compat import RASTER_TYPE, VECTOR_TYPE

        self.initProcessing()
        self.classify_action = self._action("Classify layer…", self.open_classify, ICON)
        self.classify_action.setToolTip("Classify a raster layer with a neural network")
        self.runtime_action = self._action("Runtime…", self.open_runtime)
        self.runtime_action.setToolTip("The Python environment that does the work: create it, check it")
        self.labels_action = self._action("Labels", self.toggle_labels, LABELS_ICON)
        self.labels_action.setToolTip("Draw labels, see what they say, and classify while drawing")
        self.labels_action.setCheckable(True)
        self.dataset_action = self._action("Make training set…", self.open_dataset)
        self.dataset_action.setToolTip("Samples with their classes, split for training and testing")
        self.train_action = self._action("Train…", self.open_train)
        self.train_action.setToolTip("Train a network on a training set or on labels, and get a model")
        self.training_action = self._action("Training", self.toggle_training)
        self.training_action.setToolTip("How a network learns: curves, pause, stop, and what came of it")
        self.training_action.setCheckable(True)
        for action in self._menu_actions():
            self.iface.addPluginToRasterMenu(MENU, action)
        for action in (self.classify_action, self.labels_action):
            self.iface.addToolBarIcon(action)

        # Actions of their own for the layer tree: one object cannot sit in both kinds of menus with two texts.
        self.layer_action = self._action("Classify layer…", self.open_classify, ICON)
        self.area_action = self._action("Area per class…", self.open_area_table, ICON)
        self.iface.addCustomActionForLayerType(self.layer_action, "", RASTER_TYPE, True)
        self.iface.addCustomActionForLayerType(self.area_action, "", RASTER_TYPE, False)
        # Polygons of patches have a table too, and those with several labels a threshold that can be moved.
        self.patch_area_action = self._action("Area per class…", self.open_area_table, ICON)
        self.threshold_action = self._action("Labels at threshold…", self.open_threshold, ICON)
        for action in (self.threshold_action, self.patch_area_action):
            self.iface.addCustomActionForLayerType(action, "", VECTOR_TYPE, False)
        self.use_labels_action = self._action("Use as labels…", self.use_as_labels, LABELS_ICON)
        self.iface.addCustomActionForLayerType(self.use_labels_action, "", VECTOR_TYPE, True)
        QgsProject.instance().layersAdded.connect(self._offer_on_results)
        self._offer_on_results(list(QgsProject.instance().mapLayers().values()))
        self._watch_trainings()

    def _menu_actions(self) -> tuple[QAction, ...]:
        return (
            self.classify_action,
            self.labels_action,
            self.dataset_action,
            self.train_action,
            self.training_action,
            self.runtime_action,
        )

    def _action(self, text: str, slot: Callable[[], None], icon: Path | None = None) -> QAction:
        action = QAction(QIcon(str(icon)) if icon else QIcon(), text, self.iface.mainWindow())
        action.triggered.connect(lambda *_: slot())
        self.actions.append(action)
        return action

    def unload(self) -> None:
        """Take away everything that was added; runs are cancelled, and waited for."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.iface is None or not self.actions:
            return
        QgsProject.instance().layersAdded.disconnect(self._offer_on_results)
        for action in (
            self.layer_action,
            self.area_action,
            self.patch_area_action,
            self.threshold_action,
            self.use_labels_action,
        ):
            self.iface.removeCustomActionForLayerType(action)
        for action in self._menu_actions():
            self.iface.removePluginRasterMenu(MENU, action)
        for action in (self.classify_action, self.labels_action):
            self.iface.removeToolBarIcon(action)
        for action in self.actions:
            action.deleteLater()
        self.actions.clear()
        for run in self.runs.children():
            run.end()
        if self.runtime_dialog is not None:
            self.runtime_dialog.end()
        for table in list(self.area_tables):
            table.close()
        for dialog in (self.classify_dialog, self.runtime_dialog, self.dataset_dialog, self.train_dialog):
            if dialog is not None:
                dialog.close()
                dialog.deleteLater()
        for part in (self.labels_dock, self.training_dock, self.training_watch, self.train_dialog):
            if part is not None:
                part.end()
        from .label_layer import end_all

        end_all()
        for dock in (self.threshold_panel, self.labels_dock, self.training_dock):
            if dock is not None:
                self.iface.removeDockWidget(dock)
                dock.deleteLater()
        self.classify_dialog = self.runtime_dialog = self.threshold_panel = self.labels_dock = None
        self.dataset_dialog = self.train_dialog = self.training_dock = self.training_watch = None

    # -- what the actions do --------------------------------------------------------------------

    def open_classify(self) -> None:
        """Open "Classify Layer" for the active layer."""
        if self.classify_dialog is None:
            from ..ui.classify_dialog import ClassifyDialog

            self.classify_dialog = ClassifyDialog(
                self.iface, self.show_areas, self.show_threshold, runs=self.runs, parent=self.iface.mainWindow()
            )
            self.classify_dialog.runtime_wanted.connect(self.open_runtime)
        self.classify_dialog.choose_layer(self.iface.activeLayer())
        _show(self.classify_dialog)

    def open_runtime(self) -> None:
        """Open the dialog that creates and checks the runtime."""
        if self.runtime_dialog is None:
            from ..ui.runtime_dialog import RuntimeDialog

            self.runtime_dialog = RuntimeDialog(self.iface.mainWindow())
            self.runtime_dialog.changed.connect(self._runtime_changed)
        _show(self.runtime_dialog)

    def _runtime_changed(self) -> None:
        for window in (self.classify_dialog, self.labels_dock, self.dataset_dialog, self.train_dialog):
            if window is not None:
                window.check_runtime()

    def toggle_labels(self) -> None:
        """Open the dock "Labels", or close it."""
        if self.labels_dock is not None and self.labels_dock.isUserVisible():
            self.labels_dock.setUserVisible(False)
        else:
            self._open_labels().choose(self.iface.activeLayer())

    def use_as_labels(self) -> None:
        """Show the active layer in the dock "Labels"; a layer that is no label layer yet is taken over first."""
        layer = self.iface.activeLayer()
        if isinstance(layer, QgsVectorLayer):
            self._open_labels().use_layer(layer)

    def _open_labels(self) -> Any:
        if self.labels_dock is None:
            from ..ui.labels_dock import LabelsDock

            self.labels_dock = LabelsDock(self.iface, self.iface.mainWindow())
            self._add_dock(self.labels_dock)
            self.labels_dock.runtime_wanted.connect(self.open_runtime)
            self.labels_dock.offer_training_set(self.open_dataset)
            self.labels_dock.offer_training(self.open_train)
            # QGIS's own menus close docks, too.
            self.labels_dock.visibilityChanged.connect(self._labels_shown)
        self.labels_dock.setUserVisible(True)
        self._labels_shown()
        return self.labels_dock

    def _add_dock(self, dock: Any) -> None:
        """Show a dock at the right: one behind the other, since each needs the whole height."""
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        for other in (self.labels_dock, self.training_dock):
            if other is not None and other is not dock and not other.isFloating():
                self.iface.mainWindow().tabifyDockWidget(other, dock)

    def _labels_shown(self, *_: object) -> None:
        if self.labels_dock is not None:
            self.labels_action.setChecked(self.labels_dock.isUserVisible())

    def open_dataset(self) -> None:
        """Open "Make Training Set" for what the dock "Labels" works on, or for the active layer."""
        if self.dataset_dialog is None:
            from ..ui.dataset_dialog import DatasetDialog

            self.dataset_dialog = DatasetDialog(self.iface, runs=self.runs, parent=self.iface.mainWindow())
            self.dataset_dialog.runtime_wanted.connect(self.open_runtime)
            self.dataset_dialog.train_wanted.connect(self.train_on)
        self.dataset_dialog.choose(*self._labels_in_hand())
        _show(self.dataset_dialog)

    def _labels_in_hand(self) -> tuple[QgsVectorLayer | None, list[QgsRasterLayer]]:
        """What the dock "Labels" works on, or else the active layer."""
        dock, layer = self.labels_dock, self.iface.activeLayer()
        if dock is not None and not dock.isHidden() and dock.label_layer is not None:
            return dock.label_layer.layer, dock.sources.rasters()
        return (
            layer if isinstance(layer, QgsVectorLayer) else None,
            [layer] if isinstance(layer, QgsRasterLayer) else [],
        )

    def open_train(self) -> None:
        """Open "Train" for what the dock "Labels" works on, or for an active label layer, or as it was."""
        from .label_layer import is_label_layer
        from .training_set import known_sets

        labels, rasters = self._labels_in_hand()
        dialog = self._train()
        # Any other vector layer is more likely active by chance than to be learned from.
        if labels is not None and (is_label_layer(labels) or not known_sets()):
            dialog.choose(labels, rasters)
        _show(dialog)

    def train_on(self, folder: str) -> None:
        """Open "Train" for a training set."""
        self._train().choose_dataset(folder)
        _show(self.train_dialog)

    def _train(self) -> Any:
        if self.train_dialog is None:
            from ..ui.train_dialog import TrainDialog

            self.train_dialog = TrainDialog(self.iface, runs=self.runs, parent=self.iface.mainWindow())
            self.train_dialog.runtime_wanted.connect(self.open_runtime)
            self.train_dialog.started.connect(self.show_training)
            self.train_dialog.started.connect(lambda _: self._watch_trainings())
        return self.train_dialog

    def toggle_training(self) -> None:
        """Open the dock "Training", or close it."""
        if self.training_dock is not None and self.training_dock.isUserVisible():
            self.training_dock.setUserVisible(False)
        else:
            self._open_training()

    def show_training(self, folder: str) -> None:
        """Show the training in a folder in the dock "Training"."""
        self._open_training().show_run(folder)

    def _open_training(self) -> Any:
        if self.training_dock is None:
            from ..ui.training_dock import TrainingDock

            self.training_dock = TrainingDock(self.iface, self.iface.mainWindow())
            self._add_dock(self.training_dock)
            self.training_dock.classify_wanted.connect(self.classify_with)
            self.training_dock.runtime_wanted.connect(self.open_runtime)
            # QGIS's own menus close docks, too.
            self.training_dock.visibilityChanged.connect(self._training_shown)
        self.training_dock.setUserVisible(True)
        self._training_shown()
        return self.training_dock

    def _training_shown(self, *_: object) -> None:
        if self.training_dock is not None:
            self.training_action.setChecked(self.training_dock.isUserVisible())

    def _watch_trainings(self) -> None:
        """Tell of trainings that end while nobody looks; without any there is nothing to load."""
        from .training_list import known_runs

        if self.training_watch is None and known_runs():
            from ..ui.training_watch import TrainingWatch

            self.training_watch = TrainingWatch(self.iface, self.runs)
            self.training_watch.classify_wanted.connect(self.classify_with)
            self.training_watch.show_wanted.connect(self.show_training)
            self.training_watch.watched = self._training_in_sight
            self.training_watch.start()

    def _training_in_sight(self) -> str:
        return self.training_dock.shown_folder() if self.training_dock is not None else ""

    def classify_with(self, model: str) -> None:
        """Open "Classify Layer" for the active layer with a model of the store."""
        self.open_classify()
        self.classify_dialog.choose_model(model)

    def open_area_table(self) -> None:
        """Show the area table of the active layer."""
        report = _report_of(self.iface.activeLayer())
        if report is None:
            self.iface.messageBar().pushWarning(MENU, "This layer's report is gone; classify again to get a new one.")
        else:
            self.show_areas(report)

    def show_areas(self, report: dict[str, Any]) -> None:
        """Open the area table of a report."""
        from ..ui.area_table import AreaTable

        table = AreaTable(report, self.iface.mainWindow())
        self.area_tables.append(table)
        table.finished.connect(lambda _: self.area_tables.remove(table))
        _show(table)

    def open_threshold(self) -> None:
        """Open the panel of the active layer's threshold."""
        from .labels import labels_of_layer

        layer = self.iface.activeLayer()
        if labels_of_layer(layer):
            self.show_threshold(layer)
        else:
            self.iface.messageBar().pushWarning(
                MENU, "This layer's report or columns are gone; classify again to get new ones."
            )

    def show_threshold(self, layer: QgsVectorLayer) -> None:
        """Open the panel of the threshold for a layer of labelled patches."""
        if self.threshold_panel is None:
            from ..ui.threshold_panel import ThresholdPanel

            self.threshold_panel = ThresholdPanel(self.iface.mainWindow())
            self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.threshold_panel)
        self.threshold_panel.show_layer(layer)
        _show(self.threshold_panel)

    def _offer_on_results(self, layers: list[QgsMapLayer]) -> None:
        from .labels import labels_of_layer

        for layer in layers:
            if _report_of(layer) is None:
                continue
            if isinstance(layer, QgsRasterLayer):
                self.iface.addCustomActionForLayer(self.area_action, layer)
                continue
            self.iface.addCustomActionForLayer(self.patch_area_action, layer)
            if labels_of_layer(layer):
                self.iface.addCustomActionForLayer(self.threshold_action, layer)


def _report_of(layer: QgsMapLayer | None) -> dict[str, Any] | None:
    """The report of a result of ours, or None for any other layer."""
    if not isinstance(layer, (QgsRasterLayer, QgsVectorLayer)):
        return None
    from .results import report_of_layer

    report = report_of_layer(layer)
    return report if report is not None and report.get("classes") else None


def _show(widget: Any) -> None:
    widget.show()
    widget.raise_()
    widget.activateWindow()
