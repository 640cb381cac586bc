"""Training sets from labelled scenes: single pixels, windows around pixels, or chips with a label per pixel."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from ...errors import InputError
from ...models.label_classes import LabelClass
from ...progress import Monitor
from .description import FORMAT, IGNORED, PARTS, PIXEL_PLACE, TEST, TRAIN, VALIDATION, ClassEntry, Description
from .ground import Ground, grounds
from .pace import Pace
from .scene import UNLABELLED, LabelledScene
from .splits import Samples, Split, SplitOptions, check_split_options, split_samples, summary
from .statistics import class_weights
from .survey import Surveyed, native, read_valid, survey
from .work import Work, writing
from .write import DatasetWriter

#: Sides where none is given.
DEFAULT_SIZE = {"windows": 9, "chips": 128}
_LARGEST_SIZE = {"windows": 255, "chips": 4096}
#: Samples that are cut out at once.
_CHUNK_BYTES = 32 << 20
#: Parts of the whole run, for the progress.
_SURVEYED, _WRITTEN = 0.5, 0.9


@dataclass(frozen=True)
class Length:
    """A length on the ground or in the image.

    Args:
        value: how many.
        unit: ``m`` or ``px``.
    """

    value: float
    unit: str

    def pixels(self, gsd: float | None, option: str) -> int:
        """In whole pixels, at least one unless it is 0.

        Raises:
            InputError: metres, and nobody knows how large a pixel is.
        """
        if self.unit == "px":
            return round(self.value)
        if gsd is None:
            raise InputError(
                f"How many pixels {self.value:g} metres are is not known for these rasters: give {option} in pixels, "
                "such as 64px, or give --gsd."
            )
        return max(round(self.value / gsd), int(self.value > 0))


def parse_length(text: str, option: str) -> Length:
    """Parse ``500``, ``500m`` (metres) or ``64px``.

    Raises:
        InputError: not of that form.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(m|px)?\s*", text)
    if not found or (found[2] == "px" and not float(found[1]).is_integer()):
        raise InputError(f"“{text}” is no length for {option}; give metres, such as 500, or pixels, such as 64px.")
    return Length(float(found[1]), found[2] or "m")


@dataclass(frozen=True)
class BuildOptions:
    """What to make.

    Args:
        kind: ``pixels``, ``windows`` or ``chips``.
        size: side of windows or chips in pixels; 0 for the usual one.
        split: ``blocks``, ``polygons`` or ``random``.
        test, validation: shares.
        seed: settles everything that chance settles.
        block, buffer: see :class:`.splits.SplitOptions`; None to choose.
        cut_polygons: a polygon may be cut where blocks meet.
        most: largest number of samples of a class, chosen by chance; None for all.
        labelled: smallest share of labelled pixels of a chip; with 0 a single one is enough.
        overwrite: a set made with other options may be replaced.
    """

    kind: str = "pixels"
    size: int = 0
    split: str = "blocks"
    test: float = 0.2
    validation: float = 0.1
    seed: int = 0
    block: Length | None = None
    buffer: Length | None = None
    cut_polygons: bool = False
    most: int | None = None
    labelled: float = 0.0
    overwrite: bool = False


def build_dataset(
    outdir: str | Path,
    scenes: Sequence[LabelledScene],
    options: BuildOptions,
    monitor: Monitor,
    extras: Callable[[Path, Description], None] | None = None,
) -> Description:
    """Make a training set, or go on with one that broke off, or find that it is there already.

    Args:
        outdir: folder that will hold it.
        scenes: with the same bands and type of samples.
        options: what to make.
        monitor: gets progress and warnings, and is asked whether to go on.
        extras: adds files (the preview sheet) to the folder before it gets its final name.

    Returns:
        What ``dataset.json`` says.

    Raises:
        InputError: no training set can be made of this, or the folder holds something else.
        OutputError: it cannot be written; what was done is kept.
        Cancelled: the monitor was asked to end; what was done is kept.
    """
    options = _checked(options)
    classes, tables = _classes(scenes)
    _check_scenes(scenes)
    gsd = next((scene.gsd for scene in scenes if scene.gsd), None)
    fingerprint = _fingerprint(scenes, options)
    with Work(Path(outdir), fingerprint, options.overwrite, monitor) as work:
        if work.finished is not None:
            monitor.log("The training set is there already, made of the same inputs with the same options.")
            return work.finished
        build = _Build(scenes, options, classes, tables, gsd, fingerprint, work, monitor)
        description = build.run()
        monitor.check()
        if extras is not None:
            extras(work.path, description)
        build.publish(description)
        return description


