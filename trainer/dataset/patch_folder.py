"""What the folder layouts have in common: many small images, each with a label or several."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...models.label_classes import LabelClass
from ...progress import Monitor
from .scene import SceneBand

#: Reads a patch whose bands lie in files of their own, at the pixels of the finest: (C, side, side).
BandReader = Callable[[Sequence[str]], np.ndarray]

# So many patches that are left out are named in a sentence, and listed in the description.
_NAMED, _LISTED = 3, 100


@dataclass
class PatchGround:
    """Where patches lie on the Earth.

    Args:
        zones: (n,) int32, EPSG code of the UTM zone of each.
        corners: (n, 2) easting and northing of the upper left corner, in metres.
        side: of a patch in metres.
    """

    zones: npt.NDArray[np.int32]
    corners: npt.NDArray[np.float64]
    side: float


@dataclass
class PatchFolder(ABC):
    """Patches of one size with their labels; pixels are read one patch after the other.

    Args:
        name: what the set of patches is called.
        bands: (C,), as stored.
        dtype: of the stored samples.
        side: of a patch in pixels.
        gsd: ground sampling distance in metres.
        legend: the classes.
        names: (n,) what each patch is called; in an order that does not depend on the file system.
        labels: (n,) int16 places in ``legend``; with several labels per patch (n, K) uint8, 1 where it has one.
        ground: where they lie; None where nothing tells.
        official: (n,) the part that the data set's authors put each into; None where they did not.
        provenance: JSON-able: where they come from, what was met.
        fingerprint: changes when the patches or their labels do.
    """

    name: str
    bands: Sequence[SceneBand]
    dtype: np.dtype[Any]
    side: int
    gsd: float | None
    legend: Sequence[LabelClass]
    names: Sequence[str]
    labels: np.ndarray
    ground: PatchGround | None = None
    official: Sequence[str] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def several(self) -> bool:
        """Whether a patch may have several labels."""
        return self.labels.ndim == 2

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def read(self, number: int) -> np.ndarray:
        """The stored samples of a patch, (C, side, side).

        Raises:
            InputError: a file of it is damaged or missing.
        """

    def locate(self, monitor: Monitor) -> PatchGround | None:
        """Where the patches lie, if that can be found out."""
        return self.ground

    def close(self) -> None:
        """Close what is open."""
        return


class LeftOut:
    """Patches that are left out, by the reason.

    Args:
        reasons: for each code what goes on after the number of patches: ``they have no label``.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        self._patches: dict[str, list[str]] = {code: [] for code in reasons}

    def add(self, code: str, patch: str) -> None:
        """Leave a patch out."""
        self._patches[code].append(patch)

    def findings(self) -> list[dict[str, Any]]:
        """A finding for each reason that there was, with a few of the patches."""
        result = []
        for code, patches in self._patches.items():
            if patches:
                named = ", ".join(patches[:_NAMED]) + (", …" if len(patches) > _NAMED else "")
                number = "1 patch was" if len(patches) == 1 else f"{len(patches):,} patches were"
                message = f"{number} left out: {self.reasons[code]} ({named})."
                result.append({"code": code, "message": message, "patches": patches[:_LISTED]})
        return result


def fingerprint_of(parts: Iterable[str]) -> str:
    """A checksum over names, labels, sizes and times."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()


def tell(patches: PatchFolder, monitor: Monitor) -> None:
    """Tell what was met when the patches were looked for."""
    for finding in patches.provenance["findings"]:
        monitor.log(finding["message"], "info" if finding["code"] == "empty-class" else "warning")
