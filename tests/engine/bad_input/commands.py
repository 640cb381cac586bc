"""Bad input of the commands beside classify-pixels: inspect, models, doctor."""

from __future__ import annotations

from ..networks import light
from . import row, rows, spoiled


def _inspect(*more: object):
    return lambda w: ["inspect", str(w.model), *map(str, more)]


rows("no model", "inspect", {"a_missing_file": lambda w: ["inspect", str(w / "none.onnx")]})
rows("no model .* in the store", "inspect", {"an_unknown_name": lambda w: ["inspect", "treefinder"]})
rows("not an ONNX file", "inspect", {"a_raster": lambda w: ["inspect", str(w.scene)]})
rows("is empty", "inspect", {"an_empty_file": lambda w: ["inspect", str(spoiled(w / "e.onnx", b""))]})
rows("no model|folder|name", "inspect", {"a_folder": lambda w: ["inspect", str(w.folder)]})
rows("no model|name", "inspect", {"a_name_with_nul": lambda w: ["inspect", "net\0.onnx"]})
rows("no model", "inspect", {"nothing": lambda w: ["inspect", ""]})
rows("no model card", "inspect", {"with_a_missing_card": _inspect("--card", "none.json")})
rows("JSON|cannot be read", "inspect", {"with_a_network_as_card": lambda w: ["inspect", w.model, "--card", w.model]})
rows("2 classes are given, but the network has 3", "inspect", {"too_few_classes": _inspect("--classes", "a,b")})
rows("0 classes are given", "inspect", {"no_classes": _inspect("--classes", ",")})
rows("same value", "inspect", {"a_class_twice": _inspect("--classes", "1=a,1=b,2=c")})
rows("between 0 and 65533", "inspect", {"a_class_too_large": _inspect("--classes", "1=a,2=b,99999=c")})
rows("4 bands are given", "inspect", {"too_many_bands": _inspect("--band-names", "a,b,c,d")})
rows("same name", "inspect", {"a_band_twice": _inspect("--band-names", "a,a,b")})
rows("positive|finite", "inspect", {
    f"{option.strip('-')}_{value}": _inspect(f"{option}={value}")
    for option in ("--divide", "--std") for value in ("0", "-1", "nan", "inf")
})  # fmt: skip
rows("finite|numbers", "inspect", {f"mean_{value}": _inspect(f"--mean={value}") for value in ("nan", "inf", "-1e999")})
rows("2 means", "inspect", {"too_few_means": _inspect("--mean", "1,2")})
rows("between 0 and 1", "inspect", {
    f"threshold_{value}": _inspect(f"--threshold={value}") for value in ("-1", "2", "nan", "inf")
})  # fmt: skip
rows("positive", "inspect", {
    f"{option.strip('-')}_{value}": _inspect(f"{option}={value}")
    for option, values in {"--gsd": ("0", "-1", "nan", "inf"), "--tile": ("0", "-1", "99999999999")}.items()
    for value in values
})  # fmt: skip
rows("finite|missing", "inspect", {f"nodata_{value}": _inspect(f"--nodata={value}") for value in ("inf", "-inf")})
rows("--keep keeps", "inspect", {"keeping_nothing": _inspect("--keep")})


def _add(*more: object):
    return lambda w: ["models", "--add", str(w.model), *map(str, more)]


rows("no model|not an ONNX", "models", {
    "add_a_missing_file": lambda w: ["models", "--add", str(w / "none.onnx")],
    "add_a_raster": lambda w: ["models", "--add", str(w.scene)],
    "add_a_missing_package": lambda w: ["models", "--add", str(w / "none.dlpk")],
})  # fmt: skip
rows("folder|no model", "models", {"add_a_folder": lambda w: ["models", "--add", str(w.folder)]})
rows("cannot be the name", "models", {
    f"add_as_{key}": _add("--name", name)
    for key, name in {
        "a_path": "../up", "a_folder": "a/b", "dots": "..", "nothing": "", "spaces": "  ", "windows_path": "C:\\m",
        "nul": "a\0b", "an_endless_name": "x" * 300, "a_line_break": "a\nb",
    }.items()
})  # fmt: skip


@row("already has a model")
def _models_add_a_name_that_is_taken(w, taken="taken by a test"):
    from thematica.models.store import add_model

    add_model(light(w / "taken.onnx"), taken, replace=True)
    return ["models", "--add", str(w.model), "--name", taken]


@row("--add")
def _models_name_without_add(w):
    return ["models", "--name", "lonely"]


@row("--add")
def _models_replace_without_add(w):
    return ["models", "--replace"]
