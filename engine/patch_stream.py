"""The stream of patches: chunks of the raster are read, cut into patches, and run through the network in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
from rasterio.windows import Window

from ..errors import ModelError
from ..progress import Monitor
from .area_of_interest import AreaOfInterest
from .in_order import run_in_order
from .inference import checked_outputs
from .network import Network
from .patch_grid import LEAST_VALID, PatchGrid
from .raster import RasterSource
from .session import Session
from .tiling import ACTIVATION_BUDGET, Rectangle, activation_bytes

# Patches per run: more do not make it faster, but coarser to cancel.
_MOST_PATCHES = 64
# Samples of a batch, over all bands.
_MOST_SAMPLES = 1 << 24


@dataclass
class PatchTiming:
    """Seconds that each stage was busy (threads of one stage added up), and counts of patches."""

    read: float = 0.0
    infer: float = 0.0
    write: float = 0.0
    patches: int = 0
    without_data: int = 0


@dataclass
class PatchChunk:
    """A part of the grid, read.

    Args:
        place: which patches, in the grid.
        samples: (C, rows, columns) of all pixels that they see; None where no patch is run.
        wanted: which patches lie in the area: (rows, columns).
        shares: share of each patch's pixels that have data: (rows, columns).
        kept: which patches are run: (rows, columns).
    """

    place: Rectangle
    samples: np.ndarray | None
    wanted: np.ndarray
    shares: np.ndarray
    kept: np.ndarray


@dataclass
class PatchResult:
    """The probabilities of the patches of a chunk that were run.

    Args:
        place: which part of the grid.
        rows, columns: (n,) of each patch in the grid.
        shares: (n,) share of pixels with data.
        probabilities: (n, K).
        without_data: how many patches of the area were left out.
    """

    place: Rectangle
    rows: np.ndarray
    columns: np.ndarray
    shares: np.ndarray
    probabilities: np.ndarray
    without_data: int


def choose_batch(network: Network, side: int, asked: int | None, threads: int) -> tuple[int, int]:
    """Patches per run, and how many runs side by side: as many as memory for activations allows.

    Args:
        network: what will run; its patch size is known.
        side: of a patch, in pixels.
        asked: patches per run asked for.
        threads: threads in all.
    """
    per_patch = activation_bytes(network) * side * side
    fitting = max(int(ACTIVATION_BUDGET / threads / per_patch), 1)
    samples = max(_MOST_SAMPLES // (side * side * len(network.card.bands)), 1)
    batch = network.batch or asked or min(fitting, samples, _MOST_PATCHES)
    # Small batches use one core best; a batch that fills the memory alone gets all of them.
    return batch, threads if batch <= fitting else 1


@dataclass
class PatchStream:
    """Runs a network on the patches of a raster.

    Args:
        source: where samples come from; its bands are chosen.
        session: what runs the network.
        grid: where the patches lie.
        area: patches with their middle outside are left out; None for all.
        fill: per band, the sample that stands for a missing one.
        channels: scores per patch that the network must give.
        batch: patches per run.
        workers: runs side by side.
        monitor: hears of progress, and says when to stop.
    """

    source: RasterSource
    session: Session
    grid: PatchGrid
    area: AreaOfInterest | None
    fill: np.ndarray
    channels: int
    batch: int
    workers: int
    monitor: Monitor
    timing: PatchTiming = field(default_factory=PatchTiming)

    def run(self, write: Callable[[PatchResult], None]) -> PatchTiming:
        """Classify: calls ``write`` in this thread for every chunk, in the grid's order.

        Raises:
            Cancelled: the monitor was asked to cancel.
            ThematicaError: whatever failed in reading, inference or writing.
        """
        self._lock = threading.Lock()
        started = time.monotonic()
        region = self.grid.region
        total = region.height * region.width
        # What one patch of the grid adds to the ground that is done, in pixels.
        pixels = min(self.grid.stride, self.grid.side) ** 2
        done = 0
        pieces: list[_Piece] = []

        def take(piece: _Piece) -> None:
            nonlocal done
            pieces.append(piece)
            if piece.last:
                begun = time.perf_counter()
                write(_together(pieces))
                pieces.clear()
                self.timing.write += time.perf_counter() - begun
            done += piece.weight
            elapsed = max(time.monotonic() - started, 1e-6)
            rate = done / elapsed
            # The last tenth is for styles, overviews and compression.
            self.monitor.progress("Classifying", 0.9 * done / total, rate * pixels, (total - done) / rate)

        run_in_order(self._batches(), self._infer, self.workers, take, self.monitor)
        return self.timing

    # -- reading ---------------------------------------------------------------------------------------

    def _batches(self) -> Iterator[_Batch]:
        for place in self.grid.chunks(self.source.block_shape):
            begun = time.perf_counter()
            chunk = self.read(place)
            self.timing.read += time.perf_counter() - begun
            rows, columns = np.nonzero(chunk.kept)
            self.timing.without_data += int(chunk.wanted.sum()) - len(rows)
            count = max(-(-len(rows) // self.batch), 1)
            for index in range(count):
                here = slice(index * self.batch, (index + 1) * self.batch)
                # What the chunk adds to progress is shared by its batches.
                size = place.height * place.width
                weight = size * (index + 1) // count - size * index // count
                yield _Batch(chunk, rows[here], columns[here], index == count - 1, weight)

    def read(self, place: Rectangle) -> PatchChunk:
        """Read a part of the grid; missing pixels are filled, and beyond the raster's border it is reflected."""
        grid, source = self.grid, self.source
        wanted = self._wanted(place)
        nothing = np.zeros((place.height, place.width), bool)
        if not wanted.any():
            return PatchChunk(place, None, wanted, nothing.astype(np.float64), nothing)
        pixels = grid.pixels_of(place)
        bottom, right = pixels.row + pixels.height, pixels.column + pixels.width
        pads = (max(bottom - grid.height, 0), max(right - grid.width, 0))
        # A reflected patch needs as many pixels before the border as lie beyond it, and the one at the border.
        top = min(pixels.row, grid.height - 1 - pads[0])
        left = min(pixels.column, grid.width - 1 - pads[1])
        window = Window(left, top, right - pads[1] - left, bottom - pads[0] - top)
        samples, valid = source.read(window)
        if valid is not None:
            missing = ~valid
            for band, fill in zip(samples, self.fill, strict=True):
                band[missing] = fill
        source.fill_single_bands(samples, self.fill)
        if any(pads):
            samples = np.pad(samples, ((0, 0), (0, pads[0]), (0, pads[1])), mode="reflect")
        down, across = pixels.row - top, pixels.column - left
        samples = samples[:, down:, across:]
        if valid is None and not any(pads):
            shares = np.ones((place.height, place.width))
        else:
            inside = np.zeros((pixels.height, pixels.width), bool)
            seen = inside[: pixels.height - pads[0], : pixels.width - pads[1]]
            seen[:] = True if valid is None else valid[down:, across:]
            shares = _shares(inside, grid.side, grid.stride)
        kept = wanted & (shares >= LEAST_VALID)
        return PatchChunk(place, samples if kept.any() else None, wanted, shares, kept)

    def _wanted(self, place: Rectangle) -> np.ndarray:
        """Which patches have their middle in the area."""
        everything = np.ones((place.height, place.width), bool)
        if self.area is None:
            return everything
        rows, columns = self.grid.centres(place)
        top, left = int(rows[0]), int(columns[0])
        mask = self.area.mask(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1)
        return everything if mask is None else mask[np.ix_(rows - top, columns - left)]

    # -- inference ---------------------------------------------------------------------------------------

    def _infer(self, batch: _Batch, options: onnxruntime.RunOptions) -> _Piece:
        chunk, grid = batch.chunk, self.grid
        rows, columns = batch.rows + chunk.place.row, batch.columns + chunk.place.column
        shares = chunk.shares[batch.rows, batch.columns]
        without_data = int(chunk.wanted.sum() - chunk.kept.sum()) if batch.last else 0
        piece = _Piece(chunk.place, rows, columns, shares, None, without_data, batch.last, batch.weight)
        if chunk.samples is None:
            return piece
        begun = time.perf_counter()
        count = len(batch.rows)
        # A network with a fixed batch gets its last batch filled up with copies.
        size = max(count, self.session.deployment.batch)
        patches = np.empty((size, len(chunk.samples), grid.side, grid.side), chunk.samples.dtype)
        for index, (row, column) in enumerate(zip(batch.rows * grid.stride, batch.columns * grid.stride, strict=True)):
            patches[index] = chunk.samples[:, row : row + grid.side, column : column + grid.side]
        patches[count:] = patches[count - 1]
        piece.probabilities = run_patches(self.session, patches, self.channels, options)[:count]
        with self._lock:
            self.timing.infer += time.perf_counter() - begun
            self.timing.patches += count
        return piece


