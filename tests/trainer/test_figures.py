"""Figures are drawn for few and many classes, with names of any kind, and nothing is cut off."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from thematica.errors import OutputError
from thematica.trainer.figures import confusion_figure, curves_figure, result_figures, save_figures
from thematica.trainer.metrics import Tally


def tally(classes: int, several: bool = False) -> Tally:
    chance = np.random.default_rng(classes)
    names = [f"Land occupied by agriculture, with areas of $natural$ vegetation {place}" for place in range(classes)]
    made = Tally(names, several)
    scores = chance.normal(0, 2, (900, classes))
    labels = (chance.random((900, classes)) < 0.2).astype(int) if several else chance.integers(0, classes, 900)
    made.add(scores, labels)
    return made


def cut_off(figure: Figure) -> float:
    """By how many inches what is drawn reaches beyond the picture."""
    figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return max(-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height, 0)


@pytest.mark.parametrize(("classes", "several"), [(2, False), (10, False), (43, False), (43, True)])
def test_nothing_is_cut_off(classes, several):
    for name, figure in result_figures(tally(classes, several), "test part").items():
        assert cut_off(figure) < 0.02, name


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_curves_are_drawn_for_one_epoch_and_for_many(epochs):
    history = [{"loss": 1 / (place + 1), "validation": {"kappa": place / 50}} for place in range(epochs)]
    figure = curves_figure(history, "kappa", [0.1] * epochs, epochs - 1, "a training")
    assert cut_off(figure) < 0.02
    lines = [axes.lines[0].get_ydata() for axes in figure.axes]
    assert [len(line) for line in lines] == [epochs] * 3


def test_rows_of_the_matrix_are_the_true_classes():
    figure = confusion_figure(["water", "land"], np.array([[8, 2], [0, 5]]), "x")
    axes = figure.axes[0]
    assert axes.get_ylabel().startswith("true")
    cells = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "8\n80%", (0, 1): "2\n20%", (1, 1): "5\n100%"}


def test_figures_are_pngs_under_their_names(tmp_path):
    written = save_figures(result_figures(tally(3), "x"), tmp_path / "figures")
    assert sorted(path.name for path in written) == ["confusion.png", "f1.png", "reliability.png"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in written)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        save_figures(result_figures(tally(3), "x"), tmp_path / "file" / "figures")
