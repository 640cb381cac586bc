"""Writing rasters: streamed into a working file, finished as a cloud-optimised GeoTIFF.

A COG holds its overviews before the full image, so it cannot be written in one pass: chunks go to
a tiled working file first, in any order; ``finish`` makes the COG from it with GDAL's own driver.
Both lie in a hidden folder beside the result, and nothing has its final name until all is complete.
"""

from __future__ import annotations

import errno
import glob
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
import rasterio.windows
from rasterio._err import CPLE_BaseError  # what GDAL reports while it copies; rasterio.errors has no name for it
from rasterio.crs import CRS
from rasterio.windows import Window

from ..errors import OutputError
from ..progress import Monitor
from .tiff import is_whole
from .tiling import OUTPUT_BLOCK, Rectangle

# Creation options of every COG that we write, whatever is in it.
COG_OPTIONS: dict[str, str] = {
    "driver": "COG",
    "COMPRESS": "DEFLATE",
    "BLOCKSIZE": str(OUTPUT_BLOCK),
    "BIGTIFF": "IF_SAFER",
}
# The working file is written and read once: the quickest compression that still shrinks maps.
_WORKING_OPTIONS: dict[str, object] = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": OUTPUT_BLOCK,
    "blockysize": OUTPUT_BLOCK,
    "compress": "ZSTD",
    "zstd_level": 1,
    "sparse_ok": True,
    "BIGTIFF": "IF_SAFER",
}

#: Name of the thread in which GDAL may still be at work after a cancelled run.
LEFT_BEHIND = "thematica-cog"


class WorkFolder:
    """A hidden folder beside the results, for files that are not complete yet.

    Its name tells whose it is: a run that was killed leaves its folder behind, and the next run for the
    same result on the same machine removes it.

    Args:
        output: the result's final path.

    Raises:
        OutputError: the folder of the result is missing or cannot be written to.
    """

    def __init__(self, output: Path) -> None:
        parent = output.parent
        if not parent.is_dir():
            raise OutputError(f"The folder “{parent}” does not exist; create it or choose another place.")
        owner = f".{output.stem}-{socket.gethostname()}-"
        try:
            for left in parent.glob(f"{glob.escape(owner)}*.part"):
                if not _is_alive(left.name[len(owner) :].split("-")[0]):
                    shutil.rmtree(left, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(prefix=f"{owner}{os.getpid()}-", suffix=".part", dir=parent))
        except OSError as error:
            raise OutputError(
                f"Nothing can be written in “{parent}” ({error.strerror}): choose another place for the result.",
                repr(error),
            ) from error

    def remove(self) -> None:
        """Delete the folder and what is left in it."""
        for _ in range(20):
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                return
            # A thread that was left behind has just made another file.
            time.sleep(0.05)


