"""The Processing algorithm ``thematica:train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterString,
)

from ..errors import ThematicaError
from ..models.trainable import NETWORKS
from .algorithm import ProgressText, ThematicaAlgorithm
from .compat import FOLDERS
from .parameters import choice, count, is_given
from .worker import run_worker

_HELP = """<p>Trains a network on a <b>training set</b> (see <i>Build training set</i>), measures it on samples that \
it has not seen, and puts it into the store of models, where \
<i>Classify pixels</i> and <i>Classify patches</i> find it.</p>
<p><b>Network</b>: {networks}.</p>
<p><b>Name</b>: of the model; nothing in the store is replaced, a name that is taken gets a number.</p>
<p><b>Recipe</b>: all that is decided before, a name or a JSON file; empty: the network's own for such samples. \
<b>Changes</b>: <code>learning_rate=0.01; batch=64</code> changes entries of it. Networks of single pixels learn \
once more in the end, with the validation part; <code>refit=false</code> leaves that out.</p>
<p><b>Folder of the run</b>: events, checkpoint, curves and figures; the panel <i>Training</i> can open it. \
<b>Go on</b> takes up a training that was stopped in that folder, to the last bit; forests, boosting and support \
vectors begin anew.</p>
<p>The runtime needs PyTorch for it, and skl2onnx for forests, boosting and support vectors. Several \
<b>processes</b> need Horovod, which one command builds into the runtime, but not on Windows; each takes a \
batch. Forests, boosting and support vectors are trained in one.</p>"""


class Train(ThematicaAlgorithm):
    """A training set in, a model out."""

    def name(self) -> str:
        return "train"

    def displayName(self) -> str:
        return "Train"

    def shortDescription(self) -> str:
        return "Trains a network on a training set."

    def shortHelpString(self) -> str:
        titles = (f"<code>{name}</code> {kind.title} ({', '.join(kind.kinds)})" for name, kind in NETWORKS.items())
        return _HELP.format(networks="; ".join(titles))

    def group(self) -> str:
        return "Training"

    def groupId(self) -> str:
        return "training"

    def tags(self) -> list[str]:
        return ["train", "learn", "network", "deep learning", "random forest", "svm", "unet", "resnet", "horovod"]

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add, advanced = self.addParameter, self.add_advanced
        add(QgsProcessingParameterFile("DATASET", "Training set", FOLDERS))
        add(choice("NETWORK", "Network", list(NETWORKS), "random-forest"))
        add(count("EPOCHS", "Passes over the training part"))
        add(QgsProcessingParameterString("NAME", "Name of the model", optional=True))
        add(QgsProcessingParameterBoolean("STORE", "Put the model into the store", defaultValue=True))
        advanced(QgsProcessingParameterString("RECIPE", "Recipe (name or JSON file)", optional=True))
        advanced(QgsProcessingParameterString("CHANGES", "Changes of the recipe (KEY=VALUE; …)", optional=True))
        advanced(QgsProcessingParameterFile("WEIGHTS", "Weights to start from", optional=True))
        advanced(QgsProcessingParameterString("FREEZE", "Layers that keep their weights", optional=True))
        advanced(count("PROCESSES", "Processes (Horovod)"))
        advanced(QgsProcessingParameterBoolean("RESUME", "Go on with a training that was stopped", defaultValue=False))
        add(QgsProcessingParameterFolderDestination("OUTPUT", "Folder of the run"))
        self.addOutput(QgsProcessingOutputFile("MODEL", "Model (ONNX)"))
        self.addOutput(QgsProcessingOutputString("STORED", "Name in the store"))
        self.addOutput(QgsProcessingOutputNumber("ACCURACY", "Overall accuracy, or micro F1 for several labels"))
        self.addOutput(QgsProcessingOutputString("METRICS", "All figures (JSON)"))

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        possible, why = super().checkParameterValues(parameters, context)
        if possible and not (Path(self.parameterAsFile(parameters, "DATASET", context)) / "dataset.json").is_file():
            return False, "DATASET is no training set: choose the folder that holds its dataset.json."
        return possible, why

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        folder = self.parameterAsString(parameters, "OUTPUT", context)
        job: dict[str, Any] = {
            "dataset": self.parameterAsFile(parameters, "DATASET", context),
            "network": self.parameterAsEnumString(parameters, "NETWORK", context),
            "output": folder,
            "resume": self.parameterAsBoolean(parameters, "RESUME", context),
            "store": self.parameterAsBoolean(parameters, "STORE", context),
        }
        for name in ("RECIPE", "NAME", "FREEZE", "WEIGHTS"):
            text = self.parameterAsString(parameters, name, context).strip()
            if text:
                job[name.lower()] = text
        for name in ("EPOCHS", "PROCESSES"):
            if is_given(parameters, name):
                job[name.lower()] = self.parameterAsInt(parameters, name, context)
        changes = self.parameterAsString(parameters, "CHANGES", context)
        job["set"] = [part.strip() for part in changes.split(";") if part.strip()]
        try:
            result = run_worker("train", job, ProgressText(feedback, self.worded), feedback.isCanceled)
        except ThematicaError as error:
            raise self.failed(error, feedback) from error
        model, stored = str(result["files"]["model"]), str(result["report"].get("stored") or "")
        metrics = result["report"]["metrics"]
        main = metrics.get("overall accuracy", metrics.get("micro F1"))
        feedback.pushInfo(f"On the {result['report']['part']} part: {main:.3f}.")
        if stored:
            feedback.pushInfo(f"The model “{stored}” is in the store.")
        return {
            "OUTPUT": folder,
            "MODEL": model,
            "STORED": stored,
            "ACCURACY": main,
            "METRICS": json.dumps(metrics, ensure_ascii=False),
        }
