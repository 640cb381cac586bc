"""``thematica labels``: what labels say of their classes on an image."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine.job import RESAMPLING
from ..errors import InputError
from ..models.bands import SENSORS
from ..models.label_classes import parse_merges
from .console import STYLES, Console
from .raster_options import listening_monitor

# So many pairs of classes are printed; --json has all.
_WORST_PAIRS = 10


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "labels", help="look at labels", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    stats: argparse.ArgumentParser = actions.add_parser(
        "stats",
        help="amounts, spectra and separability of the classes, misplaced polygons, warnings",
        description="Amounts, spectra and separability of the classes, misplaced polygons, warnings.",
    )
    stats.add_argument(
        "--raster", nargs="+", action="append", required=True, metavar="R", dest="rasters",
        help="image file, or folder of a product; several act as one image",
    )  # fmt: skip
    stats.add_argument(
        "--labels", required=True, metavar="L",
        help="polygons or points (FILE, FILE|layername=NAME, CSV), or a raster of classes",
    )  # fmt: skip
    stats.add_argument("--field", default="", metavar="F", help="field with the class (not for a raster of classes)")
    stats.add_argument("--merge", default="", metavar="NAME=NAME,…", help="classes that become part of others")
    stats.add_argument(
        "--image-field", default="", metavar="F", help="field with the image that a polygon was drawn on"
    )
    stats.add_argument("--labels-crs", metavar="CRS", help="CRS of the labels, instead of their own")
    stats.add_argument(
        "--bands", default="", metavar="LIST", help="1-7, B2,B3,B4 or FILE:BAND,… (default: all but masks)"
    )
    stats.add_argument("--sensor", choices=tuple(SENSORS), help="names the bands of a product that has none")
    stats.add_argument("--scale", type=float, metavar="S", help="physical value = stored value × S + offset")
    stats.add_argument("--offset", type=float, metavar="O", help="see --scale")
    stats.add_argument("--nodata", type=float, metavar="V", help="stored value of missing pixels")
    stats.add_argument("--raster-crs", metavar="CRS", help="CRS of the raster, instead of its own")
    stats.add_argument("--gsd", type=float, metavar="METRES", help="pixel size on the ground (default: the finest)")
    stats.add_argument(
        "--resampling", choices=RESAMPLING,
        help="for rasters on another grid than the first (default: average to coarser pixels, else bilinear)",
    )  # fmt: skip
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    stats.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")
    stats.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    statistics = _statistics(options, console)
    if console.style == "json":
        console.event({"event": "result", "files": {}, "report": statistics})
        return 0
    console.close_bar()
    if options.json:
        sys.stdout.write(json.dumps(statistics, indent=2, allow_nan=False) + "\n")
    else:
        _print(statistics)
    return 0


def _statistics(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The figures, with what was met on the way to them among the warnings."""
    from ..engine.image import open_image
    from ..engine.labels.open_labels import open_labels
    from ..engine.labels.statistics import label_statistics
    from ..engine.scene import parse_crs

    if len(options.rasters) > 1:
        raise InputError("Labels are looked at on one image: give --raster once, with all of its files.")
    rasters = options.rasters[0]
    _check(options)
    merge = parse_merges(options.merge)
    monitor = listening_monitor(console)
    with open_image(
        rasters,
        bands=options.bands,
        sensor=options.sensor,
        crs=parse_crs(options.raster_crs),
        nodata=options.nodata,
        gsd=options.gsd,
        resampling=options.resampling,
    ) as image:
        image.scales = _scales(image.scales, options.scale, options.offset)
        with open_labels(
            options.labels,
            options.field,
            image.source.grid,
            layer_crs=parse_crs(options.labels_crs),
            merge=merge,
            image_field=options.image_field,
            image=Path(rasters[0]).name if options.image_field else "",
        ) as labels:
            statistics = label_statistics(image, labels, monitor)
        if not statistics["pixels"]:
            missing = statistics["unlabelled_missing"]
            raise InputError(
                f"None of the {missing:,} labelled pixels has data in the image: choose the one they were drawn on."
                if missing
                else "No pixel of the image is labelled: no polygon holds the centre of a pixel; draw larger ones."
            )
        for warning in image.warnings:
            monitor.warnings.append(warning)
            statistics["warnings"].append({"code": "image", "message": warning, "classes": [], "features": []})
    if console.style == "json":
        for entry in statistics["warnings"]:
            monitor.log(entry["message"], "warning")
    return statistics


