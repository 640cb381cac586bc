"""The job of ``thematica build-dataset``, as options or as one JSON file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..engine.job import RESAMPLING, Job, check_counts, check_names
from ..errors import InputError
from ..models.label_classes import parse_merges

if TYPE_CHECKING:
    from ..trainer.dataset.build import Length

KINDS = ("pixels", "windows", "chips")
LAYOUTS = ("eurosat", "bigearthnet", "bigearthnet-v2")
SPLITS = ("blocks", "polygons", "random", "official")
NOMENCLATURES = (19, 43)
# What says something of rasters and their labels, and nothing of a folder of patches.
_OF_RASTERS = (
    "field", "size", "cut_polygons", "validation_labels", "test_labels", "image_field", "from_field", "to_field",
    "timeline", "bands", "sensor", "scale", "offset", "nodata", "gsd", "resampling", "raster_crs", "labels_crs",
)  # fmt: skip
#: The seed of the split that the shipped EuroSAT model was measured on.
SEED = 2026


@dataclass
class DatasetJob(Job):
    """One making of a training set, from rasters with labels or from a folder of patches.

    Args:
        output: the folder to make.
        rasters: files of one scene, or a list of files for each of several scenes.
        labels: polygons, points, a table of points, or a raster of classes.
        field: of the labels, that holds the class.
        folder: a folder of patches (or a zip), instead of rasters and labels.
        layout: what kind of folder, one of :data:`LAYOUTS`.
        nomenclature: classes of BigEarthNet: 19 or 43.
        all_classes: of BigEarthNet, those that no patch has, too.
        kind: one of :data:`KINDS`; None: pixels.
        size: side of windows or chips in pixels; None: 9 or 128.
        split: one of :data:`SPLITS`; None: as suits the input, spatially blocked wherever that can be.
        test, validation: shares of both parts.
        seed: of the split and of the order.
        block, buffer: side of a block, and the distance between parts: ``500`` metres or ``20px``; None: chosen.
        cut_polygons: a polygon may be cut where blocks meet.
        validation_labels, test_labels: labels that are kept for these parts.
        merge: ``NAME=NAME,…``: classes that become part of others.
        image_field: of the labels, that names the image each belongs to.
        from_field, to_field: of the labels, first day and the day after the last, for images of many dates.
        timeline: a file with the date of each band, one a line.
        most: samples per class; None: all.
        bands: ``1-7``, ``B2,B3,B4``, ``1:3,2:1``; empty: all that are no masks.
        sensor: a preset of band names; None: guessed where it is unambiguous.
        scale, offset: from stored to physical values; None: as the raster declares.
        nodata: replaces the declared nodata.
        gsd: ground sampling distance in metres; None: the finest raster's.
        resampling: how rasters on other grids are read; None: as suits each.
        invalid: ``any``: a pixel is missing if one band is; ``all``: only if all are.
        raster_crs, labels_crs: replace the CRS of the rasters or of the labels.
        threads: that read; None: one per core.
        overwrite: replace another training set.
    """

    output: str
    rasters: list[str] | list[list[str]] | None = None
    labels: str | None = None
    field: str | None = None
    folder: str | None = None
    layout: str | None = None
    nomenclature: int | None = None
    all_classes: bool = False
    kind: str | None = None
    size: int | None = None
    split: str | None = None
    test: float = 0.2
    validation: float = 0.1
    seed: int = SEED
    block: str | None = None
    buffer: str | None = None
    cut_polygons: bool = False
    validation_labels: str | None = None
    test_labels: str | None = None
    merge: str = ""
    image_field: str | None = None
    from_field: str | None = None
    to_field: str | None = None
    timeline: str | None = None
    most: int | None = None
    bands: str = ""
    sensor: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    gsd: float | None = None
    resampling: str | None = None
    invalid: str = "any"
    raster_crs: str | None = None
    labels_crs: str | None = None
    threads: int | None = None
    overwrite: bool = False

    command: ClassVar[str] = "build-dataset"
    needed: ClassVar[tuple[str, ...]] = ("output",)

    def report_path(self) -> Path:
        """The description stands for a report."""
        return Path(self.output) / "dataset.json"

    def scenes(self) -> list[list[str]]:
        """The files of each scene."""
        if not self.rasters:
            return []
        if all(isinstance(entry, str) for entry in self.rasters):
            return [[str(entry) for entry in self.rasters]]
        return [list(entry) for entry in self.rasters]

    def check(self) -> None:
        """See :meth:`..engine.job.Job.check`."""
        check_names(self)
        check_counts(self)
        self._check_source()
        for name in ("test", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"--{name} is a share from 0 to less than 1, such as 0.2, not {getattr(self, name)}.")
        if self.test + self.validation >= 1:
            raise InputError("--test and --validation leave nothing for training; together they must be less than 1.")
        _check_choice("kind of sample", self.kind, KINDS)
        _check_choice("split", self.split, SPLITS)
        _check_choice("resampling", self.resampling, RESAMPLING)
        _check_choice("rule for missing pixels", self.invalid, ("any", "all"))
        if self.most is not None and self.most < 1:
            raise InputError(f"--most must be at least 1 sample per class, not {self.most}.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed must be a whole number from 0, not {self.seed}.")
        for name in ("scale", "offset", "gsd"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(f"--{name} must be a finite number, not {value}.")
        if self.nodata is not None and math.isinf(self.nodata):
            raise InputError(f"--nodata must be a finite number or nan, not {self.nodata}.")
        if self.scale == 0:
            raise InputError("--scale 0 would make all values equal; give the factor from stored to physical values.")
        if self.gsd is not None and self.gsd <= 0:
            raise InputError(f"--gsd must be a number of metres above 0, not {self.gsd}.")
        if bool(self.from_field or self.to_field) != bool(self.timeline):
            raise InputError(
                "Dated labels need --from-field, --to-field and --timeline, the dates of the bands, together."
            )
        parse_merges(self.merge)
        for name in ("block", "buffer"):
            self.length(name)

    def _check_source(self) -> None:
        if bool(self.rasters) == bool(self.folder):
            raise InputError(
                "A training set is made either from --raster and --labels or from --folder and --layout: give one of "
                "both."
            )
        if self.folder:
            if not self.layout:
                raise InputError(
                    f"Say how the folder is laid out: --layout {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}."
                )
            _check_choice("layout", self.layout, LAYOUTS)
            if self.labels or self.kind or self.merge:
                raise InputError("A folder of patches brings its own labels: leave --labels, --kind and --merge away.")
            if self.split == "polygons":
                raise InputError("Patches have no polygons; choose --split blocks or random.")
            if self.nomenclature is not None and self.nomenclature not in NOMENCLATURES:
                raise InputError(f"BigEarthNet has 19 or 43 classes, not {self.nomenclature}; see --nomenclature.")
            if self.nomenclature is not None and self.layout == "eurosat":
                raise InputError("--nomenclature is BigEarthNet's; EuroSAT has ten classes.")
            if self.all_classes and self.layout == "eurosat":
                raise InputError(
                    "--all-classes is BigEarthNet's; EuroSAT's ten classes are there whenever its images are."
                )
            if self.nomenclature == 43 and self.layout == "bigearthnet-v2":
                raise InputError("BigEarthNet v2 has 19 classes only; leave --nomenclature away.")
            given = [name for name in _OF_RASTERS if getattr(self, name) not in (None, "", False)]
            if given:
                option = given[0].replace("_", "-")
                raise InputError(
                    f"A folder of patches takes no option “{option}”, which is for rasters: leave it away."
                )
            return
        if not all(scene and all(scene) for scene in self.scenes()):
            raise InputError("A scene without a raster was given; name at least one image file for each.")
        if not self.labels:
            raise InputError("The rasters need labels: --labels with polygons, points or a raster of classes.")
        if self.layout or self.nomenclature or self.all_classes:
            raise InputError("--layout, --nomenclature and --all-classes go with --folder, not with --raster.")
        if self.split == "official":
            raise InputError(
                "Only BigEarthNet v2 comes with a split of its own; choose --split blocks, polygons or random."
            )

    def length(self, name: str) -> Length | None:
        """``block`` or ``buffer``; None where it is left open.

        Raises:
            InputError: it is no length.
        """
        # Not at the top: it brings SciPy, and every command reads this file.
        from ..trainer.dataset.build import parse_length

        text = getattr(self, name)
        return None if text is None else parse_length(text, f"--{name}")


def _check_choice(what: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise InputError(f"There is no {what} “{value}”; use {', '.join(choices[:-1])} or {choices[-1]}.")
