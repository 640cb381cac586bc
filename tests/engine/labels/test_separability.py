"""Separability: closed forms, the integrals themselves, and the laws that hold whatever the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from thematica.engine.labels.moments import Moments
from thematica.engine.labels.normal_class import NormalClass, normal_class, resolution_of, steps_of, within_classes
from thematica.engine.labels.separability import Separability, separability
from thematica.engine.labels.small_matrices import one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def distribution(mean, covariance) -> NormalClass:
    """A class of so many pixels that its covariance is taken as it is."""
    covariance = np.atleast_2d(np.asarray(covariance, float))
    moments = Moments(1e6, np.atleast_1d(np.asarray(mean, float)), covariance * (1e6 - 1))
    within = within_classes([moments], resolution_of([moments], None))
    assert within is not None
    result = normal_class(moments, within)
    assert not result.regularised
    return result


def classes_of(groups: list[np.ndarray], steps=None) -> list[NormalClass]:
    moments = [Moments.of(group.astype(float)) for group in groups]
    within = within_classes(moments, resolution_of(moments, steps))
    assert within is not None
    return [normal_class(part, within) for part in moments]


def numbers(figures: Separability) -> list[float]:
    return [figures.bhattacharyya, figures.jeffries_matusita, figures.transformed_divergence]


def test_equal_spreads_are_a_matter_of_distance_alone() -> None:
    for distance in (0.0, 0.5, 2.0, 5.0):
        figures = separability(distribution(0, 4.0), distribution(2 * distance, 4.0))
        assert figures.bhattacharyya == pytest.approx(distance**2 / 8)
        assert figures.jeffries_matusita == pytest.approx(2 * (1 - math.exp(-(distance**2) / 8)))
        # Divergence is the squared distance then.
        assert figures.transformed_divergence == pytest.approx(2 * (1 - math.exp(-(distance**2) / 8)))


@pytest.mark.parametrize(("a", "s", "b", "t"), [(0, 1, 0, 3), (0, 1, 2, 1), (1, 0.5, 2, 1.5), (-3, 2, 3, 0.7)])
def test_in_one_band_they_are_the_integrals_of_their_definitions(a: float, s: float, b: float, t: float) -> None:
    p, q = norm(a, s).pdf, norm(b, t).pdf
    log_p, log_q = norm(a, s).logpdf, norm(b, t).logpdf

    def integral(function) -> float:
        return quad(function, -40, 40, limit=400, points=[a, b])[0]

    figures = separability(distribution(a, s**2), distribution(b, t**2))
    assert figures.bhattacharyya == pytest.approx(-math.log(integral(lambda x: math.sqrt(p(x) * q(x)))), abs=1e-7)
    assert figures.jeffries_matusita == pytest.approx(
        integral(lambda x: (math.sqrt(p(x)) - math.sqrt(q(x))) ** 2), abs=1e-7
    )
    divergence = integral(lambda x: (p(x) - q(x)) * (log_p(x) - log_q(x)))
    assert figures.transformed_divergence == pytest.approx(2 * (1 - math.exp(-divergence / 8)), abs=1e-7)


def test_in_two_bands_they_are_the_integrals_of_their_definitions() -> None:
    first = multivariate_normal([0, 0], [[1.0, 0.6], [0.6, 2.0]])
    second = multivariate_normal([1.5, -0.5], [[2.0, -0.4], [-0.4, 0.8]])
    side = np.linspace(-14, 14, 1401)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    area = (side[1] - side[0]) ** 2
    p, q = first.pdf(grid), second.pdf(grid)
    overlap = np.sqrt(p * q).sum() * area
    matusita = ((np.sqrt(p) - np.sqrt(q)) ** 2).sum() * area
    divergence = ((p - q) * (first.logpdf(grid) - second.logpdf(grid))).sum() * area
    figures = separability(distribution(first.mean, first.cov), distribution(second.mean, second.cov))
    np.testing.assert_allclose(
        numbers(figures), [-math.log(overlap), matusita, 2 * (1 - math.exp(-divergence / 8))], atol=1e-8
    )


def test_in_many_bands_they_are_the_formulas_of_the_books() -> None:
    rng = np.random.default_rng(1)
    mixings = [rng.normal(size=(7, 7)) for _ in range(2)]
    one, two = (mixing @ mixing.T + np.eye(7) for mixing in mixings)
    difference = rng.normal(size=7)
    middle = (one + two) / 2
    distance = difference @ np.linalg.inv(middle) @ difference / 8 + 0.5 * math.log(
        np.linalg.det(middle) / math.sqrt(np.linalg.det(one) * np.linalg.det(two))
    )
    inverse, other = np.linalg.inv(one), np.linalg.inv(two)
    divergence = 0.5 * np.trace((one - two) @ (other - inverse)) + 0.5 * difference @ (inverse + other) @ difference
    figures = separability(distribution(np.zeros(7), one), distribution(difference, two))
    np.testing.assert_allclose(
        numbers(figures), [distance, 2 * (1 - math.exp(-distance)), 2 * (1 - math.exp(-divergence / 8))], rtol=1e-9
    )


groups = st.builds(
    lambda seed, sizes, bands: [
        np.random.default_rng([seed, number]).normal(number % 2, 1 + number, size=(size, bands))
        for number, size in enumerate(sizes)
    ],
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=3),
    bands=st.integers(1, 5),
)


@given(groups)
def test_figures_stay_in_their_range_and_do_not_ask_who_comes_first(parts: list[np.ndarray]) -> None:
    if sum(len(part) - 1 for part in parts) == 0:
        return
    classes = classes_of(parts)
    one, two = separability(classes[0], classes[1]), separability(classes[1], classes[0])
    assert 0 <= one.bhattacharyya < math.inf
    assert 0 <= one.jeffries_matusita <= 2
    assert 0 <= one.transformed_divergence <= 2
    np.testing.assert_allclose(numbers(one), numbers(two), rtol=1e-6, atol=1e-12)


@given(groups)
def test_a_class_cannot_be_told_from_itself(parts: list[np.ndarray]) -> None:
    if len(parts[0]) < 2:
        return
    for model in classes_of([parts[0], parts[0].copy()]):
        np.testing.assert_allclose(numbers(separability(model, model)), 0, atol=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(2, 80), min_size=2, max_size=4),
    bands=st.integers(1, 5),
    shift=st.floats(-1000, 1000),
    exponent=st.integers(-6, 6),
)
def test_linear_changes_of_the_bands_change_nothing_however_few_pixels_a_class_has(
    seed: int, sizes: list[int], bands: int, shift: float, exponent: int
) -> None:
    # All classes together have enough; single ones borrow from them.
    sizes = [*sizes, 10 * bands + 2]
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.normal(size=bands), 1 + rng.random(bands), size=(size, bands)) for size in sizes]
    turn, _ = np.linalg.qr(rng.normal(size=(bands, bands)))
    change = turn * rng.uniform(0.5, 2, bands) * 10.0**exponent
    before, after = classes_of(parts), classes_of([part @ change.T + shift * 10.0**exponent for part in parts])
    np.testing.assert_allclose(
        numbers(separability(before[0], before[1])), numbers(separability(after[0], after[1])), rtol=1e-5, atol=1e-9
    )


def test_enough_pixels_have_their_plain_covariance() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=(41, 4)) * 100, rng.normal(size=(500, 4)) * 10]
    for part, model in zip(parts, classes_of(parts, np.ones(4)), strict=True):
        assert not model.regularised
        np.testing.assert_allclose(model.covariance, np.cov(part, rowvar=False), rtol=1e-9)
        np.testing.assert_allclose(model.whitening @ model.covariance @ model.whitening.T, np.eye(4), atol=1e-9)


def test_a_class_of_few_pixels_borrows_from_all_the_less_the_more_it_has() -> None:
    rng = np.random.default_rng(1)
    many = rng.normal(size=(5000, 5))
    weights = []
    for count in (1, 3, 10, 30, 50, 51):
        few = 10 * rng.normal(size=(count, 5))
        model = classes_of([many, few])[1]
        assert model.regularised == (count < 51)
        if count == 1:
            np.testing.assert_allclose(model.covariance, np.cov(many, rowvar=False), rtol=1e-6)
            continue
        pooled = (np.cov(many, rowvar=False) * 4999 + np.cov(few, rowvar=False) * (count - 1)) / (4998 + count)
        own = np.cov(few, rowvar=False)
        weights.append(float(np.sum((model.covariance - own) * (pooled - own)) / np.sum((pooled - own) ** 2)))
    assert weights == sorted(weights, reverse=True)
    # Three pixels in five bands: (5 − 2/10) / (5 − 2/10 + 2).
    assert weights[0] == pytest.approx(4.8 / 6.8)
    assert weights[-1] == pytest.approx(0, abs=1e-9)


def test_more_bands_than_pixels_are_no_reason_to_see_separation_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(200, 200)) / 14
    draw = [rng.normal(size=(60, 200)) @ mixing * 100 for _ in range(3)]
    apart = [*draw[:2], draw[2] + 400]
    classes = classes_of(apart, np.ones(200))
    alike, unlike = separability(classes[0], classes[1]), separability(classes[0], classes[2])
    assert all(map(math.isfinite, numbers(alike)))
    assert alike.bhattacharyya < unlike.bhattacharyya
    # Plain covariances could not even be inverted; their floor alone would call every pair separable.
    assert alike.jeffries_matusita < 1.999


def test_saturated_constant_and_repeated_bands_are_borne() -> None:
    rng = np.random.default_rng(1)
    water, cloud = rng.normal(100, 5, (300, 3)).round(), rng.normal(200, 20, (300, 3)).round()
    repeated = [np.column_stack([part, part[:, 0]]) for part in (water, cloud)]
    plain, doubled = classes_of([water, cloud], np.ones(3)), classes_of(repeated, np.ones(4))
    assert doubled[0].regularised
    assert separability(*doubled).jeffries_matusita >= separability(*plain).jeffries_matusita - 1e-6
    constant = [np.column_stack([part, np.full(300, 7.0)]) for part in (water, cloud)]
    for steps in (None, np.ones(4)):
        assert separability(*classes_of(constant, steps)).bhattacharyya == pytest.approx(
            separability(*plain).bhattacharyya, rel=1e-3
        )
    saturated = [water, np.column_stack([cloud[:, :2], np.full(300, 255.0)])]
    figures = separability(*classes_of(saturated, np.ones(3)))
    assert figures.jeffries_matusita == pytest.approx(2)
    assert math.isfinite(figures.bhattacharyya)


def test_no_more_certainty_than_rounding_leaves() -> None:
    """A constant class of bytes is as wide as rounding: 254 is not infinitely far from 255."""
    rng = np.random.default_rng(1)
    full, less = np.full((100, 1), 255.0), 254 + rng.integers(0, 2, (100, 1)).astype(float)
    model = classes_of([full, less], np.ones(1))[0]
    assert model.covariance[0, 0] == pytest.approx(1 / 12)
    np.testing.assert_allclose(steps_of("uint8", [(0.5, 3.0)]), [0.5])
    assert steps_of("float32", [(1.0, 0.0)]) is None


def test_one_pixel_per_class_tells_no_spread() -> None:
    moments = [Moments.of(np.array([[1.0, 2.0]])), Moments.of(np.array([[3.0, 4.0]]))]
    assert within_classes(moments, resolution_of(moments, None)) is None
