"""The recipe of a training, and what the analyst changes in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QFileDialog, QLineEdit, QSpinBox, QWidget

from ..errors import InputError
from ..models.trainable import LOSSES, OPTIMIZERS, PRECISIONS, NetworkKind
from ..plugin.recipes import RecipeFile, read_recipe, recipes_for
from .forms import load_form

_SETTINGS = "thematica/training"
# Entries of the recipe that have a widget of their name, and those of them that scikit-learn's learners know.
_ENTRIES = (
    "learning_rate", "batch", "patience", "loss", "optimizer", "precision", "seed", "class_weights", "weights",
    "freeze",
)  # fmt: skip
_OF_CLASSICAL = ("seed", "class_weights")
# Of the network's own options so many are shown as an example.
_SHOWN_OPTIONS = 2
#: The one of them that adds up trees, each by a learning rate.
_WITH_RATE = ("gradient-boosting",)


class RecipeForm(QWidget):
    """Shows the recipe's own values; what differs from them becomes changes of the job."""

    changed = pyqtSignal()
    #: A sentence about a file that is no recipe for this network.
    failed = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "recipe_form")
        self._network: NetworkKind | None = None
        self._samples = ("", "")
        self._filling = False
        # What was changed in each recipe: another network and back must not lose it.
        self._kept: dict[str, dict[str, Any]] = {}
        self._shown = ""
        # The same column whichever labels are shown.
        self.layout().setColumnMinimumWidth(0, self.learning_rate_label.sizeHint().width())
        self.weights.setDialogTitle("Choose the weights to start from")
        self.weights.setFilter("Weights of torch (*.pt *.pth *.bin);;All files (*)")
        self.weights.lineEdit().setPlaceholderText("fresh weights")
        self.weights_label.setBuddy(self.weights.lineEdit())
        for name, title in OPTIMIZERS.items():
            self.optimizer.addItem(title, name)
        for name, title in PRECISIONS.items():
            self.precision.addItem(title, name)
        for signal in (
            self.learning_rate.textChanged, self.batch.valueChanged, self.patience.valueChanged,
            self.loss.currentIndexChanged, self.optimizer.currentIndexChanged, self.precision.currentIndexChanged,
            self.seed.valueChanged, self.class_weights.toggled, self.weights.fileChanged, self.freeze.textChanged,
            self.more.textChanged,
        ):  # fmt: skip
            signal.connect(self._edited)
        self.recipe.currentIndexChanged.connect(self._recipe_chosen)
        self.open_button.clicked.connect(self._browse)
        self.reset_button.clicked.connect(self.reset)

    # -- what is shown --------------------------------------------------------------------------

    def show_network(self, network: NetworkKind, kind: str, task: str) -> None:
        """Show the recipes for a network and samples; what was changed in one of them before comes back.

        Args:
            network: that is to be trained.
            kind: of the samples: ``pixels``, ``windows``, ``chips`` or ``patches``.
            task: ``single-label``, ``multi-label`` or ``segmentation``.
        """
        if (network, (kind, task)) == (self._network, self._samples):
            return
        self._keep()
        self._network, self._samples, self._shown = network, (kind, task), ""
        self.recipe.blockSignals(True)
        self.recipe.clear()
        for recipe in recipes_for(network, kind, task):
            self._add(recipe)
        self.recipe.blockSignals(False)
        self.loss.blockSignals(True)
        self.loss.clear()
        for name, loss in LOSSES.items():
            if loss.several if task == "multi-label" else loss.one:
                self.loss.addItem(loss.title, name)
        self.loss.blockSignals(False)
        for name in _ENTRIES:
            shown = not network.is_classical or name in _OF_CLASSICAL
            shown = shown or (name == "learning_rate" and network.name in _WITH_RATE)
            getattr(self, name).setVisible(shown)
            if name != "class_weights":
                getattr(self, f"{name}_label").setVisible(shown)
        self._recipe_chosen()

    def _add(self, recipe: RecipeFile) -> None:
        self.recipe.addItem(recipe.title, recipe)
        self.recipe.setItemData(self.recipe.count() - 1, recipe.name, Qt.ItemDataRole.ToolTipRole)

    def current(self) -> RecipeFile | None:
        """The recipe that is chosen."""
        return self.recipe.currentData()

    def choose_file(self, path: str) -> None:
        """Use a recipe of one's own; ``failed`` says why it cannot be used."""
        try:
            found = read_recipe(Path(path))
            if self._network is not None and found.network != self._network.name:
                raise InputError(
                    f"The recipe “{path}” is for the network “{found.network}”, not “{self._network.name}”: choose "
                    "that network, or another recipe."
                )
        except InputError as error:
            self.failed.emit(error.message)
            return
        for index in range(self.recipe.count()):
            if self.recipe.itemData(index).name == found.name:
                self.recipe.removeItem(index)
                break
        self._add(found)
        self.recipe.setCurrentIndex(self.recipe.count() - 1)

    def _browse(self) -> None:
        settings = QgsSettings()
        folder = settings.value(f"{_SETTINGS}/recipe_folder", str(Path.home()))
        path, _ = QFileDialog.getOpenFileName(self, "Choose a recipe", folder, "Recipes (*.json);;All files (*)")
        if path:
            settings.setValue(f"{_SETTINGS}/recipe_folder", str(Path(path).parent))
            self.choose_file(path)

    def _recipe_chosen(self, *_: object) -> None:
        self._keep()
        recipe = self.current()
        self._shown = recipe.name if recipe is not None else ""
        kept = self._kept.get(self._shown, {})
        self._fill({**(recipe.entries if recipe is not None else {}), **kept})
        shown = list(recipe.options.items())[:_SHOWN_OPTIONS] if recipe is not None else []
        examples = [f"network_options.{name}={json.dumps(value)}" for name, value in shown]
        self.more.setPlaceholderText("; ".join(examples) or "clip=1.0")
        self.more.setText(kept.get("more", ""))
        self._edited()

    def _keep(self) -> None:
        if self._shown:
            self._kept[self._shown] = {**self._changes(), "more": self.more.text()}

    def _fill(self, entries: dict[str, Any]) -> None:
        self._filling = True
        for name in _ENTRIES:
            if name in entries:
                self._set(name, entries[name])
        self._filling = False

    def _set(self, name: str, value: Any) -> None:
        widget = getattr(self, name)
        if isinstance(widget, QComboBox):
            if widget.findData(value) < 0:
                # A recipe of one's own may say anything; the trainer tells what is wrong with it.
                widget.addItem(str(value), value)
            widget.setCurrentIndex(widget.findData(value))
        elif isinstance(widget, QSpinBox):
            widget.setValue(int(value or 0))
        elif name == "class_weights":
            widget.setChecked(bool(value))
        elif name == "weights":
            widget.setFilePath(str(value))
        else:
            # As it is written in the recipe: nothing that was not touched may count as changed.
            widget.setText(value if isinstance(value, str) else re.sub(r"\.0$", "", repr(value)))

    def reset(self, *_: object) -> None:
        """Set everything back to what the recipe says."""
        recipe = self.current()
        if recipe is not None:
            self._fill(recipe.entries)
        self.more.clear()
        self._edited()

    def _edited(self, *_: object) -> None:
        if self._filling:
            return
        changes = self._changes()
        for name in _ENTRIES:
            # What will be used instead of the recipe's own value stands out.
            label = self.class_weights if name == "class_weights" else getattr(self, f"{name}_label")
            font = label.font()
            font.setBold(name in changes)
            label.setFont(font)
        self.reset_button.setEnabled(self.count_of_changes() > 0)
        self.changed.emit()

    # -- what is chosen -------------------------------------------------------------------------

    def count_of_changes(self) -> int:
        """How many entries differ from the recipe's."""
        return len(self._changes()) + len(self._further())

    def options(self) -> dict[str, Any]:
        """Keys of the job: ``recipe`` (where it is not the network's own), ``set``, ``weights``, ``freeze``.

        Raises:
            InputError: a text that is no number, a file that is not there, or a change that changes nothing.
        """
        recipe, changes = self.current(), self._changes()
        options: dict[str, Any] = {}
        if recipe is not None and self.recipe.currentIndex() > 0:
            options["recipe"] = recipe.name
        for name in ("weights", "freeze"):
            if changes.get(name):
                options[name] = changes.pop(name)
        if options.get("weights") and not Path(options["weights"]).is_file():
            raise InputError(
                f"There is no file “{options['weights']}” with weights to start from; choose another, or none."
            )
        if "learning_rate" in changes and not isinstance(changes["learning_rate"], float):
            raise InputError(f"The learning rate “{changes['learning_rate']}” is no number above 0; write 0.001, say.")
        # A text is given as JSON, too: a frozen layer may be called “1”.
        options["set"] = [f"{name}={json.dumps(value)}" for name, value in changes.items()] + self._further()
        for change in self._further():
            key, sign, value = change.partition("=")
            if not (sign and key.strip() and value.strip()):
                raise InputError(
                    f"“{change}” under “Further” changes nothing: write KEY=VALUE, such as network_options.dropout=0.3."
                )
        return options

    def _further(self) -> list[str]:
        return [part.strip() for part in self.more.text().split(";") if part.strip()]

    def _changes(self) -> dict[str, Any]:
        """Entries whose widget is offered and says something else than the recipe."""
        recipe = self.current()
        if recipe is None:
            return {}
        offered = [name for name in _ENTRIES if getattr(self, name).isVisibleTo(self)]
        values = {name: self._value(name) for name in offered}
        return {name: value for name, value in values.items() if value != recipe.entries[name]}

    def _value(self, name: str) -> Any:
        widget = getattr(self, name)
        if isinstance(widget, QComboBox):
            return widget.currentData()
        if name == "patience":
            return widget.value() or None
        if isinstance(widget, QSpinBox):
            return widget.value()
        if name == "class_weights":
            return widget.isChecked()
        if name == "weights":
            return widget.filePath().strip()
        text = widget.text().strip()
        return _number(text) if isinstance(widget, QLineEdit) and name == "learning_rate" else text


def _number(text: str) -> float | str:
    """The number above 0 that a text is, or the text."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return text
    return value if 0 < value < float("inf") else text
