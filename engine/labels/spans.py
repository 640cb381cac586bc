"""The days that a label holds for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .features import find_field

Days = npt.NDArray[np.datetime64]


def parse_spans(
    columns: Mapping[str, npt.NDArray[Any]], from_field: str, to_field: str, path: str
) -> tuple[Days, npt.NDArray[np.bool_]]:
    """First day and the day after the last of each feature.

    Args:
        columns: values of fields.
        from_field: the field with the first day.
        to_field: the field with the day after the last.
        path: the file, for sentences.

    Returns:
        (n, 2) days, and (n,) True where they cannot be read or are no span.

    Raises:
        InputError: a field is missing, or holds no date at all.
    """
    if not (from_field and to_field):
        raise InputError(
            "Dated labels need both fields: --from-field for the first day, --to-field for the day after the last."
        )
    days = [_days(columns[find_field(columns, name, "date", path)]) for name in (from_field, to_field)]
    for name, column in zip((from_field, to_field), days, strict=True):
        if len(column) and np.isnat(column).all():
            raise InputError(f"The field “{name}” of “{path}” holds no dates; they are written as 2011-09-01.")
    spans = np.column_stack(days)
    bad = np.isnat(spans).any(axis=1)
    bad |= ~(spans[:, 0] < spans[:, 1])
    return spans, bad


def parse_day(text: str) -> np.datetime64:
    """A day as ``2011-09-01``, ``2011/09/01`` or ``20110901``, perhaps with a time; NaT for anything else."""
    text = text.strip().strip('"').replace("/", "-")
    if len(text) == 8 and text.isdigit():
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    try:
        return np.datetime64(text[:10], "D") if len(text) >= 10 else np.datetime64("NaT", "D")
    except ValueError:
        return np.datetime64("NaT", "D")


def _days(values: npt.NDArray[Any]) -> Days:
    if values.dtype.kind == "M":
        return values.astype("datetime64[D]")
    return np.array([parse_day(_plain(value)) for value in values], "datetime64[D]")


def _plain(value: Any) -> str:
    if value is None or value != value:
        return ""
    # Days as numbers, 20110901, may have become floats beside missing ones.
    return str(int(value)) if isinstance(value, (int, float, np.number)) else str(value)
