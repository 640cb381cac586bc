"""Take the screenshots of the documentation anew, in the real QGIS window: ``make screenshots``.

``make screenshots ONLY=labels`` or ``ONLY=classify`` takes some of them.

Run by any Python, it starts QGIS on a virtual display with a profile of its own, in which this checkout
is the plugin; QGIS then runs this same file, which opens the dialogs and takes the pictures.  It needs
the real scenes in ``../shared/data`` (those of labels do not) and the runtime (``make runtime``).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.environ.get("THEMATICA_ROOT") or Path(__file__).resolve().parents[1])
IMAGES = ROOT / "docs" / "images"
# QGIS writes statistics beside what it shows, so it gets copies.
SCENES = Path(os.environ.get("THEMATICA_SCENES") or ROOT.parent / "shared" / "data")
SHOWN = ("sentinel2_brazil", "landsat7_chiapas", "oscd/aguasclaras/imgs_2")
SCREEN = (1440, 860)
WINDOW = (1280, 860)
SECONDS_ALLOWED = 480


def start_qgis(only: str) -> int:
    """Start QGIS with this checkout as its plugin; the exit status is 0 where all pictures were taken.

    Args:
        only: ``classify`` or ``labels``; empty for all.
    """
    if not SCENES.is_dir() and only != "labels":
        print("The real scenes (../shared/data) are not here; the screenshots stay as they are.")
        return 0
    qgis = shutil.which("qgis.bin") or shutil.which("qgis")
    if qgis is None or shutil.which("xvfb-run") is None:
        print("QGIS or xvfb-run is missing: sudo apt install qgis xvfb")
        return 2
    # Not in the system's temporary folder: QGIS marks layers there as such.
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-", dir=ROOT / "build") as folder:
        profile = Path(folder) / "profiles" / "default"
        (profile / "python" / "plugins").mkdir(parents=True)
        (profile / "python" / "plugins" / "thematica").symlink_to(ROOT)
        (profile / "QGIS").mkdir()
        (profile / "QGIS" / "QGIS3.ini").write_text(
            "[PythonPlugins]\nthematica=true\n\n[core]\nNewsFeed\\httpsfeedqgisorg\\disabled=true\n"
            "[qgis]\nnewProjectDefault=false\ncheckVersion=false\nnews-feed\\show=false\n"
        )
        for scene in SHOWN if only != "labels" else ():
            shutil.copytree(SCENES / scene, Path(folder) / "scenes" / scene)
        done = Path(folder) / "done"
        example = Path(folder) / "example-patches.onnx"
        python = str(ROOT / ".venv" / "bin" / "python")
        subprocess.run([python, str(ROOT / "docs" / "example_network.py"), str(example)], check=True)
        # Labels are drawn on the made scene, which needs no licence.
        made = Path(folder) / "scenes" / "made"
        subprocess.run([python, str(ROOT / "demo" / "make_scene.py"), str(made)], check=True, stdout=subprocess.DEVNULL)
        environment = dict(os.environ)
        environment.update(
            THEMATICA_ROOT=str(ROOT),
            THEMATICA_SCENES=str(Path(folder) / "scenes"),
            THEMATICA_SCREENSHOTS_DONE=str(done),
            THEMATICA_HOME=str(Path(folder) / "home"),
            THEMATICA_RUNTIME=str(ROOT / ".venv"),
            THEMATICA_EXAMPLE=str(example),
            THEMATICA_ONLY=only,
            LC_ALL="C.UTF-8",
            # QGIS finds its Python by the path; another python3 before the system's ends in an error box.
            PATH=f"/usr/bin:{os.environ.get('PATH', '')}",
        )
        screen = f"-screen 0 {SCREEN[0]}x{SCREEN[1]}x24"
        command = ["xvfb-run", "-a", "-s", screen, qgis, "--nologo", "--noversioncheck"]
        command += ["--profiles-path", folder, "--code", str(Path(__file__).resolve())]
        qgis_process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = qgis_process.communicate(timeout=SECONDS_ALLOWED)
        except subprocess.TimeoutExpired:
            # The whole group: xvfb-run alone would leave QGIS and its display behind.
            os.killpg(qgis_process.pid, signal.SIGKILL)
            said, _ = qgis_process.communicate()
        if done.exists():
            return 0
        print(said)
        return 1


# -- inside QGIS --------------------------------------------------------------------------------


def take_classify_pictures() -> None:
    """Everything below runs in QGIS's main thread, started by a timer."""
    from qgis.core import QgsRasterLayer
    from qgis.PyQt.QtCore import QPoint, Qt
    from qgis.PyQt.QtTest import QTest
    from qgis.utils import iface
    from qgis_window import QgisWindow

    qgis = QgisWindow(IMAGES, SCREEN)
    window, project, canvas, plugin = qgis.window, qgis.project, qgis.canvas, qgis.plugin
    settle, wait_for, click, add, show_all_of = qgis.settle, qgis.wait_for, qgis.click, qgis.add, qgis.show_all_of
    save_screen, save_widget = qgis.save_screen, qgis.save_widget

    def classify(layer: QgsRasterLayer, **numbers: float) -> None:
        iface.setActiveLayer(layer)
        plugin.open_classify()
        dialog = plugin.classify_dialog
        settle()
        if numbers:
            dialog.bands.set_values(numbers["scale"], numbers["offset"])
            settle()
        if not dialog.run_button.isEnabled():
            raise RuntimeError(dialog.fit_notice.said)
        click(dialog.run_button)
        run = dialog.current_run
        wait_for(lambda: not run.is_running)
        if run.report is None:
            raise RuntimeError(dialog.run_notice.said)

    brazil = add(SCENES / "sentinel2_brazil" / "sen2_brazil.tif", "sen2_brazil", 4, 3, 2)
    plugin.open_classify()
    dialog = plugin.classify_dialog
    dialog.resize(900, 740)
    dialog.move(QPoint(SCREEN[0] - 900 - 20, SCREEN[1] - 740 - 40))
    # There is no window manager that would draw a frame.
    dialog.setStyleSheet("ClassifyDialog { border: 1px solid #707070; }")
    # The map stands left of the dialog.
    canvas.zoomByFactor(1.6)
    canvas.setCenter(canvas.getCoordinateTransform().toMapCoordinates(canvas.width() - 120, canvas.height() // 2))
    settle(1)
    save_screen("classify-dialog.png")

    classify(brazil)
    report = dialog.current_run.report
    dialog.close()
    window.setGeometry(0, 0, *WINDOW)
    show_all_of(brazil)
    save_widget(window, "map-brazil.png")

    iface.messageBar().clearWidgets()
    plugin.show_areas(report)
    from thematica.ui.area_table import AreaTable

    table = window.findChildren(AreaTable)[-1]
    save_widget(table, "area-table.png")
    table.close()

    plugin.open_runtime()
    runtime = plugin.runtime_dialog
    runtime.resize(760, 720)
    wait_for(lambda: runtime.machine_task is None)
    click(runtime.check_button)
    wait_for(lambda: runtime.task is None)
    # The folder is this machine's; the documentation shows where it is on a user's.
    runtime.folder.setText("~/.local/share/thematica/runtime")
    runtime.choices.space.setText("about 970 MB; 60.1 GB are free in ~/.local/share/thematica")
    runtime.state.tell("ok", "The runtime works.")
    save_widget(runtime, "runtime-dialog.png")
    runtime.close()

    project.clear()
    brazil = add(SCENES / "sentinel2_brazil" / "sen2_brazil.tif", "sen2_brazil", 4, 3, 2)
    plugin.open_classify()
    dialog.model.choose_file(os.environ["THEMATICA_EXAMPLE"])
    classify(brazil, scale=1.0, offset=-0.1)
    save_widget(dialog, "classify-patches.png")
    dialog.close()
    patches = next(layer for layer in project.mapLayers().values() if layer is not brazil)
    iface.messageBar().clearWidgets()
    iface.setActiveLayer(patches)
    plugin.threshold_action.trigger()
    window.resizeDocks([plugin.threshold_panel], [330], Qt.Orientation.Horizontal)
    settle()
    for _ in range(15):
        QTest.keyClick(plugin.threshold_panel.slider, Qt.Key.Key_Left)
    show_all_of(brazil)
    canvas.zoomByFactor(0.75)
    settle(1)
    save_widget(window, "multilabel.png")
    plugin.threshold_panel.close()

    from thematica.models.reading import read_model_card
    from thematica.ui.card_form import CardForm

    form = CardForm(read_model_card(os.environ["THEMATICA_EXAMPLE"]), window)
    form.show()
    form.tabs.setCurrentWidget(form.classes_tab)
    save_widget(form, "card-form.png")
    form.reject()

    project.clear()
    aguas = sorted((SCENES / "oscd" / "aguasclaras" / "imgs_2").glob("*.tif"))
    wanted = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    chosen = [path for path in aguas if path.stem.endswith(wanted)]
    layers = [QgsRasterLayer(str(path), path.stem) for path in chosen]
    project.addMapLayers(layers)
    plugin.open_classify()
    dialog.choose_layer(layers[0])
    for layer in layers[1:]:
        dialog.stack.add(layer)
    settle()
    models = dialog.model.models
    models.setCurrentIndex(models.findData("basic-cover-sentinel2"))
    dialog.bands.set_values(0.0001, 0.0)
    dialog.stack.list.setCurrentRow(0)
    save_widget(dialog, "classify-stack.png")
    dialog.close()

    project.clear()
    chiapas = add(SCENES / "landsat7_chiapas" / "LE70220491999322EDC01_stack.gtif", "landsat7_chiapas", 5, 4, 3)
    models.setCurrentIndex(models.findData("basic-cover-landsat"))
    classify(chiapas, scale=0.0001, offset=0)
    dialog.close()
    show_all_of(chiapas)
    save_widget(window, "map-chiapas.png")


def take_pictures_and_leave() -> None:
    """Take the pictures, say so, and end QGIS whatever happens."""
    import traceback

    sys.path.insert(0, str(ROOT / "docs"))
    try:
        if os.environ["THEMATICA_ONLY"] != "labels":
            take_classify_pictures()
        if os.environ["THEMATICA_ONLY"] != "classify":
            from label_screenshots import take_label_pictures

            take_label_pictures(IMAGES, WINDOW, SCENES)
        Path(os.environ["THEMATICA_SCREENSHOTS_DONE"]).touch()
    except Exception:  # noqa: BLE001 - QGIS would wait for ever behind its virtual display
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if "THEMATICA_SCREENSHOTS_DONE" in os.environ:
    from qgis.PyQt.QtCore import QTimer

    QTimer.singleShot(1500, take_pictures_and_leave)
elif __name__ == "__main__":
    sys.exit(start_qgis(sys.argv[1] if len(sys.argv) > 1 else ""))
