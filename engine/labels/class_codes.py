"""From the values of a field to classes: numbers are codes, words are names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...models.card import distinct_colors
from ...models.label_classes import HIGHEST_CODE, LabelClass, check_classes
from ...models.usual_colors import usual_color
from .labels import UNLABELLED, Finding

#: A field of more different values is none of classes: an identifier, a measurement.
MOST_CLASSES = 1000
_MOST_NAMED = 12
_WHOLE = re.compile(r"\+?(\d{1,18})(?:[.,]0*)?")

Places = npt.NDArray[np.int16]
Key = int | str


class ClassField:
    """What the values of a field mean.

    Args:
        values: of all features, (n,): numbers or text.
        known: the classes that the label layer keeps, or that were given; may be empty.
        field: its name, for sentences.
        source: what holds the codes, where it is no field.

    Attributes:
        legend: the classes in the order of their codes.
        findings: what was met.

    Raises:
        InputError: these are no classes.
    """

    def __init__(self, values: npt.NDArray[Any], known: Sequence[LabelClass], field: str, source: str = "") -> None:
        # At the beginning of a sentence, within one, and what else to choose.
        self._whole = source or f"The field “{field}”"
        self._in_field = source[:1].lower() + source[1:] or f"“{field}”"
        self._choose = "choose a raster of classes" if source else "choose the field of the classes (--field)"
        self.findings: list[Finding] = []
        self._as_numbers = values.dtype.kind in "biuf"
        if values.dtype.kind in "mM":
            raise InputError(f"{self._whole} holds dates, no classes: {self._choose}.")
        counted = self._counted_numbers(values) if self._as_numbers else self._counted_texts(values)
        if not counted:
            raise InputError(f"{self._whole} is empty in all features: {self._choose}.")
        if len(counted) > MOST_CLASSES:
            raise InputError(
                f"{self._whole} holds {len(counted)} different values, too many for classes (at most "
                f"{MOST_CLASSES}): {self._choose}."
            )
        self._place_of: dict[Key, int] = {}
        self.legend: list[LabelClass] = []
        self._find(counted, list(known))

    def places(self, values: npt.NDArray[Any]) -> Places:
        """The place in the legend of each value; :data:`UNLABELLED` for none."""
        different, inverse = np.unique(
            values if self._as_numbers else np.array([_text(value) for value in values], object).astype(str),
            return_inverse=True,
        )
        of_each = [
            self._place_of.get(key, UNLABELLED) if key is not None else UNLABELLED for key in map(self._key, different)
        ]
        return np.array(of_each, np.int16)[inverse.reshape(-1)] if len(values) else np.empty(0, np.int16)

    def merge(self, merges: Mapping[str, str]) -> None:
        """Make classes part of others; both are named by name or code.

        Raises:
            InputError: a class that there is not.
        """
        if not merges:
            return
        left = {place_of(self.legend, name): place_of(self.legend, into) for name, into in merges.items()}
        for place in left:
            # A chain has been followed by name already, but one end may be called by its code.
            end, steps = left[place], 0
            while end in left and steps <= len(left):
                end, steps = left[end], steps + 1
            if end in left:
                name = self.legend[place].name
                raise InputError(f"The merges with “{name}” go round in a circle; leave one of them out.")
            left[place] = end
        kept = [place for place in range(len(self.legend)) if place not in left]
        new = {place: number for number, place in enumerate(kept)}
        self._place_of = {key: new[left.get(place, place)] for key, place in self._place_of.items()}
        self.legend = [self.legend[place] for place in kept]

    # ------------------------------------------------------------------------------------------ values

    def _counted_numbers(self, values: npt.NDArray[Any]) -> Counter[Key]:
        different, counts = np.unique(values, return_counts=True)
        finite = np.isfinite(different) if different.dtype.kind == "f" else np.ones(len(different), bool)
        different, counts = different[finite], counts[finite]
        fractional = [float(value) for value in different if float(value) != int(value)]
        if fractional:
            raise InputError(
                f"{self._whole} holds {fractional[0]:g}, but the codes of classes are whole numbers: {self._choose}."
            )
        negative = [int(value) for value in different if value < 0]
        if negative:
            self.findings.append(
                Finding(
                    "no-class",
                    f"What has the code {_listed(negative)} in {self._in_field} is left out: codes are 0 to "
                    f"{HIGHEST_CODE}.",
                )
            )
        return Counter({int(value): int(count) for value, count in zip(different, counts, strict=True) if value >= 0})

    def _counted_texts(self, values: npt.NDArray[Any]) -> Counter[Key]:
        counted: Counter[Key] = Counter(text for text in map(_text, values) if text)
        return counted

    def _key(self, value: Any) -> Key | None:
        if not self._as_numbers:
            return str(value)
        number = float(value)
        return int(value) if np.isfinite(number) else None

    def _find(self, counted: Counter[Key], known: list[LabelClass]) -> None:
        """Fill the legend, and the place of every value in it."""
        codes = self._codes(counted, known)
        if codes is None:
            codes = self._named(counted, known)
        by_code = {entry.code: entry for entry in known}
        added = sorted({code for code, _ in codes.values() if code not in by_code})
        if added and known:
            listed = _listed([dict(codes.values())[code] for code in added])
            self.findings.append(
                Finding("unknown-class", f"The list of classes lacks {listed}, which the labels have: added.")
            )
        colors = distinct_colors(len(by_code) + len(added))[len(by_code) :]
        names = dict(codes.values())
        taken = {entry.name.strip().casefold() for entry in known}
        for code, color in zip(added, colors, strict=True):
            name = names[code] if names[code].casefold() not in taken else f"{names[code]} ({code})"
            color = usual_color(name, {entry.color for entry in by_code.values()}) or color
            by_code[code] = LabelClass(code, name, color)
        self.legend = [by_code[code] for code in sorted(by_code)]
        check_classes(self.legend)
        place = {entry.code: number for number, entry in enumerate(self.legend)}
        self._place_of = {value: place[code] for value, (code, _) in codes.items()}

    def _codes(self, counted: Counter[Key], known: Sequence[LabelClass]) -> dict[Key, tuple[int, str]] | None:
        """Code and name of each value, where all values are codes; else None."""
        codes: dict[Key, tuple[int, str]] = {}
        names = {entry.name.strip().casefold() for entry in known}
        for value in counted:
            if isinstance(value, int):
                code, name = value, f"Class {value}"
            else:
                whole = _WHOLE.fullmatch(value)
                if whole is None or value.casefold() in names:
                    return None
                code, name = int(whole.group(1)), str(int(whole.group(1)))
            if code > HIGHEST_CODE:
                return None
            codes[value] = code, name
        return codes

    def _named(self, counted: Counter[Key], known: Sequence[LabelClass]) -> dict[Key, tuple[int, str]]:
        """Code and name of each value, where values are names."""
        by_name = {entry.name.strip().casefold(): entry for entry in known}
        by_code = {str(entry.code): entry for entry in known}
        result: dict[Key, tuple[int, str]] = {}
        fresh: dict[str, list[Key]] = {}
        for value in counted:
            entry = by_name.get(str(value).casefold()) or by_code.get(str(value))
            if entry is not None:
                result[value] = entry.code, entry.name
            else:
                fresh.setdefault(str(value).casefold(), []).append(value)
        first = max((entry.code for entry in known), default=0) + 1
        for code, folded in enumerate(sorted(fresh), start=first):
            spellings = fresh[folded]
            name = max(spellings, key=lambda spelling: counted[spelling])
            if len(spellings) > 1:
                self.findings.append(
                    Finding("spelling", f"{_listed(spellings)} in {self._in_field} are taken for one class, “{name}”.")
                )
            for spelling in spellings:
                result[spelling] = code, str(name)
        self._tell_numbers(list(counted))
        return result

    def _tell_numbers(self, values: Sequence[Key]) -> None:
        large = [value for value in values if isinstance(value, int) and value > HIGHEST_CODE]
        if large:
            self.findings.append(
                Finding(
                    "renumbered",
                    f"The codes in {self._in_field} go beyond {HIGHEST_CODE} ({_listed(large)}): they are taken as "
                    "names, and the classes are numbered anew.",
                )
            )
            return
        numbers = [value for value in values if isinstance(value, str) and _WHOLE.fullmatch(value)]
        if numbers and len(numbers) < len(values):
            self.findings.append(
                Finding("mixed", f"{self._whole} holds names and numbers ({_listed(numbers)}): all are names.")
            )
        elif numbers and any(int(_WHOLE.fullmatch(number).group(1)) > HIGHEST_CODE for number in numbers):  # type: ignore[union-attr]
            self.findings.append(
                Finding(
                    "renumbered",
                    f"The codes in {self._in_field} go beyond {HIGHEST_CODE}: they are taken as names, and the classes "
                    "are numbered anew.",
                )
            )


def place_of(legend: Sequence[LabelClass], wanted: str) -> int:
    """The place of the class with this name or code.

    Raises:
        InputError: there is none.
    """
    text = wanted.strip()
    for matches in (
        lambda entry: entry.name.strip() == text,
        lambda entry: entry.name.strip().casefold() == text.casefold(),
        lambda entry: str(entry.code) == text,
    ):
        found = [place for place, entry in enumerate(legend) if matches(entry)]
        if found:
            return found[0]
    listed = ", ".join(entry.name for entry in legend[:_MOST_NAMED]) + (", …" if len(legend) > _MOST_NAMED else "")
    raise InputError(f"There is no class “{text[:80]}”; the classes are {listed}.")


def _text(value: Any) -> str:
    """A value as the name of a class; empty for none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return re.sub(r"\s+", " ", str(value).replace("\x00", " ")).strip()


def _listed(values: Sequence[Any]) -> str:
    shown = [f"“{value}”" if isinstance(value, str) else str(value) for value in values[:_MOST_NAMED]]
    return ", ".join(shown) + (", …" if len(values) > _MOST_NAMED else "")
