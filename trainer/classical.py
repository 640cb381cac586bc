"""Support vector machines, random forests and boosted trees: scikit-learn trains them, ONNX keeps them.

They learn from single pixels, convolutional SVM networks from windows and patches, and give a folder like that of a
network.  Nothing is pickled: a training that was stopped begins anew, which takes seconds to minutes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ..errors import Cancelled, InputError, ThematicaError
from ..models.card import ModelCard
from ..progress import Monitor
from .conv_svm import OPTIONS as CONV_SVM_OPTIONS
from .conv_svm import build_conv_svm
from .dataset.description import TEST, TRAIN, VALIDATION, Description
from .dataset.read import TrainingSet
from .deliver import TOLERANCE, TRAINING, Forms, WrongExportError, make_card, make_report, run_onnx, write_run
from .events import Events
from .export import OPSET, count_parameters
from .loader import Normaliser
from .metrics import SINGLE_FIGURES, Tally, check_monitor
from .optimism import add_to_report
from .optimism import measure as measure_optimism
from .recipe import Recipe
from .refit import NO_TEST, can_refit, with_validation
from .run import UNMEASURED, TrainOptions, end_run, stop_on_signals
from .run_folder import FINISH, STOP, prepare_folder
from .steepness import find_steepness, softmax

#: Operators of trees; ONNX Runtime has them since 1.11.
_TREE_OPSET = 3
_IR_VERSION = 8
#: A probability under this is one: its logarithm is a number.
_SMALLEST = 1e-7
#: Held-out samples on which ONNX must give what scikit-learn gives, and samples that measure the loss while training.
_CHECKED = 20_000
#: Normalised samples of a part, in memory at once.
_SAMPLE_BYTES = 512 << 20
#: Held-out windows on which both forms of a network must agree.
_SHOWN = 256
#: Options that are whole numbers.
_COUNTS = ("samples", "trees", "layers", "filters", "windows_per_filter", "cells")
#: Score of a class that was not there to be learned.
_NEVER = -100.0


#: Is told which share of a stage is done, and may end it by an exception; the stages before stay as they are.
Step = Callable[[float], None]


class Classifier(Protocol):
    """What trains in stages and gives logits.

    Attributes:
        stages: how many there are.
        keeps_best: True where the best stage by the validation counts, False where the last one does.
        fewest: samples that it needs of each class that it learns.
    """

    stages: int
    keeps_best: bool
    fewest: int

    def train(self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Step) -> None:
        """Train one stage more on samples (N, C, …), classes (N,) and weights of the samples (N,)."""
        ...

    def retrain(self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Step) -> None:
        """Forget what was learned and train anew up to a stage; how sure scores are stays."""
        ...

    def calibrate(self, x: np.ndarray, y: np.ndarray) -> None:
        """Learn from the validation part how sure scores are; their order stays."""
        ...

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Logits (N, K'), of the classes that were trained on; their softmax is scikit-learn's probability."""
        ...

    def keep(self, stage: int) -> None:
        """Go back to how it was after a stage."""
        ...

    def to_onnx(self, shape: tuple[int, ...]) -> onnx.ModelProto:
        """``samples`` (N, *shape) → ``scores`` (N, K'), the same logits."""
        ...


# -- trees -----------------------------------------------------------------------------------------------


