"""The stream: one thread reads chunks, workers run the network on tiles, the caller writes.

Queues between them are short, so that memory holds a few chunks however large the image is.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from rasterio.windows import Window

from ..errors import ModelError, ThematicaError
from .area_of_interest import AreaOfInterest
from .progress import Monitor
from .raster import RasterSource
from .session import Session, tile_options
from .tiling import Plan, Rectangle

_T = TypeVar("_T")

# How long a blocked queue operation waits before it looks whether the job has ended, in seconds.
_POLL = 0.1


@dataclass
class Decoding:
    """How a network's class indices become codes in the raster.

    Args:
        codes: code of each class index, and last that of "unclassified".
        nodata: code of missing pixels.
        fill: per band, the sample that stands for a missing one inside a tile.
        thresholds: whether the network may answer "unclassified".
    """

    codes: np.ndarray
    nodata: int
    fill: np.ndarray
    thresholds: bool = False

    @cached_property
    def maps_codes(self) -> bool:
        """False where class indices are the codes of the raster already."""
        return not np.array_equal(self.codes[:-1], np.arange(len(self.codes) - 1)) or self.thresholds


@dataclass
class ChunkResult:
    """Codes and scores of one chunk; ``codes`` is None where no pixel has data.

    Scores are float32, NaN where a pixel has no data: (rows, columns), or (K, rows, columns).
    """

    chunk: Rectangle
    codes: np.ndarray | None
    scores: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Timing:
    """Seconds that each stage was busy (threads of one stage added up), and counts of tiles."""

    read: float = 0.0
    infer: float = 0.0
    write: float = 0.0
    tiles: int = 0
    skipped: int = 0


@dataclass
class _ChunkInput:
    chunk: Rectangle
    # Top left corner of ``samples`` in the raster's grid (negative beyond its border).
    row: int
    column: int
    samples: np.ndarray | None
    valid: np.ndarray | None


def run_pipeline(
    source: RasterSource,
    session: Session,
    plan: Plan,
    area: AreaOfInterest | None,
    decoding: Decoding,
    write: Callable[[ChunkResult], None],
    monitor: Monitor,
) -> Timing:
    """Classify a region: calls ``write`` in this thread for every chunk, in no fixed order.

    Raises:
        Cancelled: the monitor was asked to cancel.
        ThematicaError: whatever failed in reading, inference or writing.
    """
    stream = _Stream(source, session, plan, area, decoding, monitor)
    return stream.run(write)


class _Stream:
    def __init__(
        self,
        source: RasterSource,
        session: Session,
        plan: Plan,
        area: AreaOfInterest | None,
        decoding: Decoding,
        monitor: Monitor,
    ) -> None:
        self.source, self.session, self.plan, self.area = source, session, plan, area
        self.decoding, self.monitor = decoding, monitor
        self.timing = Timing()
        self._inputs: queue.Queue[_ChunkInput | None] = queue.Queue(maxsize=2)
        self._results: queue.Queue[ChunkResult | None] = queue.Queue(maxsize=2)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._options: list[onnxruntime.RunOptions] = []

    def run(self, write: Callable[[ChunkResult], None]) -> Timing:
        threads = [threading.Thread(target=self._guard, args=(self._read_all,), name="read", daemon=True)]
        for index in range(self.plan.workers):
            options = tile_options()
            self._options.append(options)
            threads.append(
                threading.Thread(target=self._guard, args=(self._work, options), name=f"infer-{index}", daemon=True)
            )
        started = time.monotonic()
        done, total = 0, self.plan.pixels()
        for thread in threads:
            thread.start()
        try:
            working = self.plan.workers
            while working:
                result = self._get(self._results)
                if result is None:
                    working -= 1
                    continue
                begun = time.perf_counter()
                write(result)
                self.timing.write += time.perf_counter() - begun
                done += result.chunk.height * result.chunk.width
                elapsed = time.monotonic() - started
                rate = done / elapsed if elapsed > 0 else None
                left = (total - done) / rate if rate else None
                # The last tenth is for overviews and compression.
                self.monitor.progress("Classifying", 0.9 * done / total, rate, left)
        except BaseException as error:  # noqa: BLE001 - raised again below, once all threads have ended
            self._fail(error)
        finally:
            self._stop.set()
            for options in self._options:
                options.terminate = True
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure
        return self.timing

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            # The first failure is the cause; the others follow from it.
            if self._failure is None:
                self._failure = error
        self._stop.set()
        for options in self._options:
            options.terminate = True

    def _guard(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread, which raises it
            self._fail(error)

    def _get(self, source: queue.Queue[_T]) -> _T:
        while True:
            self._check()
            try:
                return source.get(timeout=_POLL)
            except queue.Empty:
                continue

    def _put(self, target: queue.Queue[_T], item: _T) -> None:
        while True:
            self._check()
            try:
                return target.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def _check(self) -> None:
        self.monitor.check()
        if self._stop.is_set():
            raise _Stopped

    # Reading

    def _read_all(self) -> None:
        for chunk in self.plan.chunks():
            self._check()
            begun = time.perf_counter()
            item = self._read(chunk)
            self.timing.read += time.perf_counter() - begun
            self._put(self._inputs, item)
        for _ in range(self.plan.workers):
            self._put(self._inputs, None)

    def _read(self, chunk: Rectangle) -> _ChunkInput:
        """Read a chunk with the margin its tiles need; beyond the raster's border it is reflected."""
        if self.area is not None and not self.area.touches(chunk.row, chunk.column, chunk.height, chunk.width):
            return _ChunkInput(chunk, 0, 0, None, None)
        mask = None
        if self.area is not None:
            mask = self.area.mask(chunk.row, chunk.column, chunk.height, chunk.width)
            if mask is not None and not mask.any():
                return _ChunkInput(chunk, 0, 0, None, None)
        wanted = _bounds([self._tile_input(tile) for tile in self.plan.tiles(chunk)])
        top, left = max(wanted.row, 0), max(wanted.column, 0)
        bottom = min(wanted.row + wanted.height, self.source.height)
        right = min(wanted.column + wanted.width, self.source.width)
        samples, valid = self.source.read(Window(left, top, right - left, bottom - top))
        # Which pixels of the chunk itself get a class, or None for all.
        inside = mask
        if valid is not None:
            row, column = chunk.row - top, chunk.column - left
            here = valid[row : row + chunk.height, column : column + chunk.width]
            inside = here if mask is None else here & mask
        if inside is not None and not inside.any():
            return _ChunkInput(chunk, 0, 0, None, None)
        if valid is not None:
            missing = ~valid
            for band, fill in zip(samples, self.decoding.fill, strict=True):
                band[missing] = fill
        self.source.fill_single_bands(samples, self.decoding.fill)
        pads = (
            (0, 0),
            (top - wanted.row, wanted.row + wanted.height - bottom),
            (left - wanted.column, wanted.column + wanted.width - right),
        )
        if any(any(pair) for pair in pads):
            samples = np.pad(samples, pads, mode="reflect")
        return _ChunkInput(chunk, wanted.row, wanted.column, samples, inside)

    def _tile_input(self, tile: Rectangle) -> Rectangle:
        """What the network must see for a tile's core: aligned to the total stride, halo around it."""
        stride, halo = self.plan.stride, self.plan.halo
        row, column = tile.row // stride * stride, tile.column // stride * stride
        if self.plan.fixed is not None:
            height, width = self.plan.fixed
        else:
            height = -(-(tile.row + tile.height - row) // stride) * stride + 2 * halo
            width = -(-(tile.column + tile.width - column) // stride) * stride + 2 * halo
        return Rectangle(row - halo, column - halo, height, width)

    # Inference

    def _work(self, options: onnxruntime.RunOptions) -> None:
        while True:
            item = self._get(self._inputs)
            if item is None:
                self._put(self._results, None)
                return
            self._put(self._results, self._infer(item, options))

    def _infer(self, item: _ChunkInput, options: onnxruntime.RunOptions) -> ChunkResult:
        chunk = item.chunk
        tiles = list(self.plan.tiles(chunk))
        if item.samples is None:
            self._count(0.0, 0, len(tiles))
            return ChunkResult(chunk, None)
        wanted = []
        for tile in tiles:
            row, column = tile.row - chunk.row, tile.column - chunk.column
            if item.valid is None or item.valid[row : row + tile.height, column : column + tile.width].any():
                wanted.append(tile)
        codes = np.full((chunk.height, chunk.width), self.decoding.nodata, self.decoding.codes.dtype)
        scores: dict[str, np.ndarray] = {}
        begun = time.perf_counter()
        if self.session.deployment.layout == "cn":
            self._infer_rows(item, wanted, codes, scores, options)
        else:
            for batch in _batches([(tile, self._tile_input(tile)) for tile in wanted], self.plan.batch):
                self._check()
                self._infer_batch(item, batch, codes, scores, options)
        self._count(time.perf_counter() - begun, len(wanted), len(tiles) - len(wanted))
        if item.valid is not None:
            missing = ~item.valid
            codes[missing] = self.decoding.nodata
            for score in scores.values():
                score[..., missing] = np.nan
        return ChunkResult(chunk, codes, scores)

    def _count(self, seconds: float, tiles: int, skipped: int) -> None:
        with self._lock:
            self.timing.infer += seconds
            self.timing.tiles += tiles
            self.timing.skipped += skipped

    def _infer_batch(
        self,
        item: _ChunkInput,
        batch: list[tuple[Rectangle, Rectangle]],
        codes: np.ndarray,
        scores: dict[str, np.ndarray],
        options: onnxruntime.RunOptions,
    ) -> None:
        assert item.samples is not None
        parts = []
        for _, seen in batch:
            row, column = seen.row - item.row, seen.column - item.column
            parts.append(item.samples[:, row : row + seen.height, column : column + seen.width])
        # A network with a fixed batch gets its last batch filled up with copies.
        parts += [parts[-1]] * (self.session.deployment.batch - len(parts))
        tiles = np.ascontiguousarray(parts[0][None]) if len(parts) == 1 else np.stack(parts)
        outputs = self._run(tiles, options, (tiles.shape[-2], tiles.shape[-1]))
        for index, (core, seen) in enumerate(batch):
            row, column = core.row - seen.row, core.column - seen.column
            window = (..., slice(row, row + core.height), slice(column, column + core.width))
            self._place(
                item.chunk, core, {name: array[index][window] for name, array in outputs.items()}, codes, scores
            )

    def _infer_rows(
        self,
        item: _ChunkInput,
        wanted: list[Rectangle],
        codes: np.ndarray,
        scores: dict[str, np.ndarray],
        options: onnxruntime.RunOptions,
    ) -> None:
        """Per-pixel networks that could not be rewritten: pixels as rows, in runs of the network's batch."""
        assert item.samples is not None
        for core in wanted:
            self._check()
            row, column = core.row - item.row, core.column - item.column
            samples = item.samples[:, row : row + core.height, column : column + core.width]
            flat = samples.reshape(len(samples), -1)
            step = self.session.deployment.batch or flat.shape[1]
            pieces: dict[str, list[np.ndarray]] = {}
            for start in range(0, flat.shape[1], step):
                part = flat[:, start : start + step]
                short = step - part.shape[1]
                if short:
                    part = np.pad(part, ((0, 0), (0, short)), mode="edge")
                outputs = self._run(np.ascontiguousarray(part), options, None)
                for name, array in outputs.items():
                    pieces.setdefault(name, []).append(array[: step - short])
            shape = (core.height, core.width)
            placed = {
                name: np.concatenate(arrays).reshape(*shape, -1).transpose(2, 0, 1)
                if name == "probabilities"
                else np.concatenate(arrays).reshape(shape)
                for name, arrays in pieces.items()
            }
            self._place(item.chunk, core, placed, codes, scores)

    def _run(
        self, tiles: np.ndarray, options: onnxruntime.RunOptions, size: tuple[int, int] | None
    ) -> dict[str, np.ndarray]:
        try:
            outputs = self.session.run(tiles, options)
        except ThematicaError:
            # A run that was told to stop fails too; that is not the network's fault.
            self._check()
            raise
        check = outputs.pop("check")
        if np.isnan(check).any():
            raise ModelError(
                "The network gave NaN (not a number) for some pixels: its weights are broken, or the raster's values "
                "lie far outside what it was made for; check scale, offset and nodata."
            )
        shape = tuple(int(side) for side in outputs.pop("shape"))
        channels = self.session.deployment.channels
        if shape[1] != channels:
            raise ModelError(
                f"The network gives {shape[1]} scores per pixel, but its card says {channels}: the card belongs to "
                "another network, or must be corrected."
            )
        if size is not None and shape[2:] != size:
            raise ModelError(
                f"The network turned a tile of {size[0]} × {size[1]} pixels into {shape[2]} × {shape[3]}: that "
                "contradicts its card; it cannot be used for a map pixel by pixel."
            )
        return outputs

    def _place(
        self,
        chunk: Rectangle,
        core: Rectangle,
        outputs: dict[str, np.ndarray],
        codes: np.ndarray,
        scores: dict[str, np.ndarray],
    ) -> None:
        """Copy a tile's outputs to their place in the chunk."""
        row, column = core.row - chunk.row, core.column - chunk.column
        window = (..., slice(row, row + core.height), slice(column, column + core.width))
        for name, array in outputs.items():
            if name == "classes":
                if self.decoding.maps_codes:
                    array = self.decoding.codes[array]
                codes[window] = array
                continue
            if name not in scores:
                scores[name] = np.full((*array.shape[:-2], chunk.height, chunk.width), np.nan, np.float32)
            scores[name][window] = array


class _Stopped(Exception):
    """The stream ends because another thread failed or the job was cancelled."""


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
