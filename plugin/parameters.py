"""Parameters of our Processing algorithms, each kind made in one way."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingParameterEnum, QgsProcessingParameterNumber

from .compat import NUMBER_DOUBLE, NUMBER_INTEGER


def choice(name: str, label: str, values: list[str], default: str | None) -> QgsProcessingParameterEnum:
    """A choice that is a string in saved models and scripts: an index would break with the next version."""
    return QgsProcessingParameterEnum(
        name, label, values, defaultValue=default, optional=default is None, usesStaticStrings=True
    )


def number(name: str, label: str, **limits: float) -> QgsProcessingParameterNumber:
    """An optional number."""
    return QgsProcessingParameterNumber(name, label, NUMBER_DOUBLE, optional=True, **limits)


def count(name: str, label: str, minimum: int = 1) -> QgsProcessingParameterNumber:
    """An optional whole number."""
    return QgsProcessingParameterNumber(name, label, NUMBER_INTEGER, optional=True, minValue=minimum)


def is_given(parameters: dict[str, Any], name: str) -> bool:
    """True where a parameter has a value."""
    value = parameters.get(name)
    return value is not None and value != ""
