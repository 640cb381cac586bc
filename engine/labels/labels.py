"""What label reading gives: classes, the places of labels in a raster, and what was met on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...models.label_classes import LabelClass

#: In a map of class places or of label numbers: no label here.
UNLABELLED = -1

Shapes = npt.NDArray[np.object_]
Places = npt.NDArray[np.int16]
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Finding:
    """Something about the labels that the analyst should know.

    Args:
        code: for programs: ``repaired``, ``overlap``, ``outside``, ``too-small``, ``empty-class``, ``few-samples``,
            ``no-class``, ``fields-disagree``, ``same-pixel``, …
        message: a sentence.
        features: numbers of the features it is about, as their layer counts them; may be cut short.
    """

    code: str
    message: str
    features: tuple[int, ...] = ()


@dataclass
class Labels:
    """Labelled shapes in the pixel coordinates of a raster (column and row from its corner).

    Args:
        shapes: (n,) valid polygons, multi-polygons, points or multi-points.
        places: (n,) int16, the class of each as its place in ``legend``.
        features: (n,) int64, the number of each in its layer.
        legend: the classes, in the order of their codes.
        findings: what was met.
        images: (n,) names of the image that each was drawn on, empty for all images; None where none has one.
        spans: (n, 2) datetime64[D], first day and the day after the last that each holds for; None where undated.
    """

    shapes: Shapes
    places: Places
    features: npt.NDArray[np.int64]
    legend: Sequence[LabelClass]
    findings: list[Finding] = field(default_factory=list)
    images: Sequence[str] | None = None
    spans: npt.NDArray[np.datetime64] | None = None

    def __len__(self) -> int:
        return len(self.shapes)


class LabelMap(Protocol):
    """Labels as pixels.

    Attributes:
        height, width: of the raster.
        legend: the classes; their places are what :meth:`read` gives.
        findings: grows while windows are read (pixels that two classes claim).
    """

    height: int
    width: int
    legend: Sequence[LabelClass]
    findings: list[Finding]

    def read(self, row: int, col: int, height: int, width: int) -> tuple[Places, Numbers]:
        """The labels of a window, whichever window they are seen in.

        A pixel has the label of the shape that holds its centre, or of the point that lies in it; one that two classes
        claim has none.

        Returns:
            Place of the class and number of the shape (its place in ``Labels``; unlabelled where the labels are a
            raster), both (height, width) and :data:`UNLABELLED` where there is no label.
        """
        ...

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        """The windows (row, col, height, width) of a lattice of this side that may hold labels, in reading order."""
        ...
