"""Bad input of classify-folder, and options of patches and stacks outside their range."""

from __future__ import annotations

import json

from ..networks import image, light, noise
from ..patch_networks import patch_net
from ..workplace import Workplace
from . import row, rows, spoiled


def _patches(*more: object):
    return lambda w: ["classify-patches", str(w.scene), "--model", str(patch_net(w / "p.onnx")), "--output",
                      str(w / "map.gpkg"), *map(str, more)]  # fmt: skip


rows("--gsd|grid|pixels|memory", "option_gsd", {
    str(value): lambda w, value=value: w.command(f"--gsd={value}")
    for value in ("0", "-1", "nan", "inf", "1e-9", "1e12", "1e999")
})  # fmt: skip
rows("--stride", "option_stride", {str(value): _patches(f"--stride={value}") for value in ("0", "-1")})
rows("--patch", "option_patch", {str(value): _patches(f"--patch={value}") for value in ("0", "-1", 10**9, 10**30)})
rows("--threshold", "option_threshold", {
    value: _patches(f"--threshold={value}") for value in ("-0.1", "1.1", "nan", "inf", "-inf", "1e999")
})  # fmt: skip


@row("pixels, not whole patches")
def _network_for_pixels_in_classify_patches(w):
    return _patches("--model", light(w / "m.onnx"))(w)


@row("pixels, not whole patches|classifies pixels")
def _network_for_pixels_in_classify_folder(w):
    return _folder(w, "--model", light(w / "m.onnx"))


@row("is a folder|mask")
def _folder_as_mask(w):
    (w / "mask.tif").mkdir()
    return w.command("--mask", w / "mask.tif")


@row("not a raster|mask")
def _text_as_mask(w):
    return w.command("--mask", spoiled(w / "mask.tif", b"no mask\n" * 50))


@row("overlap|mask|another")
def _mask_elsewhere(w):
    return w.command("--mask", image(w / "mask.tif", noise((1, 40, 50)), origin=(900_000, 100_000)))


@row("overwrite the input")
def _report_in_place_of_the_mask(w):
    mask = image(w / "mask.tif", noise((1, 40, 50), low=1))
    return w.command("--mask", mask, "--report", mask, "--overwrite")


def _folder(w: Workplace, *more: object) -> list:
    (w / "images").mkdir(exist_ok=True)
    image(w / "images" / "a.tif", noise((3, 8, 8)))
    return ["classify-folder", str(w / "images"), "--model", str(patch_net(w / "p.onnx")), "--output",
            str(w / "table.csv"), *map(str, more)]  # fmt: skip


@row("no folder|not exist|there is no")
def _folder_that_is_not_there(w):
    return [*_folder(w)[:1], str(w / "none"), *_folder(w)[2:]]


@row("folder")
def _file_as_folder_of_images(w):
    return [*_folder(w)[:1], str(w.scene), *_folder(w)[2:]]


@row("needs a folder")
def _no_folder_of_images(w):
    return ["classify-folder", "--model", str(w.model), "--output", str(w / "table.csv")]


@row("no image|holds no|empty")
def _folder_without_images(w):
    (w / "empty").mkdir()
    return ["classify-folder", str(w / "empty"), *_folder(w)[2:]]


@row("exists already")
def _table_exists(w):
    (w / "table.csv").write_bytes(b"precious")
    return _folder(w)


@row("end in .csv|.csv")
def _table_without_its_ending(w):
    return _folder(w, "--output", w / "table.xls")


@row("overwrite|in place of|is an input|end in")
def _table_in_place_of_an_image(w):
    return _folder(w, "--overwrite", "--output", w / "images" / "a.tif")


@row("does not exist|written")
def _table_in_a_folder_that_is_not_there(w):
    return _folder(w, "--output", w / "none" / "table.csv")


@row("is a folder")
def _table_is_a_folder_of_images(w):
    (w / "t.csv").mkdir()
    return _folder(w, "--overwrite", "--output", w / "t.csv")


rows("--(threshold|batch|scale|offset|threads)", "folder_option", {
    option.strip("-").replace("=", "_"): lambda w, option=option: _folder(w, option)
    for option in ("--threshold=2", "--threshold=nan", "--batch=0", "--batch=-1", f"--batch={10**12}", "--scale=0",
                   "--scale=nan", "--offset=inf", "--threads=0", f"--threads={10**9}")
})  # fmt: skip


def _folder_job(w: Workplace, **more: object) -> list:
    """The command that runs a job file with these entries."""
    command = _folder(w)
    values = {"command": "classify-folder", "folder": command[1], "model": command[3], "output": command[5], **more}
    return ["classify-folder", "--job", str(spoiled(w / "job.json", json.dumps(values).encode()))]


rows("entry|--(nodata|threshold|batch)|name|wrong type|lacks|unknown|for the command|folder", "folder_job_with", {
    f"{key}_{name}": lambda w, key=key, value=value: _folder_job(w, **{key: value})
    for key, name, value in [
        ("folder", "empty", ""), ("folder", "list", ["a"]), ("folder", "nul", "a\0b"),
        ("folder", "surrogate", "\ud800"),
        ("rasters", "too", ["a.tif"]), ("area", "too", [0, 0, 1, 1]), ("command", "other", "classify-patches"),
        ("threshold", "high", 1.5), ("nodata", "huge", 10**400), ("batch", "huge", 10**400), ("sensor", "list", []),
        ("precision", "number", 16), ("invalid", "list", ["any"]), ("report", "nul", "a\0"),
        ("overwrite", "text", "yes"),
    ]
})  # fmt: skip


@row("overwrite the input")
def _report_in_place_of_an_image(w):
    return _folder(w, "--overwrite", "--report", w / "images" / "a.tif")


@row("exists already")
def _report_of_a_folder_exists(w):
    return _folder(w, "--report", spoiled(w / "said.json", b"precious"))