class _Build:
    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        options: BuildOptions,
        classes: list[LabelClass],
        tables: list[npt.NDArray[np.int16]],
        gsd: float | None,
        fingerprint: str,
        work: Work,
        monitor: Monitor,
    ) -> None:
        self.scenes, self.options, self.gsd, self.fingerprint = scenes, options, gsd, fingerprint
        self.classes, self.tables = classes, tables
        self.work, self.monitor = work, monitor
        self.kind, self.side = options.kind, options.size
        self.findings: list[str] = []

    def run(self) -> Description:
        found = survey(
            self.scenes,
            self.tables,
            self.kind,
            self.side,
            self.options.labelled,
            self.work,
            self.monitor,
            _SURVEYED,
        )
        self._tell_missing(found)
        self._leave_out_empty_classes(found)
        ground = grounds(self.scenes)
        self.findings += ground.findings
        samples = self._samples(found, ground)
        self.monitor.stage("Splitting", _SURVEYED)
        split = split_samples(samples, self._split_options(), [entry.name for entry in self.classes])
        self.findings += split.findings
        self.monitor.check()
        self._choose(split, samples)
        achieved = summary(split, samples, len(self.classes))
        part = split.part
        del samples
        written = self._write(found, part)
        self.monitor.stage("Shuffling", _WRITTEN)
        result = written.finish(_WRITTEN)
        counts = result.counts
        weights = class_weights(counts.get(TRAIN, [0] * len(self.classes)))
        first = self.scenes[0]
        chips = self.kind == "chips"
        for sentence in self.findings:
            self.monitor.log(sentence, "warning")
        return Description(
            kind=self.kind,
            task="segmentation" if chips else "single-label",
            shape=written.shape,
            dtype=np.dtype(first.dtype).name,
            label_dtype=self._label_dtype,
            bands=list(first.bands),
            gsd=self.gsd,
            ignore_index=IGNORED[self._label_dtype] if chips else None,
            classes=[
                ClassEntry(entry, weight, {name: counts[name][place] if name in counts else 0 for name in PARTS})
                for place, (entry, weight) in enumerate(zip(self.classes, weights, strict=True))
            ],
            split=self._split_json(split, achieved),
            statistics=result.statistics,
            scenes=[self._scene_json(number, ground) for number in range(len(self.scenes))],
            options=_options_json(self.options),
            fingerprint=self.fingerprint,
            shards=result.shards,
            findings=self.findings,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            software=f"Thematica {__version__}",
        )

    def publish(self, description: Description) -> None:
        with writing(self.work.folder):
            description.write(self.work.path)
        self.work.publish()
        self.monitor.progress("Done", 1.0)

    # -- what was found --------------------------------------------------------------------------------

    def _tell_missing(self, found: Surveyed) -> None:
        missing = sum(found.missing)
        if not len(found.records):
            raise InputError(
                "The image has no data where there are labels; choose other labels, or look at its nodata value."
                if missing
                else "No pixel of the image has a label: the labels may lie elsewhere, or be smaller than a pixel; "
                "look at both in QGIS, and at the coordinate system of the labels."
            )
        if missing:
            self.findings.append(f"{missing:,} labelled pixels have no data in the image and were left out.")

    def _leave_out_empty_classes(self, found: Surveyed) -> None:
        """A class without samples cannot be learned; those that remain are renumbered."""
        labels = found.pieces["label"] if self.kind == "chips" else found.records["label"]
        there = np.bincount(labels, minlength=len(self.classes)) > 0
        if there.sum() < 2:
            only = self.classes[int(np.flatnonzero(there)[0])].name
            raise InputError(
                f"There are labels of one class only, “{only}”; a training set needs two or more: draw polygons of "
                "what the class is to be told apart from."
            )
        if not there.all():
            empty = [entry.name for entry, some in zip(self.classes, there, strict=True) if not some]
            shown = ", ".join(f"“{name}”" for name in empty[:5]) + (" and others" if len(empty) > 5 else "")
            self.findings.append(f"No pixel has a label of {shown}; the training set does without.")
            renumbered = np.where(there, np.cumsum(there) - 1, UNLABELLED).astype(np.int16)
            labels[:] = renumbered[labels]
            self.tables = [np.where(table < 0, table, renumbered[table]) for table in self.tables]
            self.classes = [entry for entry, some in zip(self.classes, there, strict=True) if some]

    def _samples(self, found: Surveyed, ground: Ground) -> Samples:
        scene = np.repeat(found.windows["scene"], found.windows["count"])
        several = len(self.scenes) > 1
        row, col = found.records["row"], found.records["col"]
        if several:
            row = row + ground.row[scene]
            col = col + ground.col[scene]
        fixed_parts = np.array([PARTS.index(s.split) if s.split else -1 for s in self.scenes], np.int8)
        chips = self.kind == "chips"
        pieces = found.pieces if chips else found.records
        owner = found.pieces["owner"] if chips else None
        of_piece = scene if owner is None else scene[owner]
        shape = pieces["shape"].astype(np.int64)
        if several:
            drawn = shape >= 0
            of_scene, starts = self._polygons(shape, of_piece)
            shape[drawn] = of_scene[starts[of_piece[drawn]] + shape[drawn]]
        return Samples(
            plane=ground.plane[scene],
            row=np.ascontiguousarray(row, np.int32),
            col=np.ascontiguousarray(col, np.int32),
            side=self.side if self.kind != "pixels" else 1,
            extent=self.side if chips else 1,
            fixed=fixed_parts[scene],
            owner=owner,
            shape=shape,
            label=np.ascontiguousarray(pieces["label"]),
            count=found.pieces["count"].astype(np.int64) if chips else None,
            seen=self._seen(found, scene, ground) if chips else None,
        )

    def _seen(
        self, found: Surveyed, scene: npt.NDArray[np.integer], ground: Ground
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Row and column where the squares begin that chips see of the image.

        With more than half of it beyond the border a chip shows what lies before it, mirrored.
        """
        corners = []
        for axis, size in (("row", "height"), ("col", "width")):
            sizes = np.array([getattr(entry, size) for entry in self.scenes], np.int64)[scene]
            begin = found.records[axis].astype(np.int64)
            beyond = np.maximum(begin + self.side - sizes, 0)
            first = np.maximum(begin - np.maximum(2 * beyond - self.side + 1, 0), 0)
            corners.append((first + getattr(ground, axis)[scene]).astype(np.int32))
        return corners[0], corners[1]

    def _polygons(
        self, shape: npt.NDArray[np.int64], scene: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """A number for each polygon of each scene, the same where it is the same; and where each scene's begin.

        Polygons of one layer are one wherever they are seen, also on images of other grids.  Those of which the scene
        says nothing are counted each on its own.
        """
        counts = np.zeros(len(self.scenes), np.int64)
        np.maximum.at(counts, scene, shape + 1)
        layers: dict[str, list[int]] = {}
        for number, entry in enumerate(self.scenes):
            if entry.polygons is not None:
                counts[number] = len(entry.polygons)
                layers.setdefault(entry.layer, []).append(number)
        starts = np.r_[0, np.cumsum(counts)]
        result = np.arange(starts[-1])
        for numbers in layers.values():
            places = np.concatenate([np.arange(starts[number], starts[number + 1]) for number in numbers])
            features = np.concatenate([np.asarray(self.scenes[number].polygons, np.int64) for number in numbers])
            _, first, same = np.unique(features, return_index=True, return_inverse=True)
            result[places] = places[first][same]
        return result, starts[:-1]

    def _split_options(self) -> SplitOptions:
        o = self.options
        return SplitOptions(
            o.split,
            o.validation,
            o.test,
            o.seed,
            o.block.pixels(self.gsd, "--block") if o.block is not None else None,
            o.buffer.pixels(self.gsd, "--buffer") if o.buffer is not None else None,
            o.cut_polygons,
        )

    def _choose(self, split: Split, samples: Samples) -> None:
        """Keep at most so many samples of a class, each with the same chance."""
        if self.options.most is None:
            return
        chance = np.random.default_rng([self.options.seed, 7])
        kept = split.part >= 0
        for entry in range(len(self.classes)):
            members = np.flatnonzero(kept & (samples.label == entry))
            if len(members) > self.options.most:
                out = chance.choice(len(members), len(members) - self.options.most, replace=False)
                split.part[members[out]] = -1

    # -- writing ---------------------------------------------------------------------------------------

    @property
    def _label_dtype(self) -> str:
        return "uint8" if self.kind == "chips" and len(self.classes) < IGNORED["uint8"] else "int16"

    def _write(self, found: Surveyed, part: npt.NDArray[np.int8]) -> DatasetWriter:
        first = self.scenes[0]
        bands = len(first.bands)
        writer = DatasetWriter(
            self.work,
            task="segmentation" if self.kind == "chips" else "single-label",
            shape=(bands,) if self.kind == "pixels" else (bands, self.side, self.side),
            dtype=first.dtype,
            classes=len(self.classes),
            label_dtype=self._label_dtype,
            place_dtype=PIXEL_PLACE,
            expected={name: int((part == place).sum()) for place, name in enumerate(PARTS)},
            seed=self.options.seed,
            monitor=self.monitor,
            masks=self.kind != "pixels",
            scale=[entry.scale for entry in first.bands],
            offset=[entry.offset for entry in first.bands],
        )
        if writer.complete:
            return writer
        cut = {"pixels": self._kept_values, "windows": self._windows, "chips": self._chips}[self.kind]
        starts = np.r_[0, np.cumsum(found.windows["count"])]
        # Windows that are done, and what was cut out of the next one.
        begin, skip = writer.position or (0, 0)
        pace = Pace("Writing samples")
        for number in range(begin, len(found.windows)):
            done = starts[number] / max(starts[-1], 1)
            stage = pace.words(int(starts[number] - starts[begin]))
            self.monitor.progress(stage, _SURVEYED + (_WRITTEN - _SURVEYED) * float(done))
            first_piece = skip if number == begin else 0
            writer.rest([number, first_piece])
            stretch = slice(int(starts[number]), int(starts[number + 1]))
            those = np.flatnonzero(part[stretch] >= 0)
            if not those.size:
                continue
            window, records = found.windows[number], found.records[stretch][those]
            of = part[stretch][those]
            pieces = islice(cut(found, window, records, those + stretch.start), first_piece, None)
            for piece, (chosen, samples, labels, missing) in enumerate(pieces, start=first_piece + 1):
                places = np.empty(len(samples), PIXEL_PLACE)
                places["scene"] = window["scene"]
                for name in ("row", "col", "shape"):
                    places[name] = records[name][chosen]
                for place, name in enumerate(PARTS):
                    which = of[chosen] == place
                    if which.all():
                        writer.add(name, samples, labels, places, missing)
                    elif which.any():
                        gaps = None if missing is None else missing[which]
                        writer.add(name, samples[which], labels[which], places[which], gaps)
                writer.rest([number, piece])
        return writer

    def _kept_values(
        self, found: Surveyed, window: np.void, records: np.ndarray, numbers: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, None]]:
        """Single pixels, which the survey kept."""
        assert found.values is not None
        first = self.scenes[0]
        dtype = np.dtype(first.dtype).newbyteorder("=")
        begin, end = int(numbers[0]), int(numbers[-1]) + 1
        each = len(first.bands) * dtype.itemsize
        values = np.fromfile(found.values, dtype, count=(end - begin) * len(first.bands), offset=begin * each)
        yield slice(None), values.reshape(-1, len(first.bands))[numbers - begin], records["label"], None

    def _windows(
        self, found: Surveyed, window: np.void, records: np.ndarray, numbers: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Windows around pixels: the pixel is the ``side // 2``-th, and the image is reflected at its border."""
        scene, side = self.scenes[int(window["scene"])], self.side
        half = side // 2
        top, left = int(records["row"].min()) - half, int(records["col"].min()) - half
        height = int(records["row"].max()) - half + side - top
        width = int(records["col"].max()) - half + side - left
        samples, valid = read_reflected(scene, top, left, height, width)
        views = np.lib.stride_tricks.sliding_window_view(samples, (side, side), axis=(1, 2))
        gaps = None if valid is None else np.lib.stride_tricks.sliding_window_view(~valid, (side, side))
        rows, cols = records["row"] - half - top, records["col"] - half - left
        step = max(_CHUNK_BYTES // (samples.itemsize * len(samples) * side * side), 1)
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            cut = views[:, rows[some], cols[some]].transpose(1, 0, 2, 3)
            yield some, cut, records["label"][some], None if gaps is None else gaps[rows[some], cols[some]]

    def _chips(
        self, found: Surveyed, window: np.void, records: np.ndarray, numbers: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Chips: at the border of the scene the image is reflected, and has no labels there."""
        number = int(window["scene"])
        scene, side = self.scenes[number], self.side
        table = np.append(self.tables[number], np.int16(UNLABELLED))
        ignored = IGNORED[self._label_dtype]
        for place in range(len(records)):
            row, col = int(records["row"][place]), int(records["col"][place])
            samples, valid = read_reflected(scene, row, col, side, side)
            labels = table[scene.labels(row, col, side, side)[0]]
            if valid is not None:
                labels[~valid] = UNLABELLED
            stored = np.where(labels == UNLABELLED, ignored, labels).astype(self._label_dtype)
            missing = None if valid is None else ~valid[None]
            yield slice(place, place + 1), samples[None], stored[None], missing

    # -- description -----------------------------------------------------------------------------------

    def _split_json(self, split: Split, achieved: dict[str, Any]) -> dict[str, Any]:
        def both(pixels: int | None) -> dict[str, Any] | None:
            if pixels is None:
                return None
            return {"pixels": pixels, "metres": None if self.gsd is None else round(pixels * self.gsd, 3)}

        options = split.options
        return {
            "method": options.method,
            "seed": self.options.seed,
            TEST: options.test,
            VALIDATION: options.validation,
            "block": both(options.block),
            "buffer": both(options.buffer),
            "cut_polygons": options.cut_polygons,
            "optimistic": split.optimistic,
            "why": split.why,
            "groups": split.groups,
            "achieved": achieved,
            "dropped": sum(split.dropped.values()),
            "dropped_from": split.dropped,
        }

    def _scene_json(self, number: int, ground: Ground) -> dict[str, Any]:
        scene = self.scenes[number]
        return {
            "name": scene.name,
            "crs": scene.crs,
            "transform": None if scene.transform is None else list(scene.transform),
            "width": scene.width,
            "height": scene.height,
            "split": scene.split,
            # Where the lattice of blocks begins, in pixels of this scene.
            "blocks_from": [-int(ground.row[number]), -int(ground.col[number])],
            **scene.provenance,
        }


def read_reflected(
    scene: LabelledScene, row: int, col: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A window that may reach beyond the scene, which is reflected there as it is when it is classified.

    Returns:
        Samples (C, height, width) and validity (height, width), None where all are valid.
    """
    rows, cols = _reflected(row, height, scene.height), _reflected(col, width, scene.width)
    top, left = int(rows.min()), int(cols.min())
    samples, valid = read_valid(scene, top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1)
    samples = native(samples)
    inside = row >= 0 and col >= 0 and row + height <= scene.height and col + width <= scene.width
    if inside:
        return samples, valid
    down, right = (rows - top)[:, None], cols - left
    return samples[:, down, right], None if valid is None else valid[down, right]


def _reflected(start: int, length: int, size: int) -> npt.NDArray[np.int64]:
    """Where the pixels from ``start`` come from on an axis of ``size`` pixels that is reflected at both ends."""
    if size == 1:
        return np.zeros(length, np.int64)
    place = np.arange(start, start + length) % (2 * size - 2)
    return np.minimum(place, 2 * size - 2 - place)


# -- checks --------------------------------------------------------------------------------------------


def _checked(options: BuildOptions) -> BuildOptions:
    if options.kind not in ("pixels", *DEFAULT_SIZE):
        raise InputError(f"“{options.kind}” is no kind of training set; choose pixels, windows or chips.")
    check_split_options(SplitOptions(options.split, options.validation, options.test))
    if options.most is not None and options.most < 1:
        raise InputError("At least one sample of each class is needed; give a larger --most.")
    if options.most is not None and options.kind == "chips":
        raise InputError("A chip holds many labelled pixels, which cannot be counted out; leave --most away for chips.")
    if not 0 <= options.labelled <= 1:
        raise InputError("--labelled is a share of a chip's pixels; give a number from 0 to 1.")
    if options.seed < 0:
        raise InputError("The seed must be a whole number from 0 up; change --seed.")
    if options.kind == "pixels":
        if options.size not in (0, 1):
            raise InputError("Single pixels have no size; leave --size away, or choose --kind windows or chips.")
        return replace(options, size=0)
    size = options.size or DEFAULT_SIZE[options.kind]
    if not 1 <= size <= _LARGEST_SIZE[options.kind]:
        raise InputError(
            f"--size {size} cannot be; {options.kind} have sides from 1 to {_LARGEST_SIZE[options.kind]} pixels."
        )
    return replace(options, size=size)


def _check_scenes(scenes: Sequence[LabelledScene]) -> None:
    first = scenes[0]
    for scene in scenes:
        if scene.split not in ("", *PARTS):
            raise InputError(f"“{scene.split}” is no part of a training set; choose validation or test.")
        if len(scene.bands) != len(first.bands):
            raise InputError(
                f"“{scene.name}” has {len(scene.bands)} bands and “{first.name}” {len(first.bands)}; all images of a "
                "training set need the same, choose them with --bands."
            )
        for number, (one, other) in enumerate(zip(first.bands, scene.bands, strict=True), start=1):
            names = one.band.name.casefold(), other.band.name.casefold()
            if all(names) and names[0] != names[1]:
                raise InputError(
                    f"Band {number} is “{one.band.name}” in “{first.name}” and “{other.band.name}” in “{scene.name}”; "
                    "bring the bands into one order with --bands."
                )
            if (one.scale, one.offset) != (other.scale, other.offset):
                raise InputError(
                    f"Band {number} has another scale or offset in “{scene.name}” than in “{first.name}”; give --scale "
                    "and --offset if they hold for both, or convert one of the images."
                )
        if np.dtype(scene.dtype).newbyteorder("=") != np.dtype(first.dtype).newbyteorder("="):
            raise InputError(
                f"“{scene.name}” is stored as {np.dtype(scene.dtype).name} and “{first.name}” as "
                f"{np.dtype(first.dtype).name}; convert one of them."
            )
        if scene.gsd and first.gsd and not math.isclose(scene.gsd, first.gsd, rel_tol=0.02):
            raise InputError(
                f"“{scene.name}” has pixels of {scene.gsd:g} m and “{first.name}” of {first.gsd:g} m; bring them to "
                "one size."
            )


def _classes(scenes: Sequence[LabelledScene]) -> tuple[list[LabelClass], list[npt.NDArray[np.int16]]]:
    """All classes in the order of their codes, and for each scene the place of each class of its legend."""
    if not scenes:
        raise InputError("Name at least one raster with --raster.")
    by_code: dict[int, LabelClass] = {}
    for scene in scenes:
        for entry in scene.legend:
            known = by_code.setdefault(entry.code, entry)
            if known.name.strip().casefold() != entry.name.strip().casefold():
                raise InputError(
                    f"The code {entry.code} is “{known.name}” in the labels of one image and “{entry.name}” in "
                    f"those of “{scene.name}”; make the codes agree."
                )
    classes = [by_code[code] for code in sorted(by_code)]
    place = {entry.code: number for number, entry in enumerate(classes)}
    return classes, [np.array([place[entry.code] for entry in scene.legend], np.int16) for scene in scenes]


def _options_json(options: BuildOptions) -> dict[str, Any]:
    content = asdict(options)
    del content["overwrite"]
    return content


def _fingerprint(scenes: Sequence[LabelledScene], options: BuildOptions) -> str:
    content = {
        "format": FORMAT,
        "options": _options_json(options),
        "scenes": [
            [
                scene.name,
                scene.fingerprint,
                scene.split,
                [asdict(entry) for entry in scene.bands],
                [asdict(entry) for entry in scene.legend],
            ]
            for scene in scenes
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
