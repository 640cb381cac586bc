"""The contract of the command line: what programs may rely on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thematica import __version__
from thematica.models.card import parse_card

from ..engine.networks import image, mlp, noise, read
from ..engine.workplace import Workplace, run_here, run_there

ROOT = Path(__file__).resolve().parents[2]


# JSON lines


def test_with_json_stdout_is_json_lines_and_nothing_else(workplace: Workplace) -> None:
    scene = image(workplace / "larger.tif", noise((3, 700, 700)))
    outcome = run_there(*workplace.command("--progress", "json", "--confidence", workplace / "c.tif", raster=scene))
    assert outcome.status == 0
    assert outcome.err == ""
    events = outcome.events
    assert {event["event"] for event in events} <= {"progress", "log", "result"}
    result = events[-1]
    assert result["event"] == "result"
    assert set(result["files"]) == {"output", "style", "report", "confidence"}
    assert result["report"] == json.loads((workplace / "map.report.json").read_text(encoding="utf-8"))
    for event in events:
        if event["event"] == "progress":
            assert set(event) == {"event", "fraction", "stage", "pixels_per_second", "seconds_left"}
            assert 0 <= event["fraction"] <= 1
            assert isinstance(event["stage"], str)
        elif event["event"] == "log":
            assert set(event) == {"event", "level", "message"}
            assert event["level"] in ("info", "warning")
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)


def test_warnings_are_log_events(workplace: Workplace) -> None:
    scene = image(workplace / "unnamed.tif", noise((3, 40, 50)), names=[""] * 3)
    outcome = workplace.run("--progress", "json", raster=scene)
    warnings = [event["message"] for event in outcome.events if event["event"] == "log" and event["level"] == "warning"]
    assert len(warnings) == 1
    assert "order" in warnings[0]
    assert outcome.events[-1]["report"]["warnings"] == warnings


def test_names_of_all_kinds_arrive_in_one_piece(workplace: Workplace) -> None:
    """Also where the terminal's own encoding knows no such letters."""
    folder = workplace / "Größe 水"
    folder.mkdir()
    environment = {**os.environ, "LC_ALL": "C"}
    command = workplace.command("--progress", "json", output=folder / "Übersicht.tif")
    outcome = run_there(*command, env=environment)
    assert outcome.status == 0, outcome.err
    assert outcome.events[-1]["files"]["output"] == str(folder / "Übersicht.tif")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_a_path_that_is_no_text(workplace: Workplace) -> None:
    """A file from a disk of long ago, its name in Latin-1: rasterio cannot open it."""
    folder = os.fsencode(workplace.folder) + b"/gr\xfcn"
    os.mkdir(folder)
    scene = os.path.join(folder, b"scene.tif")
    shutil.copy(workplace.scene, scene)
    command = [os.fsencode(part) for part in workplace.command("--progress", "json", raster="", output="OUT")]
    command[command.index(b"OUT")] = os.path.join(folder, b"map.tif")
    program = Path(sys.executable).with_name("thematica")
    done = subprocess.run([program, command[0], scene, *command[1:]], capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done.stdout
    assert "UTF-8" in json.loads(done.stdout.splitlines()[-1])["message"]
    assert os.listdir(folder) == [b"scene.tif"]


def test_the_reader_may_go_away(workplace: Workplace) -> None:
    """``thematica … | head -1``: no traceback."""
    program = Path(sys.executable).with_name("thematica")
    process = subprocess.Popen(
        [program, *workplace.command("--progress", "json")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 3)
    assert "Traceback" not in error
    assert "Exception" not in error


def test_quiet_is_quiet(workplace: Workplace) -> None:
    outcome = run_there(*workplace.command("--progress", "none"))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


def test_libraries_do_not_talk_to_the_user(workplace: Workplace) -> None:
    """A photo without place on Earth is none of the analyst's faults."""
    photo = image(workplace / "photo.tif", noise((3, 40, 50)), crs=None, transform=None)
    outcome = run_there(*workplace.command("--progress", "none", raster=photo))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


def test_for_people_there_is_a_table(workplace: Workplace) -> None:
    outcome = workplace.run("--progress", "bar")
    assert outcome.status == 0
    assert "class 0" in outcome.out
    assert outcome.out.splitlines()[-1] == str(workplace.output)
    assert "%" in outcome.err


# Options


def test_extents_and_numbers_may_begin_with_a_minus(workplace: Workplace) -> None:
    """West of Greenwich and south of the equator."""
    scene = image(workplace / "andes.tif", noise((3, 40, 50)), crs="EPSG:4326", resolution=0.01, origin=(-70.0, -20.0))
    outcome = workplace.run("--area", "-69.9,-20.3,-69.6,-20.1", "--offset", "-1e-3", raster=scene)
    assert outcome.status == 0, outcome.err
    assert read(workplace.output).shape == (1, 20, 30)


def test_a_job_file_and_options_that_win(workplace: Workplace) -> None:
    content = {
        "command": "classify-pixels", "rasters": [str(workplace.scene)], "model": str(workplace.model),
        "output": str(workplace / "from_job.tif"), "tile": 16, "area": [500_000, 5_499_900, 500_200, 5_500_000],
        "area_crs": None, "overwrite": False, "bands": "B1=3,B2=2,B3=1",
    }  # fmt: skip
    (workplace / "job.json").write_text(json.dumps(content), encoding="utf-8")
    outcome = run_here("classify-pixels", "--job", workplace / "job.json", "--tile", 8, "--output", workplace.output)
    assert outcome.status == 0, outcome.err
    assert not (workplace / "from_job.tif").exists()
    report = json.loads((workplace / "map.report.json").read_text(encoding="utf-8"))
    assert report["tiling"]["tile"] == [8, 8]
    assert read(workplace.output).shape == (1, 10, 20)
    assert [(entry["model"], entry["band"]) for entry in report["bands"]] == [("B1", 3), ("B2", 2), ("B3", 1)]


def test_relative_paths_mean_the_working_folder(workplace: Workplace) -> None:
    command = ["classify-pixels", "scene.tif", "--model", "net.onnx", "--output", "map.tif"]
    outcome = run_there(*command, cwd=workplace.folder)
    assert outcome.status == 0, outcome.err
    assert workplace.output.exists()


def test_help_and_version() -> None:
    assert run_here("--version").out == f"thematica {__version__}\n"
    for command in ([], ["classify-pixels"], ["inspect"], ["models"], ["doctor"]):
        outcome = run_here(*command, "--help")
        assert outcome.status == 0
        assert outcome.out.startswith("usage: thematica")
    assert run_here().status == 2
    assert run_here("frobnicate").status == 2


# inspect, models, doctor


def test_inspect(workplace: Workplace) -> None:
    facts = json.loads(run_here("inspect", workplace.model, "--json").out)
    assert facts["receptive_field"] == 3
    assert (facts["total_stride"], facts["halo"], facts["exact_stitching"]) == (1, 1, True)
    assert (facts["usable"], facts["problem"]) == (True, "")
    assert facts["input"]["shape"] == [-1, 3, -1, -1]
    assert parse_card(json.dumps(facts["card"])).name == "net"
    text = run_here("inspect", workplace.model).out
    assert "Receptive field" in text
    assert "class 2" in text


@pytest.mark.parametrize("name", ["nowhere.onnx", "scene.tif", "treefinder"])
def test_inspect_of_what_is_no_model(workplace: Workplace, name: str) -> None:
    outcome = run_here("inspect", workplace / name if "." in name else name)
    assert outcome.status == 2
    assert outcome.sentence.endswith(".")


def test_inspect_shows_why_a_model_is_of_no_use(workplace: Workplace) -> None:
    model = mlp(workplace / "m.onnx", 4)
    (workplace / "net.json").write_text("{}")
    assert run_here("inspect", model, "--json").status == 0
    outcome = run_here("inspect", model, "--card", workplace / "net.json")
    assert outcome.status == 2


def test_models(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workplace / "store"
    folder.mkdir()
    monkeypatch.setenv("THEMATICA_MODELS", str(folder))
    shutil.copy(workplace.model, folder / "Meine Bäume.onnx")
    (folder / "broken.onnx").write_bytes(b"no network")
    rows = {row["name"]: row for row in json.loads(run_here("models", "--json").out)}
    assert {"basic-cover-sentinel2", "basic-cover-landsat", "Meine Bäume", "broken"} <= set(rows)
    for row in rows.values():
        assert {"name", "path", "task", "bundled", "title"} <= set(row)
        assert Path(row["path"]).is_file()
    assert rows["basic-cover-sentinel2"]["bundled"] is True
    assert rows["basic-cover-sentinel2"]["task"] == "pixel"
    assert rows["Meine Bäume"]["bundled"] is False
    assert rows["broken"]["task"] is None
    assert rows["broken"]["problem"]
    assert "Meine Bäume" in run_here("models").out
    # And a name of the store is a model.
    assert workplace.run(model="Meine Bäume").status == 0


def test_doctor() -> None:
    outcome = run_there("doctor", "--json")
    facts = json.loads(outcome.out)
    assert outcome.status == 0
    assert (facts["ok"], facts["problems"], facts["version"]) == (True, [], __version__)
    assert {"numpy", "rasterio", "onnx", "onnxruntime"} <= set(facts["packages"])
    assert "CPUExecutionProvider" in facts["providers"]
    assert "All is well." in run_there("doctor").out


def test_doctor_finds_what_is_broken(tmp_path: Path) -> None:
    """A package that cannot be imported, as after an update of half the runtime."""
    (tmp_path / "shapely.py").write_text("raise ImportError('libgeos is gone')")
    outcome = run_there("doctor", "--json", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    facts = json.loads(outcome.out)
    assert outcome.status == 2
    assert facts["ok"] is False
    assert any("shapely" in problem and "libgeos is gone" in problem for problem in facts["problems"])


# Other people's environments


@pytest.mark.parametrize(
    "hostile",
    [
        {
            "PROJ_LIB": "/usr/share/proj",
            "PROJ_DATA": "/nowhere",
            "GDAL_DATA": "/nowhere",
            "GDAL_DRIVER_PATH": "/nowhere",
        },
        {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "ignore"},
        {"LC_ALL": "C", "LANG": "de_DE.ISO-8859-1", "TERM": "dumb", "COLUMNS": "1"},
        {
            "GDAL_CACHEMAX": "1",
            "GDAL_NUM_THREADS": "99",
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
            "CPL_DEBUG": "OFF",
        },
        {"HOME": "/nowhere", "TMPDIR": "/nowhere", "THEMATICA_HOME": "/nowhere"},
    ],
    ids=lambda hostile: next(iter(hostile)),
)
def test_other_peoples_environments(workplace: Workplace, hostile: dict[str, str]) -> None:
    """As QGIS, conda, a cluster's modules or cron leave them behind."""
    command = workplace.command("--area", "9.0,49.6,9.0003,49.7", "--area-crs", "EPSG:4326")
    outcome = run_there(*command, env={**os.environ, **hostile})
    assert (outcome.status, outcome.err) == (0, ""), outcome.err
    report = json.loads((workplace / "map.report.json").read_text(encoding="utf-8"))
    assert sum(entry["hectares"] for entry in report["classes"]) > 0


# The folder as a program


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree under another name, as an unpacked download or a clone has it."""
    folder = tmp_path_factory.mktemp("plugins") / "thematica-main"
    folder.mkdir()
    for name in ("__init__.py", "__main__.py", "errors.py", "metadata.txt"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("cli", "engine", "models", "trainer", "plugin", "ui"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def start(folder: Path, *arguments: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(folder / "__main__.py"), *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", timeout=60, **options,
    )  # fmt: skip


def test_a_folder_of_any_name_is_the_program(other_folder: Path, workplace: Workplace) -> None:
    done = start(other_folder, *workplace.command("--progress", "json"), cwd=workplace.folder, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "result"


def test_the_code_is_that_of_the_folder_not_what_is_installed(other_folder: Path, tmp_path: Path) -> None:
    """Plugin and engine are never of two versions."""
    changed = tmp_path / "thematica-other"
    shutil.copytree(other_folder, changed)
    text = (changed / "__init__.py").read_text(encoding="utf-8")
    assert f'"{__version__}"' in text
    (changed / "__init__.py").write_text(text.replace(__version__, "99.9.9"), encoding="utf-8")
    assert start(changed, "--version").stdout == "thematica 99.9.9\n"


def test_neighbours_in_the_working_folder_do_no_harm(other_folder: Path, workplace: Workplace) -> None:
    """Folders called models, engine or errors lie about in many a project."""
    for name in ("models", "engine", "plugin", "cli", "thematica"):
        (workplace / name).mkdir()
        (workplace / name / "__init__.py").write_text("raise RuntimeError('wrong package')")
    (workplace / "errors.py").write_text("raise RuntimeError('wrong module')")
    done = start(other_folder, "doctor", cwd=workplace.folder)
    assert done.returncode == 0, done.stderr
    done = start(other_folder, "models", cwd=other_folder)
    assert done.returncode == 0, done.stderr


def test_a_model_of_ones_own_in_the_store(workplace: Workplace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "models"))
    assert run_here("models", "--add", workplace.model, "--name", "mine").status == 0
    rows = {row["name"]: row for row in json.loads(run_here("models", "--json").out)}
    assert rows["mine"]["bundled"] is False
    assert Path(rows["mine"]["path"]).read_bytes() == Path(workplace.model).read_bytes()
    assert run_here("models", "--add", workplace.model, "--name", "mine").status == 2
    assert run_here("models", "--add", workplace.model, "--name", "mine", "--replace").status == 0
    assert run_here("inspect", "mine").status == 0


def test_a_correction_is_kept_for_these_weights(workplace: Workplace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))
    card = json.loads(run_here("inspect", workplace.model, "--json").out)["card"]
    card["properties"]["title"] = "Put right"
    corrected = tmp_path / "corrected.json"
    corrected.write_text(json.dumps(card), encoding="utf-8")
    assert run_here("inspect", workplace.model, "--keep").status == 2
    assert run_here("inspect", workplace.model, "--card", corrected, "--keep").status == 0
    facts = json.loads(run_here("inspect", workplace.model, "--json").out)
    assert (facts["card_origin"], facts["card"]["properties"]["title"]) == ("corrected", "Put right")


@pytest.mark.parametrize(
    ("module", "advice"),
    [("classify_pixels", "a smaller --tile"), ("classify_patches", "a smaller --batch"),
     ("classify_folder", "a smaller --batch"), ("inspect", "close other programs")],
)  # fmt: skip
def test_without_memory_the_sentence_names_an_option_that_the_command_has(
    monkeypatch, module: str, advice: str
) -> None:
    def run(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(f"thematica.cli.{module}.run", run)
    outcome = run_here(module.replace("_", "-"), "x")
    assert outcome.status == 1
    assert advice in outcome.sentence
    option = advice.partition("--")[2]
    assert not option or f"--{option}" in run_here(module.replace("_", "-"), "--help").out
