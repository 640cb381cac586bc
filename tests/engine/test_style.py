"""The styles are loaded by a real QGIS, in its own Python, as QGIS does when it opens a result."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio

from thematica.engine.pam import ClassRow
from thematica.engine.style import CIVIDIS, score_style, thematic_style, write_style

SYSTEM_PYTHON = "/usr/bin/python3"
CLASSES = [
    ClassRow(5, 'Grünland, "nass" & <trocken>', "#12ab9f"),
    ClassRow(0, "Wasser", "#0000ff"),
    ClassRow(200, "Wald 森林", "#006400"),
]
LOAD = """
import json, sys
from qgis.core import QgsApplication, QgsLayerTreeLayer, QgsMapLayerLegend, QgsRasterLayer
from qgis.PyQt.QtCore import Qt
application = QgsApplication([], False)
application.initQgis()
told = []
for path in sys.argv[1:]:
    layer = QgsRasterLayer(path, "result")
    assert layer.isValid()
    renderer = layer.renderer()
    tell = {"type": renderer.type(), "band": renderer.usesBands(), "opacity": renderer.opacity()}
    if renderer.type() == "paletted":
        tell["classes"] = [[c.value, c.label, c.color.name(), c.color.alpha()] for c in renderer.classes()]
    else:
        function = renderer.shader().rasterShaderFunction()
        tell["items"] = [[i.value, i.color.name()] for i in function.colorRampItemList()]
        tell["range"] = [renderer.classificationMin(), renderer.classificationMax()]
        ramp = function.sourceColorRamp()
        tell["ramp"] = [ramp.type(), ramp.count(), ramp.color(0).name(), ramp.color(1).name()]
    nodes = QgsMapLayerLegend.defaultRasterLegend(layer).createLayerTreeModelLegendNodes(QgsLayerTreeLayer(layer))
    tell["legend"] = [str(node.data(Qt.ItemDataRole.DisplayRole) or "") for node in nodes]
    width, height = layer.width(), layer.height()
    image = renderer.block(renderer.usesBands()[0], layer.extent(), width, height).image()
    tell["image"] = [[image.pixelColor(x, y).name() if image.pixelColor(x, y).alpha() else "" for x in range(width)]
                     for y in range(height)]
    told.append(tell)
print("TOLD" + json.dumps(told))
del layer, renderer, nodes
application.exitQgis()
"""


def write_raster(path: Path, values: np.ndarray, nodata: float) -> Path:
    profile = {"driver": "GTiff", "width": values.shape[1], "height": values.shape[0], "count": 1, "nodata": nodata}
    grid = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(path, "w", **profile, **grid, dtype=values.dtype) as dataset:
        dataset.write(values, 1)
    return path


def open_in_qgis(*rasters: Path) -> list[dict]:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip("no system Python")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GDAL", "PROJ"))}
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", LOAD, *map(str, rasters)],
        capture_output=True,
        text=True,
        env={**environment, "QT_QPA_PLATFORM": "offscreen"},
        check=False,
    )
    if "No module named 'qgis'" in done.stderr:
        pytest.skip("the system's Python has no QGIS")
    lines = [line for line in done.stdout.splitlines() if line.startswith("TOLD")]
    assert lines, done.stderr
    return json.loads(lines[0].removeprefix("TOLD"))


def test_qgis_opens_results_styled(tmp_path):
    codes = write_raster(tmp_path / "map größe.v1.tif", np.array([[0, 5, 200], [254, 255, 7]], np.uint8), 255)
    scores = write_raster(tmp_path / "confidence.tif", np.array([[0, 1, 3], [2, -1, 1.5]], np.float32), -1)
    assert write_style(codes, thematic_style(CLASSES, 255, 254)) == tmp_path / "map größe.v1.qml"
    write_style(scores, score_style("Entropie <&>", 0, 3))
    thematic, score = open_in_qgis(codes, scores)

    names = ["Wasser", 'Grünland, "nass" & <trocken>', "Wald 森林", "Unclassified"]
    assert thematic["type"] == "paletted"
    assert thematic["classes"] == [
        [0, names[0], "#0000ff", 255],
        [5, names[1], "#12ab9f", 255],
        [200, names[2], "#006400", 255],
        [254, names[3], "#c8c8c8", 255],
    ]
    # QGIS heads the entries with the band's name.
    assert thematic["legend"][1:] == names
    assert thematic["image"] == [["#0000ff", "#12ab9f", "#006400"], ["#c8c8c8", "", ""]]

    assert score["type"] == "singlebandpseudocolor"
    assert score["range"] == [0, 3]
    assert [color for _, color in score["items"]] == list(CIVIDIS)
    assert [value for value, _ in score["items"]] == pytest.approx(np.linspace(0, 3, 10))
    assert score["ramp"] == ["gradient", 10, CIVIDIS[0], CIVIDIS[-1]]
    # 1 and 2 lie on anchors of the ramp, 1.5 half-way between two of them.
    ends = [[int(color[start : start + 2], 16) for start in (1, 3, 5)] for color in CIVIDIS[4:6]]
    middle = "#{:02x}{:02x}{:02x}".format(*(sum(pair) // 2 for pair in zip(*ends, strict=True)))
    assert score["image"] == [[CIVIDIS[0], CIVIDIS[3], CIVIDIS[9]], [CIVIDIS[6], "", middle]]


def test_the_ramp_grows_lighter_step_by_step():
    lightness = [sum(w * int(c[i : i + 2], 16) for w, i in ((0.2126, 1), (0.7152, 3), (0.0722, 5))) for c in CIVIDIS]
    steps = np.diff(lightness)
    assert (steps > 0).all()


def test_no_legend_entry_without_threshold():
    assert "Unclassified" not in thematic_style(CLASSES, 255, None)


def test_a_ramp_needs_a_range():
    with pytest.raises(ValueError, match="minimum < maximum"):
        score_style("margin", 1, 1)
