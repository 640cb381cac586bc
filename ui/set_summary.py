"""A training set in an analyst's words.  No widget is needed here."""

from __future__ import annotations

import html
from typing import Callable

from ..plugin.training_set import PARTS, TrainingSetFacts
from .wording import for_dialog

_PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}
_KINDS = {
    "pixels": "Single pixels",
    "windows": "Windows of {0} × {0} pixels around a labelled one",
    "chips": "Chips of {0} × {0} pixels with a label for every pixel",
    "patches": "Patches of {0} × {0} pixels",
}
_METHODS = {
    "blocks": "whole blocks of ground",
    "polygons": "whole polygons",
    "random": "at random",
    "numbers": "by the images' numbers",
    "official": "as its authors made it",
}
_MOST_BANDS = 14
_MOST_FINDINGS = 8


def set_summary(facts: TrainingSetFacts, swatch: Callable[[str], str] = lambda color: "") -> str:
    """What a training set holds, as rich text.

    Args:
        facts: the set.
        swatch: what stands before a class's name, from its colour.
    """
    rows = [("Samples", kind_label(facts)), ("Bands", _bands(facts)), ("Split", split_label(facts))]
    table = "".join(
        f'<tr><td style="padding-right:8px; white-space:nowrap;"><b>{label}</b></td><td>{html.escape(text)}</td></tr>'
        for label, text in rows
    )
    shown = [part for part in PARTS if facts.samples.get(part)]
    cell = '<td align="right" style="padding-left:12px;">'
    unit = "Labelled pixels" if facts.kind == "chips" else "Class"
    head = f"<td><b>{unit}</b></td>" + "".join(f"{cell}<b>{_PARTS[part]}</b></td>" for part in shown)
    classes = "".join(
        f"<tr><td>{swatch(entry.color)}&nbsp;{html.escape(entry.name)}</td>"
        + "".join(f"{cell}{_count(entry.samples.get(part, 0))}</td>" for part in shown)
        + "</tr>"
        for entry in facts.classes
    )
    total = "".join(f"{cell}<b>{_count(facts.samples[part])}</b></td>" for part in shown)
    name = "<b>Chips</b>" if facts.kind == "chips" else "<b>Samples</b>"
    met = "".join(f"<li>{html.escape(for_dialog(finding))}</li>" for finding in facts.findings[:_MOST_FINDINGS])
    return (
        f"<table cellspacing='0' cellpadding='2'>{table}</table>"
        f"<table cellspacing='0' cellpadding='2'><tr>{head}</tr>{classes}<tr><td>{name}</td>{total}</tr></table>"
        + (f"<p><b>Met when it was made</b></p><ul style='margin-left:-24px;'>{met}</ul>" if met else "")
    )


def kind_label(facts: TrainingSetFacts) -> str:
    """``"Windows of 9 × 9 pixels around a labelled one"``."""
    several = ", with several labels each" if facts.task == "multi-label" else ""
    return _KINDS[facts.kind].format(facts.side) + several


def split_label(facts: TrainingSetFacts) -> str:
    """``"whole blocks of ground of 500 m"``."""
    words = _METHODS.get(str(facts.split.get("method")), "unknown")
    block = facts.split.get("block")
    if isinstance(block, dict) and facts.split.get("method") == "blocks":
        if isinstance(block.get("metres"), (int, float)):
            words += f" of {block['metres']:,.0f} m"
        elif isinstance(block.get("pixels"), (int, float)):
            words += f" of {block['pixels']:.0f} pixels"
    return words


def _bands(facts: TrainingSetFacts) -> str:
    names = [name or str(number) for number, name in enumerate(facts.bands, start=1)]
    more = f", … {len(names) - _MOST_BANDS} more" if len(names) > _MOST_BANDS else ""
    return f"{len(names)}: {', '.join(names[:_MOST_BANDS])}{more}"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")
