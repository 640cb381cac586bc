"""From the values of a field to classes, while the analyst puts them together: no widget is needed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...models.label_classes import LabelClass, check_classes
from .survey import FoundValue


class ValueMapping:
    """What each value of a field is to become.

    Values with one code are one class; the first of them has its name and colour.

    Args:
        values: as :func:`.survey.survey_field` finds them.
    """

    def __init__(self, values: Sequence[FoundValue] = ()) -> None:
        self.values = list(values)
        self.entries = [value.entry for value in values]
        self.used = [True] * len(self.values)

    def classes(self) -> list[LabelClass]:
        """The classes of the values that are used, by code.

        Raises:
            InputError: a code, name or colour that cannot be.
        """
        found: dict[int, LabelClass] = {}
        for entry, used in zip(self.entries, self.used):
            if used:
                found.setdefault(entry.code, entry)
        classes = [found[code] for code in sorted(found)]
        check_classes(classes)
        return classes

    def meaning(self) -> dict[str, int]:
        """Text of a value → code."""
        return {value.key: entry.code for value, entry, used in zip(self.values, self.entries, self.used) if used}

    def set_code(self, place: int, code: int) -> None:
        """Give a value another code; where another value has it, both are one class."""
        self._set(place, next((e for e in self._others(place) if e.code == code), None), code=code)

    def set_name(self, place: int, name: str) -> None:
        """Give a value's class another name; where another value has it, both are one class."""
        name = name.strip()
        same = next((e for e in self._others(place) if e.name.casefold() == name.casefold()), None)
        if same is not None and same.code == self.entries[place].code:
            same = None  # of the same class already: all of them are renamed
        if same is None:
            self._change_class(self.entries[place].code, name=name)
        else:
            self._set(place, same)

    def set_color(self, place: int, color: str) -> None:
        """Give a value's class another colour."""
        self._change_class(self.entries[place].code, color=color)

    def _others(self, place: int) -> list[LabelClass]:
        return [entry for number, entry in enumerate(self.entries) if number != place]

    def _set(self, place: int, same: LabelClass | None, **change: int) -> None:
        self.entries[place] = same if same is not None else replace(self.entries[place], **change)

    def _change_class(self, code: int, **change: str) -> None:
        self.entries = [replace(entry, **change) if entry.code == code else entry for entry in self.entries]
