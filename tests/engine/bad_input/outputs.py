"""Places where no result can be written, and files that a result must not replace."""

from __future__ import annotations

import json
import shutil

from ..networks import image, light, make_card, noise
from . import row, rows, spoiled
from .models import _bare, _emd

_CLASSES = [{"Value": value, "Name": f"class {value}"} for value in range(3)]

rows(
    "cannot be written|could not be written|Nothing can be written|does not exist|cannot be replaced|cannot have",
    "output_in",
    {
        "proc": lambda w: w.command(output="/proc/map.tif"),
        "the_null_device": lambda w: w.command(output="/dev/null/map.tif"),
        "a_file": lambda w: w.command(output=w.model / "map.tif"),
        "sys": lambda w: w.command(output="/sys/kernel/map.tif"),
    },
)
rows(
    "cannot be written|could not be written|Nothing can be written|does not exist|cannot be replaced|cannot have",
    "report_in",
    {
        "proc": lambda w: w.command("--report", "/proc/report.json"),
        "a_file": lambda w: w.command("--report", w.model / "report.json"),
    },
)
rows(
    "long|cannot have",
    "name_too_long_of",
    {
        option.strip("-"): lambda w, option=option: w.command(option, w / ("x" * 300 + ".tif"))
        for option in ("--confidence", "--report", "--probabilities")
    },
)


@row("long|cannot have|written")
def _name_that_leaves_no_room_for_its_style(w):
    """251 letters and .tif are a name; with .report.json behind them they are none."""
    return w.command(output=w / ("x" * 251 + ".tif"))


@row("exists already|device|not a file")
def _output_is_a_device(w):
    (w / "map.tif").symlink_to("/dev/full")
    return w.command()


@row("device|not a file|cannot be replaced|exists already")
def _report_is_the_full_device(w):
    return w.command("--report", "/dev/full")


@row("overwrite the input")
def _output_is_the_model(w):
    """Whatever a network is called."""
    model = light(w / "net.tif")
    return w.command("--overwrite", model=model, output=model)


@row("overwrite the input")
def _confidence_is_the_raster(w):
    return w.command("--overwrite", "--confidence", w.scene)


@row("overwrite the input")
def _confidence_is_one_of_several_rasters(w):
    other = image(w / "other.tif", noise((1, 40, 50)), names=["B9"])
    return ["classify-pixels", str(w.scene), str(other), *w.command("--overwrite", "--confidence", other)[2:]]


@row("overwrite the input")
def _report_is_the_network_of_a_definition(w):
    _bare(w / "packed.onnx")
    definition = spoiled(w / "packed.emd", json.dumps(_emd(Classes=_CLASSES)).encode())
    return w.command("--overwrite", "--report", w / "packed.onnx", model=definition)


@row("overwrite the input")
def _report_is_the_card_beside_the_network(w):
    model = _bare(w / "bare.onnx")
    card = spoiled(w / "bare.json", make_card(3, 3).to_json().encode())
    return w.command("--overwrite", "--report", card, model=model)


@row("overwrite the input")
def _report_is_the_job(w):
    """The job file is an input too."""
    job = w / "job.json"
    content = {"rasters": [str(w.scene)], "model": str(w.model), "output": str(w.output), "report": str(job)}
    spoiled(job, json.dumps(content).encode())
    return ["classify-pixels", "--job", str(job), "--overwrite"]


@row("overwrite the input")
def _table_is_the_raster(w):
    """Named like what a map brings with it."""
    raster = shutil.copy(w.scene, w / "map.tif.aux.xml")
    return w.command("--overwrite", raster=raster)


@row("is a folder")
def _table_is_a_folder(w):
    (w / "map.tif.aux.xml").mkdir()
    return w.command()


@row("is a folder")
def _report_is_a_folder(w):
    (w / "map.report.json").mkdir()
    return w.command("--overwrite")


@row("is a folder|does not exist|end in")
def _output_of_nothing_but_an_ending(w):
    return w.command(output=f"{w.folder}/.tif")
