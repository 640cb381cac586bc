"""The form "Describe the Model": filled in with mouse and keys, kept for the weights, and read by the engine."""

from __future__ import annotations

import json

import pytest
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QAbstractButton, QLabel, QMessageBox, QWidget

from thematica.models.bands import SENSORS, Band
from thematica.models.card import ModelCard, ModelClass, Normalisation, parse_card
from thematica.models.reading import corrected_card_path, read_model_card
from thematica.ui.card_form import CardForm

from .driving import answer, click, pick, settle


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))


@pytest.fixture
def form(networks):
    opened = []

    def make(card="bare"):
        made = CardForm(read_model_card(networks / f"{card}.onnx") if isinstance(card, str) else card)
        made.show()
        settle()
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.deleteLater()


def write(table, row, column, text):
    """Type into a cell, as after a double click."""
    settle()
    table.setCurrentCell(row, column)
    table.editItem(table.item(row, column))
    editor = table.indexWidget(table.currentIndex())
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    settle()
    assert table.item(row, column).text() == text


def kept(form):
    """The correction in the user's folder, read back."""
    return parse_card(corrected_card_path(form.card.weights_sha256).read_text(encoding="utf-8"))


def test_a_bare_network_is_described_and_kept(form, networks):
    made = form()
    assert made.title.text() == "bare"
    assert "bands" in made.heading.text()
    assert not made.forget_button.isVisible()
    made.title.setFocus()
    made.title.selectAll()
    QTest.keyClicks(made.title, "Meadows")
    pick(made.task, "semantic segmentation")
    made.gsd.setFocus()
    made.gsd.selectAll()
    QTest.keyClicks(made.gsd, "0.25")
    made.tabs.setCurrentIndex(1)
    pick(made.preset, "Red, green, blue")
    write(made.bands, 0, 2, "665")
    pick(made.scaling, "divided by 255")
    assert made.unit.currentData() == "dn"
    click(made.standardise)
    for row, (mean, deviation) in enumerate((("0.485", "0.229"), ("0.456", "0.224"), ("0.406", "0.225"))):
        write(made.bands, row, 3, mean)
        write(made.bands, row, 4, deviation)
    made.tabs.setCurrentIndex(2)
    write(made.classes, 0, 1, "Meadow, wet")
    write(made.classes, 1, 1, "Wald")
    write(made.classes, 2, 0, "7")
    made.classes.cellWidget(1, 2).setColor(QColor("#00aa00"))
    pick(made.activation, "probabilities that add up to 1 (softmax)")
    made.threshold.setFocus()
    made.threshold.selectAll()
    QTest.keyClicks(made.threshold, "40")
    click(made.save_button)
    assert not made.isVisible()
    card = kept(made)
    assert (card.title, card.gsd, card.unit, card.activation) == ("Meadows", 0.25, "dn", "softmax")
    assert [band.common_name for band in card.bands] == ["red", "green", "blue"]
    assert card.bands[0].wavelength == pytest.approx(0.665)
    assert [(c.value, c.name) for c in card.classes] == [(0, "Meadow, wet"), (1, "Wald"), (7, "class 2")]
    assert card.classes[1].color == "#00aa00"
    assert card.thresholds == (0.4,)
    # (x / 255 - mean) / deviation
    assert card.normalisation.gain[0] == pytest.approx(1 / (255 * 0.229))
    assert card.normalisation.bias[2] == pytest.approx(-0.406 / 0.225)
    assert read_model_card(networks / "bare.onnx").origin == "corrected"


def test_opened_again_it_shows_what_was_said_and_can_forget_it(form, networks):
    first = form()
    first.tabs.setCurrentIndex(1)
    pick(first.scaling, "divided by 10 000")
    click(first.save_button)
    again = form()
    assert again.card.origin == "corrected"
    assert again.scaling.currentText() == "divided by 10 000"
    assert again.forget_button.isVisible()
    click(again.forget_button)
    assert not again.isVisible()
    assert read_model_card(networks / "bare.onnx").origin == "none"


def test_what_a_card_leaves_open_of_the_activation_is_shown_as_the_graph_has_it(form, networks, tmp_path):
    card = read_model_card(networks / "multilabel.onnx")
    card.activation = ""
    (tmp_path / "plain.json").write_text(card.to_json(), encoding="utf-8")
    assert "activation" not in (tmp_path / "plain.json").read_text(encoding="utf-8")
    made = form(read_model_card(networks / "multilabel.onnx", tmp_path / "plain.json"))
    assert made.activation.currentData() == "sigmoid"
    assert made.described().activation == "sigmoid"


