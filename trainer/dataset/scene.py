"""What a training set is made from: an image with labels on its pixels.  Whoever reads files provides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...models.bands import Band
from ...models.label_classes import LabelClass

#: No label, in :meth:`LabelledScene.labels`.
UNLABELLED = -1


@dataclass(frozen=True)
class SceneBand:
    """A band of the scene, as it is stored.

    Args:
        band: name, common name, wavelength, unit.
        scale, offset: physical value = stored value × scale + offset, as declared or given.
        nodata: stored value of missing samples, or None.
    """

    band: Band
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None


class LabelledScene(Protocol):
    """An image with labels, read window by window.

    Attributes:
        name: what it is called in the description and on the sheet.
        height, width: in pixels.
        bands: (C,).
        dtype: of the stored samples.
        legend: the classes.
        gsd: ground sampling distance in metres, or None.
        transform: six numbers from column and row to the CRS (a, b, c, d, e, f), or None.
        crs: WKT, or empty.
        provenance: JSON-able: files with size, time and checksum, options, findings.
        fingerprint: changes when an input does; cheap to compute.
        polygons: (m,) number in its layer of each polygon or point that :meth:`labels` counts, or None; and the
            ``layer``: one that several scenes show is the same in all of them.
        split: ``validation`` or ``test`` where the whole scene's labels are kept for it; empty else.
    """

    name: str
    height: int
    width: int
    bands: Sequence[SceneBand]
    dtype: np.dtype[Any]
    legend: Sequence[LabelClass]
    gsd: float | None
    transform: tuple[float, float, float, float, float, float] | None
    crs: str
    polygons: npt.NDArray[np.int64] | None
    layer: str
    split: str

    @property
    def provenance(self) -> dict[str, Any]: ...  # noqa: D102 - described above

    @property
    def fingerprint(self) -> str: ...  # noqa: D102 - described above

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored samples (C, height, width) and validity (height, width), None where all are valid.

        The window lies inside the scene.
        """
        ...

    def labels(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
        """Place in ``legend`` and number of the polygon or point, (height, width), :data:`UNLABELLED` for none.

        The window may reach beyond the scene; there is no label there.  A raster of labels has no polygons.
        """
        ...

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        """The windows (row, col, height, width) of a lattice of this side that may hold labels, in reading order."""
        ...
