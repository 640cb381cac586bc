"""The demo: classify a scene through ``qgis_process``, and draw the map with QGIS.

Run it with ``make demo``.  Without ``--scene`` it makes a two-date scene of its own.  It works in one
folder, ``build/demo``: QGIS's profile and settings are there, too, so nothing of the user's is changed.
The last line that it prints names the picture.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

ROOT = Path(__file__).resolve().parents[1]
ALGORITHM = "thematica:classifypixels"


def main() -> int:
    """Scene, classification, table, picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, help="a scene of yours instead of the made one")
    parser.add_argument("--model", default="basic-cover-sentinel2", help="a model's name in the store, or an ONNX file")
    parser.add_argument("--scale", help="from stored values to reflectance, where the scene does not declare it")
    parser.add_argument("--offset", help="added after the scale; Sentinel-2 since baseline 04.00: -0.1")
    parser.add_argument("--sensor", help="order of the bands, where the scene does not name them (see the README)")
    parser.add_argument("--qgis-python", default="/usr/bin/python3", help="the Python that QGIS brings")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "demo", help="where all of it is written")
    options = parser.parse_args()

    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if options.scene and not options.scene.is_file():
        print(f"There is no scene {options.scene}.", file=sys.stderr)
        return 2
    scenes = [options.scene.resolve()] if options.scene else make_scene(folder / "scene")
    process = QgisProcess(folder)
    dates = []
    for scene in scenes:
        result = folder / f"map-{scene.stem.removeprefix('scene-')}.tif"
        settings = {"INPUT": scene, "MODEL": options.model, "OUTPUT": result}
        chosen = {"SCALE": options.scale, "OFFSET": options.offset, "SENSOR": options.sensor}
        settings.update({name: value for name, value in chosen.items() if value})
        started = time.perf_counter()
        print(f"Classifying {scene.name} with {options.model} (qgis_process run {ALGORITHM}) …", flush=True)
        process.run(settings)
        report = json.loads(result.with_suffix(".report.json").read_text("utf-8"))
        seconds = time.perf_counter() - started
        print(f"  {shown(result)} in {seconds:.1f} s, of which the engine {report['seconds']:.1f} s")
        for warning in report["warnings"]:
            print(f"  Note: {warning}")
        dates.append({"scene": scene, "map": result, "report": report, "label": label_of(scene)})

    print()
    print_areas(dates)
    notes = [] if options.scene else print_accuracy(dates)
    picture = folder / "map.png"
    draw(dates, notes, picture, process, options.qgis_python, made=not options.scene)
    print(f"\nMap with legend: {shown(picture)}")
    return 0


def shown(path: Path) -> str:
    """A path as the reader of the terminal would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# ------------------------------------------------------------------------------------------------ scene
def make_scene(folder: Path) -> list[Path]:
    """Make the two-date scene; return its files in the order of time."""
    print("Making a two-date scene like Sentinel-2's …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [sys.executable, str(ROOT / "demo" / "make_scene.py"), str(folder)], check=True, stdout=subprocess.DEVNULL
    )
    return sorted(path for path in folder.glob("*.tif") if not path.stem.endswith("-truth"))


def label_of(scene: Path) -> str:
    """The scene's date where it says one, else its name."""
    with rasterio.open(scene) as dataset:
        date = dataset.tags().get("TIFFTAG_DATETIME") or dataset.tags().get("ACQUISITION_DATE") or ""
    return date.split(" ")[0].replace(":", "-") or scene.stem


