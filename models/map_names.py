"""What the files of a network with several outputs are called: the first as asked for, the others with their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .card import ModelCard, slug


def marks(outputs: Sequence[str]) -> list[str]:
    """What tells the files of each output from those of the first, whose mark is empty.

    Args:
        outputs: names of the outputs, as in the card.
    """
    found: list[str] = []
    for number, output in enumerate(outputs, start=1):
        mark = slug(output, f"output-{number}") if number > 1 else ""
        while mark.lower() in (other.lower() for other in found):
            # Two names that differ only in letters that no file name should have, or in their case.
            mark = f"{mark}-{number}"
        found.append(mark)
    return found


def marked(path: str | Path, mark: str) -> Path:
    """The file beside ``path`` that an output's mark stands for: ``map.tif``, ``roads`` → ``map_roads.tif``."""
    path = Path(path)
    return path.with_name(f"{path.stem}_{mark}{path.suffix}") if mark else path


def further_files(card: ModelCard, output_name: str | None, paths: Iterable[str | Path]) -> list[str]:
    """The files that a run writes beside those that were named.

    Args:
        card: the model's card.
        output_name: the one output that is wanted; None or empty for all.
        paths: the files named: the map, and rasters of scores.
    """
    if output_name or card.task.startswith("patch"):
        # Patches are labelled by one output only.
        return []
    paths = list(paths)
    return [str(marked(path, mark)) for mark in marks(card.output_names())[1:] for path in paths]
