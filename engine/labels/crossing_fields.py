"""Fields that say the same as the class, but not of every feature: one of the two is wrong there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ...models.label_classes import LabelClass
from .features import Features
from .labels import UNLABELLED, Finding, Places

# Two fields say the same where so much of the features agrees, and so much of those of every class and every value.
_AGREEING, _AGREEING_OF_EACH = 0.8, 0.5
# Of fewer features per class it may be chance.
_FEATURES_PER_CLASS = 2
_MOST_VALUES = 200
_MOST_NAMED = 5


def disagreements(features: Features, legend: Sequence[LabelClass], places: Places) -> list[Finding]:
    """Fields that go with the class nearly one to one, and the features where they do not.

    Values are paired with classes so that as many features as possible agree (the assignment problem).

    Args:
        features: with the values of their fields.
        legend: the classes.
        places: (n,) of each feature's class in the legend.
    """
    findings = []
    for name, values in features.columns.items():
        if name == features.class_field:
            continue
        told = _disagreement(features, name, values, legend, places)
        if told is not None:
            findings.append(told)
    return findings


def _disagreement(
    features: Features, name: str, values: npt.NDArray[Any], legend: Sequence[LabelClass], places: Places
) -> Finding | None:
    texts = np.array(["" if value is None or value != value else str(value).strip() for value in values], object)
    usable = np.flatnonzero((places != UNLABELLED) & (texts != ""))
    classes, row = np.unique(places[usable], return_inverse=True)
    different, column = np.unique(texts[usable].astype(str), return_inverse=True)
    if len(classes) < 2 or not len(classes) <= len(different) <= min(2 * len(classes), _MOST_VALUES):
        return None
    if len(usable) < _FEATURES_PER_CLASS * len(classes):
        return None
    table = np.zeros((len(classes), len(different)), np.int64)
    np.add.at(table, (row, column), 1)
    own_rows, own_columns = linear_sum_assignment(table, maximize=True)
    agreeing = table[own_rows, own_columns]
    if agreeing.sum() == len(usable) or agreeing.sum() < _AGREEING * len(usable):
        return None
    if (agreeing < _AGREEING_OF_EACH * table.sum(axis=1)).any():
        return None
    if (agreeing < _AGREEING_OF_EACH * table[:, own_columns].sum(axis=0)).any():
        return None
    value_of = dict(zip(own_rows.tolist(), own_columns.tolist(), strict=True))
    class_of = {value: number for number, value in value_of.items()}
    wrong = np.flatnonzero(np.array([value_of[r] != c for r, c in zip(row.tolist(), column.tolist(), strict=True)]))
    told = []
    for place in wrong[:_MOST_NAMED]:
        other = class_of.get(int(column[place]))
        elsewhere = f", elsewhere {legend[classes[other]].name}" if other is not None else ""
        told.append(
            f"feature {features.numbers[usable[place]]} is {legend[classes[row[place]]].name} and "
            f"{different[column[place]]}{elsewhere}"
        )
    more = "; …" if len(wrong) > _MOST_NAMED else ""
    count = f"{len(wrong)} feature{'s' if len(wrong) != 1 else ''}"
    return Finding(
        "fields-disagree",
        f"The fields “{features.class_field}” and “{name}” disagree on {count} ({'; '.join(told)}{more}): "
        f"“{features.class_field}” is used.",
        tuple(int(number) for number in features.numbers[usable[wrong]]),
    )
