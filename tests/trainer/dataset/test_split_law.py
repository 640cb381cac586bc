"""Whatever the labels look like: no block, polygon or buffered neighbour is on both sides of a split."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from thematica.errors import InputError
from thematica.progress import Monitor
from thematica.trainer.dataset.build import BuildOptions, Length, build_dataset
from thematica.trainer.dataset.read import TrainingSet

from .scenes import UNLABELLED, ArrayScene, legend_of

PARTS = ("train", "validation", "test")


@st.composite
def rectangles(draw, height, width):
    """Tiny, huge, overlapping and touching ones; each a polygon, some pixels of which others take away."""
    found = []
    for _ in range(draw(st.integers(2, 30))):
        row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        side = st.sampled_from([1, 1, 2, 3, 5, 8, 13, 60])
        found.append((row, col, draw(side), draw(side), draw(st.integers(0, 2))))
    return found


@st.composite
def several_scenes(draw):
    """Scenes, each with where it lies: (ground, row, column).  Some share a ground, shifted by whole pixels."""
    scenes, lies = [], []
    for number in range(draw(st.integers(1, 3))):
        height, width = draw(st.integers(1, 48)), draw(st.integers(1, 48))
        places = np.full((height, width), UNLABELLED, np.int16)
        shapes = np.full((height, width), UNLABELLED, np.int32)
        for shape, (row, col, high, wide, label) in enumerate(draw(rectangles(height, width))):
            part = (slice(row, row + high), slice(col, col + wide))
            places[part], shapes[part] = label, shape
        if draw(st.booleans()):
            # As a raster of labels has them.
            shapes[:] = UNLABELLED
        ground = draw(st.sampled_from([0, 0, number]))
        row, col = draw(st.integers(0, 20)), draw(st.integers(0, 20))
        lies.append((ground, row, col))
        chance = np.random.default_rng(draw(st.integers(0, 9)))
        values = chance.integers(0, 250, (2, height, width)).astype(np.uint8)
        valid = chance.random((height, width)) < 0.9 if draw(st.booleans()) else None
        scenes.append(
            ArrayScene(
                values,
                places,
                shapes,
                valid,
                name=f"scene {number}",
                legend=legend_of(3),
                # Grounds lie in one CRS, too far apart to meet.
                transform=(10.0, 0.0, 1e5 + 1e9 * ground + 10 * col, 0.0, -10.0, 2e5 - 10.0 * row),
                split=draw(st.sampled_from(["", "", "", "test", "validation"])) if number else "",
            )
        )
    return scenes, lies


def pixels_or_none(largest):
    return st.none() | st.integers(0, largest).map(lambda n: Length(n, "px"))


@settings(max_examples=100)
@given(
    scenes=several_scenes(),
    kind=st.sampled_from(["pixels", "windows", "chips"]),
    size=st.integers(1, 9),
    split=st.sampled_from(["blocks", "blocks", "polygons"]),
    block=pixels_or_none(30).filter(lambda length: length is None or length.value > 0),
    buffer=pixels_or_none(12),
    cut=st.booleans(),
    shares=st.sampled_from([(0.2, 0.1), (0.5, 0.0), (0.0, 0.3), (0.34, 0.33)]),
    seed=st.integers(0, 5),
)
def test_nothing_is_on_both_sides(scenes, kind, size, split, block, buffer, cut, shares, seed):
    scenes, lies = scenes
    options = BuildOptions(
        kind=kind,
        size=0 if kind == "pixels" else size,
        split=split,
        test=shares[0],
        validation=shares[1],
        seed=seed,
        block=block,
        buffer=buffer,
        cut_polygons=cut,
    )
    folder = Path(tempfile.mkdtemp())
    try:
        try:
            build_dataset(folder / "set", scenes, options, Monitor())
        except InputError as error:
            event(f"refused: {error.message[:30]}")
            assume(False)
        event(f"made: {kind}, {split}")
        look_at(TrainingSet(folder / "set"), scenes, lies, cut and split == "blocks")
    finally:
        shutil.rmtree(folder)


def look_at(found: TrainingSet, scenes, lies, cut):
    told = found.description
    side = told.shape[-1] if len(told.shape) == 3 else 1
    buffer = told.split["buffer"]["pixels"]
    block = told.split["block"] and told.split["block"]["pixels"]
    # Every pixel that a sample sees, on its ground; ours, not the program's reckoning.
    seen = {part: np.zeros((2, 400, 400), bool) for part in PARTS}
    planes = {ground: place for place, ground in enumerate(dict.fromkeys(ground for ground, _, _ in lies))}
    if len(planes) > 2:
        seen = {part: np.zeros((3, 400, 400), bool) for part in PARTS}
    extents = [(scene["height"], scene["width"]) for scene in told.scenes]
    polygons: dict[tuple[int, int], set[str]] = {}
    blocks: dict[tuple[int, int, int], set[str]] = {}
    for part in PARTS:
        for arrays in found.arrays(part):
            for scene, row, col, shape in arrays.places.tolist():
                ground, down, right = lies[scene]
                centre = side // 2 if told.kind == "windows" else 0
                # What a sample has beyond its scene is empty, not ground.
                rows = slice(
                    max(row - centre, 0) + down + 100, min(row - centre + side, extents[scene][0]) + down + 100
                )
                cols = slice(
                    max(col - centre, 0) + right + 100, min(col - centre + side, extents[scene][1]) + right + 100
                )
                seen[part][planes[ground], rows, cols] = True
                if scenes[scene].split:
                    assert scenes[scene].split == part
                    continue
                own = scenes[scene]
                if told.kind == "chips":
                    mine = own.labels(row, col, side, side)[1].ravel()
                    if own.valid is not None:
                        inside = np.zeros((side, side), bool)
                        valid = own.valid[row : row + side, col : col + side]
                        inside[: valid.shape[0], : valid.shape[1]] = valid
                        mine = mine[inside.ravel()]
                else:
                    mine = np.array([shape])
                for polygon in set(mine.tolist()) - {UNLABELLED}:
                    polygons.setdefault((scene, polygon), set()).add(part)
                if block:
                    from_row, from_col = told.scenes[scene]["blocks_from"]
                    extent = side if told.kind == "chips" else 1
                    for r in (row, row + extent - 1):
                        for c in (col, col + extent - 1):
                            key = (planes[ground], (r - from_row) // block, (c - from_col) // block)
                            blocks.setdefault(key, set()).add(part)
    if not cut:
        assert all(len(parts) == 1 for parts in polygons.values())
    assert all(len(parts) == 1 for parts in blocks.values())
    for place, part in enumerate(PARTS):
        for other in PARTS[place + 1 :]:
            for mine, theirs in zip(seen[part], seen[other], strict=True):
                assert not (grown(mine, buffer) & theirs).any()


def grown(mask, by):
    """With all pixels that lie within so many of one of it."""
    result = mask.copy()
    for step in range(1, by + 1):
        result[step:] |= mask[:-step]
        result[:-step] |= mask[step:]
    rows = result.copy()
    for step in range(1, by + 1):
        result[:, step:] |= rows[:, :-step]
        result[:, :-step] |= rows[:, step:]
    return result
