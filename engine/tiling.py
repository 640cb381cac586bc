"""The plan of a run: chunks to read and write, tiles to infer, the halo around them.

A *tile* is what the network sees at once: a core that is kept, and a halo around it that is
cropped.  A *chunk* is what is read and written at once: one or more tiles.  Chunks run down strips
of limited width, so that the halo of one chunk is still in GDAL's block cache from the last, and
memory depends on neither the width nor the height of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ModelError
from .damaged_graph import reads_graph
from .network import Network
from .receptive_field import tensor_shapes

#: Memory that activations may take, in bytes, over all workers.
ACTIVATION_BUDGET = 320 * 1024 * 1024
#: Pixels of a chunk's core, at most (unless one tile is larger).
CHUNK_PIXELS = 1 << 20
# Memory for the sums of blended scores, and for the scores of one group of tiles, in bytes.
_BLENDING_BUDGET, _GROUP_BUDGET = 64 << 20, 16 << 20
# Windows per run: more do not make it faster.
_MOST_WINDOWS = 1024
# Side of blocks of the files that we write.
OUTPUT_BLOCK = 512
# Kept part of a tile: small ones stay in the processor's cache, large ones waste less on the halo.
_CORES = (256, 384, 512, 768, 1024, 1536, 2048)
_WASTE = 1.15


@dataclass(frozen=True)
class Rectangle:
    """A window of pixels: first row and column, height and width."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class BlendedRow:
    """One row of blended tiles within a strip.

    Args:
        left, width: the strip's columns.
        first, last: whether it is the strip's first or last.
        chunks: its tiles' cores, in groups that are read and run together.
    """

    left: int
    width: int
    first: bool
    last: bool
    chunks: list[Rectangle]


