"""What the dialogs say: numbers, times, bands and models in an analyst's words.  No widget is needed here."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Callable

from ..models.bands import Band
from ..models.card import TASK_TITLES, ModelCard


def band_label(band: Band) -> str:
    """``"B8A · nir08"``; the common name is left out where it says nothing new."""
    if band.common_name and band.common_name.lower() != band.name.lower():
        return f"{band.name} · {band.common_name}" if band.name else band.common_name
    return band.name


def wavelength_label(band: Band) -> str:
    """``"865 nm"`` below 3 µm, ``"11.5 µm"`` above, empty where unknown."""
    if band.wavelength is None:
        return ""
    return f"{band.wavelength * 1000:.0f} nm" if band.wavelength < 3 else f"{band.wavelength:.1f} µm"


def number_label(value: float) -> str:
    """A scale, offset or sampled value, short: ``0.0001``, ``-0.1``, ``11250``."""
    if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.3g}"
    return f"{value:.5g}" if abs(value) < 1e5 else f"{value:.0f}"


def duration_label(seconds: float) -> str:
    """``"8 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    whole = max(0, math.ceil(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def progress_label(event: Mapping[str, Any]) -> str:
    """One line for a ``progress`` event: stage, speed and time left, as far as they are known."""
    parts = [str(event.get("stage") or "Working")]
    speed = event.get("pixels_per_second")
    if speed:
        millions = speed / 1e6
        parts.append(f"{millions:.1f} Mpx/s" if millions < 100 else f"{millions:.0f} Mpx/s")
    left = event.get("seconds_left")
    if left is not None:
        parts.append(f"{duration_label(left)} left")
    return " · ".join(parts)


def patches_label(side: int, stride: int) -> str:
    """How patches lie: ``"Patches of 64 × 64 pixels, side by side."``; 0 stands for unknown."""
    if not side:
        return "The network does not say how large its patches are: say it with “Describe…”."
    patches = f"Patches of {side} × {side} pixels"
    if stride in (0, side):
        return f"{patches}, side by side."
    if stride < side:
        return f"{patches}, each overlapping the next by {side - stride} pixels."
    return f"{patches}, with {stride - side} pixels between them that get no label."


#: What the shell calls an option → what the dialogs call the field.
_FIELDS = {
    "batch": "“Batch”",
    "block": "“Block”",
    "buffer": "“Buffer”",
    "epochs": "“Passes”",
    "freeze": "“Freeze”",
    "gsd": "“Map's pixels”",
    "invalid": "“No data where”",
    "mask": "“Only where”",
    "mode": "“Stitching”",
    "most": "“At most”",
    "name": "“Name”",
    "network": "“Network”",
    "nodata": "nodata value",
    "offset": "offset",
    "output-name": "“Output”",
    "precision": "“Precision”",
    "processes": "“Processes”",
    "provider": "“Compute on”",
    "recipe": "“Recipe”",
    "report-optimism": "Measuring how much a random split flatters",
    "resampling": "“Resampling”",
    "scale": "scale",
    "seed": "“Seed”",
    "sensor": "“Sensor”",
    "size": "“Size”",
    "stride": "“Stride”",
    "task": "“Task”",
    "test": "“Test”",
    "threads": "“Threads”",
    "threshold": "“Labels from”",
    "tile": "“Tile”",
    "validation": "“Validation”",
    "weights": "“Start from”",
}
# Advice that is another one in QGIS than in a shell.
_PHRASES = tuple(
    (re.compile(shell), here)
    for shell, here in (
        (r"with --bands MODELBAND=RASTERBAND(,…)?", "in the table"),
        (r"\(--bands MODELBAND=[A-Z:]+\)", "in the table"),
        (r"\(thematica inspect MODEL --classes NAME,… --keep\)", "with “Describe…”"),
        (r"in pixels with --patch, or in the model card \(thematica:tile\)", "in pixels with “Describe…”"),
        (r"choose one of them \(--output-name [^()]*\)", "choose one of them under “Output”"),
        (r",? or name one with --card\b", ""),
        (r"use --overwrite to replace it, or ", ""),
        (r", or give --overwrite to replace it", ""),
        (r", --split polygons, or --cut-polygons", ", or choose polygons under “Split by”"),
        (r"choose --split (\w+)", r"choose \1 under “Split by”"),
        (r"choose --kind windows or chips", "choose windows or chips under “Samples”"),
        (r"--validation-labels and --test-labels", "labels that are kept for validation and for test"),
        (r" or with --area-crs\b", ""),
        (r"leave --gsd away", "leave “Map's pixels” as the finest raster"),
        (r"--gsd (\d[\d.]*(?<!\.))", r"“Map's pixels” \1 m"),
        (r"--scale (\d\S*) --offset\b", r"scale \1 and offset"),
        (r"use --provider (\w+)", r"choose \1 under “Compute on”"),
        (r"another --provider\b", "another entry under “Compute on”"),
        (r" ?; see: thematica [\w-]+ --help", ""),
        (r"(from (there|the last checkpoint)) with --resume", r"\1"),
        (r"\bgo on with --resume", "press “Go on”"),
        (r"start anew without --resume", "begin a new training"),
        (r"choose another( folder)? with --output", "choose another folder"),
        (r"make it with --split (\w+)", r"choose \1 under “Split by”"),
        (r"--set (?='?[\w.]+=)", ""),
    )
)
_QUOTED = re.compile("“[^”]*”")
_ASIDE = re.compile(r" \([^()]*(?<![\w-])--[a-z][^()]*\)")
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)\b")


