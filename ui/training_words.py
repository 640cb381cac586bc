"""What is said about a training: its state, how far it is, what came of it.  No widget is needed here."""

from __future__ import annotations

import math
from typing import Any

from ..models.trainable import NETWORKS
from .wording import duration_label

#: Share of the time that may be spent waiting for samples without a word about it.
_MOST_WAITING = 0.05
#: Of an epoch of a few moments nobody would notice it.
_SECONDS_WORTH_A_WORD = 1.0
#: State → a sign that says it without colours, and the word.
_STATES = {
    "starting": ("▷", "starting"),
    "running": ("▶", "running"),
    "pausing": ("▶", "pausing"),
    "paused": ("◫", "paused"),
    "finishing": ("▶", "finishing"),
    "exporting": ("▶", "making the model"),
    "finished": ("✓", "finished"),
    "failed": ("✗", "failed"),
    "interrupted": ("⚠", "interrupted"),
}
#: Figures of a finished model that are told, where it has them.
_TOLD = ("overall accuracy", "macro F1", "micro F1", "kappa", "mean IoU", "mean average precision")
_PARTS = {"test": "test part", "validation": "validation part", "train": "training part"}


def step_word(network: str) -> str:
    """``"epoch"``, or ``"stage"`` for what grows in stages."""
    # What scikit-learn trains has stages; a network that torch trains has epochs.
    return "stage" if network in NETWORKS and not NETWORKS[network].module else "epoch"


def state_sign(state: str) -> str:
    """One character."""
    return _STATES.get(state, ("·", state))[0]


def state_word(state: str) -> str:
    """One word or two."""
    return _STATES.get(state, ("·", state))[1]


def run_label(name: str, network: str, state: str) -> str:
    """A training in a list: ``"✓ fields · mlp · finished"``."""
    parts = [name, network if network not in name else "", state_word(state)]
    return f"{state_sign(state)} {' · '.join(part for part in parts if part)}"


def figure_label(value: Any) -> str:
    """``"0.912"``; a dash where there is none."""
    return f"{value:.3f}" if isinstance(value, (int, float)) and math.isfinite(value) else "–"


def loss_label(value: Any) -> str:
    """Three digits that say something, whether it is 250 or 0.00012."""
    return f"{value:.3g}" if isinstance(value, (int, float)) and math.isfinite(value) else "–"


def unbroken(text: str) -> str:
    """The text so that lines break between its parts only (``·``), not within them."""
    if " · " not in text:
        return text
    # Lines break after a slash, too, unless a word joiner follows.
    parts = (part.replace(" ", "\u00a0").replace("/", "/\u2060") for part in text.split(" · "))
    return "\u00a0· ".join(parts)


def best_value(run: Any) -> float:
    """The figure of the best epoch that chooses it, not-a-number before there is one."""
    for done in reversed(run.epochs_done):
        if done.epoch == run.best_epoch:
            value = done.validation.get(run.monitor)
            return float(value) if isinstance(value, (int, float)) else math.nan
    return math.nan


def is_over(state: str) -> bool:
    """True where nothing more comes by itself."""
    return state in ("finished", "failed", "interrupted", "paused")


def state_line(run: Any) -> str:
    """``"Epoch 7 of 40 · 1,234 samples/s · 2 min 10 s left · best so far 0.912 (epoch 5)"``."""
    word, done = step_word(run.network), len(run.epochs_done)
    state = run.state
    if state == "starting":
        return "Starting: the training set is being read…"
    if state == "exporting":
        return "The training is done; the model is being made and measured…"
    count = f"{done} of {run.epochs} {word}s" if run.epochs else f"{done} {word}{'s' if done != 1 else ''}"
    if is_over(state):
        when = f"after {count}" if done else f"before the first {word} had ended"
        parts = [f"{state_word(state).capitalize()} {when}"]
    else:
        now = min(done + 1, run.epochs) if run.epochs else done + 1
        parts = [f"{word.capitalize()} {now}" + (f" of {run.epochs}" if run.epochs else "")]
        if run.refit is not None:
            epoch, epochs = run.refit
            parts = [f"Once more, with the validation part: {word} {min(epoch + 2, epochs)} of {epochs}"]
        if state == "pausing":
            parts.append("pausing after this step…" if word == "epoch" else "stopping after this stage…")
        elif state == "finishing":
            parts.append("ending, to keep the best…")
        else:
            speed = run.epochs_done[-1].samples_per_second if done else None
            if _is_number(speed) and speed > 0:
                parts.append(f"{speed:,.0f} samples/s" if speed >= 10 else f"{speed:.1f} samples/s")
            if _is_number(run.seconds_left):
                parts.append(f"{duration_label(run.seconds_left)} left")
    best = best_value(run)
    if math.isfinite(best):
        told = "best" if is_over(state) else "best so far"
        parts.append(f"{told} {figure_label(best)} ({word} {run.best_epoch + 1})")
    return " · ".join(parts)


def waiting_hint(run: Any) -> str:
    """That samples come too slowly, with what helps; empty where they do not."""
    if not run.epochs_done or is_over(run.state):
        return ""
    last = run.epochs_done[-1]
    share = last.waiting_share
    if not _is_number(share) or share <= _MOST_WAITING:
        return ""
    if not _is_number(last.seconds) or share * last.seconds < _SECONDS_WORTH_A_WORD:
        return ""
    return f"Waits for samples {100 * share:.0f} % of the time: with the training set on a faster disk it ends earlier."


def epoch_label(run: Any, done: Any, line: str = "\n") -> str:
    """The values of an epoch, in lines."""
    word, figures = step_word(run.network), done.validation
    of = f" of {run.epochs}" if run.epochs else ""
    mark = " · the best" if done.epoch == run.best_epoch else ""
    lines = [f"{word.capitalize()} {done.epoch + 1}{of}{mark}", f"Training loss {loss_label(done.train_loss)}"]
    names = [run.monitor, *(name for name in _TOLD if name != run.monitor)]
    lines += [f"{_capital(name)} {figure_label(figures[name])}" for name in names if name in figures][:4]
    pace = [duration_label(done.seconds)] if _is_number(done.seconds) else []
    if _is_number(done.samples_per_second):
        pace.append(f"{done.samples_per_second:,.0f} samples/s")
    return line.join([*lines, " · ".join(pace)] if pace else lines)


def figures_label(metrics: dict[str, Any], part: str) -> str:
    """``"overall accuracy 0.931, macro F1 0.92, kappa 0.90 on the test part"``."""
    told = [f"{name} {figure_label(metrics[name])}" for name in _TOLD if name in metrics]
    # Of one label to a sample it is the overall accuracy once more.
    if "overall accuracy" in metrics:
        told = [entry for entry in told if not entry.startswith("micro F1")]
    where = f" on the {_PARTS.get(part, part)}" if part else ""
    return f"{', '.join(told)}{where}" if told else ""


def finished_sentence(run: Any) -> str:
    """What came of a training that has finished."""
    figures = figures_label(run.metrics, run.part)
    sentence = f"{_capital(figures)}." if figures else "The model is made."
    if run.stored:
        return f"{sentence} The model “{run.stored}” is in the store."
    return f"{sentence} The model lies in the training's folder; it is not in the store."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
