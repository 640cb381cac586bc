"""Bad input to Classify patches, through the real command line: one sentence, exit status 2, nothing lost."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .networks import Net, image, light, make_card, noise, save
from .patch_networks import CLASSES, patch_net, table
from .test_bad_input import good_job, job, refused
from .test_cancel import ends_cancelled
from .workplace import Workplace, run_here

Row = Callable[[Workplace], list]
TABLE: list = []


def row(words: str) -> Callable[[Row], Row]:
    """Add a row; the function spoils something and returns the command."""

    def add(prepare: Row) -> Row:
        TABLE.append(pytest.param(prepare, words, id=prepare.__name__.strip("_")))
        return prepare

    return add


def command(w: Workplace, *more: object, raster: object = None, model: object = None, output: object = None) -> list:
    """``classify-patches`` with what is not given here as usual."""
    return [
        "classify-patches", str(raster or w.scene), "--model", str(model or patch_net(w / "patches.onnx")),
        "--output", str(output or w / "map.gpkg"), *map(str, more),
    ]  # fmt: skip


@row("takes patches of 64 × 64 pixels, but the raster has only 50 × 40")
def _patch_larger_than_the_raster(w):
    return command(w, model=patch_net(w / "m.onnx", 64))


@row("--stride must be at least 1")
def _stride_of_zero(w):
    return command(w, "--stride", 0)


@row("--stride must be at least 1")
def _stride_below_zero(w):
    return command(w, "--stride=-4")


@row("--batch must be at least 1")
def _batch_of_zero(w):
    return command(w, "--batch", 0)


@row("--threshold must lie between 0 and 1")
def _threshold_above_one(w):
    return command(w, "--threshold", 1.5)


@row("--threshold must lie between 0 and 1")
def _threshold_below_zero(w):
    return command(w, "--threshold", "-0.1")


@row("--threshold must lie between 0 and 1")
def _threshold_that_is_no_number(w):
    return command(w, "--threshold", "nan")


@row("--patch")
def _patch_of_zero(w):
    return command(w, "--patch", 0, model=patch_net(w / "m.onnx", None))


@row("--patch")
def _patch_beyond_all_memory(w):
    return command(w, "--patch", 10**6, model=patch_net(w / "m.onnx", None))


@row("8 pixels and no others")
def _patch_of_another_size_than_the_network_takes(w):
    return command(w, "--patch", 9)


@row("leaves the size of its patches open.*--patch")
def _patch_that_nobody_knows(w):
    return command(w, model=patch_net(w / "m.onnx", None))


@row("only networks for square patches")
def _patches_that_are_not_square(w):
    net = Net(3, shape=["n", 3, 8, 4])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.input)), 4)
    return command(w, model=save(w / "m.onnx", net.model(x, ["n", 4]), make_card(3, 4, "patch")))


@row("classifies pixels, not whole patches")
def _network_for_pixels(w):
    return command(w, model=w.model)


@row("(patches|card|scores|axes|shape)")
def _network_for_pixels_whose_card_says_patches(w):
    return command(w, "--patch", 8, model=light(w / "m.onnx", task="patch"))


@row("class numbers and no scores")
def _network_that_gives_class_numbers(w):
    from onnx import TensorProto

    net = Net(3, shape=["n", 3, 8, 8])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.input)), 4)
    x = net.node("ArgMax", x, axis=1, keepdims=0)
    x = net.node("Cast", x, to=TensorProto.INT64)
    return command(w, model=save(w / "m.onnx", net.model(x, ["n"], "int64"), make_card(3, 4, "patch")))


@row("NaN")
def _nan_from_the_network(w):
    net = Net(3, shape=["n", 3, 8, 8])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.input)), 4)
    x = net.node("Add", x, net.weight(np.array(np.nan, np.float32)))
    return command(w, model=save(w / "m.onnx", net.model(x, ["n", 4]), make_card(3, 4, "patch")))


@row("gives 4 scores")
def _card_with_more_classes_than_a_free_output(w):
    net = Net(3, shape=["n", 3, 8, 8])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.input)), 4)
    return command(w, model=save(w / "m.onnx", net.model(x, ["n", "k"]), make_card(3, 6, "patch")))


@row("no output .softness")
def _output_that_is_not_there(w):
    return command(w, "--output-name", "softness")


@row("made for 1 m")
def _resolution_of_another_sensor(w):
    return command(w, model=patch_net(w / "m.onnx", gsd=1.0))


@row("middle")
def _area_between_the_middles_of_patches(w):
    return command(w, "--area", "500001,5499971,500029,5499999")


@row("overlap")
def _area_elsewhere(w):
    return command(w, "--area", "0,0,10,10")


@row("folder .* does not exist")
def _folder_missing(w):
    return command(w, output=w / "nowhere" / "map.gpkg")


@row("end in .gpkg or .tif")
def _shapefile(w):
    return command(w, output=w / "map.shp")


@row("exists already")
def _layer_exists(w):
    (w / "map.gpkg").write_bytes(b"precious")
    return command(w)


@row("exists already")
def _style_exists(w):
    (w / "map.qml").write_bytes(b"precious")
    return command(w)


@row("is a folder")
def _layer_is_a_folder(w):
    (w / "map.gpkg").mkdir()
    return command(w, "--overwrite")


@row("overwrite the input")
def _layer_is_the_area(w):
    from .test_bad_input import polygons

    return command(w, "--overwrite", "--area", polygons(w / "map.gpkg"))


@row("overwrite the input")
def _raster_is_the_input(w):
    return command(w, "--overwrite", output=w.scene)


@row("needs a RASTER")
def _no_raster(w):
    return ["classify-patches", "--model", "x", "--output", "y.gpkg"]


@row("for the command .classify-pixels., not classify-patches")
def _job_of_another_command(w):
    return ["classify-patches", *job(w, good_job(w, command="classify-pixels"))[1:]]


@row("unknown entries: tile")
def _job_with_options_of_another_command(w):
    return ["classify-patches", *job(w, good_job(w, command="classify-patches", tile=8))[1:]]


@row("stride. has the wrong type")
def _job_with_a_stride_of_text(w):
    return ["classify-patches", *job(w, good_job(w, command="classify-patches", stride="8"))[1:]]


@row("left of a file that is gone")
def _log_of_a_file_that_is_gone(w):
    (w / "map.gpkg-wal").write_bytes(b"changes")
    return command(w)


@pytest.mark.parametrize(("prepare", "words"), TABLE)
def test_bad_input(workplace: Workplace, prepare: Row, words: str) -> None:
    refused(workplace, prepare(workplace), words)


# Disks


def busy_scene(w: Workplace) -> Path:
    return image(w / "busy.tif", noise((3, 480, 480)))


@pytest.mark.parametrize("name", ["map.gpkg", "map.tif"])
def test_on_every_size_of_disk_there_is_all_or_nothing(
    workplace: Workplace, small_disk: Callable[..., Path], name: str
) -> None:
    raster = busy_scene(workplace)
    model = patch_net(workplace / "m.onnx")
    options = ("--stride", 2) if name.endswith("tif") else ()
    assert run_here(*command(workplace, *options, raster=raster, model=model, output=workplace / name)).status == 0
    whole = sum(path.stat().st_size for path in workplace.folder.glob("map.*"))
    statuses = []
    disk = small_disk("size=4k")
    for size in range(4, whole * 5 // 1024, max(whole // 4096, 4)):
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        outcome = run_here(*command(workplace, *options, raster=raster, model=model, output=disk / name))
        statuses.append(outcome.status)
        left = sorted(path.name for path in disk.iterdir())
        if outcome.status == 0:
            assert name in left
            assert {"map.qml", "map.report.json"} < set(left)
            if name.endswith("gpkg"):
                assert table(disk / name)["label"].tolist() == table(workplace / name)["label"].tolist()
            for path in disk.iterdir():
                path.unlink()
        else:
            assert outcome.status == 2, outcome.err
            assert re.search("full|written|room", outcome.sentence), outcome.sentence
            assert left == []
    assert statuses[0] == 2
    assert statuses[-1] == 0


def test_a_full_disk_keeps_the_earlier_result(workplace: Workplace, small_disk: Callable[..., Path]) -> None:
    disk = small_disk("size=400k")
    assert run_here(*command(workplace, output=disk / "map.gpkg")).status == 0
    before = workplace.files(disk)
    outcome = run_here(*command(workplace, "--overwrite", raster=busy_scene(workplace), output=disk / "map.gpkg"))
    assert outcome.status == 2, outcome.err
    assert workplace.files(disk) == before


# Cancelling


@pytest.mark.parametrize("batch", [1, 64])
def test_cancelling_ends_within_a_batch(workplace: Workplace, batch: int) -> None:
    net = Net(3, shape=["n", 3, 64, 64])
    x = net.input
    for _ in range(4):
        x = net.relu(net.conv(x, 16, 5))
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", x)), 4)
    slow = save(workplace / "slow.onnx", net.model(x, ["n", 4]), make_card(3, CLASSES, "patch"))
    scene = image(workplace / "large.tif", noise((3, 1500, 1500)))
    assert run_here(*command(workplace)).status == 0
    before = workplace.files()
    arguments = command(
        workplace, "--overwrite", "--stride", 8, "--batch", batch, "--progress", "json", raster=scene, model=slow
    )
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("thematica")), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stdout:
            if json.loads(line).get("stage") == "Classifying":
                break
        # Into the middle of a run.
        time.sleep(1)
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ends_cancelled(process, since)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()
    assert workplace.files() == before
