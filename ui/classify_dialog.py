"""The dialog "Classify Layer": raster and model, whether they fit, area, result, and the run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsSettings
from qgis.PyQt.QtCore import QByteArray, QEvent, QObject, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QGuiApplication, QHideEvent, QShowEvent
from qgis.PyQt.QtWidgets import QDialog, QFileDialog, QMenu, QMessageBox, QWidget

from ..errors import ThematicaError
from ..models.card import ModelCard
from ..models.fit import RasterFacts
from ..models.map_names import further_files
from ..plugin.compat import RASTER_LAYERS
from ..plugin.export import area_needed, has_pixels
from ..plugin.job import PreparedJob, check_raster, raster_job
from ..plugin.raster_facts import facts_of_layer
from ..plugin.replacing import refuse_edited_file, refuse_input_as_output
from ..plugin.runtime import find_runtime, runtime_problem
from .classify_run import ClassifyRun
from .fitting import FitView, band_option, view_fit
from .forms import load_form
from .job_run import log
from .run_view import RunView
from .swatches import add_swatches, swatch_html
from .wording import for_dialog, model_summary

_SETTINGS = "thematica/classify"


class ClassifyDialog(QDialog):
    """Non-modal; closing it leaves a run going on in the background.

    Args:
        iface: QGIS's interface.
        show_areas: called with a report when the analyst asks for the area table.
        show_threshold: called with a layer of labelled patches when the analyst wants to move its threshold.
        runs: the Qt parent of the runs, which outlive the dialog.
        parent: the Qt parent.
    """

    runtime_wanted = pyqtSignal()

    def __init__(
        self,
        iface: Any,
        show_areas: Any,
        show_threshold: Any = None,
        runs: QObject | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        load_form(self, "classify_dialog")
        self.iface, self.runs = iface, runs or iface.mainWindow()
        self.show_areas, self.show_threshold = show_areas, show_threshold
        self.current_run: ClassifyRun | None = None
        self._facts: list[RasterFacts] = []
        self._facts_problem = ""
        self._read_with: tuple[Any, ...] | None = None
        self._fit: FitView | None = None
        # Several widgets change at once when a project is loaded; one check afterwards is enough.
        self._check_soon = QTimer(self, singleShot=True, interval=0)
        self._check_soon.timeout.connect(self._check)
        self.raster.setFilters(RASTER_LAYERS)
        self.model_label.setBuddy(self.model)
        self.raster.layerChanged.connect(self._raster_changed)
        # Where several layers come at once (a project is opened), QGIS tells of the new choice by its index only.
        # Queued: while layers are being removed, asking the list for its layer would crash QGIS.
        self.raster.currentIndexChanged.connect(self._raster_changed, Qt.ConnectionType.QueuedConnection)
        self.model.changed.connect(self._inputs_changed)
        self.bands.changed.connect(self._check_soon.start)
        for part in (self.area, self.advanced):
            part.changed.connect(self._check_soon.start)
        self.stack.changed.connect(self._raster_changed)
        self.stack.swap_wanted.connect(self._swap_first)
        self.add_raster.setMenu(QMenu(self.add_raster))
        self.add_raster.menu().aboutToShow.connect(self._fill_menu)
        self.run_view = RunView(self.run_notice, self.progress, self.stage, self.cancel_button, self)
        self.run_button.clicked.connect(self._run)
        self.close_button.clicked.connect(self.close)
        self.runtime_button.clicked.connect(self.runtime_wanted)
        self.fit_notice.clicked.connect(self.model.describe)
        self.runtime_notice.clicked.connect(self.runtime_wanted)
        self.run_notice.clicked.connect(self._show_areas)
        # Open where a setting is not the usual one: it would work unseen otherwise.
        self.advanced_group.setSaveCollapsedState(False)
        self.advanced_group.setCollapsed(self.advanced.is_default())
        self._restore_size()
        self._raster_changed()

    # -- what is given --------------------------------------------------------------------------

    def choose_layer(self, layer: QgsMapLayer | None) -> None:
        """Choose a raster layer; None or another kind of layer changes nothing."""
        if isinstance(layer, QgsRasterLayer):
            self.raster.setLayer(layer)

    def choose_model(self, name: str) -> None:
        """Choose a model of the store by its name; one that is not there changes nothing."""
        self.model.choose_stored(name)

    def check_runtime(self) -> None:
        """Look whether there is a runtime, and say so where there is none."""
        problem = runtime_problem(find_runtime())
        if problem:
            self.runtime_notice.tell("warning", problem, button="Set up runtime…")
        else:
            self.runtime_notice.clear()
        self._show_whether_ready()

    def layers(self) -> list[QgsRasterLayer]:
        """The rasters to classify, in their order; empty where none is chosen."""
        first = self.raster.currentLayer()
        return [first, *self.stack.layers()] if first is not None else []

    def _fill_menu(self) -> None:
        """What “Add raster” offers: a file, and the project's layers to use together with the chosen one."""
        menu = self.add_raster.menu()
        menu.clear()
        menu.addAction("Open a raster file…", lambda: self._open_files(further=False))
        chosen = self.layers()
        if not chosen:
            return
        menu.addSection("Use together with it")
        menu.addAction("Open further raster files…", lambda: self._open_files(further=True))
        others = [
            layer
            for layer in QgsProject.instance().mapLayers().values()
            if isinstance(layer, QgsRasterLayer) and layer not in chosen
        ]
        for layer in sorted(others, key=lambda layer: layer.name().lower()):
            # A & in a name is no accelerator.
            menu.addAction(layer.name().replace("&", "&&"), partial(self.stack.add, layer))

    def _open_files(self, further: bool) -> None:
        settings = QgsSettings()
        folder = settings.value(f"{_SETTINGS}/raster_folder", str(Path.home()))
        if further:
            paths, _ = QFileDialog.getOpenFileNames(self, "Add rasters of the same place", folder, "All files (*)")
        else:
            path, _ = QFileDialog.getOpenFileName(self, "Add a raster", folder, "All files (*)")
            paths = [path] if path else []
        if paths:
            settings.setValue(f"{_SETTINGS}/raster_folder", str(Path(paths[0]).parent))
        for path in paths:
            # QGIS itself says what is wrong with a file that it cannot open.
            layer = self.iface.addRasterLayer(path, Path(path).stem)
            if not further:
                self.choose_layer(layer)
            elif isinstance(layer, QgsRasterLayer) and layer.isValid():
                self.stack.add(layer)

    def _swap_first(self) -> None:
        """The first of the further rasters becomes the chosen one, and the other way round."""
        first, second = self.raster.currentLayer(), self.stack.layers()[0]
        self.stack.blockSignals(True)
        self.stack.discard(second.id())
        self.stack.add(first, 0)
        self.stack.blockSignals(False)
        self.raster.setLayer(second)

    # -- whether it fits ------------------------------------------------------------------------

    def _raster_changed(self, *_: object) -> None:
        first = self.raster.currentLayer()
        if first is not None:
            self.stack.discard(first.id())
        layers = self.layers()
        read_with = tuple(_layer_settings(layer) for layer in layers)
        if read_with == self._read_with:
            return
        self._read_with = read_with
        self._facts, self._facts_problem = [], ""
        try:
            for layer in layers:
                check_raster(layer)
            self._facts = [facts_of_layer(layer) for layer in layers]
        except ThematicaError as error:
            self._facts_problem = for_dialog(error.message)
            log(f"{error.message}\n{error.details}".strip())
        if self._facts:
            facts = self._facts
            self.model.propose(lambda card: view_fit(card, facts))
        self._inputs_changed()

    def _inputs_changed(self) -> None:
        self.run_notice.clear()  # what it says is about another raster or model
        card = self.model.card
        if card is None:
            self.summary.clear()
        else:
            add_swatches(self.summary.document(), (entry.color for entry in card.classes))
            self.summary.setHtml(model_summary(card, swatch_html))
            self.result.show_model(card)
            self.advanced.show_task(card.task)
        self.patches.show_model(card)
        self.bands.start_over(card, self._facts)
        self._check()

    def _check(self) -> None:
        """Check the fit again and show it; cheap, nothing is read."""
        self._fit = None
        if self._facts_problem:
            self.fit_notice.tell("error", self._facts_problem)
        elif self.model.card is None:
            self.fit_notice.tell("error", self.model.problem)
        elif not self._facts:
            self.fit_notice.tell(
                "info", "The project has no raster layer yet: add one with “Add raster” or from QGIS's Browser."
            )
        else:
            self._fit = view_fit(
                self.model.card,
                self._facts,
                self.bands.chosen_bands(),
                self.bands.chosen_scale(),
                self.bands.chosen_offset(),
                self.bands.chosen_sensor(),
                self._pixel_size(self.model.card),
            )
            self.bands.show_fit(self._fit)
            endless = [layer.name() for layer in self.layers() if not has_pixels(layer)]
            if self._fit.fits and endless and self.area.whole.isChecked():
                self._fit = replace(self._fit, fits=False, sentence=area_needed(endless[0]))
            kind = "error" if not self._fit.fits else "warning" if self._fit.warnings else "ok"
            # What has no card runs where nothing is ambiguous, but its map has only numbers for a legend.
            button = "Describe it…" if self.model.card.origin == "none" else ""
            self.fit_notice.tell(kind, self._fit.sentence, self._fit.warnings, button=button)
        self._show_whether_ready()

    def _pixel_size(self, card: ModelCard) -> float | None:
        wanted = self.advanced.pixel_size()
        return card.gsd if wanted == "model" else wanted if isinstance(wanted, float) else None

    def _show_whether_ready(self) -> None:
        fits = self._fit is not None and self._fit.fits
        ready = fits and not self.run_view.is_running() and not self.runtime_notice.kind
        self.run_button.setEnabled(ready)
        if ready:
            self.run_button.setToolTip("Classify in the background")
        elif self.run_view.is_running():
            self.run_button.setToolTip("A run is going on; wait for its end or cancel it")
        elif self.runtime_notice.kind:
            self.run_button.setToolTip("Set up the runtime first")
        else:
            self.run_button.setToolTip("Model and raster must fit together first")

    # -- the run --------------------------------------------------------------------------------

    def _run(self) -> None:
        self.run_notice.clear()
        layers = self.layers()
        layer = layers[0]
        assert self.model.card is not None
        output = self.result.output(f"{_file_stem(layer.name())}_{_file_stem(self.model.card.name)}")
        extras = self.result.extra_files(output)
        try:
            named = [output, *extras.values()]
            further = further_files(self.model.card, self.result.output_name(), named)
            replaced = self._agree_to_replace(layers, [*named, *further])
            if replaced is None:
                return
            prepared = self._prepare(layers, output, {**extras, "overwrite": bool(replaced)})
        except ThematicaError as error:
            log(f"{error.message}\n{error.details}".strip())
            self.run_notice.tell("error", for_dialog(error.message))
            return
        for part in (self.model, self.result, self.advanced):
            part.remember()
        title = f"{layer.name()} – {self.model.card.title or self.model.card.name}"
        self.current_run = ClassifyRun(
            self.iface, prepared, layer.name(), title, replaced, self.show_areas, self.show_threshold, self.runs
        )
        self.run_view.follow(self.current_run, "Starting the engine")
        self.current_run.ended.connect(self._ended)
        self.current_run.start()
        self._show_whether_ready()

    def _prepare(self, layers: list[QgsRasterLayer], output: str, options: dict[str, Any]) -> PreparedJob:
        options.update(self.advanced.options())
        of_patches = self.model.card is not None and self.model.card.task.startswith("patch")
        if of_patches:
            options.update(self.patches.options())
        options["bands"] = band_option(self.bands.chosen_bands())
        options["scale"], options["offset"] = self.bands.chosen_scale(), self.bands.chosen_offset()
        options["output_name"] = self.result.output_name()
        options["sensor"] = self.bands.chosen_sensor()
        extent = extent_crs = None
        if self.area.visible_canvas():
            canvas = self.iface.mapCanvas()
            extent, extent_crs = canvas.extent(), canvas.mapSettings().destinationCrs()
        return raster_job(
            "classify-patches" if of_patches else "classify-pixels",
            layers,
            self.model.model,
            output,
            area_layer=self.area.area_layer(),
            area_selected_only=self.area.only_selected(),
            mask=self.advanced.mask_layer(),
            extent=extent,
            extent_crs=extent_crs,
            options=options,
        )

    def _agree_to_replace(self, layers: list[QgsRasterLayer], paths: list[str]) -> list[str] | None:
        """Ask before files are replaced: those that exist and may be, or None to stop.

        Raises:
            OutputError: the map would replace its own input, or unsaved edits.
        """
        mask = self.advanced.mask_layer()
        refuse_input_as_output([*layers, mask] if mask is not None else layers, paths)
        for path in paths:
            refuse_edited_file(path)
        existing = [path for path in paths if Path(path).exists()]
        if not existing:
            return []
        text = "This file exists already:" if len(existing) == 1 else "These files exist already:"
        answer = QMessageBox.question(
            self,
            "Replace the result?",
            "\n".join([text, "", *existing, "", "Replace?"]),
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
            QMessageBox.StandardButton.No,
        )
        return existing if answer == QMessageBox.StandardButton.Yes else None

    def _ended(self, kind: str, sentence: str) -> None:
        if kind in ("ok", "warning") and self.current_run is not None:
            self.run_notice.tell(kind, sentence, self.current_run.warnings, button="Area table…")
        self._show_whether_ready()

    def _show_areas(self) -> None:
        if self.current_run is not None and self.current_run.report is not None:
            self.show_areas(self.current_run.report)

    # -- the window -----------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Models may have been added, and a runtime made, since the dialog was last open."""
        super().showEvent(event)
        self.model.refresh()
        self._raster_changed()
        self.check_runtime()

    def changeEvent(self, event: QEvent) -> None:
        """CRS and nodata may have been set in Layer Properties meanwhile: the advice was followed."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange:
            self._raster_changed()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        QgsSettings().setValue(f"{_SETTINGS}/size", self.saveGeometry())

    def _restore_size(self) -> None:
        geometry = QgsSettings().value(f"{_SETTINGS}/size")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        else:
            # All bands of Sentinel-2 without scrolling, where the screen is tall enough.
            self.resize(
                self.width(), min(self.height(), QGuiApplication.primaryScreen().availableGeometry().height() - 60)
            )


def _layer_settings(layer: QgsRasterLayer) -> tuple[Any, ...]:
    """All that decides what is read from a layer: what was read before is still true where this is the same."""
    provider, numbers = layer.dataProvider(), range(1, layer.bandCount() + 1)
    nodata = [
        (
            provider.useSourceNoDataValue(number),
            [(span.min(), span.max()) for span in provider.userNoDataValues(number)],
        )
        for number in numbers
    ]
    return layer.id(), layer.isValid(), layer.source(), layer.crs().toWkt(), nodata


def _file_stem(name: str) -> str:
    """A layer's or model's name as part of a file name that every system takes."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:60] or "map"