@dataclass
class Trees:
    """A random forest (Breiman 2001) or gradient boosting (Friedman 2001, 2002), grown in stages.

    Args:
        model: the scikit-learn classifier, with ``warm_start``.
        trees: in the end.
        stages: in which they grow.
        keeps_best: see :class:`Classifier`.
    """

    model: Any
    trees: int
    stages: int
    keeps_best: bool
    fewest: int = 1

    def _count(self, stage: int) -> int:
        return max(self.trees * (stage + 1) // self.stages, 1)

    def train(self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Step) -> None:
        """See :class:`Classifier`."""
        self.model.set_params(n_estimators=self._count(stage))
        self.model.fit(x, y, sample_weight=weights)

    def retrain(self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Step) -> None:
        """See :class:`Classifier`."""
        from sklearn.base import clone

        # With its warm start the forest would keep its trees.
        self.model = clone(self.model)
        self.train(stage, x, y, weights, step)

    def calibrate(self, x: np.ndarray, y: np.ndarray) -> None:
        """See :class:`Classifier`; trees give probabilities by themselves."""

    def scores(self, x: np.ndarray) -> np.ndarray:
        """See :class:`Classifier`."""
        logits: np.ndarray = np.log(np.maximum(self.model.predict_proba(x), _SMALLEST))
        return logits

    def keep(self, stage: int) -> None:
        """See :class:`Classifier`."""
        count = self._count(stage)
        self.model.estimators_ = self.model.estimators_[:count]
        self.model.set_params(n_estimators=count)
        if self.keeps_best:
            self.model.n_estimators_ = count

    def to_onnx(self, shape: tuple[int, ...]) -> onnx.ModelProto:
        """See :class:`Classifier`; the labels that skl2onnx gives, too, do not leave the graph."""
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        made: onnx.ModelProto = to_onnx(
            self.model, initial_types=[("samples", FloatTensorType([None, *shape]))], options={"zipmap": False},
            target_opset={"": OPSET, "ai.onnx.ml": _TREE_OPSET},
        )  # fmt: skip
        graph = made.graph
        probabilities = graph.output[-1].name
        nodes = [
            *graph.node,
            helper.make_node("Max", [probabilities, "smallest"], ["bounded"]),
            helper.make_node("Log", ["bounded"], ["scores"]),
        ]
        constants = [*graph.initializer, numpy_helper.from_array(np.array(_SMALLEST, np.float32), "smallest")]
        return _model(nodes, constants, shape, len(self.model.classes_))


def build_forest(options: dict[str, Any], recipe: Recipe, _shape: tuple[int, ...]) -> Trees:
    """A random forest.  Options: ``trees``, ``depth``, ``leaf`` (samples at least), ``features`` per split."""
    from sklearn.ensemble import RandomForestClassifier

    trees = int(options.get("trees", 100))
    model = RandomForestClassifier(
        trees, max_depth=options.get("depth"), min_samples_leaf=options.get("leaf", 1),
        max_features=options.get("features", "sqrt"), random_state=recipe.seed, n_jobs=-1, warm_start=True,
    )  # fmt: skip
    # More trees never make a forest worse but by chance.
    return Trees(model, trees, min(recipe.epochs, trees), keeps_best=False)


def build_boosting(options: dict[str, Any], recipe: Recipe, _shape: tuple[int, ...]) -> Trees:
    """Boosted trees.  Options: ``trees`` per class, ``depth``, ``leaf``, ``share`` of the samples per tree."""
    from sklearn.ensemble import GradientBoostingClassifier

    trees = int(options.get("trees", 100))
    model = GradientBoostingClassifier(
        n_estimators=trees, max_depth=options.get("depth", 3), min_samples_leaf=options.get("leaf", 1),
        subsample=options.get("share", 1.0), learning_rate=recipe.learning_rate, random_state=recipe.seed,
        warm_start=True,
    )  # fmt: skip
    return Trees(model, trees, min(recipe.epochs, trees), keeps_best=True)


# -- support vectors -------------------------------------------------------------------------------------


@dataclass
class SupportVectors:
    """A support vector machine with an RBF kernel (Cortes & Vapnik 1995), one for each class against all others.

    One against the rest is as good as one against one (Rifkin & Klautau 2004), and its scores have no steps, so that
    rounding does not change classes.  The softmax of steepness × score is the probability; how steep, the validation
    part tells (temperature scaling, Guo et al. 2017).

    Args:
        cost: of a sample on the wrong side (C).
        gamma: of the kernel exp(-gamma × distance²); None: 1 / (bands × variance).
    """

    cost: float
    gamma: float | None
    stages: int = 1
    keeps_best: bool = False
    fewest: int = 1
    model: Any = field(default=None, repr=False)
    _samples: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    _steepness: float = 1.0

    def train(self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Step) -> None:
        """See :class:`Classifier`."""
        from sklearn import config_context
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.svm import SVC

        self._samples = x.astype(np.float64)
        if self.gamma is None:
            self.gamma = float(1 / max(x.shape[1] * self._samples.var(), 1e-12))
        one = SVC(C=self.cost, gamma=self.gamma, cache_size=500)
        # Weights of samples reach the machines inside only by metadata routing.
        with config_context(enable_metadata_routing=True):
            self.model = OneVsRestClassifier(one.set_fit_request(sample_weight=True))
            self.model.fit(self._samples, y, sample_weight=weights)

    def retrain(self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Step) -> None:
        """See :class:`Classifier`; the kernel stays as wide as it was."""
        self.train(stage, x, y, weights, step)

    def calibrate(self, x: np.ndarray, y: np.ndarray) -> None:
        """See :class:`Classifier`."""
        known = np.isin(y, self.model.classes_)
        if known.any():
            self._steepness = 1.0
            places = np.searchsorted(self.model.classes_, y[known])
            self._steepness = find_steepness(self.scores(x[known]), places)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """See :class:`Classifier`."""
        scores: np.ndarray = self.model.decision_function(x.astype(np.float64)) * self._steepness
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    def keep(self, stage: int) -> None:
        """See :class:`Classifier`; there is one stage."""

    def to_onnx(self, shape: tuple[int, ...]) -> onnx.ModelProto:
        """See :class:`Classifier`; of plain operators, as one product of matrices for all classes.

        In double precision: distances are small differences of large numbers.
        """
        machines = self.model.estimators_
        chosen = np.unique(np.concatenate([machine.support_ for machine in machines]))
        vectors, gamma = self._samples[chosen], float(self.gamma or 0)
        weights = np.zeros((len(chosen), len(machines)))
        for column, machine in enumerate(machines):
            weights[np.searchsorted(chosen, machine.support_), column] = machine.dual_coef_[0]
        intercepts = np.concatenate([machine.intercept_ for machine in machines])
        if len(machines) == 1:
            weights, intercepts = weights * [[-1, 1]], intercepts * [-1, 1]
        make = helper.make_node
        nodes = [
            make("Cast", ["samples"], ["double"], to=TensorProto.DOUBLE),
            make("Mul", ["double", "double"], ["squares"]),
            make("ReduceSum", ["squares", "bands"], ["length"], keepdims=1),
            make("Mul", ["length", "gamma"], ["own"]),
            make("MatMul", ["double", "vectors"], ["products"]),
            make("Sub", ["products", "lengths"], ["nearer"]),
            make("Sub", ["nearer", "own"], ["exponent"]),
            make("Exp", ["exponent"], ["kernel"]),
            make("MatMul", ["kernel", "weights"], ["sums"]),
            make("Add", ["sums", "intercepts"], ["distances"]),
            make("Cast", ["distances"], ["scores"], to=TensorProto.FLOAT),
        ]
        constants = {
            "bands": np.array([1], np.int64),
            "gamma": np.array(gamma),
            "vectors": 2 * gamma * vectors.T,
            "lengths": gamma * (vectors**2).sum(axis=1),
            "weights": weights * self._steepness,
            "intercepts": intercepts * self._steepness,
        }
        tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
        return _model(nodes, tensors, shape, len(intercepts))


def build_svm(options: dict[str, Any], _recipe: Recipe, _shape: tuple[int, ...]) -> SupportVectors:
    """Support vectors.  Options: ``C``, ``gamma`` (none: from the samples' variance)."""
    return SupportVectors(options.get("C", 10.0), options.get("gamma"))


#: Options of the recipe, recipe, shape of a sample → what learns.
Build = Callable[[dict[str, Any], Recipe, tuple[int, ...]], Classifier]

#: Name → options that it has, how it is built, and samples that it trains on at most, unless the recipe says.
CLASSICAL: dict[str, tuple[tuple[str, ...], Build, int]] = {
    # The time of support vectors grows with the square of the samples at least, that of boosting with trees × classes.
    "svm": (("C", "gamma", "samples"), build_svm, 10_000),
    "random-forest": (("trees", "depth", "leaf", "features", "samples"), build_forest, 100_000),
    "gradient-boosting": (("trees", "depth", "leaf", "share", "samples"), build_boosting, 50_000),
    "convsvm": ((*CONV_SVM_OPTIONS, "samples"), build_conv_svm, 5_000),
}


# -- the training ----------------------------------------------------------------------------------------


def train_classical(options: TrainOptions, data: TrainingSet, recipe: Recipe, monitor: Monitor) -> dict[str, Any]:
    """Train, check and write what a network's training writes, but for checkpoints.

    Args:
        options: what to train.
        data: samples with one label each, of a kind that the network learns from.
        recipe: of a network in :data:`CLASSICAL`.
        monitor: hears of the stages; between them it can end the training.

    Returns:
        The ``result`` event.

    Raises:
        InputError: an option that there is not or that cannot be, or too little to learn from.
        WrongExportError: ONNX gives something else than scikit-learn; no model is written.
        Cancelled: it was asked to stop.
    """
    told = data.description
    check_monitor(recipe.monitor, False)
    classifier, most = _build(recipe, told)
    # What is kept says what was done.
    recipe.epochs = classifier.stages
    for part in (TRAIN, VALIDATION):
        if not told.samples(part):
            raise InputError(
                f"The training set has no {part} part: make it with a share for it, so that there is something to "
                "learn from and to choose by."
            )
    if recipe.weights or recipe.freeze:
        raise InputError(f"“{recipe.network}” has no layers that could be given: leave --weights and --freeze away.")
    template = options.template(told)
    folder = options.folder()
    held = prepare_folder(folder, recipe, False, (folder / TRAINING).exists() and not options.resume)
    events = Events(folder, monitor, classifier.stages)
    try:
        training = _Training(data, recipe, folder, events, classifier, most)
        stop_on_signals(training.stop)
        events.tell(
            "start", recipe=recipe.to_dict(), dataset=str(options.dataset), processes=1, resumed=False, epoch=0,
            samples=len(training.y), of=told.samples(TRAIN),
        )  # fmt: skip
        training.run()
        events.tell("exporting")
        monitor.stage("Exporting", 0.99)
        delivered = training.deliver(options.model_name(), template)
        if options.report_optimism and training.finishing:
            monitor.log(UNMEASURED, "warning")
        elif options.report_optimism:
            _add_optimism(delivered["report"], data, recipe, folder, events)
        return end_run(options, delivered, events)
    except ThematicaError as error:
        events.tell("error", code=error.code, message=error.message)
        raise
    finally:
        events.close()
        held.__exit__(None, None, None)


def _add_optimism(report: dict[str, Any], data: TrainingSet, recipe: Recipe, folder: Path, events: Events) -> None:
    """Train on a random split as well, and tell how much better that looks."""

    def run_at_random(samples: TrainingSet, place: Path) -> Callable[[str], Tally]:
        classifier, most = _build(recipe, samples.description)
        told = Events(place, Monitor(), classifier.stages)
        try:
            other = _Training(samples, recipe, place, told, classifier, most)
            other.run()
            return other.count
        finally:
            told.close()

    found = measure_optimism(data, report["metrics"], folder, recipe.seed, True, lambda: None, run_at_random)
    add_to_report(folder / TRAINING, found, SINGLE_FIGURES)
    report["optimism"] = found.to_dict(SINGLE_FIGURES)
    events.tell("optimism", **report["optimism"])
    events.monitor.log(found.sentence(recipe.monitor))


def _build(recipe: Recipe, told: Description) -> tuple[Classifier, int]:
    known, build, most = CLASSICAL[recipe.network]
    options = recipe.network_options
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"“{recipe.network}” has no option “{unknown[0]}”; there are {', '.join(known)}.")
    for name in _COUNTS:
        value = options.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"The option “{name}” of “{recipe.network}” must be a whole number above 0, not {value}.")
    # Who names a number knows the memory.
    return build(options, recipe, told.shape), options.get("samples", _room(told, most))