def _is_alive(process: str) -> bool:
    """Whether a process of that number runs; True where that cannot be found out."""
    # On Windows os.kill would end the process instead of asking for it.
    if os.name != "posix" or not process.isdigit():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class RasterWriter:
    """One raster of a result: takes chunks in any order, ends as a COG.

    Args:
        work: folder for the working file.
        name: file name of the result.
        region: the part of the input's grid that the result covers.
        crs, transform: of the *input*; the result's transform is that of its region.
        data_type: of the samples.
        bands: number of bands.
        nodata: code of missing pixels.
        colors: colour table (value → red, green, blue, alpha) for classes.
        descriptions: one per band.
        tags: metadata of the file.
    """

    def __init__(
        self,
        work: WorkFolder,
        name: str,
        region: Rectangle,
        crs: CRS | None,
        transform: rasterio.Affine,
        data_type: str,
        bands: int = 1,
        nodata: float | None = None,
        colors: dict[int, tuple[int, int, int, int]] | None = None,
        descriptions: list[str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        self.region = region
        self._is_classes = colors is not None
        self._working = work.path / f"working-{name}"
        self.finished = work.path / name
        origin = rasterio.windows.transform(Window(region.column, region.row, region.width, region.height), transform)
        with writing(name):
            self._dataset = rasterio.open(
                self._working,
                "w",
                **_WORKING_OPTIONS,
                width=region.width,
                height=region.height,
                count=bands,
                dtype=data_type,
                crs=crs,
                # An identity transform means "not georeferenced"; written out it would become coordinates.
                **({} if origin.is_identity else {"transform": origin}),
                nodata=nodata,
                interleave="band",
            )
            if colors is not None:
                self._dataset.write_colormap(1, colors)
            for index, description in enumerate(descriptions or [], start=1):
                self._dataset.set_band_description(index, description)
            self._dataset.update_tags(**(tags or {}))
        self._name = name

    def write(self, samples: np.ndarray, chunk: Rectangle) -> None:
        """Write one chunk: (rows, columns) or (bands, rows, columns), placed in the input's grid.

        Raises:
            OutputError: the disk is full or gone.
        """
        window = Window(chunk.column - self.region.column, chunk.row - self.region.row, chunk.width, chunk.height)
        with writing(self._name):
            if samples.ndim == 2:
                self._dataset.write(samples, 1, window=window)
            else:
                self._dataset.write(samples, window=window)

    def finish(self, threads: int, monitor: Monitor) -> Path:
        """Make the COG in the working folder and return its path.

        Raises:
            OutputError: the disk is full or gone.
            Cancelled: the monitor was asked to cancel.
        """
        with writing(self._name):
            self._dataset.close()
            _check_whole(self._working)
            _unless_cancelled(monitor, lambda: write_cog(self._working, self.finished, threads, self._is_classes))
            _check_whole(self.finished)
            self._working.unlink()
        return self.finished

    def close(self) -> None:
        """Close the working file without finishing."""
        self._dataset.close()


def _unless_cancelled(monitor: Monitor, function: Callable[[], None]) -> None:
    """Run what cannot be interrupted (GDAL makes a large COG for minutes) in a thread that is left behind on cancel."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run, name=LEFT_BEHIND, daemon=True)
    thread.start()
    while thread.is_alive():
        monitor.check()
        thread.join(0.1)
    if failures:
        raise failures[0]


def _check_whole(path: Path) -> None:
    if not is_whole(path):
        raise OSError(errno.ENOSPC, "cut off, though nothing was reported", str(path))


def write_cog(working: Path, finished: Path, threads: int, classes: bool) -> None:
    """Make a COG from any raster file (the same calls that a benchmark of plain GDAL uses)."""
    rasterio.shutil.copy(
        working,
        finished,
        **COG_OPTIONS,
        NUM_THREADS=str(threads),
        # Codes cannot be averaged: an overview pixel is the most frequent class under it.
        OVERVIEW_RESAMPLING="MODE" if classes else "AVERAGE",
        **({} if classes else {"PREDICTOR": "YES"}),
    )


class _ErrorCollector(logging.Handler):
    """Collects what GDAL reports while it writes: some failures (a full disk at close) are only logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn every failure to write, also those that GDAL only logs, into one sentence.

    Raises:
        OutputError: something could not be written.
    """
    collector = _ErrorCollector()
    logger = logging.getLogger("rasterio")
    logger.addHandler(collector)
    try:
        yield
    except (rasterio.errors.RasterioError, CPLE_BaseError, OSError) as error:
        raise OutputError(
            f"“{name}” could not be written: is the disk full or gone? Nothing was changed; make room or choose "
            "another place.",
            "; ".join([repr(error), *collector.messages])[:2000],
        ) from error
    finally:
        logger.removeHandler(collector)
    if collector.messages:
        raise OutputError(
            f"“{name}” could not be written: is the disk full or gone? Nothing was changed; make room or choose "
            "another place.",
            "; ".join(collector.messages)[:2000],
        )


def move_into_place(finished: dict[Path, Path]) -> None:
    """Give complete files their final names, all or none: ``{complete file: final path}``, in order.

    Raises:
        OutputError: a final path cannot be replaced (open in another program, read-only).
    """
    replaced: list[tuple[Path, bool, Path | None]] = []
    for source, target in finished.items():
        try:
            existed = target.exists()
            kept = _second_name(target, source.with_name(source.name + ".before"))
            os.replace(source, target)
            replaced.append((target, existed, kept))
        except OSError as error:
            for done, was_there, before in reversed(replaced):
                if before is not None:
                    os.replace(before, done)
                elif not was_there:
                    done.unlink(missing_ok=True)
            raise OutputError(
                f"“{target}” cannot be replaced ({error.strerror}): close it in other programs or choose another name.",
                repr(error),
            ) from error


def _second_name(path: Path, name: Path) -> Path | None:
    """Keep an existing file under a second name too; None where there is none, or the disk knows no links."""
    try:
        os.link(path, name)
    except OSError:
        return None
    return name
