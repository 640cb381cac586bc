"""The preview sheet: one picture that shows what a training set holds, and how it was split."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from ...errors import OutputError
from .description import PARTS, SHEET, Description
from .read import TrainingSet
from .sheet_map import PART_COLORS, GroundMap, SceneMap, distance_in_words, lines_between, scene_maps
from .sheet_pictures import (
    Picture,
    SpectrumAxis,
    Stretch,
    bands_in_words,
    examples,
    picture_bands,
    spectra,
    spectrum_axis,
)

PART_WORDS = {"train": "training", "validation": "validation", "test": "test"}
KIND_WORDS = {"pixels": "pixels", "windows": "windows", "chips": "chips", "patches": "patches"}

_DPI = 110
_INK, _FAINT, _WARNING = "#222222", "#888888", "#b45309"
# In inches.
_WIDTH, _MARGIN, _GAP = 15.0, 0.35, 0.45
_NAME_WIDTH = 2.9
# Of the column left of the map.
_LEFT = 6.4
_FEW_CLASSES = 8
# More classes than these stand in two columns.
_ONE_COLUMN = 12
# Of small names side by side.
_LETTERS_PER_INCH = 13
#: Scenes that are drawn on the sheet.
MOST_MAPS = 4


class _Page:
    """A figure that grows downwards; places are in inches from its top left corner."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(_WIDTH, 1), dpi=_DPI, facecolor="white")
        self.bottom = _MARGIN
        self._axes: list[tuple[Axes, tuple[float, float, float, float]]] = []
        self._texts: list[tuple[Any, float, float]] = []

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place."""
        axes = self.figure.add_axes((0, 0, 1, 1), label=f"axes {len(self._axes)}")
        axes.set_facecolor("white")
        self._axes.append((axes, (left, top, width, height)))
        self.bottom = max(self.bottom, top + height)
        return axes

    def text(self, left: float, top: float, words: str, size: float = 10, color: str = _INK, **more: Any) -> None:
        """Words whose top left corner is at a place."""
        made = self.figure.text(0, 0, words, fontsize=size, color=color, va=more.pop("va", "top"), **more)
        self._texts.append((made, left, top))

    def save(self, path: Path) -> None:
        """Settle the height and write the picture."""
        height = self.bottom + _MARGIN
        self.figure.set_size_inches(_WIDTH, height)
        for axes, (left, top, width, tall) in self._axes:
            axes.set_position((left / _WIDTH, 1 - (top + tall) / height, width / _WIDTH, tall / height))
        for made, left, top in self._texts:
            made.set_position((left / _WIDTH, 1 - top / height))
        FigureCanvasAgg(self.figure).print_png(str(path))


def draw_sheet(
    folder: str | Path,
    backgrounds: Mapping[int, tuple[Picture, float]] | None = None,
    ground: GroundMap | None = None,
) -> Path:
    """Draw the preview sheet of a training set into its folder.

    Args:
        folder: of the set.
        backgrounds: by the number of the scene a picture of the whole of it, and how much higher than wide its pixels
            are on the ground.
        ground: where patches lie.

    Returns:
        The picture.

    Raises:
        InputError: the training set cannot be read.
        OutputError: the picture cannot be written.
    """
    dataset = TrainingSet(folder)
    told = dataset.description
    page = _Page()
    _header(page, told)
    top = page.bottom + 0.35
    maps = scene_maps(dataset, MOST_MAPS) if told.kind != "patches" else []
    has_map = bool(maps) or ground is not None
    below = _counts(page, told, top, _LEFT if has_map else 10.5)
    # Spectra of a few classes find room beside the map.
    beside = has_map and told.kind == "pixels" and len(told.classes) <= _FEW_CLASSES
    if has_map:
        _maps(page, told, maps, backgrounds or {}, ground, top, 7.0 if beside else max(below - top, 4.8))
    if told.kind != "pixels":
        _pictures(page, told, dataset, page.bottom + _GAP)
    elif beside:
        _spectra(page, told, dataset, below + _GAP, _LEFT, 2)
    else:
        _spectra(page, told, dataset, page.bottom + _GAP, _WIDTH - 2 * _MARGIN, 4)
    target = Path(folder) / SHEET
    new = target.with_name(f".{SHEET}")
    try:
        page.save(new)
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise OutputError(
            f"The preview sheet “{target}” cannot be written ({error.strerror or error}): make room, or choose another "
            "place, and run the same again.",
            repr(error),
        ) from error
    return target


# ------------------------------------------------------------------------------------------ the head


def _header(page: _Page, told: Description) -> None:
    names = [str(scene.get("name", "")) for scene in told.scenes]
    shown = 3 if sum(map(len, names[:3])) < 70 else 1
    title = ", ".join(name for name in names[:shown] if name) or "Training set"
    title = textwrap.shorten(title, 90, placeholder="…")
    title += f" and {len(names) - shown} more" if len(names) > shown else ""
    page.text(_MARGIN, page.bottom, title, 17, weight="bold")
    total = sum(told.samples(part) for part in PARTS)
    size = f" of {told.shape[1]}×{told.shape[2]} pixels" if len(told.shape) == 3 else ""
    parts = ", ".join(f"{PART_WORDS[part]} {told.samples(part):,}" for part in PARTS if told.samples(part))
    ground = f", {told.gsd:.3g} m" if told.gsd else ""
    page.text(
        _MARGIN, page.bottom + 0.38,
        f"{total:,} {KIND_WORDS[told.kind]}{size} · {len(told.bands)} bands ({told.dtype}{ground}) · "
        f"{len(told.classes)} classes{', several per patch' if told.task == 'multi-label' else ''} · {parts}", 11,
    )  # fmt: skip
    page.text(_MARGIN, page.bottom + 0.64, split_in_words(told), 11)
    page.bottom += 0.84
    if told.split.get("optimistic"):
        words = textwrap.fill(f"Optimistic split. {told.split.get('why', '')}", 145)
        page.text(_MARGIN, page.bottom + 0.02, words, 11, _WARNING, weight="bold")
        page.bottom += 0.22 * (words.count("\n") + 1)


def split_in_words(told: Description) -> str:
    """How the set was split, in a sentence."""
    split = told.split
    block, buffer = distance_in_words(split.get("block")), distance_in_words(split.get("buffer"))
    words = {
        "blocks": f"Split by blocks of {block}" if block else "Split by blocks",
        "polygons": "Split by whole polygons",
        "random": "Split at random",
        "numbers": "Split by the images' numbers",
        "official": "Split as the authors made it",
    }.get(str(split.get("method")), "Split")
    if buffer and split.get("method") in ("blocks", "polygons"):
        words += f", with a buffer of {buffer} between the parts"
    if split.get("seed") is not None:
        words += f"; seed {split['seed']}"
    dropped = split.get("dropped")
    dropped = sum(dropped.values()) if isinstance(dropped, dict) else dropped
    if dropped:
        words += f"; {dropped:,} {KIND_WORDS[told.kind]} between the parts were left out"
    return words + "."


# ---------------------------------------------------------------------------------- counts per class


def _counts(page: _Page, told: Description, top: float, width: float) -> float:
    """Bars with the samples of each class in each part; returns where they end."""
    count = len(told.classes)
    step = 0.3 if count <= 20 else 0.25
    unit = "labelled pixels" if told.task == "segmentation" else KIND_WORDS[told.kind]
    page.text(_MARGIN, top, f"Number of {unit} per class and part", 12, weight="bold")
    axes = page.axes(_MARGIN + _NAME_WIDTH, top + 0.55, width - _NAME_WIDTH - 1.65, step * count)
    rows = np.arange(count)
    left = np.zeros(count)
    for part in PARTS:
        values = np.array([entry.samples.get(part, 0) for entry in told.classes], float)
        axes.barh(rows, values, left=left, height=0.72, color=PART_COLORS[part], linewidth=0)
        left += values
    axes.set_xlim(0, max(left.max(), 1) * 1.02)
    axes.set_ylim(count - 0.5, -0.5)
    _plain(axes)
    handles = [Patch(color=PART_COLORS[part], label=PART_WORDS[part]) for part in PARTS]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=9,
        borderaxespad=0.1, handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
    for row, entry in enumerate(told.classes):
        _class_name(axes, entry.label.name, entry.label.color, row, step)
        numbers = " / ".join(f"{entry.samples.get(part, 0):,}" for part in PARTS)
        lacking = not entry.samples.get("train", 0)
        axes.annotate(
            numbers, (1, row), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=8, color=_WARNING if lacking else _INK,
        )  # fmt: skip
    return top + 0.55 + step * count + 0.25


def _class_name(axes: Axes, name: str, color: str, row: float, step: float) -> None:
    """A class's name left of its row, with a swatch of its colour."""
    lines = textwrap.wrap(name, 36)
    lines = [*lines[:1], textwrap.shorten(" ".join(lines[1:]), 36, placeholder="…")] if len(lines) > 1 else lines
    size = 8.5 if len(lines) == 1 else 6.5 if step < 0.3 else 7
    axes.annotate(
        "\n".join(lines), (0, row), xycoords=("axes fraction", "data"), xytext=(-20, 0), textcoords="offset points",
        ha="right", va="center", fontsize=size, color=_INK, linespacing=0.95,
    )  # fmt: skip
    axes.annotate(
        "    ", (0, row), xycoords=("axes fraction", "data"), xytext=(-11, 0), textcoords="offset points",
        bbox={"boxstyle": "square,pad=0.1", "facecolor": color, "edgecolor": "#666666", "linewidth": 0.5}, fontsize=7,
        ha="center", va="center",
    )  # fmt: skip


