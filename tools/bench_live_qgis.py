"""Live classification through everything: from an edit in QGIS to the picture on its canvas.

``bench.py`` runs this file with QGIS's Python, that of ``QGIS_PYTHON`` or the system's; by hand:

    cd build/pkg && QT_QPA_PLATFORM=offscreen /usr/bin/python3 thematica/tools/bench_live_qgis.py

The scene is that of ``bench_live.py`` (10 bands, uint16, 4000 × 4000), the canvas has 1000 × 1000 pixels, the label
layer is a real one, in editing.  The clock runs from the moment when the feature is in the layer's edit buffer until
the overlay has painted the new picture.  In between lie: waiting for more edits (150 ms), reading the layer, the pipe,
reading pixels, training, predicting, the file, and QGIS's own drawing of the map, which goes on meanwhile.

*held* is the longest time that QGIS's own thread was kept from the window, in milliseconds: 50 ms are not felt.  The
map's own drawing holds it, too: that is measured without a preview.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / ".venv" / "bin" / "python"
FOLDER = ROOT / "build" / "bench"
CANVAS, FIELD, RESOLUTION, LEFT, TOP, SIDE = 1000, 80, 10.0, 500_000.0, 5_500_000.0, 4000
COLORS = ("#1b7837", "#d9b44a", "#2166ac", "#b2182b", "#7f7f7f")
_MAKE_SCENE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_live
Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
print(json.dumps(bench_live.make_scene(Path(sys.argv[2])).tolist()))
"""


def make_scene(path: Path) -> list[list[int]]:
    """The scene of ``bench_live.py``; returns the class (from 0) of each of its fields."""
    command = [str(RUNTIME), "-c", _MAKE_SCENE, str(ROOT / "tools"), str(path)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=True)
    fields: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return fields


class Bench:
    """QGIS's canvas with the scene, the labels, the session and the overlay.

    Args:
        polygons: drawn at the start.
    """

    def __init__(self, polygons: int) -> None:
        from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer, QgsRectangle
        from qgis.gui import QgsMapCanvas
        from qgis.PyQt.QtCore import QCoreApplication, QSize, QTimer

        from thematica.models.label_classes import LabelClass
        from thematica.plugin.label_layer import LabelLayer, create_label_layer
        from thematica.plugin.live_session import LiveSession
        from thematica.ui.live_overlay import LiveOverlay

        self._process_events = QCoreApplication.processEvents
        self._random = random.Random(5)
        scene = FOLDER / "live.tif"
        self._fields = make_scene(scene)
        raster = QgsRasterLayer(str(scene), "scene")
        labels_file = FOLDER / "live-labels.gpkg"
        labels_file.unlink(missing_ok=True)
        classes = [LabelClass(n + 1, f"Class {n + 1}", color) for n, color in enumerate(COLORS)]
        layer = create_label_layer(labels_file, "labels", raster.crs(), classes)
        QgsProject.instance().addMapLayers([raster, layer])
        labels = LabelLayer.of(layer)
        self._layer, self._labels = layer, labels
        layer.startEditing()
        self._draw(polygons)
        self.canvas = QgsMapCanvas()
        self.canvas.setFrameStyle(0)
        self.canvas.setCachingEnabled(True)
        self.canvas.setParallelRenderingEnabled(True)
        self.canvas.resize(QSize(CANVAS, CANVAS))
        self.canvas.setDestinationCrs(QgsCoordinateReferenceSystem(raster.crs()))
        self.canvas.setLayers([layer, raster])
        self._rectangle = QgsRectangle
        self._look_at(1500, 1500)
        self.canvas.show()
        self.session = LiveSession(labels, [raster], self.canvas)
        self.painted = 0
        bench = self

        class Watched(LiveOverlay):
            """Tells when the newest picture was painted."""

            is_new = False

            def show_preview(self, image: Any, extent: Any) -> None:
                super().show_preview(image, extent)
                self.is_new = True

            def paint(self, painter: Any, option: Any = None, widget: Any = None) -> None:
                super().paint(painter, option, widget)
                if self.is_new:
                    self.is_new = False
                    bench.painted += 1

        self.overlay = Watched(self.canvas, layer)
        self.overlay.set_rasters([raster])
        self.session.preview_ready.connect(self.overlay.show_preview)
        self.held = 0.0
        self._tick = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(0)

    def _look(self) -> None:
        now = time.perf_counter()
        self.held, self._tick = max(self.held, now - self._tick), now

    def _look_at(self, row: int, column: int) -> None:
        left, top = LEFT + column * RESOLUTION, TOP - row * RESOLUTION
        side = CANVAS * RESOLUTION
        self.canvas.setExtent(self._rectangle(left, top - side, left + side, top))
        self.canvas.refresh()

    def _draw(self, count: int) -> None:
        """Draw polygons in fields of their class, as one undo step."""
        from qgis.core import QgsGeometry, QgsVectorLayerUtils

        index = self._layer.fields().lookupField(self._labels.class_field)
        fields = [(row, column) for row, line in enumerate(self._fields) for column in range(len(line))]
        features = []
        for row, column in self._random.choices(fields, k=count):
            width, height = (self._random.randint(20, 40) * RESOLUTION for _ in range(2))
            left = LEFT + (column * FIELD + self._random.randint(5, 30)) * RESOLUTION
            top = TOP - (row * FIELD + self._random.randint(5, 30)) * RESOLUTION
            # Drawn by hand, with a dozen vertices.
            ring = [(left + width * n / 5, top) for n in range(6)]
            ring += [(left + width * (5 - n) / 5, top - height) for n in range(6)]
            text = ", ".join(f"{x} {y}" for x, y in [*ring, ring[0]])
            geometry = QgsGeometry.fromWkt(f"Polygon(({text}))")
            geometry.convertToMultiType()
            code = self._fields[row][column] + 1
            features.append(QgsVectorLayerUtils.createFeature(self._layer, geometry, {index: code}))
        self._layer.beginEditCommand("draw")
        self._layer.addFeatures(features)
        self._layer.endEditCommand()
        self._layer.triggerRepaint()

    def measure(self, act: Callable[[], None]) -> tuple[float, float]:
        """Seconds from an act to the painted picture, and how long QGIS's thread was held meanwhile."""
        target = self.painted + 1
        act()
        begun = self._tick = time.perf_counter()
        self.held = 0.0
        while self.painted < target or self.session.state != "shown":
            if self.session.state == "failed" or time.perf_counter() - begun > 120:
                raise SystemExit(f"no picture came: {self.session.state}: {self.session.sentence}")
            self._process_events()
        return time.perf_counter() - begun, self.held

    def quiet(self) -> None:
        """Wait until nothing is drawn or computed any more."""
        limit = time.perf_counter() + 0.7
        while time.perf_counter() < limit or self.canvas.isDrawing():
            self._process_events()

    def figures(self, act: Callable[[], None], repeats: int) -> dict[str, float]:
        """Median and worst of several tries."""
        tries = []
        for _ in range(repeats):
            self.quiet()
            tries.append(self.measure(act))
        return {
            "median_s": round(statistics.median(seconds for seconds, _ in tries), 3),
            "worst_s": round(max(seconds for seconds, _ in tries), 3),
            "held_ms": round(1000 * max(held for _, held in tries), 1),
        }

    def held_by_map(self, repeats: int) -> float:
        """How long QGIS's own drawing of the map holds its thread, in milliseconds: the measure for ours."""
        held = 0.0
        for _ in range(repeats):
            self.quiet()
            self.pan()
            self.held, self._tick = 0.0, time.perf_counter()
            self.quiet()
            held = max(held, self.held)
        return round(1000 * held, 1)

    def edit(self) -> None:
        """One more polygon."""
        self._draw(1)

    def pan(self) -> None:
        """Somewhere else."""
        self._look_at(self._random.randint(0, SIDE - CANVAS), self._random.randint(0, SIDE - CANVAS))

    def end(self) -> None:
        """Leave nothing behind."""
        from qgis.core import QgsProject

        self._timer.stop()
        self.session.end()
        self.overlay.end()
        self.canvas.stopRendering()
        self.canvas.setLayers([])
        self._layer.rollBack()
        QgsProject.instance().clear()
        self.quiet()


