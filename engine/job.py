"""The jobs: what a door hands to the engine, as options or as one JSON file."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from ..errors import InputError, OutputError
from .scores import PRECISIONS, SCORES

#: How tiles become a map: cut at their cores, or blended where they overlap.
MODES = ("exact", "smooth")
#: How a raster on another grid than the map's may be read.
RESAMPLING = ("nearest", "bilinear", "cubic", "average")

_LEAST = {"tile": 1, "overlap": 0, "batch": 1, "threads": 1, "stride": 1, "patch": 1}
# Beyond these not even one tile of one band fits into memory, and no machine has as many cores.
_MOST = {"tile": 16384, "overlap": 4096, "patch": 4096, "batch": 65536, "threads": 1024}


def check_counts(job: object) -> None:
    """Check the whole numbers of any kind of job.

    Raises:
        InputError: one of them is outside its range.
    """
    for name, lowest in _LEAST.items():
        value = getattr(job, name, None)
        if value is not None and value < lowest:
            raise InputError(f"--{name} must be at least {lowest}, not {_short(value)}.")
        if value is not None and value > _MOST.get(name, value):
            raise InputError(f"--{name} must be at most {_MOST[name]}, not {_short(value)}.")


def check_names(job: object) -> None:
    """Check the texts of any kind of job: most of them name files.

    Raises:
        InputError: one of them cannot be a name.
    """
    waiting = list(vars(job).values())
    while waiting:
        text = waiting.pop(0)
        if isinstance(text, list):
            waiting[:0] = text
        if not isinstance(text, str):
            continue
        readable = text.encode("utf-8", "replace").decode()
        if readable != text:
            raise InputError(f"The name “{readable}” holds bytes that are no text in UTF-8; rename the file or folder.")
        if "\0" in text:
            shown = text.replace("\0", "\\0")
            raise InputError(f"The name “{shown}” holds a character that no name can have; check it.")


@dataclass
class Job:
    """What all jobs share; their entries are the fields of each kind."""

    #: The command of the program that runs such a job.
    command: ClassVar[str] = ""
    #: Entries without which there is nothing to run.
    needed: ClassVar[tuple[str, ...]] = ()

    def report_path(self) -> Path:
        """Where the report goes: ``map.tif`` → ``map.report.json``."""
        values = vars(self)
        return Path(values["report"]) if values["report"] else Path(values["output"]).with_suffix(".report.json")

    def to_dict(self) -> dict[str, Any]:
        """The job as plain values, without what was left open."""
        given = {key: value for key, value in asdict(self).items() if value is not None and value not in ("", False)}
        # 0 is a value that was given, though it equals False; JSON has no NaN.
        zeros = [entry.name for entry in fields(self) if getattr(self, entry.name) == 0]
        given.update({key: getattr(self, key) for key in zeros if not isinstance(getattr(self, key), bool)})
        return {key: "nan" if value != value else value for key, value in given.items()}

    def check(self) -> None:
        """Check what can be checked without opening anything.

        Raises:
            InputError: an option outside its range.
        """
        values = vars(self)
        check_names(self)
        if values["precision"] not in PRECISIONS:
            raise InputError(f"There is no precision “{values['precision']}”; use one of {', '.join(PRECISIONS)}.")
        if values["invalid"] not in ("any", "all"):
            raise InputError(f"“{values['invalid']}” is no rule for missing pixels; use any or all.")
        check_counts(self)
        for name in ("scale", "offset"):
            value = values[name]
            if value is not None and not math.isfinite(value):
                raise InputError(f"--{name} must be a finite number, not {value}.")
        if values["nodata"] is not None and math.isinf(values["nodata"]):
            raise InputError(f"--nodata must be a finite number or nan, not {values['nodata']}.")
        if values["scale"] == 0:
            raise InputError("--scale 0 would make all values equal; give the factor from stored to physical values.")
        threshold = values.get("threshold")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"--threshold must lie between 0 and 1, not {threshold}.")


@dataclass
class RasterJob(Job):
    """What every classification of a raster needs.

    Args:
        rasters: the input files, or folders of products; on whatever grids.
        model: an ONNX file or a name in the store.
        output: the result to make.
        batch: tiles, windows or patches per run, or None to choose.
        bands: ``MODELBAND=RASTERBAND,…``.
        scale, offset: from stored to physical values; None: as the raster declares.
        nodata: replaces the declared nodata.
        card: a card file that replaces the model's own.
        area: a vector file, or (xmin, ymin, xmax, ymax); None: the whole raster.
        area_crs: CRS of an extent; None: the raster's.
        raster_crs: replaces the raster's CRS.
        sensor: a preset of band names; None: guessed where it is unambiguous.
        gsd: ground sampling distance of the map in metres, or ``model``; None: the finest raster's.
        resampling: how rasters on other grids are read; None: as suits each.
        mask: a raster: only pixels where it is neither 0 nor nodata are classified.
        invalid: ``any``: a pixel is missing if one band used is; ``all``: only if all are.
        output_name: the one of the network's outputs to use; None: all that give classes.
        provider: what the network runs on, or several in the order to try; None: the best present.
        precision: ``fp32``; ``fp16``: half precision on a GPU; ``auto``: fp16 where there is a GPU.
        threads: threads in all; None: one per core.
        report: path of the report; None: beside the output.
        overwrite: replace existing results.
    """

    rasters: list[str]
    model: str
    output: str
    batch: int | None = None
    bands: str = ""
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    card: str | None = None
    area: str | list[float] | None = None
    area_crs: str | None = None
    raster_crs: str | None = None
    sensor: str | None = None
    gsd: float | str | None = None
    resampling: str | None = None
    mask: str | None = None
    invalid: str = "any"
    output_name: str | None = None
    provider: str | None = None
    precision: str = "fp32"
    threads: int | None = None
    report: str | None = None
    overwrite: bool = False

    needed: ClassVar[tuple[str, ...]] = ("rasters", "model", "output")
    _suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff")

    def check(self) -> None:
        """See :meth:`Job.check`."""
        if not all([self.rasters, *self.rasters]):
            raise InputError("No raster was given; name at least one image file.")
        super().check()
        _check_gsd(self.gsd)
        if self.resampling is not None and self.resampling not in RESAMPLING:
            raise InputError(f"There is no resampling “{self.resampling}”; use {', '.join(RESAMPLING)}.")
        if Path(self.output).suffix.lower() not in self._suffixes:
            kinds = {".gpkg": "a GeoPackage", ".tif": "a GeoTIFF"}
            wanted = [suffix for suffix in self._suffixes if suffix in kinds]
            raise InputError(
                f"The result “{self.output}” must be {' or '.join(kinds[suffix] for suffix in wanted)}: let its name "
                f"end in {' or '.join(wanted)}."
            )
        if isinstance(self.area, list) and len(self.area) != 4:
            raise InputError("An extent needs four numbers: xmin,ymin,xmax,ymax.")
        if isinstance(self.area, list) and not all(math.isfinite(number) for number in self.area):
            raise InputError("An extent is four numbers, xmin,ymin,xmax,ymax, and finite ones.")


@dataclass
class PixelJob(RasterJob):
    """One run of Classify pixels: a map with a class for every pixel.

    Args:
        mode: ``exact`` stitching, or ``smooth``: overlapping tiles are blended.
        tile: side of a tile's kept core in pixels, or None to choose.
        overlap: halo in pixels, or None to choose.
        confidence, entropy, margin, probabilities: score rasters to make too.
    """

    mode: str = "exact"
    tile: int | None = None
    overlap: int | None = None
    confidence: str | None = None
    entropy: str | None = None
    margin: str | None = None
    probabilities: str | None = None

    command: ClassVar[str] = "classify-pixels"

    def scores(self) -> dict[str, Path]:
        """The score rasters asked for, by name."""
        return {name: Path(getattr(self, name)) for name in SCORES if getattr(self, name)}

    def check(self) -> None:
        """See :meth:`RasterJob.check`."""
        super().check()
        if self.mode not in MODES:
            raise InputError(f"There is no mode “{self.mode}”; use {' or '.join(MODES)}.")


@dataclass
class PatchJob(RasterJob):
    """One run of Classify patches: labels for every patch of the raster.

    Args:
        output: polygons (``.gpkg``), or a raster with one pixel per patch (``.tif``).
        stride: distance of patches in pixels; None: their side, so that they lie side by side.
        threshold: probability from which a label counts; None: the model's own (0.5 for several labels, none for one).
        patch: side of a patch in pixels, for networks that leave it open; None: the model's own.
    """

    stride: int | None = None
    threshold: float | None = None
    patch: int | None = None

    command: ClassVar[str] = "classify-patches"
    _suffixes: ClassVar[tuple[str, ...]] = (".gpkg", ".tif", ".tiff")


@dataclass
class FolderJob(Job):
    """One run of Classify folder: a label for every image file.

    Args:
        folder: where the images lie; its subfolders count too.
        model: a model file or a name in the store.
        output: the table (``.csv``) to make.
        batch: images per run, or None to choose.
        bands: ``MODELBAND=IMAGEBAND,…``.
        scale, offset: from stored to physical values; None: as each image declares.
        nodata: replaces the declared nodata.
        card: a card file that replaces the model's own.
        sensor: a preset of band names; None: guessed where it is unambiguous.
        invalid: ``any``: a pixel is missing if one band used is; ``all``: only if all are.
        output_name: the one of the network's outputs to use; None: the first.
        threshold: probability from which a label counts; None: the model's own (0.5 for several labels).
        provider: what the network runs on, or several in the order to try; None: the best present.
        precision: ``fp32``; ``fp16``: half precision on a GPU; ``auto``: fp16 where there is a GPU.
        threads: threads in all; None: one per core.
        report: path of the report; None: beside the table.
        overwrite: replace existing results.
    """

    folder: str
    model: str
    output: str
    batch: int | None = None
    bands: str = ""
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    card: str | None = None
    sensor: str | None = None
    invalid: str = "any"
    output_name: str | None = None
    threshold: float | None = None
    provider: str | None = None
    precision: str = "fp32"
    threads: int | None = None
    report: str | None = None
    overwrite: bool = False

    command: ClassVar[str] = "classify-folder"
    needed: ClassVar[tuple[str, ...]] = ("folder", "model", "output")

    def check(self) -> None:
        """See :meth:`Job.check`."""
        super().check()
        try:
            if not Path(self.folder).exists():
                raise InputError(f"There is no folder “{self.folder}”; check the path.")
            if not Path(self.folder).is_dir():
                raise InputError(f"“{self.folder}” is a file; name the folder that holds the images.")
        except OSError as error:
            raise InputError(
                f"A folder cannot have this name ({error.strerror}); check the path.", repr(error)
            ) from error
        if Path(self.output).suffix.lower() != ".csv":
            raise OutputError(f"The result “{self.output}” is a table of text: let its name end in .csv.")


def _check_gsd(gsd: float | str | None) -> None:
    if gsd is None or gsd == "model":
        return
    if isinstance(gsd, str) or not math.isfinite(gsd) or gsd <= 0:
        raise InputError(f"--gsd must be a number of metres above 0, or the word model, not {gsd}.")


_Job = TypeVar("_Job", bound=Job)


def read_job(path: str | Path, kind: type[_Job] = PixelJob) -> _Job:  # type: ignore[assignment]
    """Read a job of a kind from a JSON file.

    Raises:
        InputError: no such file, not JSON, or unknown or missing keys.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The job file “{path}” cannot be read: {error.strerror or 'no reason given'}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The job file “{path}” cannot be read: it is not JSON in UTF-8.", repr(error)) from error
    return job_from_dict(content, kind)


