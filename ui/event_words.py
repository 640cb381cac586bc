"""The events of a training in words, a line each.  No widget is needed here."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from .training_words import figure_label, figures_label, loss_label, step_word
from .wording import duration_label, for_dialog


def event_words(event: Mapping[str, Any], network: str, monitor: str) -> str:
    """One line, or empty for what needs no word (single steps).

    Args:
        event: a line of ``events.jsonl`` or ``told.jsonl``; any entry of it may be missing.
        network: what is trained.
        monitor: the figure that chooses the epoch.
    """
    tell = _TELL.get(str(event.get("event")))
    said = tell(event, step_word(network), monitor) if tell else ""
    if not said:
        return ""
    return f"{_clock(event.get('time'))}  {said}".strip()


def _clock(moment: Any) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(moment)) if isinstance(moment, (int, float)) else ""
    except (OverflowError, ValueError, OSError):
        return ""  # no moment that a clock could show


def _start(event: Mapping[str, Any], word: str, monitor: str) -> str:
    recipe = event.get("recipe") if isinstance(event.get("recipe"), Mapping) else {}
    first = _count(event)
    if event.get("resumed"):
        return f"Goes on with {word} {first}."
    processes = event.get("processes")
    many = f", in {processes} processes" if isinstance(processes, int) and processes > 1 else ""
    of = f" on “{event['dataset']}”" if event.get("dataset") else ""
    epochs = recipe.get("epochs")
    planned = f": {epochs} {word}s" if epochs and word == "epoch" else ""
    return f"Training of “{recipe.get('network', 'the network')}”{of} begins{many}{planned}."


def _epoch(event: Mapping[str, Any], word: str, monitor: str) -> str:
    validation = event.get("validation")
    figures = validation if isinstance(validation, Mapping) else {}
    parts = [f"training loss {loss_label(event.get('train_loss'))}"]
    names = dict.fromkeys((monitor, "overall accuracy", "kappa"))
    parts += [f"{name} {figure_label(figures[name])}" for name in names if name in figures]
    seconds = event.get("seconds")
    if isinstance(seconds, (int, float)) and math.isfinite(seconds):
        parts.append(duration_label(seconds))
    best = ", the best so far" if event.get("best") and word == "epoch" else ""
    return f"{word.capitalize()} {_count(event)}{best}: {', '.join(parts)}."


def _checkpoint(event: Mapping[str, Any], word: str, monitor: str) -> str:
    return "Checkpoint written: the training can go on from here."


def _note(event: Mapping[str, Any], word: str, monitor: str) -> str:
    return for_dialog(str(event.get("message") or ""))


def _log(event: Mapping[str, Any], word: str, monitor: str) -> str:
    sign = "⚠ " if event.get("level") == "warning" else ""
    return f"{sign}{_note(event, word, monitor)}"


def _optimism(event: Mapping[str, Any], word: str, monitor: str) -> str:
    gap = event.get(monitor)
    if not isinstance(gap, Mapping):
        return "How much a random split flatters was measured."
    return (
        f"With a random split the same training would show {monitor} {figure_label(gap.get('random'))} instead of "
        f"{figure_label(gap.get('blocked'))}."
    )


def _stopped(event: Mapping[str, Any], word: str, monitor: str) -> str:
    return f"Stopped in {word} {_count(event)}, as asked."


def _finishing(event: Mapping[str, Any], word: str, monitor: str) -> str:
    return f"Ended in {word} {_count(event)}, as asked; the best one becomes the model."


def _refit(event: Mapping[str, Any], word: str, monitor: str) -> str:
    epochs = event.get("epochs")
    if not isinstance(epochs, int) or _count(event) != str(epochs):
        return ""
    return f"Trained once more, with the validation part as well: {epochs} {word}{'s' if epochs != 1 else ''}."


def _exporting(event: Mapping[str, Any], word: str, monitor: str) -> str:
    return "The model is made, and measured."


def _end(event: Mapping[str, Any], word: str, monitor: str) -> str:
    metrics = event.get("metrics")
    figures = figures_label(dict(metrics), "") if isinstance(metrics, Mapping) else ""
    stored = f" The model “{event['stored']}” is in the store." if event.get("stored") else ""
    return f"Finished{f': {figures}' if figures else ''}.{stored}"


def _error(event: Mapping[str, Any], word: str, monitor: str) -> str:
    return for_dialog(str(event.get("message") or "The training failed without a reason."))


def _count(event: Mapping[str, Any]) -> str:
    epoch = event.get("epoch")
    return str(epoch + 1) if isinstance(epoch, int) else "?"


_TELL = {
    "start": _start,
    "epoch": _epoch,
    "checkpoint": _checkpoint,
    "note": _note,
    "log": _log,
    "optimism": _optimism,
    "stopped": _stopped,
    "finishing": _finishing,
    "refit": _refit,
    "exporting": _exporting,
    "end": _end,
    "error": _error,
}
