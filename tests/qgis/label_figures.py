"""Statistics as the worker answers them, made by hand: small enough to reckon with."""

from __future__ import annotations

from typing import Any

SENTINEL2 = (("B2", "blue", 0.492), ("B3", "green", 0.56), ("B4", "red", 0.665), ("B8", "nir", 0.833))
NAMES = ("Water", "Forest", "Bare soil", "Cropland", "Built-up")
COLORS = ("#2c6fbb", "#2e8b3d", "#b58a55", "#e3c93b", "#c0392b")


def bands(*entries: tuple[str, str, float | None]) -> list[dict[str, Any]]:
    """Bands of name, common name and wavelength in micrometres."""
    return [{"name": name, "common_name": common, "wavelength": wave} for name, common, wave in entries]


def label_class(code: int, mean: list[float | None], **more: Any) -> dict[str, Any]:
    """One class; codes begin at 1, and the first five have names and colours."""
    place = (code - 1) % len(NAMES)
    entry = {
        "code": code,
        "name": NAMES[place] if code <= len(NAMES) else f"Class {code}",
        "color": COLORS[place],
        "macro": "",
        "polygons": 2,
        "pixels": 100,
        "hectares": 1.0,
        "mean": mean,
        "std": [None if value is None else 0.01 for value in mean],
        "p05": [None if value is None else value - 0.02 for value in mean],
        "p95": [None if value is None else value + 0.02 for value in mean],
    }
    return {**entry, **more}


def pair(a: int, b: int, jeffries_matusita: float | None, **more: Any) -> dict[str, Any]:
    """The separability of two classes."""
    measures = {"jeffries_matusita": jeffries_matusita, "bhattacharyya": 1.0, "transformed_divergence": 1.8}
    return {"a": a, "b": b, **measures, **more}


def statistics(**more: Any) -> dict[str, Any]:
    """Three classes in four bands: water falls, forest rises, soil is in between and looks a bit like both."""
    answer: dict[str, Any] = {
        "bands": bands(*SENTINEL2),
        "pixels": 1000,
        "unlabelled_missing": 0,
        "classes": [
            label_class(1, [0.08, 0.06, 0.04, 0.02], polygons=3, pixels=700, hectares=7.0),
            label_class(2, [0.02, 0.05, 0.03, 0.35], polygons=1, pixels=200, hectares=2.0),
            label_class(3, [0.10, 0.14, 0.20, 0.28], polygons=4, pixels=100, hectares=1.0),
        ],
        "pairs": [pair(1, 2, 1.99), pair(1, 3, 1.95), pair(2, 3, 0.8)],
        "lookalikes": [
            {"feature": 12, "code": 2, "looks_like": 3, "share": 0.6, "pixels": 40},
            {"feature": -2, "code": 3, "looks_like": 2, "share": 0.9, "pixels": 10},
        ],
        "warnings": [
            {
                "code": "imbalance",
                "message": "“Water” has 7 times as many pixels as “Bare soil”: draw more of the smaller class.",
                "classes": [3],
                "features": [],
            }
        ],
    }
    return {**answer, **more}