def job_from_dict(content: Any, kind: type[_Job] = PixelJob) -> _Job:  # type: ignore[assignment]
    """A job of a kind from plain values.

    Raises:
        InputError: unknown, missing or mistyped keys.
    """
    if not isinstance(content, dict):
        raise InputError("A job is a JSON object.")
    command = content.get("command", kind.command)
    if command != kind.command:
        raise InputError(f"The job is for the command “{_short(command)}”, not {kind.command}.")
    types = get_type_hints(kind)
    known = {entry.name for entry in fields(kind)}
    values = {key: value for key, value in content.items() if key != "command" and value is not None}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"The job has unknown entries: {_short(', '.join(unknown))}.")
    if values.get("nodata") == "nan":
        values["nodata"] = math.nan
    missing = [key for key in kind.needed if not values.get(key)]
    if missing:
        raise InputError(f"The job lacks {', '.join(missing)}.")
    for key, value in values.items():
        allowed = get_args(types[key]) if isinstance(types[key], UnionType) else (types[key],)
        # A whole number is a number; True is none.
        if not any(_is_a(value, option) for option in allowed):
            raise InputError(f"The job's entry “{key}” has the wrong type ({type(value).__name__}).")
        if float in allowed or key == "area":
            _check_numbers(key, value)
    return kind(**values)


def _short(value: object) -> str:
    """As a sentence can hold it."""
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _check_numbers(key: str, value: Any) -> None:
    """JSON's whole numbers have no limit."""
    numbers = value if isinstance(value, list) else [value]
    if any(isinstance(number, int) and abs(number) > sys.float_info.max for number in numbers):
        raise InputError(f"The job's entry “{key}” is too large a number.")


def _is_a(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is list:
        (entry,) = get_args(wanted)
        return isinstance(value, list) and all(_is_a(item, entry) for item in value)
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
