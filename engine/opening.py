"""Opening rasters, and GDAL's settings."""

from __future__ import annotations

import os

import rasterio
import rasterio.errors
from rasterio._err import CPLE_BaseError  # rasterio.errors has no name for it

from ..errors import InputError, UnreadableRasterError

# What rasterio raises for damaged files: GDAL's own errors where a tag is read, and GDAL's message may hold bytes that
# are no text.
READ_ERRORS = (rasterio.errors.RasterioIOError, CPLE_BaseError, UnicodeDecodeError)

# GDAL's shared cache of decoded blocks.  Set by us: its default is a share of the machine's memory.
LEAST_CACHE, MOST_CACHE = 64 << 20, 256 << 20


def gdal_environment(threads: int = 1, cache: int = LEAST_CACHE) -> rasterio.Env:
    """The GDAL settings under which the engine reads and writes.

    Args:
        threads: threads that decode the blocks of one request side by side.
        cache: bytes for decoded blocks; see :meth:`RasterSource.cache_for`.
    """
    return rasterio.Env(
        GDAL_CACHEMAX=cache,
        GDAL_NUM_THREADS=str(threads),
        # A folder with a million files must not be listed to look for side-cars; known names are still tried.
        GDAL_DISABLE_READDIR_ON_OPEN="TRUE",
        GDAL_PAM_ENABLED="YES",
        # Its short way of reading a PNG at once takes what is cut off for zeros, without an error.
        GDAL_PNG_WHOLE_IMAGE_OPTIM="NO",
    )


def open_raster(path: str) -> rasterio.DatasetReader:
    """Open a raster for reading.

    Raises:
        InputError: no such file, or nothing that GDAL can read.
    """
    # A VRT may be given as text instead of a file's name.
    is_text = path.startswith("<")
    # QGIS appends options to a path behind a bar; but a bar may also stand in a file's name.
    plain = path if is_text or os.path.exists(path) else path.split("|")[0]
    looks_local = not plain.startswith(("/vsi", "http:", "https:", "s3:", "<")) and "://" not in plain
    is_subdataset = looks_local and ":" in plain[2:]
    # os.path, not Path: a name that is too long for the system is no file, and no error.
    if looks_local and not is_subdataset and not os.path.exists(plain):
        raise InputError(f"There is no file “{plain}”; check the path.")
    if looks_local and os.path.isfile(plain) and os.path.getsize(plain) == 0:
        raise InputError(f"“{plain}” is empty; it holds no raster.")
    if looks_local and plain.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")):
        raise InputError(f"“{plain}” is an archive: unpack it, and choose the folder or the raster in it.")
    try:
        dataset = rasterio.open(plain)
    except READ_ERRORS as error:
        if looks_local and os.path.exists(plain) and not os.access(plain, os.R_OK):
            raise InputError(f"“{plain}” may not be read; change its permissions.", str(error)) from error
        shown = plain if not is_text else f"{plain[:40]}…"
        raise UnreadableRasterError(
            f"“{shown}” is not a raster that can be read (or it is damaged): choose an image such as a GeoTIFF.",
            str(error),
        ) from error
    if dataset.count == 0:
        names = dataset.subdatasets
        dataset.close()
        hint = f"; it holds several, choose one of them, such as {names[0]}" if names else ""
        raise InputError(f"“{plain}” holds no image bands{hint}.")
    return dataset


def damaged(path: str, error: Exception) -> InputError:
    """The error for a file that can be opened but not read to its end."""
    return InputError(
        f"“{path}” is damaged or cut off: a part of it cannot be read. Copy or download it again.", str(error)
    )