@dataclass(frozen=True)
class Plan:
    """How a region is cut up.

    Args:
        region: the output pixels, in the raster's own grid.
        core: kept part of a tile, rows and columns.
        halo: pixels around it that the network sees and that are cropped.
        stride: tile origins are multiples of it in the raster's grid.
        batch: tiles per run.
        chunk: rows and columns of a chunk.
        strip: width of a strip in pixels.
        exact: whether the result equals one run over the whole image.
        why: where not, the reason.
        workers: threads that run the network side by side.
        threads: threads inside each run.
        fixed: the network's fixed input size, or None.
        margin: rows and columns that the network's output lacks on each side of a tile.
        smooth: whether tiles are blended over their halos instead of cut.
        window: side of the window of a network that sees one around each pixel, or None.
        raster: rows and columns of the whole raster.
    """

    region: Rectangle
    core: tuple[int, int]
    halo: int
    stride: int
    batch: int
    chunk: tuple[int, int]
    strip: int
    exact: bool
    why: str
    workers: int
    threads: int
    fixed: tuple[int, int] | None = None
    margin: tuple[int, int] = (0, 0)
    smooth: bool = False
    window: tuple[int, int] | None = None
    raster: tuple[int, int] = (0, 0)

    def chunks(self) -> Iterator[Rectangle]:
        """The chunks, strip by strip, from top to bottom.

        Cuts lie at multiples of the chunk's size in the raster's own grid (not the region's), so that
        blocks are read once and tiles do not depend on the area asked for.  Where tiles are blended,
        chunks are the whole cores of tiles that reach into the region.
        """
        if self.smooth:
            for row in self.blended_rows():
                yield from row.chunks
            return
        region = self.region
        for left, width in _cuts(region.column, region.width, self.strip):
            for top, height in _cuts(region.row, region.height, self.chunk[0]):
                for column, columns in _cuts(left, width, self.chunk[1]):
                    yield Rectangle(top, column, height, columns)

    def tiles(self, chunk: Rectangle) -> Iterator[Rectangle]:
        """The cores of the tiles of a chunk."""
        for row, height in _cuts(chunk.row, chunk.height, self.core[0]):
            for column, width in _cuts(chunk.column, chunk.width, self.core[1]):
                yield Rectangle(row, column, height, width)

    def blended_rows(self) -> Iterator[BlendedRow]:
        """Where tiles are blended: rows of tiles, strip by strip, from top to bottom."""
        region, (rows, columns), halo = self.region, self.core, self.halo
        first = max((region.row - halo) // rows, 0)
        last = min((region.row + region.height - 1 + halo) // rows, (self.raster[0] - 1) // rows)
        for left, width in _cuts(region.column, region.width, self.strip):
            start = max((left - halo) // columns, 0)
            end = min((left + width - 1 + halo) // columns, (self.raster[1] - 1) // columns)
            group = self.chunk[1] // columns
            for row in range(first, last + 1):
                chunks = [
                    Rectangle(row * rows, column * columns, rows, (min(column + group, end + 1) - column) * columns)
                    for column in range(start, end + 1, group)
                ]
                yield BlendedRow(left, width, row == first, row == last, chunks)

    def reach(self, chunk: Rectangle) -> Rectangle:
        """The pixels whose class a chunk has a say in: itself, and around it where tiles are blended."""
        if not self.smooth:
            return chunk
        region, halo = self.region, self.halo
        top, left = max(chunk.row - halo, region.row), max(chunk.column - halo, region.column)
        bottom = min(chunk.row + chunk.height + halo, region.row + region.height)
        right = min(chunk.column + chunk.width + halo, region.column + region.width)
        return Rectangle(top, left, bottom - top, right - left)

    def pixels(self) -> int:
        """Number of output pixels."""
        return self.region.height * self.region.width


def _cuts(start: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut ``[start, start+length)`` at multiples of ``step``: yields first index and length."""
    end = start + length
    while start < end:
        stop = min((start // step + 1) * step, end)
        yield start, stop - start
        start = stop


@reads_graph
def make_plan(
    network: Network,
    region: Rectangle,
    block: tuple[int, int],
    raster_width: int,
    tile: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    threads: int = 1,
    mode: str = "exact",
    raster_height: int = 0,
) -> Plan:
    """Choose tile, batch, chunk and number of workers.

    Args:
        network: what will run.
        region: output pixels in the raster's grid.
        block: rows and columns of the input file's blocks.
        raster_width: width of the raster, in pixels.
        tile: side of a tile's kept core asked for, in pixels; rounded up to the total stride.
        overlap: halo asked for, in pixels; a larger one than needed is used, a smaller one only where
            no halo makes the result exact.
        batch: tiles per run asked for.
        threads: threads in all.
        raster_height: height of the raster, in pixels; 0: the region reaches to its end.
        mode: one of :data:`.job.MODES`; networks of single pixels and windows have no tiles that could be blended.
    """
    if network.kind == "window":
        return _window_plan(network, region, block, raster_width, tile, batch, threads)
    stride, margin = network.field.stride, network.field.margin
    exact, why = network.field.exact, network.field.why
    smooth = mode == "smooth" and not network.pixelwise
    fixed = network.tile
    if smooth:
        exact, why = False, "Overlapping tiles are blended (smooth)."
    if fixed is not None and not exact and stride > min(fixed) // 4:
        # A network that takes tiles of its one size only takes them anywhere; steps of most of a tile would leave
        # no room for overlaps.
        stride = 1
    if smooth:
        halo = _smooth_halo(network, overlap, stride)
    elif exact:
        halo = max(network.field.halo, _up(overlap or 0, stride))
    else:
        halo = _up(max(64 if overlap is None else overlap, *margin), stride)
    if fixed is not None:
        if exact and min(fixed) - 2 * halo < stride:
            # More overlap than the fixed tile has room for: what the network needs is enough.
            halo = network.field.halo
        core, halo, exact, why = _core_of_fixed(fixed, halo, stride, exact, why, margin)
        memory = activation_bytes(network) * fixed[0] * fixed[1]
        workers = threads if memory * max(network.batch, 1) * threads <= ACTIVATION_BUDGET else 1
    else:
        side, workers = _free_core(network, halo, stride, threads)
        if tile is not None:
            side = _up(max(tile, 1), stride)
        elif not exact and network.card.tile > 2 * halo + stride:
            # Where the size of the tile matters, the best one is that of the training.
            side = (network.card.tile - 2 * halo) // stride * stride
        elif smooth:
            # The scores of a tile wait until its neighbours are there.
            most = math.isqrt(int(_GROUP_BUDGET / _score_bytes(network))) - 2 * halo
            side = min(side, _up(next((core for core in reversed(_CORES) if core <= most), _CORES[0]), stride))
        core = (side, side)
    if network.batch and not network.pixelwise:
        batch = network.batch
    if smooth:
        chunk, strip = _smooth_chunk(network, core, halo, raster_width)
    else:
        chunk, strip = _chunk(core, halo, block, raster_width, batch or 1)
    return Plan(
        region=region,
        core=core,
        halo=halo,
        stride=stride,
        batch=max(batch or 1, 1),
        chunk=chunk,
        strip=strip,
        exact=exact,
        why=why,
        workers=workers,
        threads=max(threads // workers, 1),
        fixed=fixed,
        margin=margin,
        smooth=smooth,
        raster=(raster_height or region.row + region.height, raster_width),
    )


def _smooth_halo(network: Network, overlap: int | None, stride: int) -> int:
    """Half of what neighbouring tiles share."""
    margin = max(network.field.margin)
    if overlap is not None:
        wanted = overlap
    elif network.tile is not None:
        wanted = min(network.tile) // 8
    else:
        wanted = 64
    # The blending needs a pixel beyond what the output lacks.
    return _up(max(wanted, margin + 1), stride)


def _score_bytes(network: Network) -> int:
    """Bytes of a pixel's scores, and of their weight."""
    return 4 * sum(len(head.card.classes) + 1 for head in network.heads)


def _smooth_chunk(network: Network, core: tuple[int, int], halo: int, raster_width: int) -> tuple[tuple[int, int], int]:
    """Rows and columns of a group of tiles, and the width of a strip, by what their scores may take.

    Tiles at the edge of a strip are run for both of its neighbours, so wide strips cost less.
    """
    per_pixel = _score_bytes(network)
    rows, columns = core[0] + 2 * halo, core[1]
    tiles = int(_GROUP_BUDGET / (per_pixel * rows * (columns + 2 * halo)))
    columns *= min(max(tiles, 1), max(CHUNK_PIXELS // (core[0] * core[1]), 1))
    strip = int(_BLENDING_BUDGET / (per_pixel * rows))
    strip = min(max(strip // columns, 1) * columns, _up(raster_width, columns))
    return (core[0], columns), strip


def _window_plan(
    network: Network,
    region: Rectangle,
    block: tuple[int, int],
    raster_width: int,
    tile: int | None,
    batch: int | None,
    threads: int,
) -> Plan:
    """The plan for a network that sees a window around each pixel; a batch counts windows."""
    assert network.tile is not None
    core = (tile or 256, tile or 256)
    per_window = activation_bytes(network) * math.prod(network.tile)
    fitting = max(int(ACTIVATION_BUDGET / threads / per_window), 1)
    chosen = network.batch or batch or min(fitting, _MOST_WINDOWS)
    workers = threads if chosen <= fitting else 1
    halo = max(side // 2 for side in network.tile)
    chunk, strip = _chunk(core, halo, block, raster_width, 1)
    return Plan(
        region, core, halo, 1, chosen, chunk, strip, True, "", workers, max(threads // workers, 1), window=network.tile
    )


def _up(value: int, step: int) -> int:
    return math.ceil(value / step) * step


def _core_of_fixed(
    fixed: tuple[int, int], halo: int, stride: int, exact: bool, why: str, margin: tuple[int, int]
) -> tuple[tuple[int, int], int, bool, str]:
    """Kept part of a tile whose size the network fixes; the halo shrinks where nothing would be left."""
    smallest = min(fixed)
    if smallest - 2 * halo < stride:
        if exact:
            why = (
                f"The network's fixed tile of {smallest} pixels is smaller than its receptive field "
                f"(a halo of {halo} pixels is needed on each side)."
            )
        exact = False
        # Never less than what the output lacks.
        halo = max((smallest // 4) // stride * stride, _up(max(margin), stride))
        if any(margin) and smallest - 2 * halo < stride:
            raise ModelError(
                f"The network's fixed tile of {smallest} pixels gives too few pixels for a map (it moves in steps of "
                f"{stride}): export it with a larger size."
            )
    core = tuple(max((side - 2 * halo) // stride * stride, 1) for side in fixed)
    return (core[0], core[1]), halo, exact, why


def _free_core(network: Network, halo: int, stride: int, threads: int) -> tuple[int, int]:
    """Side of the kept part, and workers: the smallest that wastes little on the halo and fits in memory."""
    # A batch that the network fixes is never less.
    per_pixel = activation_bytes(network) * (1 if network.pixelwise else max(network.batch, 1))

    def fits(core: int, workers: int) -> bool:
        return per_pixel * (core + 2 * halo) ** 2 * workers <= ACTIVATION_BUDGET

    frugal = next((core for core in _CORES if (core + 2 * halo) ** 2 <= _WASTE * core**2), _CORES[-1])
    if fits(frugal, threads):
        return _up(frugal, stride), threads
    best = max((core for core in _CORES if core <= frugal and fits(core, 1)), default=_CORES[0])
    return _up(best, stride), 1


def activation_bytes(network: Network) -> float:
    """Bytes of activations per input pixel at the fullest moment of a run, estimated from the graph."""
    if network.pixelwise:
        widest = max((tensor.dims[-1] for tensor in network.model.graph.initializer if tensor.dims), default=64)
        return 3.0 * 4 * max(int(widest), len(network.card.bands))
    probe = 256 if network.tile is None else network.tile[0] if network.kind in ("window", "patch") else 0
    area = probe * probe if probe else (network.tile or (1, 1))[0] * (network.tile or (1, 1))[1]
    shapes = tensor_shapes(network.model, network.card.input_name, probe or 1)
    bytes_of = {name: 4.0 * math.prod(shape[1:]) for name, shape in shapes.items() if len(shape) >= 4}
    last_use: dict[str, int] = {}
    for index, node in enumerate(network.model.graph.node):
        for name in node.input:
            last_use[name] = index
    live = peak = 0.0
    for index, node in enumerate(network.model.graph.node):
        live += sum(bytes_of.get(name, 0) for name in node.output)
        peak = max(peak, live)
        live -= sum(bytes_of.get(name, 0) for name in {*node.input} if last_use.get(name) == index)
    # Convolutions reorder and unfold into buffers of their own.
    return 1.5 * peak / area if peak else 4096.0


def _chunk(
    core: tuple[int, int], halo: int, block: tuple[int, int], raster_width: int, batch: int
) -> tuple[tuple[int, int], int]:
    """Rows and columns of a chunk, and the width of a strip, in pixels.

    Chunks are whole tiles; where they can be, they are also whole blocks of the input, each decoded once.
    """
    rows = core[0]
    if block[1] >= raster_width and block[0] < 64:
        # Rows stored as strips: every column of a chunk costs the whole row, so chunks span the width.
        columns = _up(raster_width, core[1])
        while rows * 2 * columns <= CHUNK_PIXELS:
            rows *= 2
        return (rows, columns), columns
    while rows < max(block[0], OUTPUT_BLOCK) and rows * 2 * core[1] <= CHUNK_PIXELS:
        rows *= 2
    columns = core[1]
    while (rows * columns * 2 <= CHUNK_PIXELS or rows * columns < core[0] * core[1] * batch) and columns < raster_width:
        columns *= 2
    # A strip of about 4096 pixels: wide enough that re-reading its edges costs little, narrow enough
    # that a row of its blocks stays in the cache.
    strip = _up(max(4096, columns), columns)
    return (rows, columns), strip