# ----------------------------------------------------------------------------------------- qgis_process
class QgisProcess:
    """``qgis_process`` with a profile of its own in which Thematica is switched on."""

    def __init__(self, folder: Path) -> None:
        self.program = self._find()
        profile = folder / "profile"
        # QGIS versions differ in where below QGIS_CUSTOM_CONFIG_PATH they look for plugins.
        for place in (profile, profile / "profiles" / "default"):
            plugins = place / "python" / "plugins"
            plugins.mkdir(parents=True, exist_ok=True)
            link = plugins / "thematica"
            if not link.is_symlink() or link.resolve() != ROOT:
                link.unlink(missing_ok=True)
                link.symlink_to(ROOT, target_is_directory=True)
        scratch = folder / "run"
        scratch.mkdir(mode=0o700, exist_ok=True)
        self.environment = {
            **os.environ,
            # QGIS looks its Python up in PATH: an active venv, conda or pyenv must not come first.
            "PATH": os.pathsep.join([str(Path(self.program).parent), os.environ.get("PATH", "")]),
            "QT_QPA_PLATFORM": "offscreen",
            "QGIS_CUSTOM_CONFIG_PATH": str(profile),
            "XDG_CONFIG_HOME": str(profile / "config"),
            "XDG_RUNTIME_DIR": str(scratch),
            # This checkout's runtime, whatever else the user has.
            "THEMATICA_RUNTIME": str(ROOT / ".venv"),
        }
        self.log = folder / "qgis_process.log"
        self.log.unlink(missing_ok=True)
        # Its status tells nothing: a plugin that is switched on already counts as an error.
        self._call("plugins", "enable", "thematica")

    @staticmethod
    def _find() -> str:
        """The program itself: Debian's wrapper adds options for the desktop that it does not know."""
        named = os.environ.get("QGIS_PROCESS") or shutil.which("qgis_process")
        if not named:
            raise SystemExit("There is no qgis_process; install QGIS (Debian, Ubuntu: apt-get install qgis).")
        return f"{named}.bin" if os.access(f"{named}.bin", os.X_OK) else named

    def _call(self, *arguments: str) -> int:
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write("$ qgis_process " + " ".join(arguments) + "\n")
            stream.flush()
            command = [self.program, *arguments]
            return subprocess.run(command, env=self.environment, stdout=stream, stderr=subprocess.STDOUT).returncode

    def run(self, settings: dict[str, Any]) -> None:
        """Run the algorithm; its output must be there afterwards."""
        # Not every version ends with another status after an error: only a new result counts.
        report = Path(settings["OUTPUT"]).with_suffix(".report.json")
        report.unlink(missing_ok=True)
        status = self._call("run", ALGORITHM, *(f"--{name}={value}" for name, value in settings.items()))
        if status != 0 or not report.is_file():
            lines = self.log.read_text("utf-8", "replace").splitlines()
            first = next((at for at, line in enumerate(lines) if line.startswith("ERROR")), -30)
            print(
                "\n".join(dict.fromkeys(line.removeprefix("ERROR:\t") for line in lines[first:] if line.strip())),
                file=sys.stderr,
            )
            raise SystemExit(f"qgis_process ended with status {status}; all that it said is in {shown(self.log)}")


# ---------------------------------------------------------------------------------------------- figures
def print_areas(dates: list[dict[str, Any]]) -> None:
    """Print hectares and per cent of each class, one pair of columns per date."""
    classes = [row["name"] for row in dates[0]["report"]["classes"]]
    width = max(map(len, [*classes, "No data, pixels"]))
    print(" " * width + "".join(f"{date['label']:>22}" for date in dates))
    print("Class".ljust(width) + "            ha       %" * len(dates))
    for index, name in enumerate(classes):
        cells = [date["report"]["classes"][index] for date in dates]
        print(name.ljust(width) + "".join(f"{cell['hectares']:14,.1f}{cell['percent']:8.1f}" for cell in cells))
    print(
        "No data, pixels".ljust(width)
        + "".join(f"{date['report']['nodata']['pixels']:14,}" + " " * 8 for date in dates)
    )


def print_accuracy(dates: list[dict[str, Any]]) -> list[str]:
    """Compare each map with the truth that the scene was made from; return what the picture says of it."""
    notes = []
    for date in dates:
        truth_file = date["scene"].with_name(f"{date['scene'].stem}-truth.tif")
        with rasterio.open(truth_file) as truth_set, rasterio.open(date["map"]) as map_set:
            truth, result = truth_set.read(1), map_set.read(1)
            valid = (truth != truth_set.nodata) & (result != map_set.nodata)
        share = float(np.mean(truth[valid] == result[valid]))
        sentence = f"{date['label']}: {share:.1%} of {int(valid.sum()):,} pixels as the scene was made"
        print(sentence)
        notes.append(sentence)
    return notes


# ---------------------------------------------------------------------------------------------- picture
def draw(
    dates: list[dict[str, Any]], notes: list[str], picture: Path, process: QgisProcess, qgis_python: str, made: bool
) -> None:
    """Let QGIS's own Python draw the layers with their styles."""
    model = dates[0]["report"]["model"]["title"] or dates[0]["report"]["model"]["name"]
    description = {
        "title": "Land cover",
        "subtitle": f"{model}" + (" – on a made scene, not a real place" if made else ""),
        "notes": notes,
        "picture": str(picture),
        "dates": [
            {
                "label": date["label"],
                "scene": str(date["scene"]),
                "map": str(date["map"]),
                "rgb": true_colour(date["report"]),
                "report": date["report"],
            }
            for date in dates
        ],
    }
    spec = picture.with_suffix(".json")
    spec.write_text(json.dumps(description, indent=1), "utf-8")
    picture.unlink(missing_ok=True)
    command = [qgis_python, str(ROOT / "demo" / "render_map.py"), str(spec)]
    drawn = subprocess.run(command, env=process.environment, capture_output=True, text=True)
    if drawn.returncode != 0 or not picture.is_file():
        print(drawn.stdout + drawn.stderr, file=sys.stderr)
        raise SystemExit("QGIS could not draw the map.")


def true_colour(report: dict[str, Any]) -> list[int]:
    """Raster bands for red, green and blue: those that the model took for them, else the first three."""
    bands = {row["model"].lower(): row["band"] for row in report["bands"]}
    for names in (("b4", "b3", "b2"), ("red", "green", "blue")):
        if all(name in bands for name in names):
            return [bands[name] for name in names]
    return [1, 2, 3]


if __name__ == "__main__":
    sys.exit(main())
