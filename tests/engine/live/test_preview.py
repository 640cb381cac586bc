"""The picture's bytes: colours, veil, and nothing where there is no class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.engine.live.preview import picture

COLORS = ("#ff0000", "#00ff80", "#102030")


def channels(pixels: np.ndarray) -> np.ndarray:
    """Alpha, red, green, blue."""
    return np.stack([(pixels >> shift) & 255 for shift in (24, 16, 8, 0)], axis=-1).astype(int)


def test_sure_pixels_have_the_colour_of_their_class() -> None:
    pixels = picture(np.array([[0, 1], [2, -1]], np.int16), np.ones((2, 2)), COLORS)
    assert pixels.dtype == np.uint32
    assert pixels.tolist() == [[0xFFFF0000, 0xFF00FF80], [0xFF102030, 0]]


def test_in_memory_they_are_blue_green_red_alpha_as_qimage_has_them() -> None:
    pixels = picture(np.array([[2]], np.int16), np.ones((1, 1)), COLORS)
    assert pixels.astype("<u4").tobytes() == bytes([0x30, 0x20, 0x10, 0xFF])


def test_the_veil_fades_what_is_undecided_and_leaves_what_is_sure() -> None:
    certainty = np.linspace(0, 1, 101)
    alpha = channels(picture(np.zeros(101, np.int16), certainty, COLORS))[:, 0]
    assert (np.diff(alpha) >= 0).all()
    assert alpha[-1] == 255
    # A trace of the colour is left.
    assert 10 < alpha[0] < 60
    assert (channels(picture(np.zeros(101, np.int16), certainty, COLORS, veil=False))[:, 0] == 255).all()


@pytest.mark.parametrize(("opacity", "alpha"), [(0.5, 128), (0.0, 0), (1.0, 255)])
def test_opacity_is_that_of_sure_pixels(opacity: float, alpha: int) -> None:
    assert channels(picture(np.array([0], np.int16), np.ones(1), COLORS, opacity)).tolist() == [[alpha, alpha, 0, 0]]


@given(place=st.integers(-1, 2), certainty=st.floats(0, 1), opacity=st.floats(0, 1), veil=st.booleans())
def test_colours_are_premultiplied(place: int, certainty: float, opacity: float, veil: bool) -> None:
    alpha, *color = channels(picture(np.array([place], np.int16), np.array([certainty]), COLORS, opacity, veil))[0]
    if place < 0:
        assert (alpha, *color) == (0, 0, 0, 0)
    else:
        wanted = [int(COLORS[place][start : start + 2], 16) * alpha / 255 for start in (1, 3, 5)]
        assert color == pytest.approx(wanted, abs=0.51)
