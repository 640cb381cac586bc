"""The classes of a label layer and every change of them, as values: what undo goes back to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...errors import InputError
from ...models.card import distinct_colors
from ...models.label_classes import HIGHEST_CODE, LabelClass, check_classes, next_code


@dataclass(frozen=True)
class ClassList:
    """The classes in their order, and what the layer's field holds for them.

    Args:
        classes: in the analyst's order.
        values: text of a field value → code, for layers whose field holds something else than our codes; None where
            the field holds the codes themselves.
    """

    classes: tuple[LabelClass, ...] = ()
    values: Mapping[str, int] | None = field(default=None)

    def find(self, code: int) -> LabelClass:
        """The class with a code.

        Raises:
            InputError: there is none.
        """
        for entry in self.classes:
            if entry.code == code:
                return entry
        raise InputError(f"There is no class with the code {code} (any more).")

    def codes(self) -> list[int]:
        """The codes in the order of the classes."""
        return [entry.code for entry in self.classes]

    def place_of(self, code: int) -> int:
        """Where a class stands in the list, from 0."""
        return self.codes().index(self.find(code).code)


@dataclass(frozen=True)
class ClassChange:
    """One step of class editing.

    Args:
        text: what undo calls it.
        after: the list afterwards.
        codes: old code → new code of the features that change with it.
    """

    text: str
    after: ClassList
    codes: Mapping[int, int] = field(default_factory=dict)


def added(before: ClassList, name: str = "", color: str = "", code: int | None = None, macro: str = "") -> ClassChange:
    """One more class at the end; what is not given is made: the next code, a name, a colour not used yet."""
    code = _free_code(before) if code is None else code
    name = name.strip() or _new_name(before)
    entry = LabelClass(code, name, color or new_color(before), macro)
    values = before.values
    if values is not None:
        # A value that new features of this class will hold.
        key = name if _holds_names(before) else str(code)
        if values.get(key, code) != code:
            raise InputError(f"The field's value “{key}” already stands for another class; choose another name.")
        values = {**values, key: code}
    return ClassChange(f"Add class “{name}”", _checked((*before.classes, entry), values))


def renamed(before: ClassList, code: int, name: str) -> ClassChange:
    """Another name for a class."""
    old, name = before.find(code), name.strip()
    return ClassChange(f"Rename “{old.name}” to “{name}”", _with(before, code, lambda entry: replace(entry, name=name)))


def recolored(before: ClassList, code: int, color: str) -> ClassChange:
    """Another colour for a class."""
    old = before.find(code)
    return ClassChange(f"Recolour “{old.name}”", _with(before, code, lambda entry: replace(entry, color=color)))


def grouped(before: ClassList, code: int, macro: str) -> ClassChange:
    """Another macro-class for a class, or none."""
    old, macro = before.find(code), macro.strip()
    text = f"Put “{old.name}” into “{macro}”" if macro else f"Take “{old.name}” out of its macro-class"
    return ClassChange(text, _with(before, code, lambda entry: replace(entry, macro=macro)))


def recoded(before: ClassList, code: int, new_code: int) -> ClassChange:
    """Another code for a class; its features get it, too."""
    old = before.find(code)
    after = _with(before, code, lambda entry: replace(entry, code=new_code))
    if before.values is not None:
        moved = {key: new_code if value == code else value for key, value in before.values.items()}
        after = replace(after, values=moved)
    return ClassChange(f"Give “{old.name}” the code {new_code}", after, {code: new_code})


def moved(before: ClassList, code: int, place: int) -> ClassChange:
    """A class at another place of the list (from 0), which is the order of the keys 1 to 9."""
    entry = before.find(code)
    rest = [other for other in before.classes if other.code != code]
    rest.insert(min(max(place, 0), len(rest)), entry)
    return ClassChange(f"Move “{entry.name}”", replace(before, classes=tuple(rest)))


def merged(before: ClassList, codes: Collection[int], into: int) -> ClassChange:
    """Some classes become part of another; their features, too.

    Raises:
        InputError: a class that is not there, or nothing to merge.
    """
    target = before.find(into)
    gone = [before.find(code) for code in dict.fromkeys(codes) if code != into]
    if not gone:
        raise InputError(f"Choose at least one other class to merge into “{target.name}”.")
    new_codes = {entry.code: into for entry in gone}
    values = before.values
    if values is not None:
        # New features get the first of a class's values: its own.
        own = {key: code for key, code in values.items() if code == into}
        values = {**own, **{key: new_codes.get(code, code) for key, code in values.items() if key not in own}}
    kept = tuple(entry for entry in before.classes if entry.code not in new_codes)
    names = ", ".join(f"“{entry.name}”" for entry in gone)
    return ClassChange(f"Merge {names} into “{target.name}”", ClassList(kept, values), new_codes)


def removed(before: ClassList, code: int) -> ClassChange:
    """A class less; whether it still has features is not looked at here."""
    old = before.find(code)
    values = before.values
    if values is not None:
        values = {key: value for key, value in values.items() if value != code}
    kept = tuple(entry for entry in before.classes if entry.code != code)
    return ClassChange(f"Remove class “{old.name}”", ClassList(kept, values))


def both(old: ClassList, new: ClassList) -> ClassList:
    """All classes of both lists; the new one says what a code is called."""
    return ClassList(_named_apart([*new.classes, *(entry for entry in old.classes if entry.code not in new.codes())]))


def met(base: ClassList, mine: ClassList, theirs: ClassList) -> ClassList:
    """One list of two that were made of the same one, at the same time.

    Args:
        base: what both began with.
        mine: counts where both changed a class; what it removed stays removed.
        theirs: its new classes come along, and what it made of classes that are as they were here.
    """
    known = {entry.code: entry for entry in theirs.classes}
    classes = [known.get(entry.code, entry) if entry in base.classes else entry for entry in mine.classes]
    seen = {*base.codes(), *mine.codes()}
    return ClassList(_named_apart([*classes, *(entry for entry in theirs.classes if entry.code not in seen)]))


def _named_apart(classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """The classes, with their codes beside names that an earlier one has."""
    names: set[str] = set()
    found = []
    for entry in classes:
        while entry.name.strip().casefold() in names:
            entry = replace(entry, name=f"{entry.name} ({entry.code})")
        names.add(entry.name.strip().casefold())
        found.append(entry)
    return tuple(found)


def new_color(before: ClassList) -> str:
    """A colour that no class has yet."""
    used = {entry.color.lower() for entry in before.classes}
    return next(color for color in distinct_colors(len(used) + 1) if color.lower() not in used)


def _free_code(before: ClassList) -> int:
    """The next code, or the lowest that is free; what the field holds for another class is not free."""
    taken = {*before.codes(), *(int(key) for key in before.values or () if key.isdigit())}
    code = next_code(before.classes)
    while code in taken:
        code += 1
    if code <= HIGHEST_CODE:
        return code
    return next((code for code in range(1, HIGHEST_CODE) if code not in taken), HIGHEST_CODE)


def _new_name(before: ClassList) -> str:
    taken = {entry.name.casefold() for entry in before.classes}
    number = len(before.classes) + 1
    while f"class {number}" in taken:
        number += 1
    return f"Class {number}"


def _holds_names(before: ClassList) -> bool:
    def is_number(key: str) -> bool:
        try:
            float(key)
        except ValueError:
            return False
        return True

    return not all(is_number(key) for key in before.values or ())


def _with(before: ClassList, code: int, change: Callable[[LabelClass], LabelClass]) -> ClassList:
    return _checked(tuple(change(e) if e.code == code else e for e in before.classes), before.values)


def _checked(classes: tuple[LabelClass, ...], values: Mapping[str, int] | None) -> ClassList:
    check_classes(classes)
    return ClassList(classes, values)
