"""Bad input, through the real command line: one sentence, exit status 2, nothing written, nothing lost.

One table: each row prepares a folder with a good scene and a good network, spoils one thing, and says with which
words the sentence must tell what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pyogrio.raw
import pytest
import rasterio
import shapely
from onnx import TensorProto, helper

from thematica.models.card import ModelClass

from .bad_input import TABLE, Row, cards, commands, folders, jobs, models, options, outputs, row, spoiled  # noqa: F401 - rows
from .bad_input.jobs import good_job, job
from .networks import Net, image, light, make_card, noise, read, save
from .workplace import Outcome, Workplace, run_here, run_there, slow_run

# The raster


@row("no file .*nowhere.tif")
def _no_such_raster(w):
    return w.command(raster=w / "nowhere.tif")


@row("not a raster")
def _text_as_raster(w):
    return w.command(raster=spoiled(w / "text.tif", b"I am no image\n" * 100))


@row("is empty")
def _empty_raster(w):
    return w.command(raster=spoiled(w / "empty.tif", b""))


@row("not a raster|damaged")
def _raster_cut_in_its_header(w):
    return w.command(raster=spoiled(w / "cut.tif", w.scene.read_bytes()[:100]))


@row("damaged|cut off")
def _raster_cut_in_its_pixels(w):
    big = image(w / "big.tif", noise((3, 300, 300)), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    return w.command(raster=spoiled(w / "cut.tif", big.read_bytes()[: big.stat().st_size * 2 // 3]))


@row("damaged|cut off")
def _png_cut_in_its_pixels(w):
    """GDAL's quick way of reading it takes what is missing for zeros."""
    with rasterio.open(w / "whole.png", "w", driver="PNG", width=60, height=60, count=3, dtype="uint8") as dataset:
        dataset.write(noise((3, 60, 60)))
    content = (w / "whole.png").read_bytes()
    return w.command(raster=spoiled(w / "cut.png", content[: len(content) // 2]))


@row("damaged|cut off")
def _raster_with_a_broken_block(w):
    """Where the sample of values does not look: found only when the block is read."""
    big = image(w / "big.tif", noise((3, 2000, 1500)), tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    content = bytearray(big.read_bytes())
    content[-60_000:-1000] = bytes(59_000)
    return w.command("--tile", 128, raster=spoiled(w / "broken.tif", content))


@row("not a raster|folder")
def _folder_as_raster(w):
    (w / "folder").mkdir()
    return w.command(raster=w / "folder")


@row("needs a RASTER")
def _no_raster(w):
    return w.command(raster="")


# Several rasters


def _beside(w, other, *more):
    return ["classify-pixels", str(w.scene), str(other), *w.command(*more, raster="")[1:], "--bands", "B1=2:1"]


@row("do not overlap")
def _rasters_of_two_places(w):
    return _beside(w, image(w / "other.tif", noise((1, 40, 50)), origin=(900_000, 5_500_000)))


@row("other.tif.*has no CRS")
def _a_raster_without_crs_among_others(w):
    return _beside(w, image(w / "other.tif", noise((1, 20, 25)), crs=None, resolution=20))


@row("other.tif.*not georeferenced")
def _a_raster_without_place_among_others(w):
    return _beside(w, image(w / "other.tif", noise((1, 20, 25)), crs=None, transform=None))


@row("given twice")
def _a_raster_twice(w):
    return _beside(w, w / "." / "scene.tif")


@row("no file .*B02.tif")
def _a_band_file_missing(w):
    return _beside(w, w / "S2_B02.tif")


@row("other.tif.*not a raster|damaged")
def _a_second_file_that_is_none(w):
    return _beside(w, spoiled(w / "other.tif", w.scene.read_bytes()[:90]))


@row("other.tif.*damaged")
def _a_second_file_cut_off(w):
    """Found only while it is resampled."""
    big = image(w / "big.tif", noise((1, 400, 400)), resolution=2.5, tiled=True, blockxsize=64, blockysize=64)
    content = big.read_bytes()
    big.unlink()
    return _beside(w, spoiled(w / "other.tif", content[: len(content) // 2]), "--gsd", 20)


@row("no band files")
def _a_folder_of_no_product(w):
    (w / "holidays").mkdir()
    (w / "holidays" / "beach.jpg").write_bytes(b"sun")
    return w.command(raster=w / "holidays")


@row("archive.*unpack")
def _a_product_that_is_still_packed(w):
    return w.command(raster=spoiled(w / "S2A_MSIL2A_20220601T102601.SAFE.zip", b"PK"))


@row("model needs B3")
def _a_product_that_lacks_a_band(w):
    (w / "product").mkdir()
    for name in ("B01", "B02"):
        image(w / "product" / f"x_{name}.tif", noise((1, 20, 25)), names=[""])
    return w.command(raster=w / "product")


@row("2:1.*not georeferenced|not georeferenced")
def _metres_without_place(w):
    return w.command("--gsd", 5, raster=image(w / "photo.tif", noise((3, 40, 50)), crs=None, transform=None))


@row("no CRS.*--raster-crs")
def _metres_without_crs(w):
    return w.command("--gsd", 5, raster=image(w / "scene2.tif", noise((3, 40, 50)), crs=None))


@row("pixels.*coarser pixels")
def _pixels_far_too_fine(w):
    return w.command("--gsd", 0.001)


@row("Not even one pixel")
def _pixels_far_too_coarse(w):
    return w.command("--gsd", 5000)


for _text in ("0", "-1", "nan", "inf"):

    def _prepare(w, text=_text):
        return w.command(f"--gsd={text}")

    _prepare.__name__ = f"_gsd_of_{_text}"
    row("--gsd must be")(_prepare)


@row("--gsd must be a number of metres")
def _gsd_of_words(w):
    return job(w, good_job(w, gsd="fine"))


@row("card does not say")
def _gsd_of_a_model_that_knows_none(w):
    return w.command("--gsd", "model")


@row("no resampling “magic”; use nearest")
def _no_such_resampling(w):
    return job(w, good_job(w, resampling="magic"))


@row("mask.*leaves nothing")
def _a_mask_of_nothing(w):
    return w.command("--mask", image(w / "mask.tif", np.zeros((1, 40, 50), "uint8")))


@row("no file .*mask.tif")
def _no_such_mask(w):
    return w.command("--mask", w / "mask.tif")


@row("overwrite the input")
def _a_map_in_place_of_its_mask(w):
    mask = image(w / "mask.tif", np.ones((1, 40, 50), "uint8"))
    return w.command("--mask", mask, "--overwrite", output=mask)


@row("complex")
def _complex_numbers(w):
    return w.command(raster=image(w / "radar.tif", noise((3, 40, 50)).astype("complex64")))


@row("complex")
def _complex_whole_numbers(w):
    path = w / "radar.tif"
    with rasterio.open(path, "w", driver="GTiff", width=9, height=9, count=3, dtype="complex_int16") as dataset:
        dataset.write(noise((3, 9, 9)).astype("complex64"))
    return w.command(raster=path)


# Bands


@row("B3")
def _a_band_missing(w):
    return w.command(raster=image(w / "two.tif", noise((2, 40, 50))))


@row("B1, B2, B3|3 bands")
def _wrong_number_of_bands(w):
    return w.command(raster=image(w / "five.tif", noise((5, 40, 50)), names=[""] * 5))


@row("band assignment")
def _nonsense_as_bands(w):
    return w.command("--bands", "B1:3")


@row("no band .B9")
def _bands_of_another_model(w):
    return w.command("--bands", "B9=1")


@row("only 3")
def _band_beyond_the_last(w):
    return w.command("--bands", "B1=7")


@row("file 4, but the number of rasters given is 1")
def _file_beyond_the_last(w):
    return w.command("--bands", "B1=4:1")


@row("band assignment")
def _band_zero(w):
    return w.command("--bands", "B1=0")


# Resolution and scale


@row("made for 10 m.*coarser")
def _resolution_ten_times_finer(w):
    return w.command(
        raster=image(w / "fine.tif", noise((3, 40, 50)), resolution=1), model=light(w / "m.onnx", gsd=10.0)
    )


@row("made for 10 m.*finer")
def _resolution_ten_times_coarser(w):
    raster = image(w / "coarse.tif", noise((3, 40, 50)), resolution=100)
    return w.command(raster=raster, model=light(w / "m.onnx", gsd=10.0))


REFLECTANCE = {"unit": "reflectance", "value_range": (0.0, 1.0)}


@row("10000.*--scale")
def _reflectance_times_ten_thousand(w):
    raster = image(w / "dn.tif", noise((3, 40, 50), "uint16", high=4000))
    return w.command(raster=raster, model=light(w / "m.onnx", **REFLECTANCE))


@row("255.*--scale")
def _bytes_where_reflectance_is_wanted(w):
    return w.command(model=light(w / "m.onnx", **REFLECTANCE))


@row("times less|scale")
def _scaled_twice(w):
    raster = image(w / "dn.tif", noise((3, 40, 50), "float32", high=0.5))
    return w.command("--scale", "0.0001", raster=raster, model=light(w / "m.onnx", **REFLECTANCE))


@row("--scale 0")
def _scale_of_zero(w):
    return w.command("--scale", "0")


@row("--scale")
def _scale_that_is_no_number(w):
    return w.command("--scale", "nan")


@row("--offset")
def _infinite_offset(w):
    return w.command("--offset", "inf")


@row("uint8.*float32|float32.*uint8")
def _fractions_into_a_network_of_bytes(w):
    net = Net(3, data_type="uint8")
    model = save(w / "bytes.onnx", net.model(net.conv(net.input, 2)), make_card(3, 2))
    return w.command(raster=image(w / "real.tif", noise((3, 40, 50), "float32")), model=model)


# The area


@row("outside|overlap|not overlap|does not")
def _no_overlap(w):
    return w.command("--area", "0,0,10,10")


@row("four numbers")
def _extent_of_three_numbers(w):
    return w.command("--area", "500000,5499900,500100")


@row("four numbers")
def _extent_with_a_hole(w):
    return w.command("--area", "nan,0,1,1")


@row("empty|minimum")
def _extent_the_wrong_way_round(w):
    return w.command("--area", "500100,5499900,500000,5499950")


@row("no pixel|draw it larger")
def _extent_between_pixel_centres(w):
    return w.command("--area", "500001,5499998,500002,5499999")


@row("no file|four numbers")
def _area_that_is_words(w):
    return w.command("--area", "north,south,east,west")


@row("no file")
def _no_such_area(w):
    return w.command("--area", w / "fields.gpkg")


def polygons(path: Path, crs: str | None = "EPSG:32632") -> Path:
    square = shapely.to_wkb(np.array([shapely.box(500_000, 5_499_800, 500_200, 5_500_000)], object))
    # pyogrio warns of a missing CRS, which is what is wanted here.
    with pytest.warns(UserWarning, match="crs") if crs is None else contextlib.nullcontext():
        pyogrio.raw.write(str(path), square, [], [], geometry_type="Polygon", crs=crs)
    return path


@row("no CRS")
def _area_layer_without_crs(w):
    return w.command("--area", polygons(w / "area.shp", None))


@row("has no CRS")
def _area_on_a_raster_without_crs(w):
    return w.command("--area", polygons(w / "area.gpkg"), raster=image(w / "bare.tif", noise((3, 40, 50)), crs=None))


@row("not a vector file|cannot be (read|used)")
def _picture_as_area(w):
    return w.command("--area", spoiled(w / "area.gpkg", b"no geopackage" * 50))


@row("not a coordinate reference system")
def _nonsense_as_area_crs(w):
    return w.command("--area", "0,0,1,1", "--area-crs", "EPSG:99999999")


@row("not a coordinate reference system")
def _nonsense_as_raster_crs(w):
    return w.command("--raster-crs", "the usual")


# The model


@row("no model file")
def _no_such_model(w):
    return w.command(model=w / "nowhere.onnx")


@row("no model .* in the store.*basic-cover-sentinel2")
def _unknown_name(w):
    return w.command(model="treefinder")


@row("no model")
def _endless_name(w):
    return w.command(model="x" * 5000)


@row("not an ONNX file")
def _raster_as_model(w):
    return w.command(model=w.scene)


@row("is empty")
def _empty_model(w):
    return w.command(model=spoiled(w / "empty.onnx", b""))


@row("differ so much in size")
def _a_second_raster_of_pixels_without_size(w):
    from rasterio.shutil import copy

    copy(w.scene, w / "scene.vrt", driver="VRT")
    text = (w / "scene.vrt").read_text()
    huge = "<GeoTransform>-1e9, 1e8, 0, 1e9, 0, -1e8</GeoTransform>"
    (w / "scene.vrt").write_text(re.sub("<GeoTransform>.*</GeoTransform>", huge, text))
    first, second, *others = w.command("--bands", "B1=1:1,B2=2:2,B3=1:3")
    return [first, second, str(w / "scene.vrt"), *others]


@row("geotransform")
def _a_place_that_is_not_made_of_numbers(w):
    from rasterio.shutil import copy

    copy(w.scene, w / "scene.vrt", driver="VRT")
    text = (w / "scene.vrt").read_text()
    (w / "scene.vrt").write_text(re.sub("<GeoTransform>[^,]*", "<GeoTransform>nan", text))
    return w.command(raster=w / "scene.vrt")


@row("no file|cannot be read|extent")
def _an_area_with_a_name_that_is_too_long(w):
    return w.command("--area", "x" * 5000)


@row("not an ONNX file|only part")
def _model_cut_off(w):
    return w.command(model=spoiled(w / "cut.onnx", w.model.read_bytes()[:-900]))


@row("keeps its weights in")
def _model_with_external_weights_missing(w):
    net = Net(3)
    model = net.model(net.conv(net.input, 2))
    helper.set_model_props(model, {"thematica_card": make_card(3, 2).to_json()})
    onnx.save_model(model, w / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    (w / "m.bin").unlink()
    return w.command(model=w / "m.onnx")


@row("2 inputs")
def _model_of_two_inputs(w):
    net = Net(3)
    model = net.model(net.node("Add", net.input, "second"))
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["n", 3, "h", "w"]))
    return w.command(model=save(w / "m.onnx", model))


@row("2 inputs")
def _model_of_two_inputs_with_a_card(w):
    net = Net(3)
    model = net.model(net.node("Add", net.input, "second"))
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["n", 3, "h", "w"]))
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


def _of_rank(w: Workplace, shape: list, card: bool) -> list:
    net = Net(3, shape=shape)
    net.channels["image"] = 3
    model = net.model(net.node("Relu", net.input), shape)
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3) if card else None))


@row("3 axes")
def _three_axes(w):
    return _of_rank(w, ["n", 3, "w"], True)


@row("3 axes")
def _three_axes_without_a_card(w):
    return _of_rank(w, ["n", 3, "w"], False)


@row("5 axes")
def _five_axes(w):
    return _of_rank(w, ["n", 3, "t", "h", "w"], True)


@row("int64")
def _model_of_whole_numbers(w):
    net = Net(3, data_type="int64")
    x = net.node("Cast", net.input, to=TensorProto.FLOAT)
    return w.command(model=save(w / "m.onnx", net.model(net.conv(x, 2)), make_card(3, 2)))


@row("super-resolution")
def _output_larger_than_input(w):
    net = Net(3, shape=["n", 3, 64, 64])
    model = net.model(net.resize(net.input, 2), ["n", 3, 128, 128])
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


@row("contradicts|gives|scores")
def _output_with_fewer_channels_than_declared(w):
    net = Net(3)
    model = net.model(net.conv(net.input, 2), ["n", 5, "h", "w"])
    return w.command(model=save(w / "m.onnx", model, make_card(3, 5)))


@row("gives 2 scores")
def _card_with_more_classes(w):
    net = Net(3)
    return w.command(model=save(w / "m.onnx", net.model(net.conv(net.input, 2)), make_card(3, 5)))


@row("gives|scores")
def _card_with_other_classes_than_a_free_output(w):
    """The file leaves the number of scores open; the run shows it."""
    net = Net(3)
    model = net.model(net.conv(net.input, 5), ["n", "k", "h", "w"])
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


@row("takes 3")
def _card_with_more_bands(w):
    net = Net(3)
    return w.command(model=save(w / "m.onnx", net.model(net.conv(net.input, 2)), make_card(4, 2)))


@row("NaN")
def _nan_from_the_network(w):
    net = Net(3)
    nothing = net.weight(np.full((1, 1, 1, 1), np.nan, np.float32))
    model = net.model(net.node("Add", net.conv(net.input, 2), nothing))
    return w.command(model=save(w / "m.onnx", model, make_card(3, 2)))


@row("NaN")
def _nan_in_one_pixel_only(w):
    """log of a negative number: NaN where the image is dark, in one class."""
    net = Net(3)
    x = net.node("Log", net.node("Sub", net.conv(net.input, 3), net.weight(np.array(150, np.float32))))
    return w.command("--probabilities", w / "p.tif", model=save(w / "m.onnx", net.model(x), make_card(3, 3)))


@row("patch")
def _network_for_patches(w):
    net = Net(3, shape=["n", 3, 64, 64])
    x = net.node("GlobalAveragePool", net.conv(net.input, 4))
    model = net.model(net.node("Reshape", x, net.weight(np.array([0, -1], np.int64))), ["n", 4])
    return w.command(model=save(w / "m.onnx", model))


@row("operator|cannot load|not a valid")
def _operator_that_nobody_knows(w):
    net = Net(3)
    model = net.model(net.node("Frobnicate", net.input, domain="example.org"))
    model.opset_import.append(helper.make_opsetid("example.org", 1))
    return w.command(model=save(w / "m.onnx", model, make_card(3, 3)))


def deepness(name: str) -> tuple[Row, str]:
    def prepare(w: Workplace) -> list:
        path = Path(__file__).resolve().parents[3] / "shared" / "data" / "onnx_deepness_keys" / name
        if not path.exists():
            pytest.skip("the real networks in ../shared/data/onnx_deepness_keys are not here")
        scene = path.parents[len(Path(name).parts) - 1] / "dummy_fotomap_small.tif"
        return w.command(raster=scene, model=path)

    prepare.__name__ = "deepness_" + Path(name).stem
    return prepare


for _name, _words in [
    ("dummy_regression_models/dummy_regression_model.onnx", "regression"),
    ("dummy_regression_models/dummy_regression_model_batched.onnx", "regression"),
    ("dummy_superresolution_model.onnx", "super-resolution"),
    ("dummy_recognition_model.onnx", "recognition|shape|channels|contradict"),
]:
    row(_words, pytest.mark.real)(deepness(_name))


@pytest.mark.parametrize("task", ["regression", "object-detection", "super-resolution", "instance-segmentation"])
def test_tasks_that_are_no_classification(workplace: Workplace, task: str) -> None:
    item = make_card(3, 3).to_item()
    item["properties"]["mlm:tasks"] = [task]
    for key in ("thematica:task",):
        del item["properties"][key]
    (workplace / "card.json").write_text(json.dumps(item), encoding="utf-8")
    refused(workplace, workplace.command("--card", workplace / "card.json"), "network|detector")


# The card


@row("no model card")
def _no_such_card(w):
    return w.command("--card", w / "nowhere.json")


@row("not valid JSON")
def _card_of_text(w):
    return w.command("--card", spoiled(w / "card.json", b"{not json"))


@row("cannot be read")
def _card_in_latin_1(w):
    return w.command(
        "--card", spoiled(w / "card.json", make_card(3, ["Grünland", "b", "c"]).to_json().encode("latin-1"))
    )


@row("not a model card")
def _card_that_is_a_list(w):
    return w.command("--card", spoiled(w / "card.json", b"[1, 2]"))


@row("not a model card|no mlm")
def _card_of_something_else(w):
    return w.command("--card", spoiled(w / "card.json", b'{"type": "Feature", "properties": {}}'))


@row("cannot be read")
def _folder_as_card(w):
    (w / "card.json").mkdir()
    return w.command("--card", w / "card.json")


@row("two classes")
def _card_with_a_class_twice(w):
    card = make_card(3, 3, class_list=[ModelClass(1, name, "#000000") for name in "abc"])
    return w.command("--card", spoiled(w / "card.json", card.to_json().encode()))


# The output


@row("folder .* does not exist")
def _output_folder_missing(w):
    return w.command(output=w / "none" / "map.tif")


@row("does not exist|no folder|folder")
def _output_below_a_file(w):
    return w.command(output=w.scene / "map.tif")


@row("overwrite the input")
def _output_is_the_input(w):
    return w.command(output=w.scene)


@row("overwrite the input")
def _output_is_the_input_and_overwriting_allowed(w):
    return w.command("--overwrite", output=w.folder / "." / "scene.tif")


@row("overwrite the input")
def _output_is_the_input_by_a_link(w):
    (w / "link.tif").symlink_to(w.scene)
    return w.command("--overwrite", output=w / "link.tif")


@row("overwrite the input")
def _output_is_a_source_of_the_virtual_input(w):
    from rasterio.shutil import copy

    copy(w.scene, w / "scene.vrt", driver="VRT")
    return w.command("--overwrite", raster=w / "scene.vrt", output=w.scene)


@row("is a folder")
def _output_is_a_folder(w):
    (w / "map.tif").mkdir()
    return w.command()


@row("end in .tif")
def _output_without_its_ending(w):
    return w.command(output=w / "map.png")


@row("exists already")
def _output_exists(w):
    w.output.write_bytes(b"precious")
    return w.command()


@row("exists already")
def _confidence_exists(w):
    (w / "c.tif").write_bytes(b"precious")
    return w.command("--confidence", w / "c.tif")


@row("exists already")
def _report_asked_for_exists(w):
    (w / "notes.json").write_bytes(b"precious")
    return w.command("--report", w / "notes.json")


@row("twice")
def _two_results_in_one_file(w):
    return w.command("--confidence", w / "map.tif")


@row("twice|same name|different names")
def _two_results_with_one_style(w):
    return w.command("--confidence", w / "map.tiff")


@row("twice|different names")
def _report_in_place_of_the_style(w):
    return w.command("--report", w / "map.qml")


@row("overwrite")
def _report_in_place_of_the_area(w):
    return w.command("--area", polygons(w / "area.gpkg"), "--report", w / "area.gpkg", "--overwrite")


@row("overwrite")
def _report_in_place_of_the_model(w):
    return w.command("--report", w.model, "--overwrite")


@row("folder .* does not exist")
def _score_folder_missing(w):
    return w.command("--entropy", w / "none" / "e.tif")


@row("long|cannot be written|could not be written|Nothing can be written")
def _name_too_long(w):
    return w.command(output=w / ("x" * 300 + ".tif"))


@row("is a folder")
def _style_is_a_folder(w):
    """Found before anything is computed, not when the results are moved."""
    (w / "map.qml").mkdir()
    return w.command()


@row("map.qml.* exists already")
def _style_of_something_else(w):
    """A vector layer map.gpkg keeps its style in map.qml too."""
    (w / "map.qml").write_text("<qgis/>")
    return w.command()


# Options


@row("--tile")
def _tile_of_zero(w):
    return w.command("--tile", 0)


@row("--tile")
def _tile_beyond_all_memory(w):
    return w.command("--tile", 10**9)


@row("--overlap")
def _overlap_below_zero(w):
    return w.command("--overlap=-1")


@row("--overlap")
def _overlap_beyond_all_memory(w):
    return w.command("--overlap", 10**7)


@row("--batch")
def _batch_of_zero(w):
    return w.command("--batch", 0)


@row("--threads")
def _no_threads(w):
    return w.command("--threads", 0)


@row("provider .*Quantum")
def _provider_that_is_not_there(w):
    return w.command("--provider", "Quantum")


# The job file


@row("job file .* cannot be read")
def _no_such_job(w):
    return ["classify-pixels", "--job", str(w / "none.json")]


@row("job file .* cannot be read")
def _job_of_text(w):
    return job(w, b"{")


@row("cannot be read|JSON")
def _job_nested_without_end(w):
    return job(w, b"[" * 100_000)


@row("JSON object")
def _job_that_is_a_list(w):
    return job(w, [1])


@row("unknown entries: colour")
def _job_with_an_unknown_key(w):
    return job(w, good_job(w, colour="red"))


@row("lacks model")
def _job_without_a_model(w):
    return job(w, {key: value for key, value in good_job(w).items() if key != "model"})


@row("for the command")
def _job_of_another_command(w):
    return job(w, good_job(w, command="bake"))


for _key, _value in [
    ("rasters", "x.tif"), ("rasters", [1, 2]), ("rasters", [None]), ("model", 3), ("output", ["x"]), ("tile", "big"),
    ("tile", 2.5), ("tile", True), ("scale", "1"), ("overwrite", 1), ("area", 5), ("area", ["a", "b", "c", "d"]),
    ("area", [1, 2, 3]), ("bands", {"B1": 1}), ("nodata", "none"), ("mode", "fast"), ("invalid", "some"),
    ("report", False), ("sensor", "sputnik"), ("scale", float("nan")), ("offset", float("inf")),
]:  # fmt: skip

    def _mistyped(w, key=_key, value=_value):
        return job(w, good_job(w, **{key: value}))

    _mistyped.__name__ = f"job_with_{_key}_{_value!r}".replace(" ", "")
    row(f"{_key}|four numbers|no mode|no rule|preset")(_mistyped)


# The law


def refused(workplace: Workplace, command: list, words: str) -> Outcome:
    before = workplace.files()
    outcome = run_here(*command)
    assert outcome.status == 2, (outcome.status, outcome.err)
    assert re.search(words, outcome.sentence), outcome.sentence
    assert outcome.sentence.endswith(".")
    assert len(outcome.sentence) < 500
    assert "Traceback" not in outcome.err
    assert not re.search(r"Errno|Error\b|Exception|0x[0-9a-f]+", outcome.sentence)
    assert outcome.out == ""
    assert workplace.files() == before
    return outcome


@pytest.mark.parametrize(("prepare", "words"), TABLE)
def test_bad_input(workplace: Workplace, prepare: Row, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The store lies in the folder of which nothing may change.
    monkeypatch.setenv("THEMATICA_MODELS", str(workplace / "store"))
    refused(workplace, prepare(workplace), words)


# A few of them as the shell sees them


@pytest.mark.parametrize("style", ["none", "bar", "json"])
def test_a_process_of_its_own_behaves_alike(workplace: Workplace, style: str) -> None:
    before = workplace.files()
    outcome = run_there(*workplace.command("--progress", style, model=workplace.scene))
    assert outcome.status == 2
    assert workplace.files() == before
    if style == "json":
        assert [event["event"] for event in outcome.events][-1] == "error"
        assert outcome.events[-1]["code"] == "bad-model"
        assert "not an ONNX file" in outcome.events[-1]["message"]
        assert outcome.err == ""
    else:
        assert outcome.out == ""
        assert "not an ONNX file" in outcome.sentence


def test_wrong_options_are_explained_by_the_usage(workplace: Workplace) -> None:
    for more in (["--tile", "many"], ["--frobnicate"], ["--progress", "loud"]):
        outcome = workplace.run(*more)
        assert outcome.status == 2
        assert outcome.err.startswith("usage:")
        assert more[0] in outcome.err.splitlines()[-1]


# Disks


def noisy(workplace: Workplace, side: int = 600) -> Path:
    """A scene whose map does not compress to nothing."""
    return image(workplace / "noisy.tif", noise((3, side, side)))


def test_on_every_size_of_disk_there_is_all_or_nothing(workplace: Workplace, small_disk: Callable[..., Path]) -> None:
    """From too small for the first block to large enough: whichever stage hits the end of the disk."""
    raster = noisy(workplace)
    assert workplace.run(raster=raster).status == 0
    whole = sum(path.stat().st_size for path in workplace.folder.glob("map.*"))
    statuses = []
    disk = small_disk("size=16k")
    for size in range(16, whole * 5 // 2048, 24):
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        outcome = workplace.run(raster=raster, output=disk / "map.tif")
        statuses.append(outcome.status)
        left = sorted(path.name for path in disk.iterdir())
        if outcome.status == 0:
            assert left == ["map.qml", "map.report.json", "map.tif", "map.tif.aux.xml"]
            np.testing.assert_array_equal(read(disk / "map.tif"), read(workplace.output))
            for path in disk.iterdir():
                path.unlink()
        else:
            assert outcome.status == 2, outcome.err
            assert re.search("full|written|room", outcome.sentence), outcome.sentence
            assert left == []
    assert statuses[0] == 2
    assert statuses[-1] == 0
    assert statuses == sorted(statuses, reverse=True)


def test_a_full_disk_keeps_the_earlier_result(workplace: Workplace, small_disk: Callable[..., Path]) -> None:
    disk = small_disk("size=100k")
    assert workplace.run(output=disk / "map.tif").status == 0
    before = workplace.files(disk)
    outcome = workplace.run("--overwrite", raster=noisy(workplace, 900), output=disk / "map.tif")
    assert outcome.status == 2
    assert workplace.files(disk) == before


def test_a_full_disk_for_one_of_several_results(workplace: Workplace, small_disk: Callable[..., Path]) -> None:
    """The map has room where it is; its probabilities, elsewhere, have not."""
    disk = small_disk("size=100k")
    raster = noisy(workplace, 300)
    before = workplace.files()
    outcome = workplace.run("--probabilities", disk / "p.tif", raster=raster)
    assert outcome.status == 2
    assert "p.tif" in outcome.sentence
    assert workplace.files() == before


@pytest.mark.parametrize("what", ["--confidence", "--report", None])
def test_a_read_only_folder(workplace: Workplace, small_disk: Callable[..., Path], what: str | None) -> None:
    """Told before anything runs, whichever of the results goes there."""
    disk = small_disk("size=1m")
    place = disk / ("map.tif" if what != "--report" else "report.json")
    assert workplace.run(output=disk / "map.tif").status == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = workplace.files()
    more = ["--overwrite", *([what, place] if what else [])]
    outcome = workplace.run(*more, **({} if what else {"output": place}))
    assert outcome.status == 2
    assert re.search("Nothing can be written in .*[Rr]ead-only", outcome.sentence), outcome.sentence
    assert workplace.files() == before


def test_results_on_several_disks(workplace: Workplace, small_disk: Callable[..., Path]) -> None:
    disk = small_disk("size=1m")
    outcome = workplace.run("--confidence", disk / "map.tif", "--report", disk / "r.json")
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in disk.iterdir()) == ["map.qml", "map.tif", "r.json"]


# The worker killed


def test_a_killed_run_leaves_the_earlier_result(workplace: Workplace) -> None:
    assert workplace.run().status == 0
    before = workplace.files()
    with slow_run(workplace, "--overwrite") as process:
        process.kill()
        assert process.wait(10) == -9
    left = {name: content for name, content in workplace.files().items() if name not in before}
    assert {name.split("/")[0] for name in left} <= {name for name in left if name.startswith(".map-")}
    assert before.items() <= workplace.files().items()
    # The next run for the same result tidies up.
    assert workplace.run("--overwrite").status == 0
    assert set(workplace.files()) == set(before)