def measure_live_qgis(repeats: int) -> dict[str, dict[str, float]] | None:
    """All cases, measured by QGIS's Python in a process of its own; None where there is no QGIS.

    Args:
        repeats: tries of each case.
    """
    python = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # QGIS looks its Python up in PATH, where an environment that is active in the shell would come first.
    clean["PATH"] = f"{Path(python).parent}:{clean.get('PATH', '')}"
    clean.update(QT_QPA_PLATFORM="offscreen", QGIS_CUSTOM_CONFIG_PATH=str(ROOT / "build" / "qgis-profile"))
    try:
        subprocess.run([python, "-c", "import qgis.core"], env=clean, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    package = ROOT / "build" / "pkg" / "thematica"
    if not package.exists():
        package.parent.mkdir(parents=True, exist_ok=True)
        package.symlink_to("../..")
    answer = FOLDER / "live-qgis.json"
    answer.unlink(missing_ok=True)
    command = [python, str(package / "tools" / "bench_live_qgis.py"), "--repeats", str(repeats), "--json", str(answer)]
    subprocess.run(command, env=clean, check=True, cwd=package.parent)
    figures: dict[str, dict[str, float]] = json.loads(answer.read_text(encoding="utf-8"))
    return figures


def table_live_qgis(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    lines = ["| case | median s | worst s | QGIS held, ms |", "| --- | --- | --- | --- |"]
    for name, row in figures.items():
        median, worst = (f"{row[key]:.2f}" if key in row else "" for key in ("median_s", "worst_s"))
        bold = f"**{median}**" if median else ""
        lines.append(f"| {name} | {bold} | {worst} | {row['held_ms']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--picture", default="", help="save the canvas as a PNG")
    parser.add_argument("--json", default="", help="write the figures into this file, too")
    options = parser.parse_args()
    os.environ["THEMATICA_RUNTIME"] = str(RUNTIME)
    sys.path.insert(0, str(ROOT / "build" / "pkg"))
    from qgis.testing import start_app

    application = start_app()
    figures: dict[str, dict[str, float]] = {}
    for polygons in (30, 1000):
        bench = Bench(polygons)
        map_alone = bench.held_by_map(options.repeats)
        seconds, held = bench.measure(lambda bench=bench: bench.session.set_preview(True))
        cases = {
            "switched on": {"median_s": round(seconds, 3), "held_ms": round(1000 * held, 1)},
            "edit": bench.figures(bench.edit, options.repeats),
            "pan": bench.figures(bench.pan, options.repeats),
            "pan without preview": {"held_ms": map_alone},
        }
        figures.update({f"{polygons} polygons, {case}": row for case, row in cases.items()})
        if options.picture and polygons == 30:
            bench.quiet()
            bench.canvas.grab().save(options.picture)
        bench.end()
    print(json.dumps(figures, indent=2))
    print(table_live_qgis(figures))
    if options.json:
        Path(options.json).write_text(json.dumps(figures), encoding="utf-8")
    del application
    sys.stdout.flush()
    os._exit(0)  # QGIS without its window may fall over its own feet when it ends


if __name__ == "__main__":
    main()
