"""What a run leaves: valid COGs with names, tables and colours, scores, style and report."""

from __future__ import annotations

import json
import math
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

from thematica.engine import Monitor, PixelJob, classify
from thematica.engine.tiff import is_whole
from thematica.errors import OutputError
from thematica.models.card import ModelClass

from .networks import Net, image, light, make_card, mlp, noise, read, save
from .workplace import Workplace, run_here

SYSTEM_PYTHON = "/usr/bin/python3"


def run(workplace: Workplace, **options) -> dict:
    given = {
        "rasters": [str(workplace.scene)],
        "model": str(workplace.model),
        "output": str(workplace.output),
        **options,
    }
    return classify(PixelJob(**given))


def with_gdal(code: str, *arguments: object) -> str:
    """Run a few lines with the system's GDAL, another one than rasterio's."""
    if subprocess.run([SYSTEM_PYTHON, "-c", "from osgeo import gdal"], capture_output=True).returncode:
        pytest.skip("the system's Python has no GDAL")
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", code, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_cog(path: Path) -> None:
    """GDAL's own validator, as it ships with GDAL."""
    code = (
        "import sys; from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate; "
        "warnings, errors, _ = validate(sys.argv[1], full_check=True); print(warnings, errors)"
    )
    assert with_gdal(code, path).split("\n")[-2] == "[] []"


