"""Each class as a normal distribution, with a covariance that can be inverted however few its pixels are.

A sample covariance has no inverse with fewer pixels than bands, and makes everything look separable with hardly
more.  Three measures, each only where it is needed, so that well sampled classes have their plain covariance:

1. A class with fewer than ten pixels per band borrows from the covariance within all classes together, as Friedman
   does (1989, *Regularized Discriminant Analysis*, Journal of the American Statistical Association 84, 165–175).  That
   counts as many pixels as there are bands, less a tenth of the class's own: with ν degrees of freedom and C bands its
   weight is w / (w + ν), w = max(0, C − ν/10).  A weight that depends on counts alone, and a target that turns with the
   bands, keep all figures the same under any linear change of the bands, which shrinking to a multiple of the
   identity (Ledoit & Wolf) would not.
2. The covariance within all classes itself borrows from its own diagonal by the same rule (a hyperspectral image with
   few labels).
3. No direction has less variance than the values' own resolution: a twelfth of a step squared for whole numbers (what
   rounding adds), 10⁻⁸ of the variance of all labelled pixels for others.  This matters for saturated, constant and
   repeated bands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from .moments import Floats, Moments

#: Pixels per band from which a class's own covariance is trusted.
ENOUGH_PER_BAND = 10
# Least standard deviation of values that are no whole numbers, relative to that of all labelled pixels.
_FINEST = 1e-4


@dataclass(frozen=True)
class NormalClass:
    """The normal distribution of a class.

    Args:
        mean: (C,).
        covariance: (C, C), positive definite.
        whitening: (C, C); (x - mean) @ whitening.T has unit covariance.
        log_determinant: of the covariance.
        regularised: the covariance is not the plain one.
    """

    mean: Floats
    covariance: Floats
    whitening: Floats
    log_determinant: float
    regularised: bool

    def log_likelihood(self, values: Floats) -> Floats:
        """(n,) logarithms of the density at (n, C) values, without the constant that all classes have in common."""
        white = (values - self.mean) @ self.whitening.T
        return -0.5 * (self.log_determinant + np.einsum("ij,ij->i", white, white))


@dataclass(frozen=True)
class Within:
    """What all classes have in common: the covariance within them, and the resolution of the values.

    Args:
        covariance: (C, C), positive definite.
        resolution: (C,), standard deviations that say nothing.
    """

    covariance: Floats
    resolution: Floats


def resolution_of(moments: Sequence[Moments], steps: Floats | None) -> Floats:
    """Standard deviations, per band, below which the values say nothing: (C,), positive.

    Args:
        moments: of every class.
        steps: (C,) distance of neighbouring values, for images of whole numbers; None for others.
    """
    together = sum(moments, Moments.none(len(moments[0].mean)))
    resolution = np.abs(steps) / np.sqrt(12) if steps is not None else _FINEST * together.spread
    # A band that never changes: any number will do, it tells no class from another.
    return np.where((resolution > 0) & np.isfinite(resolution), resolution, 1.0)


def within_classes(moments: Sequence[Moments], resolution: Floats) -> Within | None:
    """The covariance within classes, pooled over them; None where no class has two pixels."""
    present = [part for part in moments if part.count > 0]
    freedom = sum(part.count - 1 for part in present)
    if freedom <= 0:
        return None
    pooled = sum((part.scatter for part in present), np.zeros((len(resolution), len(resolution)))) / freedom
    weight = _borrowed(freedom, len(resolution))
    pooled = (1 - weight) * pooled + weight * np.diag(np.diag(pooled))
    return Within(_lifted(pooled, resolution)[0], resolution)


def normal_class(moments: Moments, within: Within, freedom: float | None = None) -> NormalClass:
    """The normal distribution of one class, which needs at least one pixel.

    Args:
        moments: of the class.
        within: what it may borrow from.
        freedom: degrees of freedom of its covariance; None: those of pixels that know nothing of each other.
    """
    freedom = min(moments.count - 1, math.inf if freedom is None else freedom)
    weight = _borrowed(freedom, len(moments.mean))
    covariance = within.covariance if freedom <= 0 else moments.covariance
    if weight > 0 and freedom > 0:
        covariance = (1 - weight) * covariance + weight * within.covariance
    covariance, lifted = _lifted(covariance, within.resolution)
    # In units of the resolution numbers are of a size.
    lower = np.linalg.cholesky(covariance / np.outer(within.resolution, within.resolution))
    whitening = solve_triangular(lower, np.diag(1 / within.resolution), lower=True)
    log_determinant = 2 * float(np.log(np.diag(lower)).sum() + np.log(within.resolution).sum())
    return NormalClass(moments.mean, covariance, whitening, log_determinant, weight > 0 or lifted)


def _borrowed(freedom: float, bands: int) -> float:
    """Weight of what stands in for a covariance with so many degrees of freedom."""
    if freedom <= 0:
        return 1.0
    stand_in = max(0.0, bands - freedom / ENOUGH_PER_BAND)
    return stand_in / (stand_in + freedom)


def _lifted(covariance: Floats, resolution: Floats) -> tuple[Floats, bool]:
    """A covariance without directions of less variance than the resolution; and whether there were any."""
    scaled = covariance / np.outer(resolution, resolution)
    try:
        np.linalg.cholesky(scaled - np.eye(len(scaled)))
    except np.linalg.LinAlgError:
        variances, directions = np.linalg.eigh((scaled + scaled.T) / 2)
        scaled = (directions * np.maximum(variances, 1.0)) @ directions.T
        return scaled * np.outer(resolution, resolution), True
    return covariance, False


def steps_of(data_type: npt.DTypeLike, scales: Sequence[tuple[float, float]]) -> Floats | None:
    """Distance of neighbouring physical values per band, for samples that are stored as whole numbers; else None.

    Args:
        data_type: of the stored samples.
        scales: (scale, offset) per band.
    """
    if np.dtype(data_type).kind not in "iu":
        return None
    return np.array([abs(scale) for scale, _ in scales], float)
