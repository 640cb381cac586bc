"""JSON values of all sorts, and documents in which a few values are others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

#: Texts at which programs break: no text in UTF-8, no name, numbers in words, markup, paths.
TEXTS = st.one_of(
    st.sampled_from(
        ("", " ", "\0", "\ud800", "a\ud83db", "\n", "nan", "-1", "1e999", "0x10", "<b>&amp;</b>", "../../x", "C:\\x",
         "ü“", "{0}", "%s", "#ffffff", "x" * 2000, "\u202e", "model", "EPSG:4326", "B1=1")
    ),
    st.text(st.characters(), max_size=12),
)  # fmt: skip
_NUMBERS = st.one_of(
    st.sampled_from((0, 1, -1, 2**31, 2**63, 10**30, 10**400, -(10**400), 0.5, 1e300, -0.0, 1e-320)),
    st.integers(-10, 70000),
    st.floats(),
)
_PLAIN = st.one_of(st.none(), st.booleans(), _NUMBERS, TEXTS)
#: Any JSON value, nested a little, and some nested a lot.
ANYTHING = st.one_of(
    _PLAIN,
    st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)),
    st.integers(10, 400).map(lambda depth: _nested(depth)),
)


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def spoiled(document: Any, most: int = 3) -> st.SearchStrategy[Any]:
    """The document with one to some of its values replaced, removed or doubled, or with a key more."""
    places = list(_places(document))
    change = st.tuples(st.sampled_from(places), st.sampled_from(("set", "remove", "add", "double")), ANYTHING, TEXTS)
    return st.lists(change, min_size=1, max_size=most).map(lambda changes: _changed(document, changes))


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from _places(inner, (*path, key))


def _changed(document: Any, changes: list) -> Any:
    result = copy.deepcopy(document)
    for path, kind, value, key in changes:
        holder = result
        try:
            for step in path[:-1]:
                holder = holder[step]
            if kind == "set":
                holder[path[-1]] = value
            elif kind == "remove":
                del holder[path[-1]]
            elif kind == "add" and isinstance(holder, dict):
                holder[key] = value
            elif kind == "double" and isinstance(holder, list):
                holder.append(holder[path[-1]])
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took that place away
    return result