def run_patches(
    session: Session, patches: np.ndarray, channels: int, options: onnxruntime.RunOptions | None = None
) -> np.ndarray:
    """The probabilities of a batch of patches: (N, K) float32.

    Args:
        session: of a deployment that gives probabilities only.
        patches: (N, C, p, p) as stored.
        channels: scores per patch that the network must give.
        options: of this thread.

    Raises:
        ModelError: the network fails, gives NaN, or does not do what its card says.
    """
    outputs = checked_outputs(session.run(patches, options), 0, channels, patches.shape, None)
    probabilities = outputs["probabilities"]
    if probabilities.ndim != 2 or len(probabilities) != len(patches):
        shape = " × ".join(str(side) for side in probabilities.shape)
        raise ModelError(
            f"The network turned {len(patches)} patches into a tensor of {shape} numbers, where one score per patch "
            "and class is needed: its card belongs to another network, or must be corrected."
        )
    return probabilities


@dataclass
class _Batch:
    """Patches of one run, by row and column within their chunk."""

    chunk: PatchChunk
    rows: np.ndarray
    columns: np.ndarray
    last: bool
    weight: int


@dataclass
class _Piece:
    """What a batch gave; ``last`` of its chunk; ``weight`` in patches of the grid for the progress."""

    place: Rectangle
    rows: np.ndarray
    columns: np.ndarray
    shares: np.ndarray
    probabilities: np.ndarray | None
    without_data: int
    last: bool
    weight: int


def _together(pieces: list[_Piece]) -> PatchResult:
    found = [piece.probabilities for piece in pieces if piece.probabilities is not None]
    return PatchResult(
        pieces[0].place,
        np.concatenate([piece.rows for piece in pieces]),
        np.concatenate([piece.columns for piece in pieces]),
        np.concatenate([piece.shares for piece in pieces]),
        np.concatenate(found) if found else np.zeros((0, 0), np.float32),
        pieces[-1].without_data,
    )


def _shares(inside: np.ndarray, side: int, stride: int) -> np.ndarray:
    """Share of True in every patch of a mask, from sums over all rows and columns before."""
    sums = np.zeros((inside.shape[0] + 1, inside.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(inside, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    low, high = sums[:-side:stride], sums[side::stride]
    counts = high[:, side::stride] - high[:, :-side:stride] - low[:, side::stride] + low[:, :-side:stride]
    shares: np.ndarray = counts / float(side * side)
    return shares
