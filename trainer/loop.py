"""The training itself: epochs and steps, the best weights, checkpoints, and going on from one."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..errors import Cancelled, InputError, ThematicaError
from .augmentation import build_augmentation
from .checkpoint import load_checkpoint, save_checkpoint
from .dataset.description import TRAIN, VALIDATION
from .dataset.read import TrainingSet
from .events import Events
from .loader import Batch, Loader, seeds
from .losses import build_loss
from .metrics import Tally, check_monitor
from .networks import build_network
from .optimizers import build_optimizer
from .processes import Processes, wait
from .recipe import Recipe
from .run_folder import FINISH, STOP
from .running_mean import RunningMean
from .schedules import check_schedule, learning_rate

CHECKPOINT, BEST = "checkpoint.pt", "best.pt"
_SECONDS_BETWEEN_LOOKS = 0.5
#: Steps between two looks at the loss on a GPU, which wait for it.
_GPU_LOOKS = 20


class NotANumberError(ThematicaError):
    """The loss is not a number any more."""

    code = "nan-loss"
    exit_status = 2


@dataclass
class Epoch:
    """What came of one epoch.

    Args:
        loss: mean over the training part, while it was trained.
        validation: figures of the validation part.
        seconds: that it took, validation included.
        samples_per_second: of training, over all processes.
        waiting_share: of the training time that this process waited for data.
    """

    loss: float
    validation: dict[str, float]
    seconds: float
    samples_per_second: float
    waiting_share: float


@dataclass
class Trained:
    """A finished training: the network with the best weights, and how it came about."""

    network: nn.Module
    history: list[Epoch]
    best_epoch: int
    loader: Loader
    #: Epochs of the last training, on the validation part as well; 0: there was none.
    refit: int = 0


@dataclass
class _State:
    """Where a training is; everything but weights that a checkpoint holds."""

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    #: The last epoch that was better than all before, and not only as good: patience counts from it.
    better_epoch: int = -1
    history: list[dict[str, Any]] = field(default_factory=list)
    #: Sums of the epoch that is under way: loss and weight.
    loss_sum: float = 0.0
    loss_weight: float = 0.0


class _Taken(NamedTuple):
    """A step that was taken here, and of whose loss the other processes have not heard yet.

    Args:
        number: within the epoch, from 1.
        loss: the sum over this process's samples.
        weight: what the sum over all processes is to be divided by.
        rate: learning rate.
    """

    number: int
    loss: float
    weight: float
    rate: float


class Training:
    """One training, from fresh weights or from a checkpoint.

    Args:
        data: the training set.
        recipe: everything that is decided before.
        folder: of the run; process 0 writes checkpoints there.
        processes: all that train.
        events: hears of steps and epochs.
        streams: see :class:`.loader.Loader`.
        compress: send gradients in 16 bits.
        prepare: changes the fresh network (given weights, frozen layers).
        refit: train for so many epochs without a validation part; the last one counts.
        wishes: folder in which files ask for an end; None: that of the run.

    Raises:
        InputError: recipe and training set do not go together.
    """

    def __init__(
        self,
        data: TrainingSet,
        recipe: Recipe,
        folder: Path,
        processes: Processes,
        events: Events,
        streams: int = 8,
        compress: bool = False,
        prepare: Callable[[nn.Module], None] | None = None,
        refit: int = 0,
        wishes: Path | None = None,
    ) -> None:
        told = data.description
        self.data, self.recipe, self.folder, self.processes, self.events = data, recipe, folder, processes, events
        self.refit, self.wishes = refit, wishes or folder
        self.several = told.task == "multi-label"
        check_monitor(recipe.monitor, self.several)
        check_schedule(recipe)
        for part in (TRAIN,) if refit else (TRAIN, VALIDATION):
            if not told.samples(part):
                raise InputError(
                    f"The training set has no {part} part: make it with a share for it, so that there is something to "
                    "learn from and to choose by."
                )
        self.device = torch.device(f"cuda:{processes.local_rank}" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe.network, told.shape, len(told.classes), recipe.network_options)
        if prepare is not None:
            prepare(self.network)
        self.network.to(self.device)
        self.loss = build_loss(recipe, told, self.device)
        self.plain_optimizer = build_optimizer(recipe, self.network)
        self.averaged = RunningMean(self.network, recipe.average) if recipe.average else None
        self.loader = Loader(
            data,
            recipe.batch,
            processes,
            streams,
            recipe.seed,
            self.loss.weights,
            build_augmentation(recipe, told.shape, told.kind),
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.compress = compress
        self.optimizer = self.plain_optimizer
        self.state = _State()
        self._learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        # What this process wants, and what all have agreed on.
        self._wants_stop = self._wants_finish = False
        self._stopping = self.finishing = False
        #: An epoch has ended since this object was made.
        self.advanced = False
        self._next_look = 0.0
        self._seeds: list[int] = []
        self._taken: _Taken | None = None

    # -- from where --------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none.

        Raises:
            InputError: it is of another network, recipe, training set or number of processes, or damaged.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        content = load_checkpoint(path)
        mine = self._identity()
        for key, value in mine.items():
            if content.get(key) != value:
                raise InputError(
                    f"The checkpoint “{path}” is of another {_NAMES[key]}: go on with that one, or start anew without "
                    "--resume.",
                    f"{key}: {content.get(key)!r} instead of {value!r}",
                )
        try:
            self.network.load_state_dict(content["network"])
            self.plain_optimizer.load_state_dict(content["optimizer"])
            if self.averaged is not None:
                self.averaged.load_state_dict(content["averaged"])
            self.scaler.load_state_dict(content["scaler"])
            self.state = _State(**content["state"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"The checkpoint “{path}” is damaged; start anew without --resume.", repr(error)
            ) from error
        return True

    def _identity(self) -> dict[str, Any]:
        """What must be the same to go on; how long to train may change, and weights to start from are used up."""
        recipe = self.recipe.to_dict()
        for free in ("epochs", "patience", "title", "source", "search", "weights", "refit"):
            recipe.pop(free)
        told = self.data.description
        return {
            "recipe": recipe,
            "dataset": told.fingerprint,
            "classes": [entry.label.name for entry in told.classes],
            "processes": self.processes.size,
            # The learning rate of a training that is not cut short hangs on its length.
            "length": [self.refit, self.recipe.epochs] if self.refit else None,
        }

    def _save(self) -> None:
        if self.processes.rank == 0:
            save_checkpoint(
                self.folder / CHECKPOINT,
                {
                    **self._identity(),
                    "network": self.network.state_dict(),
                    "optimizer": self.plain_optimizer.state_dict(),
                    "averaged": self.averaged.state_dict() if self.averaged is not None else {},
                    "scaler": self.scaler.state_dict(),
                    "state": asdict(self.state),
                },
            )
            self.events.tell("checkpoint", file=CHECKPOINT, epoch=self.state.epoch, step=self.state.step)

    # -- the training ------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the end.

        Raises:
            Cancelled: it was asked to stop; a checkpoint is written.
            NotANumberError: the loss became NaN or infinite.
            OutputError: a checkpoint could not be written.
        """
        recipe, state = self.recipe, self.state
        self.processes.start_alike(self.network, self.plain_optimizer)
        self.optimizer = self.processes.share_gradients(
            self.plain_optimizer, self.network, recipe.accumulate, self.compress
        )
        self._look_for_wishes()
        self.finishing = self.processes.sum(np.array([float(self._wants_finish)]))[0] > 0
        while state.epoch < (self.refit or recipe.epochs) and not self._lost_patience() and not self._is_finished():
            self._train_epoch()
        # Process 0 may still be writing it.
        wait(self.processes)
        best = load_checkpoint(self.folder / BEST)
        network = copy.deepcopy(self.network)
        network.load_state_dict(best["network"])
        return Trained(network.cpu().eval(), [Epoch(**entry) for entry in state.history], state.best_epoch, self.loader)

    def stop(self) -> None:
        """Write a checkpoint after the present step and end; safe to call from a signal's handler."""
        self._wants_stop = True

    def _is_finished(self) -> bool:
        # Who wants the best epoch gets one: where none has ended yet, the one under way is cut short.
        return self.finishing and self.state.best_epoch >= 0

    def _lost_patience(self) -> bool:
        patience, state = self.recipe.patience, self.state
        return (
            patience is not None
            and not self.refit
            and state.better_epoch >= 0
            and state.epoch - 1 - state.better_epoch >= patience
        )

    def _train_epoch(self) -> None:
        recipe, state = self.recipe, self.state
        steps = self.loader.steps(TRAIN)
        started, self.loader.waited = time.perf_counter(), 0.0
        first = state.step
        # What is drawn in a step depends on the step alone, so that a training goes on as if it had not stopped.
        self._seeds = seeds(recipe.seed, state.epoch, self.processes.rank, steps, "network")
        self.network.train()
        for batch in self.loader.batches(TRAIN, state.epoch, first):
            self._step(batch, steps)
            if self._stopping:
                self._settle(steps)
                self._save()
                self.events.tell("stopped", reason="asked to", epoch=state.epoch, step=state.step)
                raise Cancelled()
            if self.finishing:
                self.events.tell("finishing", reason="asked to", epoch=state.epoch, step=state.step)
                break
        self._settle(steps)
        trained, waited = time.perf_counter() - started, self.loader.waited
        loss = state.loss_sum / max(state.loss_weight, 1e-12)
        self.processes.average_buffers(self.network)
        figures = {} if self.refit else self.validate(VALIDATION).figures()
        share = (state.step - first) / steps
        samples = self.data.description.samples(TRAIN) * share
        epoch = Epoch(loss, figures, time.perf_counter() - started, samples / max(trained, 1e-9), waited / trained)
        state.history.append(asdict(epoch))
        # Without a validation part every epoch is the best so far.
        figure = figures.get(recipe.monitor, math.inf)
        if figure > state.best:
            state.better_epoch = state.epoch
        # Of equals the last: a small validation part is soon right as a whole, while the rate is still high.
        best = figure >= state.best
        if best:
            state.best, state.best_epoch = figure, state.epoch
            if self.processes.rank == 0:
                save_checkpoint(self.folder / BEST, {"network": self._result().state_dict()})
        self.events.epoch(
            state.epoch,
            train_loss=loss,
            validation=figures,
            seconds=epoch.seconds,
            samples_per_second=epoch.samples_per_second,
            waiting_share=epoch.waiting_share,
            best=best,
        )
        state.epoch, state.step, state.loss_sum, state.loss_weight = state.epoch + 1, 0, 0.0, 0.0
        self.advanced = True
        self._save()

    def _step(self, batch: Batch, steps: int) -> None:
        recipe, state, processes = self.recipe, self.state, self.processes
        number = state.epoch * steps + state.step
        rate = learning_rate(recipe, number, steps * recipe.epochs, processes.size)
        for group in self.plain_optimizer.param_groups:
            group["lr"] = rate
        _seed(self.device, self._seeds[state.step])
        # One message per step, on its way while the network works: the weight that makes the mean, the loss of the
        # step before, and whether someone wants to stop.
        self._look_for_wishes()
        answer = processes.begin_sums(self._message(batch.weight))
        total = self._total(batch.x.to(self.device, non_blocking=True), batch.y.to(self.device, non_blocking=True))
        weight, before, stop, finish = answer()
        self._hear(before, steps)
        self._stopping, self.finishing = stop > 0, finish > 0
        share = processes.size / max(weight, 1e-12) / recipe.accumulate
        self.scaler.scale(total).backward(torch.full_like(total, share))
        if (state.step + 1) % recipe.accumulate == 0 or state.step + 1 == steps:
            self._change_weights()
        # To look at a loss is to wait for the GPU.
        if self.device.type == "cpu" or state.step % _GPU_LOOKS == 0 or state.step + 1 == steps:
            self._taken = _Taken(state.step + 1, total.item(), weight, rate)
        state.step += 1

    def _message(self, weight: float) -> list[float]:
        loss = self._taken.loss if self._taken is not None else 0.0
        return [weight, loss, float(self._wants_stop), float(self._wants_finish)]

    def _hear(self, loss: float, steps: int) -> None:
        """Take in the loss of the step before, the sum over all processes."""
        taken, self._taken = self._taken, None
        if taken is None:
            return
        state, mean = self.state, loss / max(taken.weight, 1e-12)
        if not math.isfinite(mean):
            raise self._not_a_number(taken.number, taken.rate)
        state.loss_sum += loss
        state.loss_weight += taken.weight
        self.events.step(state.epoch, taken.number, steps, mean, taken.rate)

    def _settle(self, steps: int) -> None:
        """Hear of the last step, which no other followed."""
        self._hear(self.processes.begin_sums(self._message(0.0))()[1], steps)

    def _total(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of a batch, not divided by anything."""
        if not len(x):
            # The last batch of another process had a sample more: this one takes part without any.
            zero = sum(parameter.sum() * 0 for parameter in self._learned)
            assert isinstance(zero, torch.Tensor)
            return zero
        lower = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.recipe.precision)
        if lower is None:
            return self.loss.total(self.network(x), y)
        with torch.autocast(self.device.type, lower):
            scores = self.network(x)
        return self.loss.total(scores.float(), y)

    def _change_weights(self) -> None:
        with self.processes.gathered(self.optimizer):
            if self.recipe.clip is not None:
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self._learned, self.recipe.clip)
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.averaged is not None:
            self.averaged.update()

    def _look_for_wishes(self) -> None:
        """Whether someone wants the training to stop, or to end with the best epoch so far."""
        if self.processes.rank == 0 and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            self._wants_stop = self._wants_stop or (self.wishes / STOP).exists()
            self._wants_finish = self._wants_finish or (self.wishes / FINISH).exists()
        self._wants_stop = self._wants_stop or self.events.monitor.cancelled

    def _not_a_number(self, step: int, rate: float) -> NotANumberError:
        return NotANumberError(
            f"The loss is not a number any more, in step {step} of epoch {self.state.epoch + 1} at a learning "
            f"rate of {rate:.3g}: try a tenth of it (--set learning_rate={self.recipe.learning_rate / 10:.3g}), "
            "a longer warm_up, or clip=1; and look whether the training set has values beyond all measure."
        )

    # -- what it is worth --------------------------------------------------------------------------

    def _result(self) -> nn.Module:
        """The network whose weights count: the running mean, where there is one."""
        return self.averaged.network if self.averaged is not None else self.network

    @torch.no_grad()
    def validate(self, part: str, network: nn.Module | None = None) -> Tally:
        """Counts of a part, over all processes."""
        told = self.data.description
        network = network or self._result()
        network.eval()
        tally = Tally([entry.label.name for entry in told.classes], self.several, told.ignore_index)
        for x, y, _ in self.loader.batches(part, 0, shuffle=False):
            if len(x):
                scores = network(x.to(self.device)).float().cpu().numpy()
                if np.isnan(scores).any():
                    # The last step broke the weights, and no other followed whose loss would have shown it.
                    raise self._not_a_number(self.state.step, self.plain_optimizer.param_groups[0]["lr"])
                tally.add(scores, y.numpy())
        tally.set_vector(self.processes.sum(tally.vector()))
        self.network.train()
        return tally


_NAMES = {
    "recipe": "recipe",
    "dataset": "training set",
    "classes": "list of classes",
    "processes": "number of processes",
    "length": "number of epochs",
}


def _seed(device: torch.device, seed: int) -> None:
    # torch.manual_seed asks every kind of device, which takes longer than the step of a small network.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def use_threads(processes: int, light: bool = False) -> None:
    """Share the cores among the processes of this machine, unless the caller has said how many each may use.

    Args:
        processes: of this machine.
        light: a step is over in a millisecond: threads would wait for each other, on a busy machine for long.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    if light:
        torch.set_num_threads(1)
    elif processes > 1:
        torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))
