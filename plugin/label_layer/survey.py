"""What an existing layer says about classes: the values of a field, and what stands against using them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsFeatureSource,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ...errors import InputError
from ...models.card import distinct_colors
from ...models.label_classes import HIGHEST_CODE, LabelClass
from ...models.usual_colors import usual_color
from ..compat import NO_GEOMETRY, POINT_GEOMETRY, POLYGON_GEOMETRY, enum_number
from .field_values import key_of
from .style import colors_of_renderer

#: A field with more different values than this holds no classes.
MOST_VALUES = 500
#: Fewer features than this are too few to be trained with and tested.
FEW = 3
# Geometries are looked at one by one up to this number: it takes seconds otherwise.
_MOST_CHECKED = 20_000
# Their numbers in QVariant and QMetaType alike.
_BOOL_AND_TEXT = (1, 10)


@dataclass(frozen=True)
class FoundValue:
    """One value of the field.

    Args:
        key: the value as text.
        count: of features that have it.
        entry: the class that it would be.
    """

    key: str
    count: int
    entry: LabelClass


@dataclass
class Survey:
    """What was found.

    Args:
        values: in the order of their codes.
        features: number of features.
        without_class: of them, how many have no value.
        are_codes: True where the field holds whole numbers that can be codes as they are.
        findings: sentences for the analyst.
    """

    values: list[FoundValue] = field(default_factory=list)
    features: int = 0
    without_class: int = 0
    are_codes: bool = False
    findings: list[str] = field(default_factory=list)

    def classes(self) -> list[LabelClass]:
        """The classes that the values would be."""
        return [value.entry for value in self.values]

    def meaning(self) -> dict[str, int]:
        """Text of a value → code."""
        return {value.key: value.entry.code for value in self.values}


def check_source(source: QgsFeatureSource) -> None:
    """Refuse what cannot hold labels.

    Raises:
        InputError: neither polygons nor points, or no CRS.
    """
    name = source.sourceName() or "labels"
    if QgsWkbTypes.geometryType(source.wkbType()) not in (POLYGON_GEOMETRY, POINT_GEOMETRY):
        raise InputError(f"The layer “{name}” has neither polygons nor points: choose another layer.")
    if not source.sourceCrs().isValid():
        raise InputError(f"The layer “{name}” has no CRS: set it (right-click ▸ Layer CRS) and try again.")


def class_fields(source: QgsFeatureSource) -> list[str]:
    """Names of the fields that may hold a class, the likeliest first."""
    fields = source.fields()
    names = [
        fields.at(number).name()
        for number in range(fields.count())
        if fields.at(number).isNumeric() or enum_number(fields.at(number).type()) in _BOOL_AND_TEXT
    ]
    likely = ("class", "klass", "label", "type", "cover", "land", "lulc", "category", "code", "name", "id")
    unlikely = ("fid", "objectid", "ogc_fid")

    def rank(name: str) -> int:
        low = name.lower()
        if low in unlikely:
            return len(likely) + 1
        return next((place for place, word in enumerate(likely) if word in low), len(likely))

    return sorted(names, key=rank)


def survey_field(source: QgsFeatureSource, field_name: str, crs: QgsCoordinateReferenceSystem | None = None) -> Survey:
    """Look at all features, as they are on the screen.

    Args:
        source: polygons or points; unsaved edits, filters, virtual and joined fields count.
        field_name: the field that holds the class.
        crs: of the image that the labels are for, where it is known.

    Raises:
        InputError: no polygons or points, no such field, or one that holds no classes.
    """
    check_source(source)
    number = source.fields().lookupField(field_name)
    if number < 0:
        raise InputError(f"The layer “{source.sourceName()}” has no field “{field_name}”: choose another field.")
    found = Survey()
    counts: Counter[str] = Counter()
    others = _Disagreements(source, field_name)
    for feature in source.getFeatures(_no_geometry()):
        attributes = feature.attributes()
        key = key_of(attributes[number])
        found.features += 1
        if key:
            counts[key] += 1
            others.see(key, attributes)
            if len(counts) > MOST_VALUES:
                raise InputError(
                    f"The field “{field_name}” has more than {MOST_VALUES} different values: choose the field that "
                    "holds the class."
                )
        else:
            found.without_class += 1
    found.are_codes = bool(counts) and all(_is_code(key) for key in counts)
    known = colors_of_renderer(source, field_name) if isinstance(source, QgsVectorLayer) else {}
    found.values = _as_classes(counts, found.are_codes, known)
    found.findings = [
        *_about_values(found, field_name),
        *others.sentences(),
        *_about_geometries(source),
        *_about_source(source, crs),
    ]
    return found


def _as_classes(counts: Mapping[str, int], are_codes: bool, known: Mapping[str, tuple[str, str]]) -> list[FoundValue]:
    keys = sorted(counts, key=int) if are_codes else sorted(counts, key=lambda key: (key.casefold(), key))
    colors = distinct_colors(len(keys))
    names: set[str] = set()
    found = []
    for place, key in enumerate(keys):
        color, title = known.get(key, (colors[place], ""))
        name = title.strip() or key
        if key not in known:
            color = usual_color(name, {entry.entry.color for entry in found}) or color
        if are_codes and name == key:
            name = f"Class {key}"
        if name.casefold() in names:
            name = f"{name} ({key})"
        names.add(name.casefold())
        found.append(FoundValue(key, counts[key], LabelClass(int(key) if are_codes else place + 1, name, color)))
    return found


def _is_code(key: str) -> bool:
    return key.isascii() and key.isdigit() and int(key) <= HIGHEST_CODE and str(int(key)) == key


def _about_values(found: Survey, field_name: str) -> list[str]:
    said = []
    if not found.features:
        said.append("The layer has no features (a filter may hide them).")
    elif not found.values:
        said.append(f"No feature has a value in “{field_name}”: choose another field.")
    elif len(found.values) == 1:
        said.append("All features have the same value; at least two classes are needed to classify.")
    if found.without_class and found.values:
        said.append(f"{_counted(found.without_class)} without a value in “{field_name}”: left out.")
    few = [value for value in found.values if value.count < FEW]
    if few and len(few) < len(found.values):
        names = ", ".join(f"“{value.key}” ({value.count})" for value in few[:6])
        more = f" and {len(few) - 6} more" if len(few) > 6 else ""
        said.append(f"Few features for {names}{more}: draw some more, or merge with another class.")
    return said


def _about_geometries(source: QgsFeatureSource) -> list[str]:
    invalid = empty = many = curved = 0
    request = QgsFeatureRequest()
    request.setSubsetOfAttributes([])
    request.setLimit(_MOST_CHECKED)
    for feature in source.getFeatures(request):
        geometry = feature.geometry()
        if geometry.isNull() or geometry.isEmpty():
            empty += 1
            continue
        if geometry.isMultipart() and geometry.constGet().partCount() > 1:
            many += 1
        curved += QgsWkbTypes.isCurvedType(geometry.wkbType())
        invalid += not geometry.isGeosValid()
    said = []
    if invalid:
        said.append(f"{_counted(invalid)} with an invalid geometry (crossing its own border): repaired in a copy.")
    if empty:
        said.append(f"{_counted(empty)} without a geometry: left out.")
    if many:
        said.append(f"{_counted(many)} of several parts: each counts as one.")
    if curved:
        said.append(f"{_counted(curved)} with curves: straight segments in a copy.")
    return said


def _about_source(source: QgsFeatureSource, crs: QgsCoordinateReferenceSystem | None) -> list[str]:
    said = []
    if crs is not None and crs.isValid() and source.sourceCrs() != crs:
        said.append(
            f"The layer's CRS is {_crs_name(source.sourceCrs())}, the image's {_crs_name(crs)}: transformed on the way."
        )
    if isinstance(source, QgsVectorLayer):
        if source.isEditable() and source.isModified():
            said.append("The layer has unsaved edits: they count as they are on the screen.")
        if source.subsetString():
            said.append("The layer has a filter: only what it lets through counts.")
    return said


class _Disagreements:
    """Another field that nearly says the same: where it does not, one of the two is wrong."""

    def __init__(self, source: QgsFeatureSource, field_name: str) -> None:
        self._name = field_name
        fields = source.fields()
        self._others = {
            number: fields.at(number).name()
            for number in range(fields.count())
            if fields.at(number).name() != field_name and fields.at(number).name().lower() != "fid"
        }
        self._pairs: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)

    def see(self, key: str, attributes: Sequence[object]) -> None:
        for number in list(self._others):
            other = key_of(attributes[number])
            if other:
                self._pairs[number][key, other] += 1
            if len(self._pairs[number]) > MOST_VALUES:
                del self._others[number]  # as many values as features: a name, an area

    def sentences(self) -> list[str]:
        said = []
        for number, name in self._others.items():
            wrong = _disagreeing(self._pairs[number])
            if wrong:
                examples = ", ".join(f"“{one}” with “{other}”" for one, other in list(wrong)[:3])
                count = sum(wrong.values())
                said.append(
                    f"The fields “{self._name}” and “{name}” disagree on {_counted(count)} ({examples}): check which "
                    "of them is right."
                )
        return said


def _disagreeing(pairs: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The pairs that break a rule of one value for each value, where nearly all features keep to it."""
    # Partners are given out from the commonest pair on, each once.
    partner: dict[str, str] = {}
    for one, other in sorted(pairs, key=lambda pair: (-pairs[pair], pair)):
        if one not in partner and other not in partner.values():
            partner[one] = other
    wrong = {pair: count for pair, count in pairs.items() if partner.get(pair[0]) != pair[1]}
    ones, others = ({pair[side] for pair in pairs} for side in (0, 1))
    is_rule = len(ones) == len(others) > 1
    return wrong if is_rule and sum(wrong.values()) <= 0.2 * sum(pairs.values()) else {}


def _no_geometry() -> QgsFeatureRequest:
    request = QgsFeatureRequest()
    request.setFlags(request.flags() | NO_GEOMETRY)
    return request


def _counted(count: int) -> str:
    return "1 feature" if count == 1 else f"{count} features"


def _crs_name(crs: QgsCoordinateReferenceSystem) -> str:
    return crs.authid() or crs.description() or "one of its own"
