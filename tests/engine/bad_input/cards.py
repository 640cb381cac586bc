"""Cards that contradict themselves or the network."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..networks import make_card
from ..workplace import Workplace
from . import row, rows, spoiled


def _changed(w: Workplace, change: Callable[[dict], object]) -> list:
    item = make_card(3, 3).to_item()
    change(item["properties"])
    return w.command("--card", spoiled(w / "card.json", json.dumps(item).encode()))


def _with(key: str, value: object) -> Callable[[Workplace], list]:
    return lambda w: _changed(w, lambda properties: properties.update({key: value}))


def _scaled(*steps: object) -> Callable[[Workplace], list]:
    return lambda w: _changed(w, lambda properties: properties["mlm:input"][0].update(value_scaling=list(steps)))


def _classes(*entries: object) -> Callable[[Workplace], list]:
    def change(properties: dict) -> None:
        properties["mlm:output"][0]["classification:classes"] = list(entries)

    return lambda w: _changed(w, change)


_Z = {"type": "z-score", "mean": 0, "stddev": 1}
rows(
    "value_scaling|not a usable model card|finite",
    "card_scaling",
    {
        "deviation_of_zero": _scaled({**_Z, "stddev": 0}),
        "deviation_below_zero": _scaled({**_Z, "stddev": -1}),
        "mean_that_is_no_number": _scaled({**_Z, "mean": float("nan")}),
        "infinite_deviation": _scaled({**_Z, "stddev": float("inf")}),
        "mean_of_text": _scaled({**_Z, "mean": "high"}),
        "no_mean": _scaled({"type": "z-score", "stddev": 1}),
        "two_for_three_bands": _scaled(_Z, _Z),
        "upside_down": _scaled({"type": "min-max", "minimum": 1, "maximum": 0}),
        "unheard_of": _scaled({"type": "processing", "format": "cql2"}),
        "divided_by_zero": _scaled({"type": "scale", "value": 0}),
        "list": _scaled([1, 2, 3]),
    },
)
rows(
    "class values|same value|two classes|names 2 classes|not a usable model card|no output classes",
    "card_classes",
    {
        "value_below_zero": _classes(*({"value": value, "name": "x"} for value in (-1, 0, 1))),
        "value_too_large": _classes(*({"value": value, "name": "x"} for value in (0, 1, 70000))),
        "value_of_text": _classes(*({"value": value, "name": "x"} for value in ("a", "b", "c"))),
        "infinite_value": _classes(*({"value": value, "name": "x"} for value in (0, 1, float("inf")))),
        "one_too_few": _classes({"value": 0, "name": "x"}, {"value": 1, "name": "y"}),
        "not_objects": _classes("a", "b", "c"),
    },
)
rows(
    "gsd|pixel|thematica:|value_range|not a usable model card|must be|threshold",
    "card_with",
    {
        "gsd_of_text": _with("gsd", "fine"),
        "gsd_of_zero": _with("gsd", 0),
        "gsd_below_zero": _with("gsd", -10),
        "gsd_that_is_no_number": _with("gsd", float("nan")),
        "gsd_range_upside_down": _with("thematica:gsd_range", [40, 5]),
        "value_range_upside_down": _with("thematica:value_range", [1, 0]),
        "value_range_of_one": _with("thematica:value_range", [1]),
        "infinite_value_range": _with("thematica:value_range", [0, float("inf")]),
        "two_thresholds_for_three_classes": _with("thematica:thresholds", [0.5, 0.5]),
        "threshold_that_is_no_number": _with("thematica:thresholds", [float("nan")]),
        "tile_below_zero": _with("thematica:tile", -64),
        "tile_beyond_all_memory": _with("thematica:tile", 10**12),
        "infinite_tile": _with("thematica:tile", float("inf")),
        "receptive_field_below_zero": _with("thematica:receptive_field", -3),
        "unknown_task": _with("thematica:task", "dowsing"),
        "unknown_activation": _with("thematica:activation", "relu"),
        "infinite_nodata": _with("thematica:nodata", "much"),
    },
)


@row("expression")
def _card_with_a_computed_band(w):
    return _changed(
        w,
        lambda properties: properties["mlm:input"][0].update(
            bands=[{"name": "ndvi", "expression": {"format": "python"}}, "B2", "B3"]
        ),
    )


@row("pre_processing_function")
def _card_with_code(w):
    return _changed(w, lambda properties: properties["mlm:input"][0].update(pre_processing_function={"format": "py"}))


@row("no mlm:input or no mlm:output")
def _card_without_input(w):
    return _changed(w, lambda properties: properties.update({"mlm:input": []}))


@row("not valid JSON|cannot be read")
def _network_as_card(w):
    return w.command("--card", w.model)


@row("not valid JSON")
def _card_nested_without_end(w):
    return w.command("--card", spoiled(w / "card.json", b"[" * 100_000))


@row("JSON")
def _card_with_an_endless_number(w):
    return w.command("--card", spoiled(w / "card.json", b'{"mlm:input": ' + b"9" * 10_000 + b"}"))


@row("not valid JSON")
def _empty_card(w):
    return w.command("--card", spoiled(w / "card.json", b""))


@row("overwrite the input")
def _report_in_place_of_the_card(w):
    card = spoiled(w / "card.json", make_card(3, 3).to_json().encode())
    return w.command("--card", card, "--report", card, "--overwrite")