def _check(options: argparse.Namespace) -> None:
    """Refuse numbers that make no sense."""
    for name in ("scale", "offset", "gsd"):
        value = getattr(options, name)
        if value is not None and not math.isfinite(value):
            raise InputError(f"--{name} must be a finite number, not {value}.")
    if options.scale == 0:
        raise InputError("--scale 0 would make all values equal; give the factor from stored to physical values.")
    if options.gsd is not None and options.gsd <= 0:
        raise InputError(f"--gsd must be a number of metres above 0, not {options.gsd}.")
    if options.nodata is not None and math.isinf(options.nodata):
        raise InputError(f"--nodata must be a finite number or nan, not {options.nodata}.")


def _scales(
    declared: Sequence[tuple[float, float]], scale: float | None, offset: float | None
) -> list[tuple[float, float]]:
    """Declared scales and offsets, or those given by hand; a scale by hand replaces a declared offset, too."""
    return [
        (
            scale if scale is not None else own_scale,
            offset if offset is not None else 0.0 if scale is not None else own_offset,
        )
        for own_scale, own_offset in declared
    ]


def _print(statistics: Mapping[str, Any]) -> None:
    """Print the figures for people."""
    classes, pairs = statistics["classes"], statistics["pairs"]
    names = {entry["code"]: entry["name"] for entry in classes}
    missing = statistics["unlabelled_missing"]
    sys.stdout.write(
        f"{statistics['pixels']:,} labelled pixels, {len(statistics['bands'])} bands"
        f"{f'; {missing:,} more have no data' if missing else ''}\n"
    )
    rows = [
        (
            str(entry["code"]),
            entry["name"],
            entry["macro"],
            f"{entry['polygons']:,}" if any(other["polygons"] for other in classes) else "",
            f"{entry['pixels']:,}",
            "–" if entry["hectares"] is None else f"{entry['hectares']:,.2f}",
        )
        for entry in classes
    ]
    _table("", ("Code", "Class", "Macro-class", "Features", "Pixels", "Hectares"), rows, "><<>>>")
    worst = sorted(pairs, key=lambda pair: pair["jeffries_matusita"])
    shown = f" (the worst {_WORST_PAIRS} of {len(pairs)})" if len(pairs) > _WORST_PAIRS else ""
    _table(
        f"Separability{shown}: 2 is complete, 0 none",
        ("Class", "Class", "Jeffries–Matusita", "Bhattacharyya", "Transf. divergence"),
        [
            (
                names[pair["a"]],
                names[pair["b"]],
                f"{pair['jeffries_matusita']:.3f}",
                f"{pair['bhattacharyya']:.3f}",
                f"{pair['transformed_divergence']:.3f}",
            )
            for pair in worst[:_WORST_PAIRS]
        ],
        "<<>>>",
    )
    _table(
        "Features that look like another class",
        ("Feature", "Class", "Looks like", "Share", "Pixels"),
        [
            (
                str(entry["feature"]),
                names[entry["code"]],
                names[entry["looks_like"]],
                f"{entry['share']:.0%}",
                f"{entry['pixels']:,}",
            )
            for entry in statistics["lookalikes"]
        ],
        "><<>>",
    )
    if statistics["warnings"]:
        sys.stdout.write("\nWarnings\n")
        for entry in statistics["warnings"]:
            sys.stdout.write(f"- {entry['message']}\n")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> None:
    """Print a table; columns in which nothing stands are left out, and so is a table without rows."""
    if not rows:
        return
    if title:
        sys.stdout.write(f"\n{title}\n")
    columns = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    widths = {column: max(len(line[column]) for line in [heads, *rows]) for column in columns}
    for line in [heads, *rows]:
        cells = [f"{line[column]:{sides[column]}{widths[column]}}" for column in columns]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
