"""Running the network on one chunk: tiles, windows around pixels, or single pixels.

What comes in is a chunk with the margin that its tiles need; what goes out are class codes and scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnxruntime

from ..errors import ModelError, ThematicaError
from .deployment import output_of
from .network import Head
from .session import Session
from .tiling import Plan, Rectangle

_Outputs = list[dict[str, np.ndarray]]


@dataclass
class Decoding:
    """How the class indices of one of the network's outputs become codes in its raster.

    Args:
        head: the output.
        codes: code of each class index, and last that of "unclassified".
        nodata: code of missing pixels.
        thresholds: whether the output may answer "unclassified".
    """

    head: Head
    codes: np.ndarray
    nodata: int
    thresholds: bool = False

    @cached_property
    def maps_codes(self) -> bool:
        """False where class indices are the codes of the raster already."""
        return not np.array_equal(self.codes[:-1], np.arange(len(self.codes) - 1)) or self.thresholds


@dataclass
class ChunkInput:
    """A chunk's samples.

    Args:
        chunk: the cores of the tiles.
        reach: the pixels that may get a class by it (:meth:`.tiling.Plan.reach`).
        row, column: top left corner of ``samples`` in the raster's grid (negative beyond its border).
        samples: (C, rows, columns) with the margin that the tiles need; None where no pixel gets a class.
        valid: which pixels of ``reach`` get a class; None for all.
    """

    chunk: Rectangle
    reach: Rectangle
    row: int = 0
    column: int = 0
    samples: np.ndarray | None = None
    valid: np.ndarray | None = None


@dataclass
class ChunkResult:
    """Codes and scores of one chunk, for each of the network's outputs; None where no pixel has data.

    Scores are float32, NaN where a pixel has no data: (rows, columns), or (K, rows, columns).
    """

    chunk: Rectangle
    codes: list[np.ndarray] | None
    scores: list[dict[str, np.ndarray]] = field(default_factory=list)


@dataclass
class TileScores:
    """The probabilities of a chunk's tiles, for who blends them.

    Args:
        item: the chunk; its samples are gone.
        tiles: of each tile what the network's output covers, and (K, rows, columns) for each of its outputs.
    """

    item: ChunkInput
    tiles: list[tuple[Rectangle, list[np.ndarray]]] = field(default_factory=list)


def tile_input(plan: Plan, tile: Rectangle) -> Rectangle:
    """What the network must see for a tile's core: aligned to the total stride, halo around it."""
    stride, halo = plan.stride, plan.halo
    row, column = tile.row // stride * stride, tile.column // stride * stride
    if plan.fixed is not None:
        height, width = plan.fixed
    else:
        height = -(-(tile.row + tile.height - row) // stride) * stride + 2 * halo
        width = -(-(tile.column + tile.width - column) // stride) * stride + 2 * halo
    return Rectangle(row - halo, column - halo, height, width)


def needed(plan: Plan, chunk: Rectangle) -> Rectangle:
    """The part of the raster's plane that the tiles of a chunk see."""
    return _bounds([tile_input(plan, tile) for tile in plan.tiles(chunk)])


class Inference:
    """Runs a session on chunks.  Safe to use from several threads at once.

    Args:
        session: what runs the network.
        plan: how chunks are cut up.
        decodings: one for each of the network's outputs that is used.
        check: raises where the run is to end.
    """

    def __init__(
        self,
        session: Session,
        plan: Plan,
        decodings: Sequence[Decoding],
        check: Callable[[], None],
    ) -> None:
        self.session, self.plan, self.decodings, self.check = session, plan, list(decodings), check

    def __call__(self, item: ChunkInput, options: onnxruntime.RunOptions) -> tuple[ChunkResult | TileScores, int, int]:
        """The result of a chunk, and how many tiles were run and how many skipped."""
        chunk = item.chunk
        tiles = list(self.plan.tiles(chunk))
        if item.samples is None:
            return TileScores(item) if self.plan.smooth else ChunkResult(chunk, None), 0, len(tiles)
        wanted = [tile for tile in tiles if _any_valid(item, tile_input(self.plan, tile) if self.plan.smooth else tile)]
        if self.plan.smooth:
            return self._scores(item, wanted, options), len(wanted), len(tiles) - len(wanted)
        result = ChunkResult(
            chunk,
            [np.full((chunk.height, chunk.width), entry.nodata, entry.codes.dtype) for entry in self.decodings],
            [{} for _ in self.decodings],
        )
        if self.plan.window is not None:
            self._windows(item, wanted, result, options)
        elif self.session.deployment.layout == "cn":
            self._rows(item, wanted, result, options)
        else:
            for core, seen, outputs in self._tiles(item, wanted, options):
                top, left = core.row - seen.row - self.plan.margin[0], core.column - seen.column - self.plan.margin[1]
                window = (..., slice(top, top + core.height), slice(left, left + core.width))
                for number, arrays in enumerate(outputs):
                    self._place(result, number, core, {name: array[window] for name, array in arrays.items()})
        if item.valid is not None:
            missing = ~item.valid
            assert result.codes is not None
            for codes, arrays, entry in zip(result.codes, result.scores, self.decodings, strict=True):
                codes[missing] = entry.nodata
                for score in arrays.values():
                    score[..., missing] = np.nan
        return result, len(wanted), len(tiles) - len(wanted)

    # -- tiles ---------------------------------------------------------------------------------------

    def _tiles(
        self, item: ChunkInput, wanted: Sequence[Rectangle], options: onnxruntime.RunOptions
    ) -> Iterator[tuple[Rectangle, Rectangle, _Outputs]]:
        """Run tiles in batches: yields core, what was seen, and each output's arrays for this tile."""
        assert item.samples is not None
        for batch in _batches([(tile, tile_input(self.plan, tile)) for tile in wanted], self.plan.batch):
            self.check()
            parts = []
            for _, seen in batch:
                row, column = seen.row - item.row, seen.column - item.column
                parts.append(item.samples[:, row : row + seen.height, column : column + seen.width])
            # A network with a fixed batch gets its last batch filled up with copies.
            parts += [parts[-1]] * (self.session.deployment.batch - len(parts))
            tiles = np.ascontiguousarray(parts[0][None]) if len(parts) == 1 else np.stack(parts)
            rows, columns = (tiles.shape[-2] - 2 * self.plan.margin[0], tiles.shape[-1] - 2 * self.plan.margin[1])
            outputs = self._run(tiles, options, (rows, columns))
            for index, (core, seen) in enumerate(batch):
                yield core, seen, [{name: array[index] for name, array in arrays.items()} for arrays in outputs]

    def _scores(self, item: ChunkInput, wanted: Sequence[Rectangle], options: onnxruntime.RunOptions) -> TileScores:
        """Probabilities of the tiles as they are, within the halo that neighbours share."""
        result = TileScores(replace(item, samples=None))
        top, left = self.plan.halo - self.plan.margin[0], self.plan.halo - self.plan.margin[1]
        for core, seen, outputs in self._tiles(item, wanted, options):
            given = Rectangle(core.row - top, core.column - left, core.height + 2 * top, core.width + 2 * left)
            row, column = given.row - seen.row - self.plan.margin[0], given.column - seen.column - self.plan.margin[1]
            window = (..., slice(row, row + given.height), slice(column, column + given.width))
            # Copies: a view would keep the whole batch.
            result.tiles.append((given, [np.array(arrays["probabilities"][window]) for arrays in outputs]))
        return result

    # -- windows and pixels ----------------------------------------------------------------------------

    def _windows(
        self, item: ChunkInput, wanted: Sequence[Rectangle], result: ChunkResult, options: onnxruntime.RunOptions
    ) -> None:
        """A window around each pixel, in batches; the pixel is the window's ``side // 2``-th in both directions."""
        assert item.samples is not None
        assert self.plan.window is not None
        height, width = self.plan.window
        for core in wanted:
            top, left = core.row - height // 2 - item.row, core.column - width // 2 - item.column
            seen = item.samples[:, top : top + core.height + height - 1, left : left + core.width + width - 1]
            views = np.lib.stride_tricks.sliding_window_view(seen, (height, width), axis=(1, 2))
            row, column = core.row - item.chunk.row, core.column - item.chunk.column
            inside = np.ones((core.height, core.width), bool)
            if item.valid is not None:
                inside = item.valid[row : row + core.height, column : column + core.width]
            rows, columns = np.nonzero(inside)
            pieces: list[dict[str, list[np.ndarray]]] = [{} for _ in self.decodings]
            step = self.plan.batch
            for start in range(0, len(rows), step):
                self.check()
                batch = views[:, rows[start : start + step], columns[start : start + step]]
                windows = np.ascontiguousarray(batch.transpose(1, 0, 2, 3))
                count = len(windows)
                short = self.session.deployment.batch - count
                if short > 0:
                    windows = np.concatenate([windows, np.repeat(windows[-1:], short, axis=0)])
                for kept, arrays in zip(pieces, self._run(windows, options, None), strict=True):
                    for name, array in arrays.items():
                        kept.setdefault(name, []).append(array[:count])
            for number, kept in enumerate(pieces):
                placed = {}
                for name, parts in kept.items():
                    values = np.concatenate(parts)
                    # Pixels without data are set afterwards.
                    shaped = np.zeros((core.height, core.width, *values.shape[1:]), values.dtype)
                    shaped[rows, columns] = values
                    placed[name] = np.moveaxis(shaped, -1, 0) if shaped.ndim == 3 else shaped
                self._place(result, number, core, placed)

    def _rows(
        self, item: ChunkInput, wanted: Sequence[Rectangle], result: ChunkResult, options: onnxruntime.RunOptions
    ) -> None:
        """Per-pixel networks that could not be rewritten: pixels as rows, in runs of the network's batch."""
        assert item.samples is not None
        for core in wanted:
            self.check()
            row, column = core.row - item.row, core.column - item.column
            samples = item.samples[:, row : row + core.height, column : column + core.width]
            flat = samples.reshape(len(samples), -1)
            step = self.session.deployment.batch or flat.shape[1]
            pieces: list[dict[str, list[np.ndarray]]] = [{} for _ in self.decodings]
            for start in range(0, flat.shape[1], step):
                part = flat[:, start : start + step]
                short = step - part.shape[1]
                if short:
                    part = np.pad(part, ((0, 0), (0, short)), mode="edge")
                for kept, arrays in zip(pieces, self._run(np.ascontiguousarray(part), options, None), strict=True):
                    for name, array in arrays.items():
                        kept.setdefault(name, []).append(array[: step - short])
            shape = (core.height, core.width)
            for number, kept in enumerate(pieces):
                placed = {
                    name: np.concatenate(arrays).reshape(*shape, -1).transpose(2, 0, 1)
                    if name == "probabilities"
                    else np.concatenate(arrays).reshape(shape)
                    for name, arrays in kept.items()
                }
                self._place(result, number, core, placed)

    # -- one run, and its outputs ------------------------------------------------------------------------

    def _run(self, tiles: np.ndarray, options: onnxruntime.RunOptions, size: tuple[int, int] | None) -> _Outputs:
        """Run one batch and check what comes back; the arrays of each output, by name.

        Args:
            tiles: samples as stored.
            options: of this thread.
            size: rows and columns that every output must have, or None where it has none.
        """
        try:
            outputs = self.session.run(tiles, options)
        except ThematicaError:
            # A run that was told to stop fails too; that is not the network's fault.
            self.check()
            raise
        return [
            checked_outputs(outputs, number, channels, tiles.shape, size)
            for number, channels in enumerate(self.session.deployment.channels)
        ]

    def _place(self, result: ChunkResult, number: int, core: Rectangle, outputs: dict[str, np.ndarray]) -> None:
        """Copy a tile's outputs to their place in the chunk."""
        assert result.codes is not None
        chunk, decoding, scores = result.chunk, self.decodings[number], result.scores[number]
        row, column = core.row - chunk.row, core.column - chunk.column
        window = (..., slice(row, row + core.height), slice(column, column + core.width))
        for name, array in outputs.items():
            if name == "classes":
                result.codes[number][window] = decoding.codes[array] if decoding.maps_codes else array
                continue
            if name not in scores:
                scores[name] = np.full((*array.shape[:-2], chunk.height, chunk.width), np.nan, np.float32)
            scores[name][window] = array


def checked_outputs(
    outputs: dict[str, np.ndarray],
    number: int,
    channels: int,
    given: tuple[int, ...],
    size: tuple[int, int] | None,
) -> dict[str, np.ndarray]:
    """The arrays of one of the network's outputs, after a look at what only a run shows.

    Args:
        outputs: of a session's run.
        number: of the network's output.
        channels: scores per pixel that its card says; 0 for class numbers.
        given: shape of the batch that went in.
        size: rows and columns that the output must have, or None where it has none.

    Raises:
        ModelError: NaN, or a shape that contradicts the card.
    """
    if np.isnan(outputs[output_of("check", number)]).any():
        raise ModelError(
            "The network gave NaN (not a number) for some pixels: its weights are broken, or the raster's values "
            "lie far outside what it was made for; check scale, offset and nodata."
        )
    shape = tuple(int(side) for side in outputs[output_of("shape", number)])
    # Samples are the first axis of windows and patches, and the last of pixels as they lie in memory.
    samples = given[0] if len(given) > 2 else given[-1]
    if size is None and (len(shape) != (2 if channels else len(shape[:2])) or shape[:1] != (samples,)):
        raise ModelError(
            f"The network gives a tensor of shape {shape} for {samples} samples, where one score per class and sample "
            "(N, K) is needed: it contradicts its card."
        )
    # Behind the decision a map has its class axis; class numbers may have one of a single entry.
    if size is not None and not (len(shape) == 4 if channels else len(shape) == 3 or shape[1:-2] == (1,)):
        raise ModelError(
            f"The network gives a tensor of shape {shape}, where one score per class and pixel (N, K, H, W) is needed: "
            "it contradicts its card."
        )
    if channels and shape[1] != channels:
        raise ModelError(
            f"The network gives {shape[1]} scores per pixel, but its card says {channels}: the card belongs to "
            "another network, or must be corrected."
        )
    if size is not None and shape[0] != given[0]:
        raise ModelError(
            f"The network turned a batch of {given[0]} tiles into {shape[0]}: its first axis is not the batch; export "
            "it with (N, K, H, W)."
        )
    if size is not None and shape[-2:] != size:
        raise ModelError(
            f"The network turned a tile of {given[-2]} × {given[-1]} pixels into {shape[-2]} × {shape[-1]}: that "
            "contradicts its card; it cannot be used for a map pixel by pixel."
        )
    names = {output_of(name, number): name for name in ("classes", "confidence", "entropy", "margin", "probabilities")}
    return {names[name]: array for name, array in outputs.items() if name in names}


def _any_valid(item: ChunkInput, tile: Rectangle) -> bool:
    """Whether a pixel in this tile gets a class."""
    here = overlap(tile, item.reach)
    if here is None:
        return False
    if item.valid is None:
        return True
    row, column = here.row - item.reach.row, here.column - item.reach.column
    return bool(item.valid[row : row + here.height, column : column + here.width].any())


def overlap(first: Rectangle, second: Rectangle) -> Rectangle | None:
    """What two rectangles share, or None."""
    row, column = max(first.row, second.row), max(first.column, second.column)
    bottom = min(first.row + first.height, second.row + second.height)
    right = min(first.column + first.width, second.column + second.width)
    return Rectangle(row, column, bottom - row, right - column) if bottom > row and right > column else None


def _bounds(rectangles: Sequence[Rectangle]) -> Rectangle:
    row = min(entry.row for entry in rectangles)
    column = min(entry.column for entry in rectangles)
    bottom = max(entry.row + entry.height for entry in rectangles)
    right = max(entry.column + entry.width for entry in rectangles)
    return Rectangle(row, column, bottom - row, right - column)


def _batches(tiles: Sequence[tuple[Rectangle, Rectangle]], size: int) -> Iterator[list[tuple[Rectangle, Rectangle]]]:
    """Group tiles whose inputs have the same size into batches."""
    groups: dict[tuple[int, int], list[tuple[Rectangle, Rectangle]]] = {}
    for core, seen in tiles:
        group = groups.setdefault((seen.height, seen.width), [])
        group.append((core, seen))
        if len(group) == size:
            yield groups.pop((seen.height, seen.width))
    yield from groups.values()
