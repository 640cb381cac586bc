"""One run of the trainer: from a training set and a recipe to a model in a folder."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ThematicaError
from ..models.store import add_new_model
from ..progress import Monitor
from .card_template import read_template
from .dataset.description import Description
from .dataset.read import TrainingSet
from .metrics import SEVERAL_FIGURES, SINGLE_FIGURES, Tally
from .optimism import add_to_report, check_split
from .optimism import measure as measure_optimism
from .recipe import Recipe, read_recipe
from .run_folder import FINISH, STOP, prepare_folder

if TYPE_CHECKING:
    from torch import nn

    from ..models.card import ModelCard
    from .events import Events

#: Why a gap was not measured.
UNMEASURED = "How much a random split flatters was not measured: the training was ended before its last epoch."


@dataclass
class TrainOptions:
    """What to train.

    Args:
        dataset: folder of the training set.
        network: a name in :data:`.networks.NETWORKS`.
        recipe: a name or a file; empty: the network's own for such samples.
        output: folder of the run; empty: ``runs/<network>`` in the training set's folder.
        epochs: replaces the recipe's.
        resume: go on from the folder's checkpoint, if there is one.
        changes: ``KEY=VALUE``, see :func:`.recipe.read_recipe`.
        name: of the model; empty: made from training set and network.
        compress: send gradients in 16 bits.
        weights: file with the weights to start from; empty: the recipe's.
        freeze: layers that keep them, see :func:`.transfer.freeze`; empty: the recipe's.
        report_optimism: train once more on a random split, and tell the gap.
        store: put the model into the store in the end.
        card: of another model, whose words the new one keeps, see :mod:`.card_template`.
    """

    dataset: str
    network: str
    recipe: str = ""
    output: str = ""
    epochs: int | None = None
    resume: bool = False
    changes: Sequence[str] = field(default_factory=tuple)
    name: str = ""
    compress: bool = False
    weights: str = ""
    freeze: str = ""
    report_optimism: bool = False
    store: bool = False
    card: str = ""

    def folder(self) -> Path:
        """Of the run."""
        return Path(self.output) if self.output else Path(self.dataset) / "runs" / self.network

    def template(self, told: Description) -> ModelCard | None:
        """The card whose words the model keeps, if it keeps any."""
        return read_template(self.card, told) if self.card else None

    def model_name(self) -> str:
        """What the model is called."""
        return self.name or f"{Path(self.dataset).resolve().name}-{self.network}"


def recipe_of(options: TrainOptions) -> Recipe:
    """The recipe that the options ask for.

    Raises:
        InputError: there is none, it is for another network, or there is no training set to choose one for.
    """
    from .networks import network_kind

    kind = network_kind(options.network)
    changes = list(options.changes)
    if options.epochs is not None:
        changes.append(f"epochs={options.epochs}")
    if options.weights:
        changes.append(f"weights={json.dumps(str(Path(options.weights).resolve()))}")
    if options.freeze:
        changes.append(f"freeze={json.dumps(options.freeze)}")
    name = options.recipe
    if not name:
        told = TrainingSet(options.dataset).description
        name = kind.recipe_for(told.kind, told.task)
    recipe = read_recipe(name, changes)
    if recipe.network != options.network:
        raise InputError(
            f"The recipe is for the network “{recipe.network}”, not “{options.network}”: choose another recipe, or "
            f"--network {recipe.network}."
        )
    return recipe


def check_kind(recipe: Recipe, data: TrainingSet) -> None:
    """Refuse a network that cannot learn from such samples.

    Raises:
        InputError: which networks can.
    """
    from .networks import NETWORKS, network_kind

    told, kind = data.description, network_kind(recipe.network)
    several = told.task == "multi-label"
    if told.kind in kind.kinds and (kind.several or not several):
        return
    fitting = [entry.name for entry in NETWORKS.values() if told.kind in entry.kinds and (entry.several or not several)]
    what = f"{told.kind} with several labels" if several else told.kind
    raise InputError(
        f"The network “{recipe.network}” does not learn from {what}, which this training set holds; choose "
        f"{', '.join(fitting) or 'another training set'}."
    )


def require_packages(network: str) -> None:
    """Refuse a training for which this Python lacks a package.

    Raises:
        InputError: which, and how to get it.
    """
    needed = {"torch": "PyTorch", **({"skl2onnx": "skl2onnx"} if is_classical(network) else {})}
    missing = [title for name, title in needed.items() if find_spec(name) is None]
    if missing:
        raise InputError(
            f"Training “{network}” needs {' and '.join(missing)}, which this Python does not have: in QGIS, open "
            "Raster ▸ Thematica ▸ Runtime…, tick “With PyTorch” and create it anew; elsewhere, install what "
            "requirements-torch.txt and requirements-training.txt name (make training in a checkout).",
            sys.executable,
        )


def train(options: TrainOptions, monitor: Monitor) -> dict[str, Any]:
    """Train in this process; Horovod's environment says whether there are others.

    Returns:
        The ``result`` event; of other processes than the first, one without files.

    Raises:
        InputError: what was given cannot be used.
        Cancelled: it was asked to stop; a checkpoint is there.
    """
    data = TrainingSet(options.dataset)
    recipe = recipe_of(options)
    check_kind(recipe, data)
    require_packages(options.network)
    if options.report_optimism:
        check_split(data.description)
    if is_classical(recipe.network):
        from .classical import train_classical

        return train_classical(options, data, recipe, monitor)
    template = options.template(data.description)
    # torch takes seconds to load: bad input is told before.
    from .deliver import TRAINING, deliver
    from .events import Events
    from .loop import CHECKPOINT, Trained, Training, use_threads
    from .processes import find_processes, wait
    from .refit import keep_weights, train_again
    from .transfer import freeze, load_weights

    processes = find_processes()
    use_threads(processes.size, light=data.description.kind == "pixels")
    folder, first = options.folder(), processes.rank == 0
    held: AbstractContextManager[Any] = nullcontext()
    if first:
        held = prepare_folder(folder, recipe, options.resume, (folder / CHECKPOINT).exists())
    events = Events(folder if first else None, monitor if first else Monitor(), recipe.epochs, options.resume)

    def begin(samples: TrainingSet, place: Path, told: Events, refit: int = 0) -> Training:
        goes_on = options.resume and (place / CHECKPOINT).exists()

        def prepare(network: nn.Module) -> None:
            # Who goes on has the weights in the checkpoint.
            if recipe.weights and not goes_on:
                taken = load_weights(network, Path(recipe.weights))
                if first:
                    monitor.log(str(taken))
            freeze(network, recipe.freeze)

        training = Training(
            samples, recipe, place, processes, told, compress=options.compress, prepare=prepare, refit=refit,
            wishes=place.parent if refit else place,
        )  # fmt: skip
        stop_on_signals(training.stop)
        resumed = options.resume and training.resume()
        told.tell(
            "start", recipe=recipe.to_dict(), dataset=str(samples.folder), processes=processes.size, resumed=resumed,
            epoch=training.state.epoch,
        )  # fmt: skip
        return training

    def run(samples: TrainingSet, place: Path, told: Events) -> tuple[Training, Trained]:
        training = begin(samples, place, told)
        trained = training.run()
        if recipe.refit and not training.finishing:
            trained = train_again(training, trained, begin)
        return training, trained

    def run_at_random(samples: TrainingSet, place: Path) -> Callable[[str], Tally]:
        heard = _UntilStopped(monitor, folder / STOP) if first else Monitor()
        told = Events(place if first else None, heard, recipe.epochs, options.resume)
        try:
            training, trained = run(samples, place, told)
            if first:
                keep_weights(place)
            return lambda part: training.validate(part, trained.network.to(training.device))
        finally:
            told.close()

    try:
        training, trained = run(data, folder, events)
        delivered: dict[str, Any] = {"files": {}, "report": {"metrics": {}}}
        if first:
            events.tell("exporting")
            monitor.stage("Exporting", 0.99)
            delivered = deliver(trained, data, recipe, folder, options.model_name(), template)
            keep_weights(folder)
        if options.report_optimism and training.finishing:
            monitor.log(UNMEASURED, "warning")
        elif options.report_optimism:
            found = measure_optimism(
                data, delivered["report"]["metrics"], folder, recipe.seed, first, lambda: wait(processes), run_at_random
            )
            if first:
                names = SEVERAL_FIGURES if data.description.task == "multi-label" else SINGLE_FIGURES
                add_to_report(folder / TRAINING, found, names)
                delivered["report"]["optimism"] = found.to_dict(names)
                events.tell("optimism", **found.to_dict(names))
                monitor.log(found.sentence(recipe.monitor))
        if not first:
            return {"event": "result", "files": {}, "report": {}}
        return end_run(options, delivered, events)
    except ThematicaError as error:
        events.tell("error", code=error.code, message=error.message)
        raise
    finally:
        events.close()
        held.__exit__(None, None, None)


def end_run(options: TrainOptions, delivered: dict[str, Any], events: Events) -> dict[str, Any]:
    """Put the model into the store, where that was asked for, and tell the end; returns the ``result`` event."""
    report, model = delivered["report"], delivered["files"]["model"]
    if options.store:
        report["stored"] = add_new_model(Path(model), options.model_name()).name
    (options.folder() / FINISH).unlink(missing_ok=True)
    events.tell("end", metrics=report["metrics"], part=report["part"], model=model, stored=report.get("stored", ""))
    return {"event": "result", **delivered}


class _UntilStopped(Monitor):
    """Hears of a run within a run; who stops the outer one stops it, too."""

    def __init__(self, outer: Monitor, stop: Path) -> None:
        super().__init__(outer.listener)
        self._outer, self._stop = outer, stop

    @property
    def cancelled(self) -> bool:
        """See :class:`.Monitor`."""
        return self._outer.cancelled or self._stop.exists()


def stop_on_signals(stop: Any) -> None:
    """A batch system sends SIGUSR1 some time before the limit, and SIGTERM at the end."""
    for name in ("SIGTERM", "SIGUSR1"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda *_: stop())


def is_classical(network: str) -> bool:
    """True for what scikit-learn trains, in one process."""
    from .networks import network_kind

    return not network_kind(network).module
