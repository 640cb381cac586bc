"""Augmentation: labels follow their pixels, windows keep their centre, and the same numbers give the same samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.errors import InputError
from thematica.trainer.augmentation import AUGMENTATIONS, build_augmentation
from thematica.trainer.recipe import Recipe

MOVING = [name for name, kind in AUGMENTATIONS.items() if kind.moves]
RELIGHTING = [name for name, kind in AUGMENTATIONS.items() if not kind.moves]
STRENGTHS = {"flips": 1.0, "rotations": 1.0, "crops": 0.4}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def change(name, x, y, strength=None, seed=0):
    return AUGMENTATIONS[name].change(x, y, STRENGTHS.get(name, 0.2) if strength is None else strength, generator(seed))


def samples(count=13, bands=2, rows=6, columns=6):
    x = torch.randn(count, bands, rows, columns, generator=generator(9))
    return x, torch.arange(count)


@pytest.mark.parametrize("name", MOVING)
@settings(max_examples=30)
@given(count=st.integers(1, 20), side=st.integers(1, 9), strength=st.floats(0, 0.49), seed=st.integers(0, 99))
def test_labels_of_pixels_follow_them_exactly(name, count, side, strength, seed):
    # Every pixel has a number of its own, and its label is that number.
    numbers = torch.arange(count * side * side).reshape(count, side, side)
    x, y = change(name, numbers[:, None].float().repeat(1, 3, 1, 1), numbers, strength, seed)
    assert y.dtype == torch.int64
    for band in range(3):
        assert torch.equal(x[:, band].long(), y)
    # Each sample still shows its own pixels.
    assert torch.equal(y // (side * side), torch.arange(count)[:, None, None].expand_as(y))


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (5, 8), (1, 1)])
def test_the_label_of_a_patch_stays_with_it(name, rows, columns):
    numbers = torch.arange(13)
    x, y = change(name, numbers[:, None, None, None].float().repeat(1, 2, rows, columns), numbers)
    assert torch.equal(y, numbers)
    assert torch.equal(x[:, 0, 0, 0].long(), numbers)
    assert x.shape == (13, 2, rows, columns)


@pytest.mark.parametrize("name", [name for name in MOVING if AUGMENTATIONS[name].keeps_centre])
@pytest.mark.parametrize("side", [1, 3, 9])
def test_windows_keep_the_pixel_in_the_middle(name, side):
    x, y = samples(rows=side, columns=side)
    moved, _ = change(name, x, y)
    assert torch.equal(moved[..., side // 2, side // 2], x[..., side // 2, side // 2])


def test_what_would_move_the_middle_of_a_window_is_refused():
    with pytest.raises(InputError, match="moves the pixel that a window's label is of"):
        build_augmentation(Recipe("cnn3d", augment={"crops": 0.1}), (2, 9, 9), "windows")


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_it_changes_samples_and_not_what_it_was_given(name):
    x, y = samples()
    before = x.clone()
    changed, _ = change(name, x, y)
    assert torch.equal(x, before)
    assert changed.dtype == torch.float32
    assert not torch.equal(changed, x)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_with_strength_0_nothing_changes(name):
    x, y = samples()
    assert torch.equal(change(name, x, y, 0.0)[0], x)
    assert build_augmentation(Recipe("unet", augment={name: 0}), x.shape[1:], "chips") is None


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_generator_gives_the_same_samples(name):
    x, y = samples()
    augment = build_augmentation(Recipe("unet", augment={name: 0.3}), x.shape[1:], "chips")
    first, again, other = (augment(x, y, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    # One mirror image in four may happen to be drawn twice for all; not for these seeds.
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "images"), [("flips", 4), ("rotations", 4), ("crops", 9)])
def test_all_ways_to_move_are_drawn_alike(name, images):
    x = torch.arange(9.0).reshape(1, 1, 3, 3).repeat(8, 1, 1, 1)
    seen: dict[tuple[float, ...], int] = {}
    for seed in range(300):
        for sample in change(name, x, torch.zeros(8), seed=seed)[0]:
            key = tuple(sample.flatten().tolist())
            seen[key] = seen.get(key, 0) + 1
    assert len(seen) == images
    expected = 2400 / images
    assert all(0.7 * expected < count < 1.3 * expected for count in seen.values())


def test_a_mirrored_image_is_mirrored():
    x = torch.arange(4.0).reshape(1, 1, 2, 2).repeat(16, 1, 1, 1)
    found = {tuple(entry.flatten().tolist()) for entry in change("flips", x, torch.zeros(16))[0]}
    assert found == {(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)}


def test_a_shift_shows_the_reflection_of_what_is_beside_it():
    x = torch.arange(5.0).expand(1, 1, 5, 5).repeat(64, 1, 1, 1)
    found = {tuple(entry[0, 0].tolist()) for entry in change("crops", x, torch.zeros(64))[0]}
    rows = {(2, 1, 0, 1, 2), (1, 0, 1, 2, 3), (0, 1, 2, 3, 4), (1, 2, 3, 4, 3), (2, 3, 4, 3, 2)}
    assert found <= rows
    assert len(found) > 2


@pytest.mark.parametrize("name", RELIGHTING)
def test_changes_of_values_need_no_rows_and_columns(name):
    x = torch.randn(50, 7)
    changed, _ = change(name, x, torch.zeros(50))
    assert changed.shape == x.shape


def test_brightness_is_the_same_for_all_bands_of_a_sample_and_another_for_the_next():
    changed, _ = change("brightness", torch.ones(40, 5, 2, 2), torch.zeros(40), 0.3)
    each = changed[:, 0, 0, 0]
    assert torch.equal(changed, each[:, None, None, None].expand_as(changed))
    assert len(each.unique()) == 40
    assert each.min() > 1 - 0.6
    assert each.max() < 1 + 0.6


def test_spectral_jitter_is_another_for_each_band():
    changed, _ = change("spectral-jitter", torch.ones(40, 5, 2, 2), torch.zeros(40), 0.3)
    assert len(changed[:, :, 0, 0].unique()) == 200
    assert torch.equal(changed[..., 0, 0], changed[..., 1, 1])


def test_dropped_bands_are_gone_as_a_whole_and_as_often_as_asked():
    changed, _ = change("band-dropout", torch.ones(1000, 5, 2, 2), torch.zeros(1000), 0.2)
    assert set(changed.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(changed.amax(dim=(2, 3)), changed.amin(dim=(2, 3)))
    assert 0.17 < float((changed == 0).float().mean()) < 0.23


def test_noise_has_the_deviation_that_was_asked_for():
    changed, _ = change("noise", torch.zeros(1000, 5), torch.zeros(1000), 0.2)
    assert float(changed.std()) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(
    ("name", "strength", "words"),
    [
        ("flips", 1.5, "a number from 0 to 1, not 1.5"),
        ("crops", 0.5, "a number from 0 to less than 0.5, not 0.5"),
        ("noise", -1, "a number from 0, not -1"),
        ("noise", float("nan"), "a number from 0"),
        ("band-dropout", 1, "less than 1"),
    ],
)
def test_a_strength_that_cannot_be_is_told(name, strength, words):
    with pytest.raises(InputError, match=words):
        build_augmentation(Recipe("unet", augment={name: strength}), (3, 8, 8), "chips")
