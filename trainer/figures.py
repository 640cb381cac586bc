"""What a training came to, as pictures: confusion matrix, reliability, curves, and F1 of every class."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..errors import OutputError
from .metrics import RELIABILITY_BINS, Tally

_DPI = 120
_INK, _FAINT, _BLUE, _RED, _GREEN = "#222222", "#888888", "#2b6fc4", "#c8403a", "#3d8b4f"
# Letters of a class name that are shown.
_LONGEST_NAME = 42
# Where more classes are, a cell has room for one number only.
_TWO_NUMBERS = 14
# In inches.
_CELL, _SMALL_CELL = 0.62, 0.34


def _figure(width: float, height: float) -> Figure:
    # Without pyplot: it keeps every figure, and chooses a window system.
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    name = " ".join(name.split())
    if len(name) > longest:
        # Names of one nomenclature often begin alike: the end is kept.
        end = longest // 3
        name = f"{name[: longest - end - 1].rstrip()}…{name[-end:].lstrip()}"
    # A dollar would begin a formula.
    return name.replace("$", r"\$")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8)


def _count(number: int) -> str:
    """A count as short as a cell: 950, 12k, 3.4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 10 * size or number >= size > 1e3:
            value = number / size
            return f"{value:.0f}{letter}" if value >= 10 else f"{value:.1f}{letter}"
    return str(number)


