"""What docs/results.md shows of a training: tables in Markdown and the curve as an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .accuracy import Accuracy


@dataclass(frozen=True)
class Epoch:
    """How training stood after an epoch.

    Args:
        train_loss: mean over the epoch's steps.
        validation_accuracy: of the averaged weights, on the images that choose the epoch.
        seconds: that the epoch took.
    """

    train_loss: float
    validation_accuracy: float
    seconds: float


def accuracy_tables(accuracy: Accuracy) -> str:
    """Accuracy per class and the confusion matrix, as two Markdown tables."""
    lines = ["| class | images | precision | recall | F1 |", "| --- | --- | --- | --- | --- |"]
    rows = zip(accuracy.names, accuracy.confusion, accuracy.precision, accuracy.recall, accuracy.f1, strict=True)
    lines += [
        f"| {name} | {row.sum()} | {precision:.3f} | {recall:.3f} | {f1:.3f} |"
        for name, row, precision, recall, f1 in rows
    ]
    lines += [
        "",
        "| true ↓, called → | " + " | ".join(accuracy.names) + " |",
        "| --- " * (len(accuracy.names) + 1) + "|",
    ]
    for place, (name, row) in enumerate(zip(accuracy.names, accuracy.confusion, strict=True)):
        cells = [f"**{count}**" if column == place else str(count or "") for column, count in enumerate(row)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def training_curve(history: Sequence[Epoch]) -> str:
    """Training loss and validation accuracy over the epochs, one panel each, as an SVG document."""
    width, height, left, top, gap = 300, 170, 46, 26, 76
    panels = (
        ("training loss", [epoch.train_loss for epoch in history], "#c8403a", ".2f"),
        ("validation accuracy", [epoch.validation_accuracy for epoch in history], "#2b6fc4", ".2f"),
    )
    total_width = left + 2 * width + gap + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width} {top + height + 40}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, (title, values, color, digits) in enumerate(panels):
        x0, low, high = left + number * (width + gap), min(values), max(values)
        span = (high - low) or 1.0
        points = [
            (x0 + width * place / max(len(values) - 1, 1), top + height * (high - value) / span)
            for place, value in enumerate(values)
        ]
        parts.append(f'<text x="{x0}" y="16" font-size="12">{title}</text>')
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            y = top + height * share
            parts.append(f'<line x1="{x0}" y1="{y:.1f}" x2="{x0 + width}" y2="{y:.1f}" stroke="#ddd"/>')
            label = format(high - span * share, digits)
            parts.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{x0}" y="{top + height + 18}">1</text>')
        parts.append(f'<text x="{x0 + width}" y="{top + height + 18}" text-anchor="end">{len(values)}</text>')
        parts.append(f'<text x="{x0 + width / 2}" y="{top + height + 32}" text-anchor="middle">epoch</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
