"""Colours that maps of land cover usually have: blue for water, green for forest."""

from __future__ import annotations

import re
from collections.abc import Collection

# Parts of names, in English, Spanish, Portuguese, French and German; the first that fits counts.
_USUAL = (
    ("#2c6fbb", ("water", "lake", "river", "ocean", "agua", "água", "wasser", "gewässer")),
    ("#6b8fb8", ("wetland", "swamp", "marsh", "mangrove", "humedal", "feucht")),
    ("#d0362b", ("urban", "built", "city", "residential", "industr", "town", "ciudad", "siedlung", "stadt")),
    ("#1f7a3d", ("forest", "tree", "wood", "bosque", "selva", "floresta", "forêt", "wald")),
    ("#e3c94b", ("crop", "agricult", "wheat", "soy", "corn", "maize", "cotton", "cultiv", "acker")),
    ("#9ccc3c", ("grass", "herb", "pasture", "meadow", "grünland", "wiese", "pasto", "pastagem", "prairie")),
    ("#7f9c4a", ("shrub", "bush", "cerrado", "scrub", "matorral")),
    ("#c8a165", ("bare", "barren", "soil", "sand", "rock", "fallow", "suelo", "solo", "sol nu", "boden")),
    ("#e8f1f8", ("snow", "glacier", "nieve", "neve", "neige", "schnee")),
    ("#b9bcc4", ("cloud", "nube", "nuvem", "nuage", "wolke")),
    ("#505058", ("shadow", "sombra", "ombre", "schatten")),
)


def usual_color(name: str, taken: Collection[str] = ()) -> str:
    """The colour that a class of this name usually has; empty where there is none, or another class has it.

    Args:
        name: of the class.
        taken: colours that are given already, ``#rrggbb``.
    """
    low = name.casefold()
    for color, words in _USUAL:
        # At the beginning or the end of a word: "Laubwald", but no tree in "street".
        if any(re.search(rf"\b{word}|{word}\b", low) for word in words):
            return "" if color in taken else color
    return ""
