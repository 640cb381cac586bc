"""A raster with one pixel per patch: class codes for one label, probabilities for several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from ..models.card import ModelCard
from ..progress import Monitor
from .cog import RasterWriter, WorkFolder, writing
from .pam import UNCLASSIFIED_COLOR, UNCLASSIFIED_NAME, ClassRow, write_pam
from .patch_grid import PatchGrid
from .patch_labels import Labelling, PatchLabels, PatchStatistics
from .patch_stream import PatchResult
from .style import score_style, thematic_style, write_style


class PatchRaster:
    """The raster of a result: takes chunks of the grid, ends as a COG.

    Args:
        work: folder for the files until they are complete.
        name: file name of the result.
        grid: of the patches.
        crs, transform: of the map, from the pixels of the *input*.
        card: of the network's output.
        labelling: how labels come about.
    """

    def __init__(
        self,
        work: WorkFolder,
        name: str,
        grid: PatchGrid,
        crs: CRS | None,
        transform: Affine,
        card: ModelCard,
        labelling: Labelling,
    ) -> None:
        self.card, self.several = card, labelling.several
        self.unclassified = card.unclassified_code() if labelling.may_be_unclassified else None
        self._type = np.uint16 if card.class_codes_are_16bit() else np.uint8
        place = (grid.region, crs, grid.cell_transform(transform))
        tags = {"TIFFTAG_SOFTWARE": "Thematica", "THEMATICA_MODEL": card.name}
        if self.several:
            self._writer = RasterWriter(
                work, name, *place, "float32", bands=len(card.classes), nodata=float("nan"),
                descriptions=[entry.name for entry in card.classes], tags=tags,
            )  # fmt: skip
        else:
            rows = [*self._rows(None), ClassRow(card.unclassified_code(), UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR)]
            colors = {row.value: (*row.rgb(), 255) for row in rows}
            colors[card.nodata_code()] = (0, 0, 0, 0)
            self._writer = RasterWriter(
                work, name, *place, np.dtype(self._type).name, nodata=card.nodata_code(), colors=colors,
                descriptions=["Class"], tags=tags,
            )  # fmt: skip

    def write(self, result: PatchResult, labels: PatchLabels) -> None:
        """Write a chunk.

        Raises:
            OutputError: the disk is full or gone.
        """
        place = result.place
        rows, columns = result.rows - place.row, result.columns - place.column
        if self.several:
            samples = np.full((len(self.card.classes), place.height, place.width), np.nan, np.float32)
            samples[:, rows, columns] = labels.probabilities.T
        else:
            samples = np.full((place.height, place.width), self.card.nodata_code(), self._type)
            samples[rows, columns] = labels.codes
        self._writer.write(samples, place)

    def finish(self, target: Path, statistics: PatchStatistics, threads: int, monitor: Monitor) -> dict[Path, Path]:
        """Make the COG, its table and style; returns where each file goes.

        Raises:
            OutputError: the disk is full or gone.
            Cancelled: the monitor was asked to cancel.
        """
        made = self._writer.finish(threads, monitor)
        moves: dict[Path, Path] = {}
        with writing(target.name):
            if self.several:
                text = score_style(f"probability of {self.card.classes[0].name}", 0.0, 1.0)
            else:
                rows = self._rows(statistics)
                if self.unclassified is not None:
                    hectares = statistics.none_hectares if statistics.hectares is not None else None
                    rows.append(
                        ClassRow(self.unclassified, UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR, statistics.none, hectares)
                    )
                table = write_pam(made, rows, self.card.nodata_code(), self.unclassified)
                moves[table] = target.with_name(target.name + ".aux.xml")
                text = thematic_style(rows, self.card.nodata_code(), self.unclassified)
            moves[write_style(made, text)] = target.with_suffix(".qml")
        moves[made] = target
        return moves

    def close(self) -> None:
        """Close the working file without finishing."""
        self._writer.close()

    def _rows(self, statistics: PatchStatistics | None) -> list[ClassRow]:
        if statistics is None:
            return [ClassRow(entry.value, entry.name, entry.color) for entry in self.card.classes]
        hectares = statistics.hectares
        return [
            ClassRow(
                entry.value, entry.name, entry.color, int(statistics.patches[index]),
                float(hectares[index]) if hectares is not None else None,
            )
            for index, entry in enumerate(self.card.classes)
        ]  # fmt: skip