def confusion_figure(names: Sequence[str], confusion: np.ndarray, title: str) -> Figure:
    """The confusion matrix: rows true, columns predicted; the colour is the share of the row.

    Args:
        names: of the classes.
        confusion: (classes, classes) counts.
        title: line above.
    """
    count = len(names)
    cell = _CELL if count <= _TWO_NUMBERS else _SMALL_CELL
    shown = [_short(name) for name in names]
    beside = 0.075 * max(map(len, shown)) + 0.6
    side = max(cell * count, 2.4)
    below = beside if count > 3 else 0.5
    figure = _figure(side * 1.04 + beside + 2.2, side + below + 0.9)
    axes = figure.add_subplot()
    sizes = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(sizes, 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        share, number = shares[row, column], _count(int(confusion[row, column]))
        color = "white" if share > 0.55 else _INK
        text = f"{number}\n{share:.0%}" if count <= _TWO_NUMBERS else f"{share * 100:.0f}" if share >= 0.005 else "·"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5 if cell == _CELL else 6.5, color=color)
    places = np.arange(count)
    axes.set_xticks(places, shown, rotation=90 if count > 3 else 0, fontsize=8)
    axes.set_yticks(places, [f"{name} ({_count(int(size))})" for name, size in zip(shown, sizes[:, 0], strict=True)])
    axes.tick_params(length=0, labelsize=8)
    # Thin white lines between the cells.
    axes.set_xticks(places[1:] - 0.5, minor=True)
    axes.set_yticks(places[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true (samples)", fontsize=9)
    axes.set_title("\n".join(textwrap.wrap(title, 76)), fontsize=10, loc="left")
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02, format=PercentFormatter(1, decimals=0))
    bar.set_label("share of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    return figure


def reliability_figure(reliability: np.ndarray, error: float, title: str) -> Figure:
    """How often the network is right, over how sure it is (Guo et al. 2017), and how many samples that is.

    Args:
        reliability: rows samples, right ones, sum of probabilities; a column per bin, as in :class:`.metrics.Tally`.
        error: the expected calibration error.
        title: line above.
    """
    figure = _figure(4.8, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    samples, right, probability = reliability
    there = samples > 0
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    middle, width = (edges[:-1] + edges[1:]) / 2, 1 / RELIABILITY_BINS
    share = right[there] / samples[there]
    sure = probability[there] / samples[there]
    upper.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle="--", label="as often as it says")
    upper.bar(middle[there], share, width * 0.92, color=_BLUE, alpha=0.85, label="right, in truth")
    upper.plot(sure, share, "o", color=_INK, markersize=3)
    upper.set_ylim(0, 1.02)
    upper.set_ylabel("share that is right", fontsize=9)
    upper.legend(fontsize=8, frameon=False, loc="upper left")
    upper.set_title(f"{_short(title, 60)}\nexpected calibration error {error:.3f}", fontsize=10, loc="left")
    lower.bar(middle[there], samples[there] / max(samples.sum(), 1), width * 0.92, color=_FAINT)
    lower.set_xlim(0, 1)
    lower.set_xlabel("probability that the network gives its answer", fontsize=9)
    lower.set_ylabel("samples", fontsize=9)
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (upper, lower):
        _plain(axes)
    return figure


def curves_figure(
    history: Sequence[Mapping[str, Any]], figure_name: str, rates: Sequence[float], best: int, title: str
) -> Figure:
    """Loss, the figure that chooses the best epoch, and learning rate over the epochs.

    Args:
        history: per epoch ``loss`` and ``validation`` (figures by name).
        figure_name: of the one that is shown.
        rates: learning rate in the middle of each epoch; empty where there is none.
        best: number of the best epoch, from 0.
        title: line above.
    """
    panels: list[tuple[str, list[float], str]] = [
        ("training loss", [float(epoch["loss"]) for epoch in history], _RED),
        (f"validation: {figure_name}", [float(epoch["validation"].get(figure_name, 0)) for epoch in history], _BLUE),
    ]
    if rates:
        panels.append(("learning rate", list(rates), _GREEN))
    figure = _figure(3.6 * len(panels), 3.1)
    epochs = np.arange(1, len(history) + 1)
    for axes, (name, values, color) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.plot(epochs, values, color=color, linewidth=1.6, marker="o" if len(history) < 12 else "", markersize=3)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
        if 0 <= best < len(history) and name.startswith("validation"):
            axes.plot(best + 1, values[best], "o", color=_INK, markersize=5)
            low = values[best] < (max(values) + min(values)) / 2
            axes.annotate(
                f"{values[best]:.3f} in epoch {best + 1}", (best + 1, values[best]), fontsize=8, color=_INK,
                xytext=(0, 8 if low else -14), textcoords="offset points",
                ha="right" if best + 1 > len(history) / 2 else "left",
            )  # fmt: skip
        _plain(axes)
    figure.suptitle(_short(title, 110), fontsize=10, x=0.01, ha="left")
    return figure


def f1_figure(names: Sequence[str], f1: Sequence[float], samples: Sequence[int], title: str) -> Figure:
    """F1 of every class as bars, worst at the bottom.

    Args:
        names: of the classes.
        f1: of each.
        samples: that have the class in truth.
        title: line above.
    """
    order = np.argsort(f1, kind="stable")
    figure = _figure(7.2, 0.24 * len(names) + 1.2)
    axes = figure.add_subplot()
    values = np.asarray(f1, float)[order]
    met = np.asarray(samples)[order] > 0
    axes.barh(np.arange(len(names)), values, color=[_BLUE if there else "#cccccc" for there in met], height=0.72)
    for place, (value, there) in enumerate(zip(values, met, strict=True)):
        text = f"{value:.2f}" if there else "no sample"
        axes.text(value + 0.01, place, text, va="center", fontsize=7.5, color=_INK)
    labels = [f"{_short(names[place])} ({_count(int(samples[place]))})" for place in order]
    axes.set_yticks(np.arange(len(names)), labels)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, 1.08)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("F1", fontsize=9)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title("\n".join(textwrap.wrap(title, 90)), fontsize=10, loc="left")
    _plain(axes)
    return figure


def result_figures(tally: Tally, title: str) -> dict[str, Figure]:
    """The figures of a classification, by file name.

    Args:
        tally: its counts.
        title: what was classified with what.
    """
    figures = {"reliability.png": reliability_figure(tally.reliability, tally.calibration_error(), title)}
    numbers = tally.figures()
    f1 = [numbers[f"F1, {name}"] for name in tally.names]
    if tally.several:
        samples = tally.histogram[0].sum(axis=1)
    else:
        samples = tally.confusion.sum(axis=1)
        figures["confusion.png"] = confusion_figure(tally.names, tally.confusion, title)
    figures["f1.png"] = f1_figure(tally.names, f1, samples, title)
    return figures


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures as PNG files; each appears when it is complete.

    Raises:
        OutputError: they cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            path = folder / name
            partial = path.with_name(path.name + ".part")
            try:
                figure.savefig(partial, format="png")
                partial.replace(path)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            written.append(path)
    except OSError as error:
        raise OutputError(
            f"The figures cannot be written to “{folder}”: {error.strerror or error}; make room, or choose another "
            "folder.",
            repr(error),
        ) from error
    return written