def for_dialog(sentence: str) -> str:
    """A sentence that also serves the shell, without the shell's options: the dialog has fields for them."""

    def spoken(words: str) -> str:
        for shell, here in _PHRASES:
            words = shell.sub(here, words)
        words = _ASIDE.sub("", words)
        return _OPTION.sub(lambda option: _FIELDS.get(option.group(1), option.group(1).replace("-", " ")), words)

    said = _beside_quotes(sentence, spoken)
    return said[:1].upper() + said[1:] if sentence.startswith("--") else said


def for_processing(sentence: str, parameters: Collection[str]) -> str:
    """Likewise for a Processing algorithm: options that it has a parameter for go by the parameter's name.

    Args:
        sentence: as the engine says it (``use a smaller --tile``).
        parameters: names of the algorithm's parameters (``TILE``).
    """

    def named(option: re.Match[str]) -> str:
        name = option.group(1).upper().replace("-", "_")
        return name if name in parameters else option.group()

    return for_dialog(_beside_quotes(sentence, lambda words: _OPTION.sub(named, words)))


def _beside_quotes(sentence: str, change: Callable[[str], str]) -> str:
    """Change a sentence, but no name in it: a file may be called anything."""
    # One letter of Unicode's private area stands for each name.
    names = {chr(0xE000 + number): name for number, name in enumerate(dict.fromkeys(_QUOTED.findall(sentence)))}
    for letter, name in names.items():
        sentence = sentence.replace(name, letter)
    sentence = change(sentence)
    for letter, name in names.items():
        sentence = sentence.replace(letter, name)
    return sentence


def model_summary(card: ModelCard, swatch: Callable[[str], str] = lambda color: "") -> str:
    """The model's card as rich text: what it maps, what it wants, where it comes from and how good it is.

    Args:
        card: the model's card.
        swatch: what stands before a class's name, from its colour.
    """
    # Two to a row of a table: in running text a swatch would part from its name at the end of a line.
    named = [
        f'<td style="padding-right:10px;">{swatch(entry.color)}&nbsp;{html.escape(entry.name)}</td>'
        for entry in card.classes
    ]
    pairs = "".join(f"<tr>{''.join(named[first : first + 2])}</tr>" for first in range(0, len(named), 2))
    classes = f"<table cellspacing='0' cellpadding='0'>{pairs}</table>"
    bands = ", ".join(html.escape(band.name or band.common_name or "?") for band in card.bands)
    rows = [
        ("Classes", classes),
        ("Task", html.escape(TASK_TITLES[card.task])),
        ("Bands", f"{len(card.bands)}: {bands}"),
    ]
    if card.value_range:
        low, high = card.value_range
        rows.append(("Values", f"{html.escape(card.unit or 'values')} from {low:g} to {high:g}"))
    if card.gsd_range:
        rows.append(("Pixel size", f"{card.gsd_range[0]:g} to {card.gsd_range[1]:g} m"))
    elif card.gsd:
        rows.append(("Pixel size", f"{card.gsd:g} m"))
    if card.trained_on:
        rows.append(("Trained on", html.escape(card.trained_on)))
    if card.metrics:
        figures = ", ".join(f"{html.escape(name)} {value:.3g}" for name, value in card.metrics.items())
        rows.append(("Measured", f"{figures}{f' ({html.escape(card.split)})' if card.split else ''}"))
    if card.licence:
        rows.append(("Licence", html.escape(card.licence)))
    if card.origin == "corrected":
        rows.append(("Card", "as you described it"))
    description = f"<p>{html.escape(card.description)}</p>" if card.description else ""
    if card.origin == "none":
        description = (
            "<p>This file carries no model card: its bands and classes have no names, "
            "and pixel values enter the network as they are.</p>"
        )
    table = "".join(
        f'<tr><td style="padding-right:8px; white-space:nowrap;"><b>{label}</b></td><td>{text}</td></tr>'
        for label, text in rows
    )
    return f"{description}<table cellspacing='0' cellpadding='2'>{table}</table>"


def done_label(report: Mapping[str, Any]) -> str:
    """One line for a finished run: the largest classes and the time it took."""
    unit = "patches" if "patches" in report else "pixels"
    classes = sorted(report.get("classes", ()), key=lambda entry: -entry["percent"])
    largest = ", ".join(f"{entry['name']} {entry['percent']:.0f} %" for entry in classes[:3] if entry[unit])
    took = duration_label(report.get("seconds", 0))
    count = (report.get("patches") or {}).get("count")
    what = f"{count:,} patches classified".replace(",", "\u202f") if count is not None else "Classified"
    return f"{what} in {took}: {largest}." if largest else f"{what} in {took}."


def lacking_backend(report: Mapping[str, Any]) -> str:
    """What was asked to compute and did not load, as a part of a sentence; empty where all is as asked for."""
    backend = report.get("backend") or {}
    lacking = dict(backend.get("why_not") or {}) if backend.get("asked") else {}
    return "; ".join(f"{name} did not load: {str(reason).rstrip('.')}" for name, reason in lacking.items())
