"""A worker of live classification that does as it is told, and label layers to draw on."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, QVariant, pyqtSignal

from thematica.models.label_classes import LabelClass

#: What it does is said by $THEMATICA_FAKE, which a clean environment keeps; what it is asked goes to a file.
FAKE_LIVE = r"""#!{python} -I
import json, os, signal, sys, tempfile, time
seen = open(os.environ["THEMATICA_SEEN"], "a", encoding="utf-8", buffering=1)
starts = sum(line == "start\n" for line in open(os.environ["THEMATICA_SEEN"], encoding="utf-8")) + 1
seen.write("start\n")
def say(**event):
    print(json.dumps(event), flush=True)
def ready():
    say(event="ready", version="x", protocol=1)
def asked():
    for line in sys.stdin:
        seen.write(line)
        yield json.loads(line)
def reply(request, **values):
    say(id=request["id"], event="reply", **values)
def picture(request, color=(0, 0, 255, 255)):
    w, h = request["size"]
    handle, path = tempfile.mkstemp(prefix="thematica-live-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(bytes(color) * (w * h))
    reply(request, file=path, format="argb32-premultiplied", size=[w, h], extent=request["extent"],
          seconds={{"total": 0.1}}, classes=[], accuracy=None, samples=9)
def serve(**own):
    for request in asked():
        do = request["do"]
        if do in own:
            own[do](request)
        elif do == "open":
            reply(request, bands=[], width=10, height=10, gsd=10.0, crs="", warnings=[])
        elif do == "labels":
            reply(request, features=len(request["features"]), findings=[])
        elif do == "statistics":
            reply(request, statistics={{"classes": [], "bands": [], "pixels": 0}})
        elif do == "preview":
            picture(request)
exec(os.environ["THEMATICA_FAKE"])
"""

SERVES = "ready()\nserve()"


class FakeLive:
    """The fake worker, and what it saw."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.seen_file = folder / "seen.jsonl"
        self.seen_file.write_text("")
        monkeypatch.setenv("THEMATICA_SEEN", str(self.seen_file))

    def __call__(self, code: str = SERVES):
        from thematica.plugin.runtime import Runtime

        interpreter = self.folder / "fake-live"
        interpreter.write_text(FAKE_LIVE.format(python=os.path.realpath(sys.executable)), encoding="utf-8")
        interpreter.chmod(0o755)
        self.monkeypatch.setenv("THEMATICA_FAKE", code)
        return Runtime(interpreter, "environment")

    def seen(self, do: str | None = None) -> list[dict]:
        """What it was asked, in order; of one kind, or of all."""
        lines = [line for line in self.seen_file.read_text("utf-8").splitlines(True) if line.endswith("\n")]
        requests = [json.loads(line) for line in lines if line != "start\n"]
        return [request for request in requests if do in (None, request["do"])]

    def starts(self) -> int:
        """How often it was started."""
        return self.seen_file.read_text("utf-8").splitlines().count("start")


def is_gone(pid: int) -> bool:
    """True when the process is no more (a zombie is no more, too)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


CLASSES = [LabelClass(1, "Water", "#0000ff"), LabelClass(2, "Forest", "#00aa00"), LabelClass(3, "Soil", "#aa5500")]

FIELDS = ("class", "image", "comment")


class DrawnLabels(QObject):
    """A label layer of polygons in a GeoPackage, with classes that are kept nowhere."""

    classes_changed = pyqtSignal()
    current_changed = pyqtSignal(int)
    class_field = "class"

    def __init__(self, path: Path, crs: str = "EPSG:32633", kind: str = "Polygon") -> None:
        super().__init__()
        memory = QgsVectorLayer(f"{kind}?crs={crs}", "labels", "memory")
        memory.dataProvider().addAttributes(
            [QgsField(name, QVariant.Int if name == "class" else QVariant.String) for name in FIELDS]
        )
        memory.updateFields()
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.layerName = "labels"
        context = QgsProject.instance().transformContext()
        assert QgsVectorFileWriter.writeAsVectorFormatV3(memory, str(path), context, options)[0] == 0
        self.layer = QgsVectorLayer(f"{path}|layername=labels", "labels", "ogr")
        assert self.layer.isValid()
        QgsProject.instance().addMapLayer(self.layer)
        self._classes, self._current = list(CLASSES), 1

    def classes(self):
        return list(self._classes)

    def current_code(self):
        return self._current

    def set_current(self, code):
        self._current = code
        self.current_changed.emit(code)

    def code_of(self, value):
        return value if value in [entry.code for entry in self._classes] else None

    def values_of(self, code):
        return [code] if code in [entry.code for entry in self._classes] else []

    def add_class(self, code, name):
        self._classes.append(LabelClass(code, name, "#00ffff"))
        self.classes_changed.emit()

    def recolor(self, code, color):
        self._classes = [replace(entry, color=color) if entry.code == code else entry for entry in self._classes]
        self.classes_changed.emit()

    def draw(self, code, x, y, side=20.0, image=None):
        """A square, as one undo step; returns the feature's number."""
        feature = QgsFeature(self.layer.fields())
        corners = f"{x} {y}, {x + side} {y}, {x + side} {y - side}, {x} {y - side}, {x} {y}"
        feature.setGeometry(QgsGeometry.fromWkt(f"Polygon(({corners}))"))
        feature.setAttribute("class", code)
        feature.setAttribute("image", image)
        if not self.layer.isEditable():
            assert self.layer.startEditing()
        self.layer.beginEditCommand("draw")
        assert self.layer.addFeature(feature)
        self.layer.endEditCommand()
        return max(self.layer.editBuffer().addedFeatures(), key=lambda fid: -fid)


def utm() -> QgsCoordinateReferenceSystem:
    return QgsCoordinateReferenceSystem("EPSG:32633")
