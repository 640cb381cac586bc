"""The stream: one thread reads chunks, workers run the network on tiles, the caller writes.

Only a few chunks are under way at once (:mod:`.in_order`), however large the image is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from rasterio.windows import Window

from ..progress import Monitor
from .area_of_interest import AreaOfInterest
from .blending import Blender
from .in_order import run_in_order
from .inference import ChunkInput, ChunkResult, Decoding, Inference, TileScores, needed
from .raster import RasterSource
from .session import Session
from .tiling import Plan, Rectangle


@dataclass
class Timing:
    """Seconds that each stage was busy (threads of one stage added up), and counts of tiles."""

    read: float = 0.0
    infer: float = 0.0
    write: float = 0.0
    tiles: int = 0
    skipped: int = 0


def run_pipeline(
    source: RasterSource,
    session: Session,
    plan: Plan,
    area: AreaOfInterest | None,
    decodings: Sequence[Decoding],
    fill: np.ndarray,
    scores: Sequence[str],
    write: Callable[[ChunkResult], None],
    monitor: Monitor,
) -> Timing:
    """Classify a region: calls ``write`` in this thread for every chunk, in the plan's order.

    Args:
        source: where samples come from; its bands are chosen.
        session: what runs the network.
        plan: how the region is cut up.
        area: the pixels that get a class; None for all.
        decodings: one for each of the network's outputs.
        fill: per band, the sample that stands for a missing one inside a tile.
        scores: which of :data:`.scores.SCORES` the results hold.
        write: gets the results.
        monitor: hears of progress, and says when to stop.

    Raises:
        Cancelled: the monitor was asked to cancel.
        ThematicaError: whatever failed in reading, inference or writing.
    """
    stream = _Stream(source, session, plan, area, decodings, fill, scores, monitor)
    return stream.run(write)


class _Stream:
    def __init__(
        self,
        source: RasterSource,
        session: Session,
        plan: Plan,
        area: AreaOfInterest | None,
        decodings: Sequence[Decoding],
        fill: np.ndarray,
        scores: Sequence[str],
        monitor: Monitor,
    ) -> None:
        self.source, self.plan, self.area, self.fill, self.monitor = source, plan, area, fill, monitor
        self._inference = Inference(session, plan, decodings, monitor.check)
        self._blender = Blender(plan, decodings, scores)
        self.timing = Timing()
        self._lock = threading.Lock()

    def run(self, write: Callable[[ChunkResult], None]) -> Timing:
        started = time.monotonic()
        done, total = 0, self.plan.pixels()

        def take(result: ChunkResult | TileScores) -> None:
            nonlocal done
            begun = time.perf_counter()
            for finished in [result] if isinstance(result, ChunkResult) else self._blender.add(result):
                write(finished)
                done += finished.chunk.height * finished.chunk.width
            self.timing.write += time.perf_counter() - begun
            elapsed = time.monotonic() - started
            rate = done / elapsed if elapsed > 0 else None
            left = (total - done) / rate if rate else None
            # The last tenth is for overviews and compression.
            self.monitor.progress("Classifying", 0.9 * done / total, rate, left)

        run_in_order(self._chunks(), self._infer, self.plan.workers, take, self.monitor, waiting=4)
        return self.timing

    # Reading

    def _chunks(self) -> Iterator[ChunkInput]:
        for chunk in self.plan.chunks():
            begun = time.perf_counter()
            item = self._read(chunk)
            self.timing.read += time.perf_counter() - begun
            yield item

    def _read(self, chunk: Rectangle) -> ChunkInput:
        """Read a chunk with the margin its tiles need; beyond the raster's border it is reflected."""
        reach = self.plan.reach(chunk)
        nothing = ChunkInput(chunk, reach)
        mask = None
        if self.area is not None:
            if not self.area.touches(reach.row, reach.column, reach.height, reach.width):
                return nothing
            mask = self.area.mask(reach.row, reach.column, reach.height, reach.width)
            if mask is not None and not mask.any():
                return nothing
        wanted = needed(self.plan, chunk)
        above, top, bottom, below = _reflected(wanted.row, wanted.height, self.source.height)
        before, left, right, behind = _reflected(wanted.column, wanted.width, self.source.width)
        samples, valid = self.source.read(Window(left, top, right - left, bottom - top))
        # Which pixels get a class, or None for all.
        inside = mask
        if valid is not None:
            row, column = reach.row - top, reach.column - left
            here = valid[row : row + reach.height, column : column + reach.width]
            inside = here if mask is None else here & mask
        if inside is not None and not inside.any():
            return nothing
        if valid is not None:
            missing = ~valid
            for band, fill in zip(samples, self.fill, strict=True):
                band[missing] = fill
        self.source.fill_single_bands(samples, self.fill)
        if above or below or before or behind:
            samples = np.pad(samples, ((0, 0), (above, below), (before, behind)), mode="reflect")
        return ChunkInput(chunk, reach, top - above, left - before, samples, inside)

    # Inference

    def _infer(self, item: ChunkInput, options: onnxruntime.RunOptions) -> ChunkResult | TileScores:
        begun = time.perf_counter()
        result, done, skipped = self._inference(item, options)
        with self._lock:
            self.timing.infer += time.perf_counter() - begun if done else 0.0
            self.timing.tiles += done
            self.timing.skipped += skipped
        return result


def _reflected(start: int, length: int, size: int) -> tuple[int, int, int, int]:
    """What to read along an axis of ``size`` pixels for ``[start, start+length)``, and by how much to reflect it.

    As much is read as is reflected: so a pixel beyond the border is the same whatever part is read.

    Returns:
        Pixels before the border; first pixel to read, and the one after the last; pixels beyond the border.
    """
    end = start + length
    before, beyond = max(-start, 0), max(end - size, 0)
    first = max(min(start, size - 1 - beyond), 0)
    return before, first, min(max(end, before + 1), size), beyond
