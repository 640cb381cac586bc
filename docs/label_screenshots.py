"""Pictures of labelling: a layer, polygons drawn by mouse, figures, a region, the live preview, a training.

Runs inside QGIS, started by ``screenshots.py``, on the scene that ``demo/make_scene.py`` makes.
"""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsContrastEnhancement, QgsPointXY, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDialog, QDialogButtonBox
from qgis.utils import iface
from qgis_window import QgisWindow

# By class, polygons drawn by hand: (column, row) of each corner.
DRAWN = {
    1: [
        [(772, 685), (763, 690), (746, 683), (746, 676), (758, 662), (770, 667)],
        [(680, 663), (667, 674), (654, 665), (652, 655), (668, 644), (679, 653)],
        [(748, 616), (737, 626), (723, 622), (722, 604), (730, 599), (743, 600)],
        [(845, 670), (833, 680), (822, 676), (819, 664), (831, 652), (845, 658)],
    ],
    2: [
        [(888, 468), (880, 473), (873, 470), (869, 460), (874, 454), (887, 457)],
        [(663, 824), (659, 829), (654, 827), (653, 821), (655, 818), (661, 819)],
        [(813, 456), (809, 459), (803, 457), (803, 452), (806, 449), (811, 449)],
        [(863, 536), (859, 540), (854, 539), (852, 534), (857, 530), (862, 532)],
    ],
    3: [
        [(595, 613), (588, 621), (572, 614), (569, 599), (577, 594), (595, 598)],
        [(697, 558), (684, 566), (673, 560), (673, 544), (681, 537), (696, 544)],
        [(596, 723), (584, 732), (574, 725), (571, 710), (585, 702), (596, 709)],
        [(781, 492), (776, 496), (757, 490), (754, 482), (769, 469), (778, 474)],
        [(581, 466), (573, 475), (555, 468), (553, 460), (566, 446), (580, 455)],
    ],
    4: [
        [(736, 820), (729, 827), (715, 820), (714, 808), (725, 802), (737, 808)],
        [(563, 644), (553, 652), (547, 651), (544, 640), (553, 633), (560, 636)],
        [(564, 515), (558, 522), (548, 517), (548, 508), (553, 505), (562, 506)],
        [(886, 717), (879, 721), (873, 719), (871, 711), (876, 706), (886, 709)],
    ],
    5: [
        [(590, 682), (575, 689), (563, 683), (563, 667), (574, 662), (587, 668)],
        [(552, 829), (542, 839), (534, 837), (530, 825), (541, 815), (549, 820)],
        [(877, 862), (862, 868), (850, 862), (848, 850), (862, 840), (876, 848)],
    ],
}
# Where a region grows: a field of the made scene.
GROWN_FROM = (785, 820)
# Left, top, right, bottom in pixels: lake, river, fields, woods, villages.
VIEW = (505, 430, 935, 880)
# So many, that there is time for a picture in the middle.
EPOCHS = 60
# Reflectance that is shown white.
BRIGHTEST = 0.22