def _room(told: Description, most: int) -> int:
    """At most so many samples, and no more than there should be memory for."""
    return min(most, max(_SAMPLE_BYTES // (4 * int(np.prod(told.shape))), 1))


class _Finished(Exception):
    """The training shall end with what it has, in the middle of a stage."""


class _Training:
    def __init__(
        self, data: TrainingSet, recipe: Recipe, folder: Path, events: Events, classifier: Classifier, most: int
    ) -> None:
        self.data, self.recipe, self.folder, self.events, self.classifier = data, recipe, folder, events, classifier
        self.history: list[dict[str, Any]] = []
        self.best_stage = 0
        self._stopping = self.finishing = self.refitted = False
        self.most = most
        self._take(data)

    def _take(self, data: TrainingSet) -> None:
        """Read what is trained on."""
        told, recipe, events = data.description, self.recipe, self.events
        self.x, self.y = read_samples(data, TRAIN, self.most, recipe.seed)
        self.present = np.unique(self.y)
        if len(self.present) < 2:
            raise InputError(
                "The training part has one class only: label at least two, so that they can be told apart."
            )
        few = [place for place in self.present if (self.y == place).sum() < self.classifier.fewest]
        if few:
            raise InputError(
                f"The training part has too few samples of "
                f"“{'”, “'.join(told.classes[place].label.name for place in few)}”: “{recipe.network}” needs "
                f"{self.classifier.fewest} of each class; label more of them, or merge them with others (--merge)."
            )
        absent = [entry.label.name for place, entry in enumerate(told.classes) if place not in self.present]
        if absent:
            events.monitor.log(f"The training part has no sample of “{'”, “'.join(absent)}”.", "warning")
        if len(self.y) < told.samples(TRAIN):
            message = (
                f"{len(self.y):,} of {told.samples(TRAIN):,} samples are used, drawn by chance from every class "
                f"(--set network_options.samples={told.samples(TRAIN)} takes all)."
            )
            events.monitor.log(message)
            events.tell("note", message=message)
        every = np.array([entry.weight for entry in told.classes])
        self.weights = every[self.y] if recipe.class_weights else np.ones(len(self.y))

    def stop(self) -> None:
        """End after the present stage; safe to call from a signal's handler."""
        self._stopping = True

    def run(self) -> None:
        """Train all stages."""
        from sklearn.utils._param_validation import InvalidParameterError

        classifier, events = self.classifier, self.events
        few = min(len(self.y), _CHECKED)
        seen = self.x if few == len(self.x) else self.x[:few]
        validation = read_samples(self.data, VALIDATION, _room(self.data.description, _CHECKED), self.recipe.seed)
        for stage in range(classifier.stages):
            events.monitor.progress(f"Stage {stage + 1} of {classifier.stages}", stage / classifier.stages)
            started = time.perf_counter()
            try:
                classifier.train(stage, self.x, self.y, self.weights, partial(self._step, stage))
            except (InvalidParameterError, TypeError) as error:
                raise InputError(
                    f"“{self.recipe.network}” cannot be trained with the recipe's network_options "
                    f"{json.dumps(self.recipe.network_options)}: see docs/search.md for what they may be.",
                    repr(error),
                ) from error
            except _Finished:
                self._finish(stage - 1)
                break
            trained = time.perf_counter() - started
            classifier.calibrate(*validation)
            figures = self._tally(*validation).figures()
            figure = figures[self.recipe.monitor]
            better = not self.history or not classifier.keeps_best
            # Of stages that are alike the last one counts: more trees hardly ever do harm.
            better = better or figure >= self.history[self.best_stage]["validation"][self.recipe.monitor]
            epoch = {
                "loss": _cross_entropy(classifier.scores(seen), np.searchsorted(self.present, self.y[:few])),
                "validation": figures,
                "seconds": time.perf_counter() - started,
                "samples_per_second": len(self.y) / max(trained, 1e-9),
                "waiting_share": 0.0,
            }
            self.history.append(epoch)
            self.best_stage = stage if better else self.best_stage
            told = {name: value for name, value in epoch.items() if name != "loss"}
            events.epoch(stage, train_loss=epoch["loss"], best=better, **told)
            if stage + 1 < classifier.stages:
                self._stop_if_asked(stage)
                if self._wants_to_finish():
                    self._finish(stage)
                    break
        classifier.keep(self.best_stage)
        classifier.calibrate(*validation)
        if self.recipe.refit and not self.finishing:
            self._refit()

    def _refit(self) -> None:
        """Train up to the best stage with the validation part as well."""
        if not can_refit(self.data.description):
            self.events.monitor.log(NO_TEST, "warning")
            return
        self.events.monitor.stage("With the validation part", 0.9)
        self._take(with_validation(self.data))
        stage = self.best_stage
        self.classifier.retrain(stage, self.x, self.y, self.weights, lambda _: self._stop_if_asked(stage))
        self.refitted = True
        self.events.tell("refit", epoch=self.best_stage, epochs=self.best_stage + 1)

    def _step(self, stage: int, share: float) -> None:
        """Within a stage."""
        stages = self.classifier.stages
        self.events.monitor.progress(f"Stage {stage + 1} of {stages}", (stage + share) / stages)
        self._stop_if_asked(stage)
        if stage and self._wants_to_finish():
            raise _Finished()

    def _stop_if_asked(self, stage: int) -> None:
        if self._stopping or self.events.monitor.cancelled or (self.folder / STOP).exists():
            self.events.tell("stopped", reason="asked to", epoch=stage, step=0)
            raise Cancelled()

    def _wants_to_finish(self) -> bool:
        return (self.folder / FINISH).exists()

    def _finish(self, stage: int) -> None:
        self.finishing = True
        self.events.tell("finishing", reason="asked to", epoch=stage, step=0)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Logits (N, K) of all classes."""
        found = self.classifier.scores(x)
        scores = np.full((len(x), len(self.data.description.classes)), _NEVER)
        scores[:, self.present] = found
        return scores

    def _tally(self, x: np.ndarray, y: np.ndarray) -> Tally:
        tally = Tally([entry.label.name for entry in self.data.description.classes])
        tally.add(self.scores(x), y)
        return tally

    def count(self, part: str) -> Tally:
        """Counts of a part, or of as much of it as is looked at."""
        return self._tally(*read_samples(self.data, part, _room(self.data.description, _CHECKED), self.recipe.seed))

    def deliver(self, name: str, template: ModelCard | None = None) -> dict[str, Any]:
        """Write the model into the run's folder, if ONNX gives what scikit-learn gives."""
        data, recipe, told = self.data, self.recipe, self.data.description
        part = TEST if told.samples(TEST) else VALIDATION
        model = self.to_onnx()
        held_out, _ = read_samples(data, part, _room(told, _CHECKED), recipe.seed)
        difference = check_classical(model, self.scores(held_out), held_out)
        forms = Forms.of(model, told, held_out[:_SHOWN])
        tally = run_onnx(model, data, part)
        card = make_card(
            told, recipe, name, tally.figures(), part, Normaliser.of(told), refit=self.refitted, template=template
        )
        report = make_report(told, recipe, part, tally, difference, self.history, self.best_stage)
        report["samples"] = len(self.y)
        report["refit"] = {"epochs": self.best_stage + 1} if self.refitted else None
        report["parameters"] = count_parameters(model)
        report.update(forms.told())

        def save(staging: Path) -> None:
            forms.save(card, told, staging)

        return write_run(save, report, tally, self.folder, name)

    def to_onnx(self) -> onnx.ModelProto:
        """``samples`` (N, …) → ``scores`` (N, K), logits of all classes."""
        classes, shape = len(self.data.description.classes), self.data.description.shape
        model = self.classifier.to_onnx(shape)
        if len(self.present) == classes:
            return model
        place = np.zeros((len(self.present), classes), np.float32)
        place[np.arange(len(self.present)), self.present] = 1
        never = np.where(np.isin(np.arange(classes), self.present), 0, _NEVER).astype(np.float32)
        for node in model.graph.node:
            node.output[:] = ["of_trained" if output == "scores" else output for output in node.output]
        nodes = [
            *model.graph.node,
            helper.make_node("MatMul", ["of_trained", "place"], ["placed"]),
            helper.make_node("Add", ["placed", "never"], ["scores"]),
        ]
        constants = [numpy_helper.from_array(place, "place"), numpy_helper.from_array(never, "never")]
        return _model(nodes, [*model.graph.initializer, *constants], shape, classes)


def check_classical(model: onnx.ModelProto, scores: np.ndarray, samples: np.ndarray) -> float:
    """The largest difference between the probabilities of ONNX Runtime and scikit-learn.

    Args:
        model: the exported classifier.
        scores: logits of the trained one, (N, K).
        samples: held-out ones, normalised, (N, C, …).

    Raises:
        WrongExportError: they differ by more than :data:`.deliver.TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    exported = session.run(None, {"samples": samples})[0]
    difference = float(np.abs(softmax(exported) - softmax(scores)).max())
    if not difference <= TOLERANCE:
        raise WrongExportError(
            f"The exported classifier's probabilities differ from the trained one's by {difference:.2g}: it was not "
            "installed; please report it with the recipe."
        )
    return difference


def read_samples(data: TrainingSet, part: str, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised samples (N, C, …) float32 and classes (N,) of a part.

    Args:
        data: samples with one label each.
        part: ``train``, ``validation`` or ``test``.
        most: samples; of more, every class gives its share, and one at least.
        seed: of the choice.
    """
    shards = data.arrays(part)
    labels = np.concatenate([np.asarray(shard.labels) for shard in shards]).astype(np.int64)
    chosen = draw_stratified(labels, most, seed)
    begin, pieces = 0, []
    for shard in shards:
        own = chosen[(chosen >= begin) & (chosen < begin + len(shard))] - begin
        pieces.append(np.asarray(shard.samples[own]))
        begin += len(shard)
    return Normaliser.of(data.description)(np.concatenate(pieces)), labels[chosen]


def draw_stratified(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Numbers of at most so many samples, in rising order: of every class the same share, and one at least."""
    if len(labels) <= most:
        return np.arange(len(labels))
    chance = np.random.default_rng(seed)
    pieces = []
    for place in np.unique(labels):
        own = np.flatnonzero(labels == place)
        pieces.append(chance.choice(own, max(len(own) * most // len(labels), 1), replace=False))
    return np.sort(np.concatenate(pieces))


def _model(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], shape: tuple[int, ...], classes: int
) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "classifier", [info("samples", TensorProto.FLOAT, ["N", *shape])],
        [info("scores", TensorProto.FLOAT, ["N", classes])], constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain == "ai.onnx.ml" for node in nodes):
        opsets.append(helper.make_opsetid("ai.onnx.ml", _TREE_OPSET))
    return helper.make_model(graph, producer_name="thematica", opset_imports=opsets, ir_version=_IR_VERSION)


def _cross_entropy(scores: np.ndarray, places: np.ndarray) -> float:
    probability = softmax(scores)[np.arange(len(places)), places]
    return float(-np.log(np.maximum(probability, 1e-300)).mean())
