"""What a network is to learn from: a training set that is there, labels on rasters, or a folder of labelled patches."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsMapLayer, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from ..models.trainable import NetworkKind, proposed_network
from ..plugin.dataset_job import KINDS, LAYOUTS
from ..plugin.job import PreparedJob
from ..plugin.raster_facts import ground_sampling_distance
from ..plugin.training_set import set_title, training_set_problem
from .dataset_choices import DatasetChoices
from .dataset_sources import DatasetSources
from .set_choice import SetChoice

#: What a network learns of the samples that can be made from labels.
_TASKS_OF_LABELS = {"pixels": "single-label", "windows": "single-label", "chips": "segmentation"}


class TrainSource(QWidget):
    """Three tabs; of what is no training set yet it also asks how samples are cut and split."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # In the order of the Tab key.
        self.sources, self.sets, self.choices = DatasetSources(self), SetChoice(self), DatasetChoices(self)
        tabs = self.tabs = self.sources.tabs
        tabs.insertTab(0, self.sets, "Training set")
        tabs.setTabText(tabs.indexOf(self.sources.labels_tab), "Labels of a layer")
        tabs.setTabText(tabs.indexOf(self.sources.folder_tab), "Folder of patches")
        # Beside the dialog's own “Advanced” this must say of what it is.
        self.choices.advanced_group.setTitle("More about the samples")
        self._kind = "pixels"
        rows = self._rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.sources)
        rows.addWidget(self.choices)
        rows.addStretch()
        self.setFocusProxy(tabs)
        self.choices.follow_network(self._kind)
        self.sets.changed.connect(self._show)
        self.sources.changed.connect(self._show)
        self.choices.changed.connect(self.changed)
        tabs.setCurrentWidget(self.sets if self.sets.folder() else self.sources.labels_tab)
        self._show()

    # -- what is chosen -------------------------------------------------------------------------

    def choose(self, labels: QgsMapLayer | None, rasters: list[QgsRasterLayer], apart: bool = False) -> None:
        """Choose labels of a layer, such as the Labels dock works on."""
        self.sources.choose(labels, rasters, apart)

    def choose_set(self, folder: str) -> None:
        """Choose a training set."""
        self.sets.choose(folder)
        self.tabs.setCurrentWidget(self.sets)

    def is_set(self) -> bool:
        """True where the training set is there already."""
        return bool(self.tabs.currentWidget() is self.sets)

    def title(self) -> str:
        """What it is called; empty where nothing is chosen."""
        if self.is_set():
            return set_title(self.sets.folder()) if self.sets.folder() else ""
        if self.sources.from_folder():
            return Path(self.sources.folder.filePath().strip()).stem
        labels = self.sources.labels.currentLayer()
        return labels.name() if labels is not None else ""

    def tasks(self) -> dict[str, str]:
        """The kinds of samples that there are, or that can be made, and what is learned of each."""
        if self.is_set():
            return {self.sets.set.kind: self.sets.set.task} if self.sets.set is not None else {}
        if self.sources.from_folder():
            layout = list(LAYOUTS)[self.sources.layout_kind.currentIndex()]
            return {"patches": "single-label" if layout == "eurosat" else "multi-label"}
        return dict(_TASKS_OF_LABELS)

    def proposed(self) -> str:
        """The network to begin with."""
        known = self.sets.set if self.is_set() else None
        if known is not None:
            return proposed_network(known.kind, known.task, known.samples.get("train", 0), len(known.bands))
        kind, task = next(iter(self.tasks().items()), ("pixels", "single-label"))
        return proposed_network(kind, task)

    def samples_for(self, network: NetworkKind) -> tuple[str, str]:
        """Kind and task of the samples that a network will get."""
        for kind, task in self.tasks().items():
            if network.learns(kind, task):
                return kind, task
        return network.kinds[0], "single-label"

    def follow_network(self, network: NetworkKind) -> None:
        """Cut such samples out of labels as a network learns from."""
        kind = self.samples_for(network)[0]
        if kind in KINDS and kind != self._kind:
            self._kind = kind
            self.choices.follow_network(kind)

    def side(self) -> int:
        """Side of the samples in pixels."""
        if self.is_set():
            return self.sets.set.side if self.sets.set is not None else 0
        return int(self.choices.size.value()) if self._kind != "pixels" else 1

    def is_optimistic(self) -> bool:
        """True where neighbours may be on both sides of the split."""
        if self.is_set():
            return self.sets.set is not None and bool(self.sets.set.split.get("optimistic"))
        return not self.sources.from_folder() and bool(self.choices.chosen_split() == "random")

    def missing(self, network: NetworkKind | None) -> str:
        """What is still to be given, or why it is nothing to learn from; empty where all is there."""
        if self.is_set():
            if self.sets.set is None:
                return self.sets.notice.said if self.sets.folder() else "Choose a training set first."
            return training_set_problem(self.sets.set, network)
        if self.sources.from_folder():
            return "" if self.sources.folder.filePath().strip() else "Name the folder of patches first."
        if not self.sources.layers():
            return "Choose a raster layer first."
        return "" if self.sources.labels.currentLayer() is not None else "Choose the labels first."

    def prepare(self, output: str) -> PreparedJob:
        """The job that makes the training set.

        Args:
            output: the folder to make.

        Raises:
            InputError: something that was given cannot be used.
        """
        return self.sources.prepare(output, self.choices.options())

    # -- what is shown --------------------------------------------------------------------------

    def _show(self, *_: object) -> None:
        is_set, layers = self.is_set(), self.sources.layers()
        labels = self.sources.labels.currentLayer()
        self.choices.setVisible(not is_set)
        # The facts of a set may fill the column; what is asked for is as high as it is.
        height = QSizePolicy.Policy.Expanding if is_set else QSizePolicy.Policy.Maximum
        self.tabs.setSizePolicy(QSizePolicy.Policy.Expanding, height)
        self._rows.setStretch(0, int(is_set))
        self._rows.setStretch(2, int(not is_set))
        self.choices.blockSignals(True)
        self.choices.show_source(
            self.sources.from_folder(),
            labels if isinstance(labels, QgsVectorLayer) else None,
            bool(layers) and ground_sampling_distance(layers[0]) is not None,
        )
        self.choices.blockSignals(False)
        self.changed.emit()
