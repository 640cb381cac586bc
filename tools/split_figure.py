"""``python tools/split_figure.py TRAININGSET LABELS MAP OUT.png``: labels, their split, and the map, side by side.

For small scenes whose training set was made of one raster of classes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "build" / "pkg"))

from thematica.trainer.dataset.description import PARTS  # noqa: E402
from thematica.trainer.dataset.read import TrainingSet  # noqa: E402

_PARTS = {"training": "#2b6fc4", "validation": "#e0a526", "test": "#c8403a", "left out between them": "#b9b9b9"}
_WRONG, _NOTHING = "#000000", "#ffffff"


def read(path: str) -> np.ndarray:
    """The first band."""
    with rasterio.open(path) as file:
        return file.read(1)


def main(folder: str, labels: str, result: str, output: str) -> None:
    """Draw it."""
    data, truth, found = TrainingSet(folder), read(labels), read(result)
    classes = [entry.label for entry in data.description.classes]
    split = np.where(truth > 0, len(PARTS) + 1, 0)
    for place, part in enumerate(PARTS):
        for arrays in data.arrays(part):
            split[arrays.places["row"], arrays.places["col"]] = place + 1
    tested = split == 1 + PARTS.index("test")
    wrong = tested & (found != truth)

    def placed(codes: np.ndarray) -> np.ndarray:
        image = np.zeros(codes.shape, int)
        for place, entry in enumerate(classes):
            image[codes == entry.code] = place + 1
        return image

    colors = [_NOTHING, *(entry.color for entry in classes)]
    figure = Figure(figsize=(10.5, 4.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    right = int((found == truth)[tested].sum())
    panels = [
        ("Ground truth", placed(truth), colors),
        ("Split", split, [_NOTHING, *_PARTS.values()]),
        (f"Map: {right} of {tested.sum()} test pixels right", placed(found), colors),
    ]
    axes = figure.subplots(1, 3)
    for axis, (title, image, palette) in zip(axes, panels, strict=True):
        limits = np.arange(len(palette) + 1) - 0.5
        axis.imshow(image, cmap=ListedColormap(palette), norm=BoundaryNorm(limits, len(palette)), interpolation="none")
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    for row, column in np.argwhere(wrong):
        axes[2].plot(column, row, "s", color=_WRONG, markersize=1.6, markeredgewidth=0)
    keys = [Patch(facecolor=entry.color, label=entry.name) for entry in classes]
    keys.append(Patch(facecolor=_NOTHING, edgecolor="#888888", label="no label"))
    parts = [Patch(facecolor=color, label=name) for name, color in _PARTS.items()]
    marks = [Patch(facecolor=_WRONG, label="test pixel that is wrong")]
    for axis, entries in zip(axes, (keys, parts, marks), strict=True):
        axis.legend(
            handles=entries, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, frameon=False, fontsize=8
        )
    figure.savefig(output)


if __name__ == "__main__":
    main(*sys.argv[1:5])
