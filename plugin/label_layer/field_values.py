"""From what a layer's field holds to the code of a class, and back."""

from __future__ import annotations

from typing import Any

from qgis.core import NULL, QgsField

from .class_list import ClassList


def key_of(value: Any) -> str:
    """A field's value as text, the same for 10, 10.0 and "10"; empty for NULL and blanks."""
    if value is None or value == NULL:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip()


class FieldValues:
    """What the values of one field mean.

    Args:
        field: the field.
        classes: with the meaning of its values, or without where it holds codes.
    """

    def __init__(self, field: QgsField, classes: ClassList) -> None:
        self._field = field
        self._known = set(classes.codes())
        self._values = classes.values

    def code_of(self, value: Any) -> int | None:
        """The class that a value stands for; None for no class, or one that is not in the list."""
        key = key_of(value)
        if self._values is not None:
            code = self._values.get(key)
            return code if code in self._known else None
        try:
            code = int(key)
        except ValueError:
            return None
        return code if code in self._known else None

    def values_of(self, code: int) -> list[Any]:
        """What the field holds for a class, in the field's own type."""
        if code not in self._known:
            return []
        if self._values is None:
            return [self._typed(str(code))]
        return [self._typed(key) for key, meant in self._values.items() if meant == code]

    def _typed(self, key: str) -> Any:
        """A value of the field's type: QGIS compares 10 and "10" as different."""
        if self._field.isNumeric():
            number = float(key)
            return int(number) if number.is_integer() else number
        return key
