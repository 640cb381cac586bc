"""BigEarthNet's classes: CORINE Land Cover's level 3, and how 19 classes are made of them.

Codes, names and colours are CORINE's (Copernicus Land Monitoring Service, CLC nomenclature guidelines); BigEarthNet v1
uses all of level 3 but glaciers (335).  The 19 classes: Sumbul et al. 2021, "BigEarthNet-MM", IEEE Geoscience and
Remote Sensing Magazine 9(3), table 2; Clasen et al. 2024 ("reBEN") use them, too.
"""

from __future__ import annotations

from ...models.label_classes import LabelClass

#: CORINE's code, its name in BigEarthNet v1, its colour, and its place among the 19 classes; 0: it has none.
CORINE = (
    (111, "Continuous urban fabric", "#e6004d", 1),
    (112, "Discontinuous urban fabric", "#ff0000", 1),
    (121, "Industrial or commercial units", "#cc4df2", 2),
    (122, "Road and rail networks and associated land", "#cc0000", 0),
    (123, "Port areas", "#e6cccc", 0),
    (124, "Airports", "#e6cce6", 0),
    (131, "Mineral extraction sites", "#a600cc", 0),
    (132, "Dump sites", "#a64d00", 0),
    (133, "Construction sites", "#ff4dff", 0),
    (141, "Green urban areas", "#ffa6ff", 0),
    (142, "Sport and leisure facilities", "#ffe6ff", 0),
    (211, "Non-irrigated arable land", "#ffffa8", 3),
    (212, "Permanently irrigated land", "#ffff00", 3),
    (213, "Rice fields", "#e6e600", 3),
    (221, "Vineyards", "#e68000", 4),
    (222, "Fruit trees and berry plantations", "#f2a64d", 4),
    (223, "Olive groves", "#e6a600", 4),
    (231, "Pastures", "#e6e64d", 5),
    (241, "Annual crops associated with permanent crops", "#ffe6a6", 4),
    (242, "Complex cultivation patterns", "#ffe64d", 6),
    (243, "Land principally occupied by agriculture, with significant areas of natural vegetation", "#e6cc4d", 7),
    (244, "Agro-forestry areas", "#f2cca6", 8),
    (311, "Broad-leaved forest", "#80ff00", 9),
    (312, "Coniferous forest", "#00a600", 10),
    (313, "Mixed forest", "#4dff00", 11),
    (321, "Natural grassland", "#ccf24d", 12),
    (322, "Moors and heathland", "#a6ff80", 13),
    (323, "Sclerophyllous vegetation", "#a6e64d", 13),
    (324, "Transitional woodland/shrub", "#a6f200", 14),
    (331, "Beaches, dunes, sands", "#e6e6e6", 15),
    (332, "Bare rock", "#cccccc", 0),
    (333, "Sparsely vegetated areas", "#ccffcc", 12),
    (334, "Burnt areas", "#000000", 0),
    (411, "Inland marshes", "#a6a6ff", 16),
    (412, "Peatbogs", "#4d4dff", 16),
    (421, "Salt marshes", "#ccccff", 17),
    (422, "Salines", "#e6e6ff", 17),
    (423, "Intertidal flats", "#a6a6e6", 0),
    (511, "Water courses", "#00ccf2", 18),
    (512, "Water bodies", "#80f2e6", 18),
    (521, "Coastal lagoons", "#00ffa6", 19),
    (522, "Estuaries", "#a6ffe6", 19),
    (523, "Sea and ocean", "#e6f2ff", 19),
)

#: The 19 classes in their order: the name, and the CORINE class that lends its colour.
NINETEEN = (
    ("Urban fabric", 112),
    ("Industrial or commercial units", 121),
    ("Arable land", 211),
    ("Permanent crops", 221),
    ("Pastures", 231),
    ("Complex cultivation patterns", 242),
    ("Land principally occupied by agriculture, with significant areas of natural vegetation", 243),
    ("Agro-forestry areas", 244),
    ("Broad-leaved forest", 311),
    ("Coniferous forest", 312),
    ("Mixed forest", 313),
    ("Natural grassland and sparsely vegetated areas", 321),
    ("Moors, heathland and sclerophyllous vegetation", 322),
    ("Transitional woodland, shrub", 324),
    ("Beaches, dunes, sands", 331),
    ("Inland wetlands", 412),
    ("Coastal wetlands", 421),
    ("Inland waters", 511),
    ("Marine waters", 523),
)

#: CORINE's level 1, by the first digit of the code.
MACRO = {1: "Artificial surfaces", 2: "Agricultural areas", 3: "Forest and semi-natural areas", 4: "Wetlands",
         5: "Water bodies"}  # fmt: skip


def legend(classes: int) -> list[LabelClass]:
    """The 43 classes with CORINE's codes, or the 19 with codes from 1."""
    if classes == 43:
        return [LabelClass(code, name, color, MACRO[code // 100]) for code, name, color, _ in CORINE]
    colors = {code: color for code, _, color, _ in CORINE}
    return [
        LabelClass(place, name, colors[corine], MACRO[corine // 100])
        for place, (name, corine) in enumerate(NINETEEN, start=1)
    ]


def places_by_name(classes: int) -> dict[str, int | None]:
    """Place in :func:`legend` of every name that labels may have; None for classes that are left out of the 19.

    For 19 classes both nomenclatures' names are known.
    """
    if classes == 43:
        return {name: place for place, (_, name, _, _) in enumerate(CORINE)}
    found: dict[str, int | None] = {name: place - 1 if place else None for _, name, _, place in CORINE}
    found.update({name: place for place, (name, _) in enumerate(NINETEEN)})
    return found