class Labelling:
    """An analyst who labels the made scene.

    Args:
        qgis: the window.
        scenes: folder that holds the made scene.
    """

    def __init__(self, qgis: QgisWindow, scenes: Path) -> None:
        self.qgis = qgis
        path = sorted((scenes / "made").glob("scene-????-??-??.tif"))[0]
        self.scene = qgis.add(path, path.stem, 3, 2, 1)
        _brighten(self.scene)
        self.labels_file = path.with_name("labels.gpkg")
        qgis.plugin.labels_action.trigger()
        self.dock = qgis.plugin.labels_dock
        qgis.window.resizeDocks([self.dock], [390], Qt.Orientation.Horizontal)
        self.show_view()

    def show_view(self) -> None:
        """The part of the scene that is labelled."""
        corners = [self.place(*VIEW[:2]), self.place(*VIEW[2:])]
        self.qgis.canvas.setExtent(QgsRectangle(*corners))
        self.qgis.settle(1)

    def place(self, column: float, row: float) -> QgsPointXY:
        """A pixel of the scene on the map."""
        extent = self.scene.extent()
        return QgsPointXY(
            extent.xMinimum() + column * self.scene.rasterUnitsPerPixelX(),
            extent.yMaximum() - row * self.scene.rasterUnitsPerPixelY(),
        )

    def at(self, column: float, row: float) -> QPoint:
        """A pixel of the scene on the screen."""
        found = self.qgis.canvas.getCoordinateTransform().transform(self.place(column, row))
        return QPoint(round(found.x()), round(found.y()))

    def make_layer(self) -> None:
        """New label layer, in its dialog."""
        from thematica.ui.new_label_layer import NewLabelLayer

        self.qgis.click(self.dock.new_button)
        dialog = self.qgis.window.findChildren(NewLabelLayer)[-1]
        file = dialog.file.lineEdit()
        file.selectAll()
        QTest.keyClicks(file, str(self.labels_file))
        self.qgis.settle()
        # The documentation shows where it would be on a user's machine.
        file.blockSignals(True)
        file.setText("/data/river/labels.gpkg")
        self.qgis.save_widget(dialog, "labels-new-layer.png")
        file.setText(str(self.labels_file))
        file.blockSignals(False)
        self.qgis.click(dialog.create_button)
        self.qgis.wait_for(lambda: self.dock.session is not None, "the label layer")
        iface.messageBar().clearWidgets()

    def draw(self, corners: list[tuple[int, int]], finish: bool = True) -> None:
        """A polygon, with QGIS's own tool; its form asks for the class."""
        viewport = self.qgis.canvas.viewport()
        for column, row in corners:
            QTest.mouseMove(viewport, self.at(column, row))
            self.qgis.click(viewport, self.at(column, row))
        if not finish:
            return
        self.qgis.click(viewport, self.at(*corners[-1]), Qt.MouseButton.RightButton)
        self.qgis.wait_for(_form, "the form of a polygon")
        self.qgis.click(_form().findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok))
        self.qgis.wait_for(lambda: _form() is None, "the form of a polygon")

    def draw_all(self) -> None:
        """All polygons; digits choose the class."""
        self.qgis.click(self.dock.draw_button)
        iface.messageBar().clearWidgets()
        for code, polygons in DRAWN.items():
            self.qgis.canvas.setFocus()
            QTest.keyClicks(self.qgis.canvas, str(code))
            for corners in polygons:
                self.draw(corners)
        self.qgis.wait_for(lambda: len(self.dock.spectra.plot.signatures) == len(DRAWN), "the figures")
        self.qgis.wait_for(lambda: self.dock.classes.row_of(5).polygons == len(DRAWN[5]), "the figures")

    def grow(self) -> None:
        """A region, and its picture."""
        self.dock.label_layer.set_current(4)
        self.qgis.click(self.dock.grow_button)
        self.qgis.click(self.qgis.canvas.viewport(), self.at(*GROWN_FROM))
        self.qgis.wait_for(lambda: self.dock.grow_tool.grown is not None, "a region")
        self.qgis.save_widget(self.qgis.window, "labels-grow.png")
        self.qgis.canvas.setFocus()
        QTest.keyClick(self.qgis.canvas, Qt.Key.Key_Return)
        self.qgis.wait_for(lambda: self.dock.grow_tool.grown is None, "the region")
        self.qgis.wait_for(lambda: self.dock.classes.row_of(4).polygons == len(DRAWN[4]) + 1, "the figures")
        iface.actionPan().trigger()

    def mistake(self) -> None:
        """A field that is called trees: what the dock says, and the way back."""
        layer = self.dock.label_layer.layer
        field = next(f for f in layer.getFeatures() if self.dock.label_layer.code_of_feature(f) == 3)
        layer.selectByIds([field.id()])
        self.qgis.canvas.setFocus()
        QTest.keyClick(self.qgis.canvas, Qt.Key.Key_2)
        layer.removeSelection()
        self.qgis.wait_for(lambda: self.dock.lookalikes.count() == 1, "the wrong polygon")
        self.dock.tabs.setCurrentWidget(self.dock.separability)
        self.qgis.save_widget(self.dock, "labels-separability.png")
        self.dock.tabs.setCurrentWidget(self.dock.lookalikes)
        table = self.dock.lookalikes.table
        self.qgis.click(table.viewport(), table.visualItemRect(table.item(0, 1)).center())
        self.qgis.save_widget(self.dock, "labels-lookalike.png")
        self.qgis.click(self.dock.lookalikes.change_button)
        self.qgis.wait_for(lambda: self.dock.lookalikes.count() == 0, "the polygon")
        layer.removeSelection()
        self.dock.tabs.setCurrentWidget(self.dock.spectra)
        self.show_view()

    def preview(self) -> None:
        """The live preview with its veil."""
        self.qgis.click(self.dock.live.preview)
        self.qgis.wait_for(lambda: self.dock.session.state == "shown", "the preview")
        self.qgis.wait_for(lambda: self.dock.overlay is not None and self.dock.overlay.is_shown, "the preview")
        self.qgis.save_widget(self.qgis.window, "labels-preview.png")
        self.qgis.click(self.dock.live.preview)

    def training_set(self) -> None:
        """The dialog, its run, and the sheet."""
        from thematica.ui.dataset_dialog import DatasetDialog

        layer = self.dock.label_layer.layer
        iface.setActiveLayer(layer)
        layer.commitChanges()
        self.qgis.click(self.dock.training_button)
        dialog = self.qgis.window.findChildren(DatasetDialog)[-1]
        dialog.resize(700, 640)
        dialog.output.setFilePath(str(self.labels_file.parent / "labels_training_set"))
        self.qgis.settle()
        file = dialog.output.lineEdit()
        folder = file.text()
        file.blockSignals(True)
        file.setText("/data/river/labels_training_set")
        self.qgis.save_widget(dialog, "labels-training-set.png")
        file.setText(folder)
        file.blockSignals(False)
        self.qgis.click(dialog.run_button)
        self.qgis.wait_for(lambda: not dialog.current_run.is_running, "the training set")
        self.qgis.wait_for(lambda: _sheet() is not None, "the sheet")
        self.qgis.save_widget(_sheet(), "labels-sheet.png")
        _sheet().close()
        dialog.close()

    def train(self) -> None:
        """The dialog, the curves of a training, and what came of it."""
        from thematica.ui.train_dialog import TrainDialog
        from thematica.ui.training_dock import TrainingDock

        self.qgis.click(self.dock.train_button)
        dialog = self.qgis.window.findChildren(TrainDialog)[-1]
        self.qgis.click(dialog.network.buttons["mlp"])
        dialog.name.setText("river cover")
        dialog.folder.setFilePath(str(self.labels_file.parent / "river cover"))
        self.qgis.settle()
        self.qgis.save_widget(dialog, "train-dialog.png")
        dialog.epochs.setValue(EPOCHS)
        self.qgis.click(dialog.train_button)
        self.qgis.wait_for(lambda: self.qgis.window.findChildren(TrainingDock), "the training")
        dialog.close()
        dock = self.qgis.window.findChildren(TrainingDock)[-1]
        self.qgis.wait_for(lambda: dock.run is not None and len(dock.run.epochs_done) > EPOCHS // 3, "its curves", 180)
        iface.messageBar().clearWidgets()
        self.qgis.save_widget(self.qgis.window, "training-dock.png")
        self.qgis.wait_for(lambda: dock.run.state == "finished" and dock.classify_button.isVisible(), "its end", 180)
        self.qgis.save_widget(dock, "training-finished.png")


def _brighten(layer: QgsRasterLayer) -> None:
    """What lies on the ground fills the screen's range; clouds and snow may be white."""
    renderer = layer.renderer()
    for choose in (
        renderer.setRedContrastEnhancement,
        renderer.setGreenContrastEnhancement,
        renderer.setBlueContrastEnhancement,
    ):
        stretch = QgsContrastEnhancement(layer.dataProvider().dataType(1))
        stretch.setMinimumValue(0)
        stretch.setMaximumValue(BRIGHTEST)
        stretch.setContrastEnhancementAlgorithm(
            QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
        )
        choose(stretch)


def _form() -> QDialog | None:
    windows = [window for window in QApplication.topLevelWidgets() if window.isVisible()]
    return next((window for window in windows if "Feature Attributes" in window.windowTitle()), None)


def _sheet() -> QDialog | None:
    windows = [window for window in QApplication.topLevelWidgets() if window.isVisible()]
    return next((window for window in windows if window.windowTitle().startswith("Training Set")), None)


def take_label_pictures(images: Path, size: tuple[int, int], scenes: Path) -> None:
    """Take all of them.

    Args:
        images: folder of the pictures.
        size: of QGIS's window.
        scenes: folder that holds the made scene.
    """
    qgis = QgisWindow(images, size)
    qgis.project.clear()
    work = Labelling(qgis, scenes)
    work.make_layer()
    work.draw_all()
    qgis.save_widget(qgis.window, "labels-dock.png")
    work.mistake()
    work.grow()
    work.preview()
    work.training_set()
    work.train()