def test_saving_without_a_change_changes_nothing(form, networks):
    """What the form shows rounded must stay as it was: a card goes through unharmed."""
    card = read_model_card(networks / "bare.onnx")
    card.bands = [Band(b.name, b.common_name, b.wavelength, "", b.width) for b in SENSORS["sentinel2-10"][:3]]
    card.normalisation = Normalisation((1 / 57.123456789, 1 / 58.9, 1 / 61.2), (-2.01234567, -1.9, -1.8))
    card.classes = [ModelClass(n, f"c{n}", "#102030") for n in (3, 1, 2)]
    card.gsd, card.gsd_range, card.value_range = 10.123456, (5.0, 20.0), (0.0, 1.0)
    card.thresholds, card.nodata = (0.1, 0.2, 0.3), -9999.0
    made = form(card)
    described = made.described()
    for name in ("bands", "normalisation", "classes", "gsd", "gsd_range", "value_range", "thresholds", "nodata"):
        assert getattr(described, name) == getattr(card, name), name


def test_what_has_no_field_is_kept(form, networks):
    card = read_model_card(networks / "bare.onnx")
    card.normalisation = Normalisation((0.5,), (0.0,), (0.0,), (1.0,))
    card.normalisation_steps = [{"type": "clip", "minimum": 0, "maximum": 1}]
    made = form(card)
    made.tabs.setCurrentIndex(1)
    assert "not changed" in made.scaling.currentText()
    assert not made.standardise.isEnabled()
    assert made.described().normalisation == card.normalisation


@pytest.mark.parametrize(
    ("tab", "table", "cell", "text", "sentence"),
    [
        (1, "bands", (1, 2), "665 nm", "The centre of band 2 must be a number"),
        (1, "bands", (1, 0), "1", "Two bands have the same name"),
        (2, "classes", (2, 0), "0", "Two classes have the same value"),
        (2, "classes", (2, 0), "-1", "must be a whole number"),
        (2, "classes", (0, 1), " ", "A class has no name"),
    ],
)
def test_bad_input_is_told_and_nothing_is_lost(form, tab, table, cell, text, sentence):
    made = form()
    made.title.setText("precious")
    made.tabs.setCurrentIndex(tab)
    write(getattr(made, table), *cell, text)
    click(made.save_button)
    assert made.isVisible()
    assert made.notice.kind == "error"
    assert sentence in made.notice.said
    assert made.title.text() == "precious"
    assert getattr(made, table).item(*cell).text() == text
    assert not corrected_card_path(made.card.weights_sha256).exists()


def test_a_divisor_that_is_no_number_is_told(form):
    made = form()
    made.tabs.setCurrentIndex(1)
    pick(made.scaling, "divided by")
    made.divisor.setFocus()
    QTest.keyClicks(made.divisor, "1,5")
    click(made.save_button)
    assert "The divisor must be a number with a point, not “1,5”" in made.notice.said
    made.divisor.selectAll()
    QTest.keyClicks(made.divisor, "65535")
    click(made.save_button)
    assert kept(made).normalisation.gain[0] == pytest.approx(1 / 65535)


@pytest.mark.parametrize(
    "text", ["Water\nForest\n\nBare soil\n", "Water, Forest; Bare soil", "0: Water\n1: Forest\n2: Bare soil"]
)
def test_a_list_of_names_is_pasted(form, text):
    made = form()
    made.tabs.setCurrentIndex(2)

    def paste(window):
        window.setTextValue(text)
        window.accept()

    answer(paste)
    click(made.paste_button)
    assert [made.classes.item(row, 1).text() for row in range(3)] == ["Water", "Forest", "Bare soil"]


def test_a_list_of_another_length_changes_nothing(form):
    made = form()
    made.tabs.setCurrentIndex(2)

    def paste(window):
        window.setTextValue("Water, Forest")
        window.accept()

    answer(paste)
    click(made.paste_button)
    assert made.notice.said == "The list has 2 names, but the network has 3 classes."
    assert made.classes.item(0, 1).text() == "class 0"


