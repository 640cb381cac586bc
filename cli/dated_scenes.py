"""Time series with dated labels: a scene for every period that labels hold for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..engine.image import Image
from ..engine.labels.dated import DatedLabels, Season
from .labelled_scene import ImageWithLabels


class DatedScene(ImageWithLabels):
    """The bands of one period, with the labels that hold for it; see :class:`.labelled_scene.ImageWithLabels`.

    All periods share the image, which gives the bands of one of them at a time.

    Args:
        image: with all its dates.
        dated: the labels of all periods.
        season: this one.
        name: of the scene.
        files: what labels and dates were read from.
        split: the part that these labels are kept for, or empty.
        scale, offset, asked: see :class:`.labelled_scene.ImageWithLabels`.
    """

    def __init__(
        self,
        image: Image,
        dated: DatedLabels,
        season: Season,
        name: str,
        files: Sequence[str | Path],
        split: str = "",
        scale: float | None = None,
        offset: float | None = None,
        asked: str = "",
    ) -> None:
        name = f"{name} {season.first} to {season.end}"
        super().__init__(image, season.labels, name, files, split, scale, offset, asked)
        self._dated, self._season = dated, season
        self.bands = self.scene_bands(dated.bands, dated.scales, dated.nodata)
        self.numbers, self.named = dated.numbers(season), [False] * len(self.bands)

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored samples (C, height, width) and validity."""
        self._dated.choose(self._season)
        return super().read(row, col, height, width)


def dated_scenes(
    image: Image,
    dated: DatedLabels,
    name: str,
    files: Sequence[str | Path],
    split: str = "",
    scale: float | None = None,
    offset: float | None = None,
    asked: str = "",
) -> list[ImageWithLabels]:
    """A scene for each period; the findings of all are told with the first.  See :class:`DatedScene`."""
    scenes: list[ImageWithLabels] = [
        DatedScene(image, dated, season, name, files, split, scale, offset, asked) for season in dated.seasons
    ]
    scenes[0].label_map.findings[:0] = dated.findings
    return scenes
