"""What about labels the analyst should mend before a network learns from them, and the rules by which it is told.

Rules of thumb, each with its number in the sentence:

- at least 10 pixels per class and band, or covariances are not worth much (Swain & Davis 1978: 10 to 100 times the
  number of bands);
- at least 3 polygons per class: with one no part can be kept for testing, and one or two show little of a class;
- classes that differ more than tenfold in pixels;
- pairs with a Jeffries–Matusita distance under 1.9 are told apart in part, under 1.0 hardly (see docs/labels-figures.md
  for what these limits are worth).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...models.label_classes import LabelClass
from .labels import Finding
from .normal_class import ENOUGH_PER_BAND
from .separability import INSEPARABLE, POOR, Separability

# Findings of the reading that are judged here by pixels with data, and by the image's bands.
_JUDGED_HERE = ("empty-class", "few-samples", "one-class")
FEWEST_POLYGONS = 3
LARGEST_RATIO = 10
# Pairs that are named one by one.
_MOST_NAMED = 10


@dataclass(frozen=True)
class ClassCounts:
    """How much there is of a class.

    Args:
        entry: the class.
        pixels: labelled and with data.
        polygons: that have such pixels.
        features: numbers of the polygons in their layer; may be cut short.
    """

    entry: LabelClass
    pixels: int
    polygons: int
    features: tuple[int, ...] = ()


def warnings_of(
    counts: Sequence[ClassCounts],
    pairs: Mapping[tuple[int, int], Separability],
    bands: int,
    missing: int,
    by_polygon: bool,
    findings: Sequence[Finding] = (),
) -> list[dict[str, Any]]:
    """All warnings, the weightiest kind first.

    Args:
        counts: of every class.
        pairs: separability by the codes of the two classes.
        bands: number of bands.
        missing: labelled pixels without data in the image.
        by_polygon: False where labels are a raster, which has no polygons to count.
        findings: what was met while the labels were read.

    Returns:
        Dictionaries with ``code``, ``message``, ``classes`` (codes) and ``features`` (numbers).
    """
    names = {count.entry.code: count.entry.name for count in counts}
    warnings = [*_amounts(counts, bands, by_polygon), *_balance(counts)]
    warnings += _pairs(pairs, names)
    if missing:
        warnings.append(
            _warning("missing", f"{missing:,} labelled pixels have no data in the image; they do not count.")
        )
    warnings += [
        _warning(finding.code, finding.message, features=finding.features)
        for finding in findings
        if finding.code not in _JUDGED_HERE
    ]
    return warnings


def _amounts(counts: Sequence[ClassCounts], bands: int, by_polygon: bool) -> list[dict[str, Any]]:
    warnings = []
    empty = [count for count in counts if not count.pixels]
    present = [count for count in counts if count.pixels]
    if empty:
        warnings.append(
            _warning(
                "empty-class",
                f"{_named(empty)} {'has' if len(empty) == 1 else 'have'} no pixel: draw some, or leave the class out.",
                empty,
            )
        )
    if len(present) == 1:
        warnings.append(
            _warning(
                "one-class",
                f"Only “{present[0].entry.name}” has pixels: a classification needs two classes at least.",
                present,
            )
        )
    few = [count for count in present if count.pixels < ENOUGH_PER_BAND * bands]
    if few:
        warnings.append(
            _warning(
                "few-samples",
                f"{_named(few, [_number(count.pixels, 'pixel') for count in few])} "
                f"{'has' if len(few) == 1 else 'have'} fewer than {ENOUGH_PER_BAND} pixels for each of "
                f"{_number(bands, 'band')} ({ENOUGH_PER_BAND * bands}): figures are rough there; draw more.",
                few,
            )
        )
    for count in present:
        if by_polygon and count.polygons < FEWEST_POLYGONS:
            what = "point" if count.pixels == count.polygons else "polygon"
            warnings.append(
                _warning(
                    "one-polygon" if count.polygons == 1 else "few-polygons",
                    f"“{count.entry.name}” has pixels in {_number(count.polygons, what)} only: too few to keep some "
                    f"for testing; draw at least {FEWEST_POLYGONS}, far apart.",
                    [count],
                    count.features,
                )
            )
    return warnings


def _balance(counts: Sequence[ClassCounts]) -> list[dict[str, Any]]:
    present = [count for count in counts if count.pixels]
    if not present:
        return []
    largest = max(present, key=lambda count: count.pixels)
    rare = [count for count in present if largest.pixels > LARGEST_RATIO * count.pixels]
    if not rare:
        return []
    ratio = largest.pixels / min(count.pixels for count in rare)
    return [
        _warning(
            "imbalance",
            f"“{largest.entry.name}” has up to {ratio:.0f} times as many pixels as {_named(rare)} (more than "
            f"{LARGEST_RATIO} times): draw more of the rare, or give classes weights in training.",
            [largest, *rare],
        )
    ]


def _pairs(pairs: Mapping[tuple[int, int], Separability], names: Mapping[int, str]) -> list[dict[str, Any]]:
    warnings = []
    worst = sorted(pairs.items(), key=lambda pair: pair[1].jeffries_matusita)
    told = [(codes, figures.jeffries_matusita) for codes, figures in worst if figures.jeffries_matusita < POOR]
    for (a, b), distance in told[:_MOST_NAMED]:
        # Two decimals, cut and not rounded: a distance just under the limit must not read as the limit.
        shown = f"Jeffries–Matusita {int(distance * 100) / 100:.2f}"
        if distance < INSEPARABLE:
            code, says = "inseparable", f"can hardly be told apart ({shown}, under {INSEPARABLE}): merge them, or check"
        else:
            code, says = "poorly-separable", f"overlap in part ({shown}, under {POOR}): check"
        warnings.append(
            {
                "code": code,
                "message": f"“{names[a]}” and “{names[b]}” {says} their polygons.",
                "classes": [a, b],
                "features": [],
            }
        )
    rest = told[_MOST_NAMED:]
    if rest:
        codes = sorted({code for pair, _ in rest for code in pair})
        warnings.append(
            {
                "code": "poorly-separable",
                "message": f"{_number(len(rest), 'further pair')} of classes overlap in part (Jeffries–Matusita under "
                f"{POOR}).",
                "classes": codes,
                "features": [],
            }
        )
    return warnings


def _warning(
    code: str, message: str, counts: Sequence[ClassCounts] = (), features: Sequence[int] = ()
) -> dict[str, Any]:
    return {
        "code": code,
        "message": message,
        "classes": [count.entry.code for count in counts],
        "features": [int(feature) for feature in features],
    }


def _named(counts: Sequence[ClassCounts], amounts: Sequence[str] = (), most: int = 5) -> str:
    """“a” (3 pixels), “b” (4 pixels) and 3 more."""
    names = [f"“{count.entry.name}”" for count in counts]
    names = [f"{name} ({amount})" for name, amount in zip(names, amounts, strict=True)] if amounts else names
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