def _plain(axes: Axes) -> None:
    for edge in ("top", "right", "left"):
        axes.spines[edge].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=8, colors=_FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value < 1e5 else f"{value / 1e6:g} M")
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)


# ----------------------------------------------------------------------------------------------- map


def _maps(
    page: _Page,
    told: Description,
    maps: Sequence[SceneMap],
    backgrounds: Mapping[int, tuple[Picture, float]],
    ground: GroundMap | None,
    top: float,
    highest: float,
) -> None:
    left = _MARGIN + _LEFT + 0.5
    room = _WIDTH - _MARGIN - left
    more = len(told.scenes) - len(maps) if maps else 0
    scenes = "" if more < 1 else " (and one scene more)" if more == 1 else f" (and {more} scenes more)"
    page.text(left, top, f"Split on the map{scenes}", 12, weight="bold")
    top += 0.4
    if ground is not None:
        _ground_map(page, told, ground, left, top, room, highest)
        return
    columns = 1 if len(maps) == 1 else 2
    width = (room - (columns - 1) * 0.3) / columns
    highest /= -(-len(maps) // columns)
    row_top, tallest = top, 0.0
    for number, entry in enumerate(maps):
        column = number % columns
        if column == 0 and number:
            row_top, tallest = row_top + tallest + 0.2, 0.0
        picture, aspect = backgrounds.get(entry.number, (None, 1.0))
        tallest = max(
            tallest,
            _scene_map(page, told, entry, picture, aspect, left + column * (width + 0.3), row_top, width, highest),
        )
    page.text(left, row_top + tallest + 0.08, _map_note(told), 8.5)
    page.bottom = max(page.bottom, row_top + tallest + 0.25)


def _scene_map(
    page: _Page,
    told: Description,
    entry: SceneMap,
    picture: Picture | None,
    aspect: float,
    left: float,
    top: float,
    width: float,
    highest: float,
) -> float:
    """Draw one scene; returns the height that it took."""
    shown_wide, shown_high = entry.right - entry.left, (entry.bottom - entry.top) * aspect
    height = min(max(width * shown_high / shown_wide, 0.3), max(highest, 2.0))
    if height * shown_wide / shown_high < width:
        width = max(height * shown_wide / shown_high, 0.3)
    page.text(left, top, textwrap.shorten(entry.name, max(int(width * 12), 20), placeholder="…"), 9, _FAINT)
    axes = page.axes(left, top + 0.2, width, height)
    extent = (entry.left, entry.right, entry.bottom, entry.top)
    axes.set_facecolor("#d8d8d8")
    if picture is not None:
        # Dim, so that the samples stand out.
        grey = picture.astype(float).mean(axis=-1, keepdims=True)
        dim = 120 + 0.52 * (0.5 * picture + 0.5 * grey)
        axes.imshow(
            np.clip(dim, 0, 255).astype(np.uint8),
            extent=(0, entry.width, entry.height, 0),
            aspect="auto",
            interpolation="nearest",
        )
    overlay = np.zeros((*entry.parts.shape, 4))
    for place, part in enumerate(PARTS):
        overlay[entry.parts == place] = to_rgba(PART_COLORS[part])
        for row, column, of in entry.chips:
            if of == place:
                side = told.shape[-1]
                axes.add_patch(
                    Rectangle(
                        (column, row), side, side, facecolor=to_rgba(PART_COLORS[part], 0.45),
                        edgecolor=PART_COLORS[part], linewidth=0.8,
                    )
                )  # fmt: skip
    if (entry.parts >= 0).any():
        cells = (
            entry.left, entry.left + entry.parts.shape[1] * entry.step,
            entry.top + entry.parts.shape[0] * entry.step, entry.top,
        )  # fmt: skip
        axes.imshow(overlay, extent=cells, aspect="auto", interpolation="nearest")
    block = (told.split.get("block") or {}).get("pixels")
    if block:
        for x in lines_between(entry.left, entry.right, block, entry.blocks_from[1]):
            axes.axvline(x, color="#444444", linewidth=0.5, alpha=0.8)
        for y in lines_between(entry.top, entry.bottom, block, entry.blocks_from[0]):
            axes.axhline(y, color="#444444", linewidth=0.5, alpha=0.8)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
    return 0.2 + height


def _map_note(told: Description) -> str:
    block, buffer = distance_in_words(told.split.get("block")), distance_in_words(told.split.get("buffer"))
    parts = [f"Blocks of {block}" if block else "", f"buffer {buffer}" if buffer else ""]
    return "; ".join(part for part in parts if part) or "No blocks"


def _ground_map(
    page: _Page, told: Description, ground: GroundMap, left: float, top: float, room: float, highest: float
) -> None:
    shown = ground.parts >= 0
    longitude, latitude = ground.longitude[shown], ground.latitude[shown]
    middle_x, middle_y = (float(values.min() + values.max()) / 2 for values in (longitude, latitude))
    # A degree of longitude is so much shorter than one of latitude.
    shorter = max(float(np.cos(np.radians(middle_y))), 0.05)
    wide, high = (max(1.12 * float(np.ptp(values)), 0.1) for values in (longitude, latitude))
    width = room - 0.45
    height = min(max(width * high / (wide * shorter), 2.0), highest)
    per_inch = max(wide * shorter / width, high / height)
    axes = page.axes(left + 0.45, top + 0.05, width, height)
    size = float(np.clip(4000 / max(int(shown.sum()), 1), 1.0, 40.0))
    for place, part in enumerate(PARTS):
        here = ground.parts[shown] == place
        axes.scatter(longitude[here], latitude[here], s=size, color=PART_COLORS[part], linewidths=0, marker="s")
    axes.set_xlim(middle_x - per_inch * width / shorter / 2, middle_x + per_inch * width / shorter / 2)
    axes.set_ylim(middle_y - per_inch * height / 2, middle_y + per_inch * height / 2)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=_FAINT)
    axes.xaxis.set_major_formatter(lambda value, _: _degrees(value, "E", "W"))
    axes.yaxis.set_major_formatter(lambda value, _: _degrees(value, "N", "S"))
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
    note = _map_note(told) if told.split.get("block") else "Middles of the patches"
    page.text(left + 0.45, top + height + 0.32, note, 8.5)
    page.bottom = max(page.bottom, top + height + 0.5)


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g}°" + (f" {positive if value > 0 else negative}" if value else "")


