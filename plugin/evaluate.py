"""The Processing algorithm ``thematica:evaluate``."""

from __future__ import annotations

import json
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterString,
)

from ..errors import ThematicaError
from .algorithm import ProgressText, ThematicaAlgorithm
from .compat import FOLDERS
from .parameters import choice
from .worker import run_worker


class Evaluate(ThematicaAlgorithm):
    """A model and a training set in, figures out."""

    def name(self) -> str:
        return "evaluate"

    def displayName(self) -> str:
        return "Evaluate"

    def shortDescription(self) -> str:
        return "Measures a model on a part of a training set."

    def shortHelpString(self) -> str:
        return (
            "<p>Measures a <b>model</b> (a name in the store or an ONNX file) on a part of a <b>training set</b>, also "
            "one that it was not trained on: bands are matched by name, wavelength or number, classes by name, else by "
            "code.</p>"
            "<p>The figures: overall accuracy, kappa, precision, recall and F1 of every class, mean IoU, and for "
            "several labels mean average precision; as JSON, and as pictures of confusion matrix and reliability.</p>"
        )

    def group(self) -> str:
        return "Training"

    def groupId(self) -> str:
        return "training"

    def tags(self) -> list[str]:
        return ["accuracy", "assessment", "confusion matrix", "kappa", "validation", "test"]

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        model = QgsProcessingParameterString("MODEL", "Model (name in the store, or ONNX file)")
        model.setMetadata({"widget_wrapper": {"class": f"{__package__}.model_widget.ModelWidget"}})
        self.addParameter(model)
        self.addParameter(QgsProcessingParameterFile("DATASET", "Training set", FOLDERS))
        self.addParameter(choice("SPLIT", "Part", ["test", "validation", "train"], "test"))
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "JSON", "All figures", "JSON files (*.json)", optional=True, createByDefault=False
            )
        )
        self.addParameter(
            QgsProcessingParameterFolderDestination("FIGURES", "Pictures", optional=True, createByDefault=False)
        )
        self.addOutput(QgsProcessingOutputNumber("ACCURACY", "Overall accuracy, or micro F1 for several labels"))
        self.addOutput(QgsProcessingOutputString("METRICS", "All figures (JSON)"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        job: dict[str, Any] = {
            "model": self.parameterAsString(parameters, "MODEL", context),
            "dataset": self.parameterAsFile(parameters, "DATASET", context),
            "split": self.parameterAsEnumString(parameters, "SPLIT", context),
        }
        figures = self.parameterAsFileOutput(parameters, "JSON", context)
        pictures = self.parameterAsString(parameters, "FIGURES", context)
        job.update({key: value for key, value in (("json", figures), ("figures", pictures)) if value})
        try:
            result = run_worker("evaluate", job, ProgressText(feedback, self.worded), feedback.isCanceled)
        except ThematicaError as error:
            raise self.failed(error, feedback) from error
        metrics = result["report"]["metrics"]
        main = metrics.get("overall accuracy", metrics.get("micro F1"))
        feedback.pushInfo(f"On the {job['split']} part: {main:.3f}.")
        return {
            "JSON": figures,
            "FIGURES": pictures,
            "ACCURACY": main,
            "METRICS": json.dumps(metrics, ensure_ascii=False),
        }