@pytest.mark.parametrize("side", [1, 300, 1300])
def test_results_are_valid_cogs(workplace: Workplace, side: int) -> None:
    raster = image(workplace / "other.tif", noise((3, side, side + side // 3)))
    scores = {name: str(workplace / f"{name}.tif") for name in ("confidence", "entropy", "margin", "probabilities")}
    run(workplace, rasters=[str(raster)], **scores)
    for path in (workplace.output, *map(Path, scores.values())):
        check_cog(path)
        with rasterio.open(path) as dataset, rasterio.open(raster) as scene:
            assert (dataset.crs, dataset.transform, dataset.shape) == (scene.crs, scene.transform, scene.shape)
            assert dataset.profile["tiled"] or side == 1
            assert dataset.compression.name == "deflate"
            assert bool(dataset.overviews(1)) == (side > 512)


def test_overviews_show_classes_that_exist(workplace: Workplace) -> None:
    """Codes cannot be averaged, and nodata must not grow into the map."""
    classes = [ModelClass(value, f"c{value}", "#102030") for value in (2, 40, 200)]
    model = light(workplace / "m.onnx", class_list=classes)
    samples = noise((3, 1200, 1200), low=1)
    samples[:, :, :100] = 0
    run(workplace, rasters=[str(image(workplace / "big.tif", samples, nodata=0))], model=str(model))
    with rasterio.open(workplace.output) as dataset:
        for factor in dataset.overviews(1):
            small = dataset.read(1, out_shape=(1200 // factor, 1200 // factor), resampling=Resampling.nearest)
            assert set(np.unique(small)) <= {2, 40, 200, 255}
            assert (small[:, : 90 // factor] == 255).all()
            assert (small[:, 110 // factor + 1 :] != 255).all()


def test_class_values_names_colours_and_table_through_gdal(workplace: Workplace) -> None:
    names = ['Wald "dicht"', "Äcker, Grünland", "<&>'", "Zeile\nzwei", "水"]
    classes = [
        ModelClass(value, name, f"#0a0b{value:02x}") for value, name in zip((0, 3, 7, 100, 101), names, strict=True)
    ]
    net = Net(3)
    model = save(workplace / "m.onnx", net.model(net.conv(net.input, 5)), make_card(3, 5, class_list=classes))
    samples = noise((3, 40, 50), low=1)
    samples[:, 5:9, 5:9] = 0
    report = run(workplace, rasters=[str(image(workplace / "s.tif", samples, nodata=0))], model=str(model))["report"]
    code = """if True:
        import json, sys
        from osgeo import gdal
        dataset = gdal.Open(sys.argv[1])
        band = dataset.GetRasterBand(1)
        table, colors = band.GetDefaultRAT(), band.GetColorTable()
        columns = [table.GetNameOfCol(i) for i in range(table.GetColumnCount())]
        rows = [[table.GetValueAsString(r, c) for c in range(len(columns))] for r in range(table.GetRowCount())]
        sys.stdout.buffer.write(json.dumps({
            "nodata": band.GetNoDataValue(), "categories": band.GetCategoryNames(), "columns": columns, "rows": rows,
            "colors": {value: colors.GetColorEntry(value) for value in (0, 3, 7, 100, 101, 255)}}).encode())
    """
    found = json.loads(with_gdal(code, workplace.output))
    assert found["nodata"] == 255
    shown = [name.replace("\n", " ") for name in names]
    assert [found["categories"][entry.value].replace("\n", " ") for entry in classes] == shown
    table = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    codes = read(workplace.output)[0]
    for entry, name in zip(classes, shown, strict=True):
        row = table[str(entry.value)]
        assert row["Name"].replace("\n", " ") == name
        assert int(row["Count"]) == (codes == entry.value).sum()
        assert (row["Red"], row["Green"], row["Blue"]) == ("10", "11", str(entry.value))
        assert found["colors"][str(entry.value)][:3] == [10, 11, entry.value]
        # Ten metres in UTM, near its middle meridian: a little more than 100 m² on the ground.
        assert float(row["Hectares"]) == pytest.approx(int(row["Count"]) * 0.01, rel=2e-3)
    assert found["colors"]["255"][3] == 0
    assert (codes[5:9, 5:9] == 255).all()
    assert [entry["name"] for entry in report["classes"]] == names


def test_sixteen_bits_where_eight_are_not_enough(workplace: Workplace) -> None:
    classes = [ModelClass(value, f"c{value}", "#102030") for value in (1, 254, 60000)]
    model = light(workplace / "m.onnx", class_list=classes)
    samples = noise((3, 40, 50), low=1)
    samples[:, 0, 0] = 0
    report = run(workplace, rasters=[str(image(workplace / "s.tif", samples, nodata=0))], model=str(model))["report"]
    codes = read(workplace.output)[0]
    assert codes.dtype == np.uint16
    assert codes[0, 0] == 65535
    assert set(np.unique(codes)) <= {1, 254, 60000, 65535}
    assert report["nodata"] == {"value": 65535, "pixels": 1}


def test_three_hundred_classes(workplace: Workplace) -> None:
    net = Net(3)
    model = save(workplace / "m.onnx", net.model(net.conv(net.input, 300)), make_card(3, 300))
    report = run(workplace, model=str(model))["report"]
    codes = read(workplace.output)[0]
    assert codes.max() > 255
    assert [entry["pixels"] for entry in report["classes"]] == np.bincount(codes.ravel(), minlength=300).tolist()


# Scores


def softmax_scores(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    ordered = np.sort(probabilities, axis=0)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=0) / math.log(len(probabilities))
    return {"confidence": ordered[-1], "margin": ordered[-1] - ordered[-2], "entropy": entropy}


@pytest.mark.parametrize("activation", ["logits", "softmax"])
@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 21])
def test_scores_are_what_they_say(workplace: Workplace, activation: str, opset: int) -> None:
    net = Net(3, opset=opset)
    x = net.conv(net.node("Sigmoid", net.conv(net.input, 4)), 4, 1)
    if activation == "softmax":
        # Before operator set 13 Softmax flattened all axes behind its own.
        x = net.node("Softmax", x, axis=1) if opset >= 13 else net.node("Sigmoid", x)
    model = save(workplace / "m.onnx", net.model(x), make_card(3, 4, activation=activation))
    scores = {name: str(workplace / f"{name}.tif") for name in ("confidence", "entropy", "margin", "probabilities")}
    result = run(workplace, model=str(model), **scores)
    probabilities = read(scores["probabilities"]).astype(float)
    np.testing.assert_array_equal(read(workplace.output)[0], probabilities.argmax(axis=0))
    if not (activation == "softmax" and opset < 13):
        np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
        for name, expected in softmax_scores(probabilities).items():
            np.testing.assert_allclose(read(scores[name])[0], expected, atol=2e-6)
    assert {"confidence", "entropy", "margin", "probabilities"} <= set(result["files"])
    with rasterio.open(scores["probabilities"]) as dataset:
        assert dataset.descriptions == ("class 0", "class 1", "class 2", "class 3")


# "": the card does not say it, and the graph ends in Sigmoid.
@pytest.mark.parametrize("activation", ["logits", "sigmoid", ""])
@pytest.mark.parametrize("threshold", [None, 0.3, 0.8])
def test_one_score_per_pixel(workplace: Workplace, activation: str, threshold: float | None) -> None:
    net = Net(3)
    x = net.conv(net.node("Sigmoid", net.conv(net.input, 4)), 1, 1)
    x = net.node("Sigmoid", x) if activation != "logits" else x
    card = make_card(3, ["no", "yes"], activation=activation, thresholds=() if threshold is None else (threshold,))
    scores = {name: str(workplace / f"{name}.tif") for name in ("confidence", "entropy", "margin", "probabilities")}
    report = run(workplace, model=str(save(workplace / "m.onnx", net.model(x), card)), **scores)["report"]
    probabilities = read(scores["probabilities"]).astype(float)
    assert len(probabilities) == 2
    # Sigmoid of sigmoid would never lie below.
    assert probabilities[1].min() < 0.5
    np.testing.assert_array_equal(read(workplace.output)[0], probabilities[1] >= (threshold or 0.5))
    # One score always decides; the legend must not show what cannot occur.
    assert "Unclassified" not in workplace.output.with_suffix(".qml").read_text(encoding="utf-8")
    chosen = np.where(read(workplace.output)[0] == 1, probabilities[1], probabilities[0])
    for name, expected in {**softmax_scores(probabilities), "confidence": chosen}.items():
        np.testing.assert_allclose(read(scores[name])[0], expected, atol=2e-6)
    assert report["unclassified"]["pixels"] == 0


def test_under_the_threshold_is_unclassified(workplace: Workplace) -> None:
    model = light(workplace / "m.onnx", thresholds=(0.6, 0.999, 0.0))
    samples = noise((3, 40, 50), "float32", high=1)
    scene = image(workplace / "s.tif", samples)
    report = run(workplace, rasters=[str(scene)], model=str(model), probabilities=str(workplace / "p.tif"))["report"]
    probabilities = read(workplace / "p.tif")
    best = probabilities.argmax(axis=0)
    sure = probabilities.max(axis=0) >= np.array([0.6, 0.999, 0.0], np.float32)[best]
    np.testing.assert_array_equal(read(workplace.output)[0], np.where(sure, best, 254))
    assert report["unclassified"] == {"value": 254, "pixels": int((~sure).sum())}
    assert 0 < (~sure).sum() < sure.size


@pytest.mark.parametrize("kind", ["segmentation", "pixel"])
def test_scores_do_not_change_the_map(workplace: Workplace, kind: str) -> None:
    model = workplace.model if kind == "segmentation" else mlp(workplace / "mlp.onnx", 3)
    run(workplace, model=str(model))
    run(workplace, model=str(model), output=str(workplace / "b.tif"), entropy=str(workplace / "e.tif"))
    np.testing.assert_array_equal(read(workplace.output), read(workplace / "b.tif"))


# Files


def test_files_and_report(workplace: Workplace) -> None:
    before = set(workplace.files())
    events: list[dict] = []
    job = PixelJob([str(workplace.scene)], str(workplace.model), str(workplace.output), tile=16, scale=0.5, offset=0.0,
                   nodata=0.0, confidence=str(workplace / "sure.tif"))  # fmt: skip
    result = classify(job, Monitor(events.append))
    new = set(workplace.files()) - before
    assert new == {"map.tif", "map.tif.aux.xml", "map.qml", "map.report.json", "sure.tif", "sure.qml"}
    assert all(Path(path).is_absolute() and Path(path).exists() for path in result["files"].values())
    report = json.loads((workplace / "map.report.json").read_text(encoding="utf-8"))
    assert report == json.loads(json.dumps(result["report"]))
    assert {
        "thematica", "command", "task", "created", "seconds", "inputs", "model", "parameters", "bands", "scale",
        "offset", "tiling", "backend", "classes", "nodata", "unclassified", "warnings", "seconds_per_stage", "versions",
        "files",
    } <= set(report)  # fmt: skip
    assert report["inputs"][0]["width"] == 50
    assert report["model"]["sha256"]
    assert report["scale"] == [0.5] * 3
    codes = read(workplace.output)[0]
    assert sum(entry["pixels"] for entry in report["classes"]) + report["nodata"]["pixels"] == codes.size
    for entry in report["classes"]:
        assert entry["pixels"] == (codes == entry["value"]).sum()
    assert sum(entry["percent"] for entry in report["classes"]) == pytest.approx(100, abs=1e-3)
    # Enough to run it again: the same job from the report's own words.
    again = {**report["parameters"], "output": str(workplace / "again.tif"), "confidence": str(workplace / "c2.tif")}
    assert {"offset": 0.0, "nodata": 0.0, "scale": 0.5}.items() <= again.items()
    (workplace / "again.json").write_text(json.dumps(again), encoding="utf-8")
    outcome = run_here("classify-pixels", "--job", workplace / "again.json")
    assert outcome.status == 0, outcome.err
    np.testing.assert_array_equal(read(workplace / "again.tif")[0], codes)
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_nodata_that_is_nan_can_be_reported(workplace: Workplace) -> None:
    """JSON has no NaN, and readers in other languages stop at it."""
    outcome = workplace.run("--nodata", "nan", "--progress", "json")
    assert outcome.status == 0, outcome.err

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    for text in (*outcome.out.splitlines(), (workplace / "map.report.json").read_text(encoding="utf-8")):
        json.loads(text, parse_constant=refuse)


def test_a_result_is_replaced_only_when_allowed(workplace: Workplace) -> None:
    run(workplace)
    before = workplace.files()
    with pytest.raises(OutputError, match="exists already"):
        run(workplace)
    assert workplace.files() == before
    other = light(workplace.folder.parent / "other.onnx", seed=9)
    run(workplace, model=str(other), overwrite=True)
    assert set(workplace.files()) == set(before)
    assert workplace.files()["map.tif"] != before["map.tif"]


def test_a_failed_run_leaves_the_earlier_result(workplace: Workplace) -> None:
    run(workplace)
    net = Net(3)
    nothing = net.weight(np.full((1, 1, 1, 1), np.nan, np.float32))
    broken = save(workplace / "nan.onnx", net.model(net.node("Add", net.conv(net.input, 3), nothing)), make_card(3, 3))
    before = workplace.files()
    outcome = workplace.run("--overwrite", model=broken)
    assert outcome.status == 2
    assert workplace.files() == before


def test_results_of_one_name_in_several_folders(workplace: Workplace) -> None:
    for name in ("a", "b", "c"):
        (workplace / name).mkdir()
    run(workplace, output=str(workplace / "a/map.tif"), confidence=str(workplace / "b/map.tif"),
        probabilities=str(workplace / "c/map.tif"), report=str(workplace / "c/r.json"))  # fmt: skip
    counts = [len(read(workplace / f"{name}/map.tif")) for name in ("a", "b", "c")]
    assert counts == [1, 1, 3]
    assert read(workplace / "a/map.tif").dtype == np.uint8
    assert sorted(path.name for path in (workplace / "c").iterdir()) == ["map.qml", "map.tif", "r.json"]


def test_if_one_result_cannot_be_moved_none_is(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where another program holds a file open."""
    import os

    from thematica.engine import cog

    run(workplace, confidence=str(workplace / "c.tif"))
    before = workplace.files()
    replace = os.replace

    def held(source: Path, target: Path) -> None:
        if Path(target).name == "map.tif" and "before" not in Path(source).name:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(cog.os, "replace", held)
    other = light(workplace.folder.parent / "other.onnx", seed=9)
    with pytest.raises(OutputError, match="cannot be replaced"):
        run(
            workplace,
            model=str(other),
            confidence=str(workplace / "c.tif"),
            entropy=str(workplace / "e.tif"),
            overwrite=True,
        )
    monkeypatch.undo()
    assert workplace.files() == before


def test_statistics_of_a_replaced_result_do_not_stay(workplace: Workplace) -> None:
    """QGIS writes statistics into .aux.xml; those of the old scores would stretch the new ones wrongly."""
    (workplace / "c.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    run(workplace, confidence=str(workplace / "c.tif"), overwrite=True)
    assert not (workplace / "c.tif.aux.xml").exists()


# Whole files


@settings(max_examples=30)
@given(cut=st.integers(1, 3000))
def test_a_file_cut_off_is_not_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("whole")
    path = image(folder / "scene.tif", noise((1, 100, 100)), tiled=True, blockxsize=16, blockysize=16)
    assert is_whole(path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert not is_whole(path)


@pytest.mark.parametrize(
    "options", [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"sparse_ok": True}, {"compress": "lzw"}]
)
def test_kinds_of_whole_files(tmp_path: Path, options: dict) -> None:
    path = image(tmp_path / "scene.tif", noise((2, 70, 70)), **options)
    assert is_whole(path)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    assert is_whole(path)


def test_what_is_no_tiff_is_not_whole(tmp_path: Path) -> None:
    for content in (b"", b"II", b"II*\0", b"PNG", struct.pack("<2sHI", b"II", 42, 10**6)):
        (tmp_path / "x.tif").write_bytes(content)
        assert not is_whole(tmp_path / "x.tif")
