"""Losses: what they are worth, by a plain formula; and that parts of a batch add up to the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.errors import InputError
from thematica.trainer.losses import LOSSES

CLASSES = 4
IGNORED = 255
#: Every loss that ships, with options that change it, and whether its labels are several.
CASES = [
    ("cross-entropy", {}, False),
    ("cross-entropy", {"label_smoothing": 0.1}, False),
    ("binary-cross-entropy", {}, True),
    ("mean-squared-error", {}, False),
    ("mean-squared-error", {}, True),
    ("focal", {}, False),
    ("focal", {"gamma": 0.5}, False),
    ("focal", {"gamma": 2.0}, True),
    ("dice", {}, False),
]
WEIGHTS = [0.5, 2.0, 0.0, 1.5]


def build(name, options, weighted=False, ignored=None):
    return LOSSES[name].build(options, torch.tensor(WEIGHTS) if weighted else None, ignored)


def sample(several, pixels=False, count=9, seed=0, size=3.0, ignored=False):
    chance = np.random.default_rng(seed)
    shape = (count, CLASSES, 5, 3) if pixels else (count, CLASSES)
    scores = torch.from_numpy(chance.normal(0, size, shape)).float()
    if several:
        return scores, torch.from_numpy(chance.integers(0, 2, (count, CLASSES))).float()
    labels = chance.integers(0, CLASSES, (count, *shape[2:]))
    if ignored:
        labels[chance.random(labels.shape) < 0.3] = IGNORED
    return scores, torch.from_numpy(labels)


def value(pair):
    total, weight = pair
    return float(total / weight)


def plain(name, options, scores, labels, weights):
    """The loss of a batch, as it is written in a book: NumPy, double precision, one sample after the other."""
    scores, labels = scores.double().numpy(), labels.numpy()
    if labels.dtype.kind == "f":
        p = 1 / (1 + np.exp(-scores))
        true = np.where(labels > 0, p, 1 - p)
        each = {
            "binary-cross-entropy": -np.log(true),
            "mean-squared-error": (p - labels) ** 2,
            "focal": -((1 - true) ** options.get("gamma", 2)) * np.log(true),
        }[name]
        return float((each * np.where(labels > 0, weights, 1.0)).mean())
    scores = np.moveaxis(scores, 1, -1).reshape(-1, CLASSES)
    labels = labels.ravel()
    scores, labels = scores[labels != IGNORED], labels[labels != IGNORED]
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wanted = np.eye(CLASSES)[labels]
    if name == "dice":
        there = np.unique(labels)
        dice = 1 - 2 * (p * wanted).sum(0) / ((p**2).sum(0) + wanted.sum(0))
        return float((dice * weights)[there].sum() / weights[there].sum())
    smoothing = options.get("label_smoothing", 0.0)
    chosen = p[np.arange(len(p)), labels]
    each = {
        "cross-entropy": -(((1 - smoothing) * wanted + smoothing / CLASSES) * weights * np.log(p)).sum(1),
        "mean-squared-error": ((p - wanted) ** 2).mean(1) * weights[labels],
        "focal": -((1 - chosen) ** options.get("gamma", 2)) * np.log(chosen) * weights[labels],
    }[name]  # fmt: skip
    return float(each.sum() / weights[labels].sum())


def test_every_loss_that_ships_is_tested_here():
    assert {name for name, _, _ in CASES} == set(LOSSES)
    for name, kind in LOSSES.items():
        assert set(kind.several) == {several for case, _, several in CASES if case == name}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize(("name", "options", "several"), CASES)
def test_a_loss_is_what_its_formula_says(name, options, several, pixels, weighted):
    if several and pixels:
        pytest.skip("pixels have one label")
    scores, labels = sample(several, pixels, ignored=pixels)
    weights = np.array(WEIGHTS) if weighted else np.ones(CLASSES)
    found = value(build(name, options, weighted, IGNORED if pixels else None)(scores, labels))
    assert found == pytest.approx(plain(name, options, scores, labels, weights), rel=1e-5)


def test_focal_with_gamma_0_is_the_cross_entropy():
    scores, labels = sample(False)
    assert value(build("focal", {"gamma": 0})(scores, labels)) == pytest.approx(
        value(build("cross-entropy", {})(scores, labels)), rel=1e-6
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "options", "several"), [case for case in CASES if case[0] != "dice"])
@settings(max_examples=20)
@given(cut=st.integers(0, 9), seed=st.integers(0, 100), pixels=st.booleans())
def test_parts_of_a_batch_add_up_to_it(name, options, several, weighted, cut, seed, pixels):
    pixels = pixels and not several
    scores, labels = sample(several, pixels, seed=seed, ignored=pixels)
    loss = build(name, options, weighted, IGNORED if pixels else None)
    whole = loss(scores, labels)
    parts = [loss(scores[part], labels[part]) for part in (slice(cut), slice(cut, None))]
    for number in (0, 1):
        assert float(whole[number]) == pytest.approx(float(parts[0][number] + parts[1][number]), rel=1e-4, abs=1e-5)


def test_parts_of_a_batch_that_are_alike_have_its_dice_loss():
    scores, labels = sample(False, pixels=True)
    loss = build("dice", {})
    twice = loss(torch.cat([scores, scores]), torch.cat([labels, labels]))
    once = loss(scores, labels)
    assert value(twice) == pytest.approx(value(once), rel=1e-5)
    assert float(twice[1]) == 2 * float(once[1])


@pytest.mark.parametrize(("name", "options", "several"), [case for case in CASES if not case[2]])
def test_pixels_without_label_have_no_influence(name, options, several):
    scores, labels = sample(False, pixels=True, ignored=True)
    loss = build(name, options, True, IGNORED)
    before = loss(scores, labels)
    changed = torch.where((labels == IGNORED)[:, None], torch.full_like(scores, 50.0), scores).requires_grad_()
    after = loss(changed, labels)
    assert float(before[0]) == pytest.approx(float(after[0].detach()), rel=1e-6)
    assert before[1] == after[1]
    after[0].backward()
    assert not changed.grad.permute(0, 2, 3, 1)[labels == IGNORED].any()


@pytest.mark.parametrize(("name", "options", "several"), [case for case in CASES if not case[2]])
def test_a_batch_without_any_label_weighs_nothing(name, options, several):
    scores = torch.zeros(2, CLASSES, 3, 3, requires_grad=True)
    total, weight = build(name, options, True, IGNORED)(scores, torch.full((2, 3, 3), IGNORED))
    total.backward()
    assert float(total.detach()) == 0
    assert float(weight) == 0
    assert not scores.grad.any()


@pytest.mark.parametrize("size", [1e3, 1e5])
@pytest.mark.parametrize(("name", "options", "several"), CASES)
def test_extreme_scores_give_finite_gradients(name, options, several, size):
    scores, labels = sample(several, size=size)
    scores.requires_grad_()
    total, weight = build(name, options)(scores, labels)
    (total / weight).backward()
    assert torch.isfinite(total)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize(("name", "options", "several"), CASES)
def test_what_is_right_costs_less_than_what_is_wrong(name, options, several):
    _, labels = sample(several)
    wanted = labels if several else torch.nn.functional.one_hot(labels, CLASSES)
    right = (wanted * 2 - 1) * 10.0
    loss = build(name, options)
    best, worst = value(loss(right, labels)), value(loss(-right, labels))
    assert best < worst / 2
    if not options.get("label_smoothing"):
        assert best < 1e-3


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("focal", {"gamma": -1}, "“gamma” is a number from 0, not -1"),
        ("focal", {"gamma": "much"}, "“gamma” is a number"),
        ("cross-entropy", {"label_smoothing": 1}, "from 0 to less than 1"),
        ("cross-entropy", {"label_smoothing": float("nan")}, "from 0 to less than 1"),
    ],
)
def test_an_option_that_cannot_be_is_told(name, options, words):
    with pytest.raises(InputError, match=words):
        build(name, options)
