"""How well two classes can be told apart by their spectra, were each normally distributed.

With means μ, covariances Σ, δ = μ₁ − μ₂ and Σ = (Σ₁ + Σ₂) / 2:

- Bhattacharyya distance (Bhattacharyya 1943, *On a measure of divergence between two statistical populations defined by
  their probability distributions*, Bulletin of the Calcutta Mathematical Society 35, 99–109):
  B = δᵀ Σ⁻¹ δ / 8 + ln(|Σ| / √(|Σ₁| |Σ₂|)) / 2, from 0 without end.
- Jeffries–Matusita distance, in the squared form of remote sensing (Swain & Davis 1978, *Remote Sensing: The
  Quantitative Approach*; Richards 2013, *Remote Sensing Digital Image Analysis*, 5th ed.): JM = 2 (1 − e⁻ᴮ), from 0
  (the same distribution) to 2 (no overlap).
- Transformed divergence (the same): TD = 2 (1 − e^(−D/8)),
  D = tr[(Σ₁ − Σ₂)(Σ₂⁻¹ − Σ₁⁻¹)] / 2 + δᵀ (Σ₁⁻¹ + Σ₂⁻¹) δ / 2.

In the basis in which Σ₁ is the identity and Σ₂ a diagonal λ all of them are sums over directions of terms that cannot
be negative, so that nothing cancels.  Any linear change of the bands leaves them as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .normal_class import NormalClass

#: Jeffries–Matusita distances under which a pair can hardly be told apart, and only in part.
INSEPARABLE, POOR = 1.0, 1.9


@dataclass(frozen=True)
class Separability:
    """Figures of a pair of classes.

    Args:
        bhattacharyya: 0 and more.
        jeffries_matusita: 0 to 2.
        transformed_divergence: 0 to 2.
    """

    bhattacharyya: float
    jeffries_matusita: float
    transformed_divergence: float


def separability(first: NormalClass, second: NormalClass) -> Separability:
    """The figures of two classes, in either order the same but for rounding."""
    white = first.whitening @ second.covariance @ first.whitening.T
    variances, directions = np.linalg.eigh((white + white.T) / 2)
    # Rounding only: both covariances are positive definite.
    variances = np.maximum(variances, np.finfo(float).tiny)
    squares = (directions.T @ (first.whitening @ (second.mean - first.mean))) ** 2
    deviations = np.sqrt(variances)
    unlike = (1 - deviations) ** 2 / deviations
    distance = float((squares / (1 + variances)).sum() / 4 + np.log1p(unlike / 2).sum() / 2)
    divergence = float((unlike * (1 + deviations) ** 2 / deviations).sum() + (squares * (1 + 1 / variances)).sum()) / 2
    return Separability(distance, -2 * math.expm1(-distance), -2 * math.expm1(-divergence / 8))