def test_classes_of_a_network_that_gives_class_numbers_are_named_before_it_runs(open_dialog, patchwork, networks):
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(patchwork), "patchwork"))
    dialog = open_dialog()
    dialog.model.choose_file(str(networks / "numbers.onnx"))
    settle()
    assert dialog.fit_notice.kind == "error"
    assert "name them once with “Describe…”" in dialog.fit_notice.said
    assert not dialog.run_button.isEnabled()
    lists = ["Water, Forest", "Water\nForest\nSoil\nIce"]

    def paste(window):
        window.setTextValue(lists.pop(0))
        window.accept()

    def fill_in(window):
        window.tabs.setCurrentIndex(2)
        QTest.mouseClick(window.save_button, Qt.MouseButton.LeftButton)
        assert "“Paste names…”" in window.notice.said
        assert not window.activation.isEnabled()
        for _ in range(2):
            answer(paste)
            QTest.mouseClick(window.paste_button, Qt.MouseButton.LeftButton)
        QTest.mouseClick(window.save_button, Qt.MouseButton.LeftButton)

    answer(fill_in)
    click(dialog.fit_notice.button)
    assert not lists
    assert [(entry.value, entry.name) for entry in dialog.model.card.classes] == [
        (0, "Water"), (1, "Forest"), (2, "Soil"), (3, "Ice")
    ]  # fmt: skip
    assert dialog.fit_notice.kind != "error", dialog.fit_notice.said

    # Opened again, the form still knows that any number of classes will do.
    def look_again(window):
        assert "class numbers" in window.count_note.text()
        window.reject()

    answer(look_again)
    click(dialog.model.describe_button)


def test_every_output_has_its_classes(form):
    made = form("two-outputs")
    made.tabs.setCurrentIndex(2)
    assert made.output.isVisible()
    write(made.classes, 0, 1, "Ground")
    pick(made.output, "moisture")
    assert made.classes.rowCount() == 3
    write(made.classes, 2, 1, "soaked")
    pick(made.output, "scores")
    assert made.classes.item(0, 1).text() == "Ground"
    click(made.save_button)
    card = kept(made)
    assert [entry.name for entry in card.classes] == ["Ground", "Sea"]
    assert [entry.name for entry in card.further_outputs[0].classes] == ["dry", "moist", "soaked"]


def test_leaving_asks_only_where_something_would_be_lost(form):
    made = form()
    click(made.cancel_button)
    assert not made.isVisible()
    made = form()
    made.title.setText("precious")
    answer(lambda box: QTest.mouseClick(box.button(QMessageBox.StandardButton.Cancel), Qt.MouseButton.LeftButton))
    QTest.keyClick(made, Qt.Key.Key_Escape)
    assert made.isVisible()
    answer(lambda box: QTest.mouseClick(box.button(QMessageBox.StandardButton.Discard), Qt.MouseButton.LeftButton))
    click(made.cancel_button)
    assert not made.isVisible()


def test_no_text_is_cut_off_and_every_accelerator_is_used_once(form):
    made = form("two-outputs")
    keys = []
    for tab in range(made.tabs.count()):
        made.tabs.setCurrentIndex(tab)
        made.standardise.setChecked(True)
        settle()
        for widget in made.findChildren(QWidget):
            if isinstance(widget, (QAbstractButton, QLabel)) and widget.isVisible() and widget.text():
                needed = widget.minimumSizeHint()
                assert widget.width() >= needed.width(), widget.text()
                assert widget.height() >= needed.height() - 2, widget.text()
    for widget in made.findChildren(QWidget):
        if isinstance(widget, (QAbstractButton, QLabel)) and "&" in widget.text().replace("&&", ""):
            keys.append(widget.text()[widget.text().index("&") + 1].lower())
    assert len(set(keys)) == len(keys), sorted(keys)


def test_the_dialog_offers_it_for_a_model_without_a_card_and_shows_the_outcome(
    open_dialog,
    patchwork,
    networks,
):
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(patchwork), "patchwork"))
    dialog = open_dialog()
    dialog.model.choose_file(str(networks / "bare-patch.onnx"))
    settle()
    assert dialog.fit_notice.button.text() == "Describe it…"
    seen = []

    def fill_in(window):
        seen.append(window)
        pick(window.task, "patch classification, several labels")
        window.tabs.setCurrentIndex(2)
        for row, name in enumerate(("Water", "Forest", "Soil")):
            write(window.classes, row, 1, name)
        QTest.mouseClick(window.save_button, Qt.MouseButton.LeftButton)

    answer(fill_in)
    click(dialog.fit_notice.button)
    assert len(seen) == 1
    assert dialog.model.model == str(networks / "bare-patch.onnx")
    assert dialog.model.card.origin == "corrected"
    assert "Forest" in dialog.summary.toPlainText()
    assert dialog.fit_notice.button.text() == ""
    assert dialog.patches.threshold.isVisible()
    assert dialog.patches.stride.value() == 8

    def forget(window):
        QTest.mouseClick(window.forget_button, Qt.MouseButton.LeftButton)

    answer(forget)
    click(dialog.model.describe_button)
    assert dialog.model.card.origin == "none"


def test_a_correction_survives_as_json(form):
    made = form("two-outputs")
    click(made.save_button)
    item = json.loads(corrected_card_path(made.card.weights_sha256).read_text(encoding="utf-8"))
    assert item["properties"]["mlm:name"]
    assert isinstance(kept(made), ModelCard)