# ------------------------------------------------------------------------------------------- samples


def _pictures(page: _Page, told: Description, dataset: TrainingSet, top: float) -> None:
    """A row of pictures per class."""
    places = picture_bands(told.bands)
    columns = 1 if len(told.classes) <= _ONE_COLUMN else 2
    width = (_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    side = 0.82 if columns == 1 else 0.72
    number = int((width - _NAME_WIDTH) / (side * 1.06))
    chips = told.task == "segmentation"
    what = {
        "chips": "chips, with their labels below them",
        "windows": "windows; the pixel in the middle has the class",
        "patches": "patches" + (" that have the class, among others" if told.task == "multi-label" else ""),
    }[told.kind]
    page.text(_MARGIN, top, f"Samples: {what} ({bands_in_words(told.bands, places)})", 12, weight="bold")
    top += 0.42
    rows = -(-len(told.classes) // columns)
    high = side * (2.06 if chips else 1) + 0.08
    colors = [to_rgb(entry.label.color) for entry in told.classes]
    shown = examples(dataset, number)
    stretch = Stretch.of(told, places, [samples for those in shown for samples, _ in those])
    for place, those in enumerate(shown):
        column, row = divmod(place, rows)
        left = _MARGIN + column * (width + _GAP)
        axes = page.axes(left + _NAME_WIDTH, top + row * high, side * 1.06 * number, high - 0.08)
        axes.set_axis_off()
        axes.set_xlim(0, 1.06 * number)
        axes.set_ylim(2.06 if chips else 1, 0)
        for index, (samples, labels) in enumerate(those):
            across = (1.06 * index, 1.06 * index + 1)
            axes.imshow(
                stretch.picture(samples), extent=(*across, 1, 0), aspect="auto",
                interpolation="nearest" if samples.shape[-1] < 40 else "antialiased",
            )  # fmt: skip
            if chips:
                axes.imshow(
                    _painted(labels, colors), extent=(*across, 2.06, 1.06), aspect="auto", interpolation="nearest"
                )
        axes.set_xlim(0, 1.06 * number)
        axes.set_ylim(2.06 if chips else 1, 0)
        entry = told.classes[place]
        middle = top + row * high + (high - 0.08) / 2
        lines = textwrap.wrap(entry.label.name, 30)
        words = "\n".join(
            [*lines[:2], textwrap.shorten(" ".join(lines[2:]), 30, placeholder="…")][: min(len(lines), 3)]
        )
        page.text(left + _NAME_WIDTH - 0.42, middle, words, 9.5, ha="right", va="center")
        swatch = page.axes(left + _NAME_WIDTH - 0.33, middle - 0.1, 0.2, 0.2)
        swatch.set_facecolor(entry.label.color)
        swatch.set_xticks([])
        swatch.set_yticks([])
        for spine in swatch.spines.values():
            spine.set_color("#666666")
            spine.set_linewidth(0.5)
        if not those:
            page.text(left + _NAME_WIDTH, middle, "no sample", 9.5, _WARNING, va="center")


def _painted(labels: np.ndarray, colors: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """Labels (h, w) in the colours of their classes; light grey where there is none."""
    picture = np.full((*labels.shape, 3), 0.93)
    for place, color in enumerate(colors):
        picture[labels == place] = color
    return picture


def _spectra(page: _Page, told: Description, dataset: TrainingSet, top: float, room: float, columns: int) -> None:
    """A panel per class: its mean and spread, with the means of the others behind it."""
    mean, std = spectra(dataset)
    axis = spectrum_axis(told.bands)
    units = {entry.band.unit for entry in told.bands}
    what = next(iter(units)) if len(units) == 1 and "" not in units else "value"
    page.text(_MARGIN, top, "Mean and standard deviation of each class, other means in grey", 12, weight="bold")
    top += 0.5
    gap, height = 0.5, 1.9
    width = (room - 0.55 - (columns - 1) * gap) / columns
    upright = sum(len(name) for _, name in axis.ticks) > _LETTERS_PER_INCH * width
    below = 1.2 if upright else 0.72
    low, high = np.nanmin(mean - std), np.nanmax(mean + std)
    spare = 0.05 * ((high - low) or 1.0)
    for place, entry in enumerate(told.classes):
        row, column = divmod(place, columns)
        axes = page.axes(_MARGIN + 0.55 + column * (width + gap), top + row * (height + below), width, height)
        for other in range(len(told.classes)):
            if other != place:
                _line(axes, axis, mean[other], color="#cfcfcf", linewidth=0.9, zorder=1)
        color = entry.label.color
        for start, end in axis.runs:
            axes.fill_between(
                axis.x[start:end], (mean - std)[place, start:end], (mean + std)[place, start:end], color=color,
                alpha=0.3, linewidth=0, zorder=2,
            )  # fmt: skip
        # A dark line under the coloured one: yellow on white is no line.
        _line(axes, axis, mean[place], color="#333333", linewidth=2.6, zorder=3)
        _line(
            axes, axis, mean[place], color=color, linewidth=1.6, marker="o" if len(axis.x) <= 30 else "",
            markersize=3.5, markeredgecolor="#333333", markeredgewidth=0.5, zorder=4,
        )  # fmt: skip
        axes.set_ylim(low - spare, high + spare)
        margin = 0.02 * float(np.ptp(axis.x)) or 0.5
        axes.set_xlim(axis.x[0] - margin, axis.x[-1] + margin)
        axes.set_title(textwrap.shorten(entry.label.name, 44, placeholder="…"), fontsize=10, loc="left", color=_INK)
        axes.tick_params(labelsize=8, colors=_FAINT)
        axes.grid(color="#eeeeee", linewidth=0.6)
        for edge in ("top", "right"):
            axes.spines[edge].set_visible(False)
        for edge in ("bottom", "left"):
            axes.spines[edge].set_color(_FAINT)
        if column == 0:
            axes.set_ylabel(what, fontsize=8.5, color=_FAINT)
        if axis.ticks:
            places, names = zip(*axis.ticks, strict=True)
            axes.set_xticks(places, names, fontsize=7, rotation=90 if upright else 0)
        for start, _ in axis.runs[1:]:
            axes.axvline((axis.x[start] + axis.x[start - 1]) / 2, color="#bbbbbb", linewidth=0.6)
        axes.set_xlabel(axis.label, fontsize=8.5, color=_FAINT, labelpad=2)
    page.bottom += below - 0.37


def _line(axes: Axes, axis: SpectrumAxis, y: np.ndarray, **style: Any) -> None:
    for start, end in axis.runs:
        axes.plot(axis.x[start:end], y[start:end], **style)
