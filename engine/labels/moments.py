"""Number, mean and scatter of samples: what a class is summed up in, piece by piece as pixels are read.

Pieces are put together by the update of Chan, Golub & LeVeque (1983, *Algorithms for computing the sample variance:
analysis and recommendations*, The American Statistician 37, 242–247), which squares deviations only, never the values
themselves: temperatures in Kelvin with a spread of a hundredth lose no digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Taking a part away leaves the rounding of the whole: what is left of the scatter must be larger than this share of it.
_LEAST_LEFT = 1e-9


@dataclass(frozen=True)
class Moments:
    """Sums over samples.

    Args:
        count: of samples; each may stand for several, so it need not be whole.
        mean: (C,).
        scatter: (C, C), the sum of (x - mean)(x - mean)ᵀ.
    """

    count: float
    mean: Floats
    scatter: Floats

    @classmethod
    def none(cls, bands: int) -> Moments:
        """Of no sample at all."""
        return cls(0.0, np.zeros(bands), np.zeros((bands, bands)))

    @classmethod
    def of(cls, values: Floats, weights: Floats | None = None) -> Moments:
        """Of samples.

        Args:
            values: (n, C).
            weights: (n,), how many samples each stands for; None: one.
        """
        if len(values) == 0:
            return cls.none(values.shape[1])
        if weights is None:
            mean = values.mean(axis=0)
            apart = values - mean
            # The mean is rounded: what the deviations still add up to is put right.
            rest = apart.mean(axis=0)
            return cls(float(len(values)), mean + rest, apart.T @ apart - len(values) * np.outer(rest, rest))
        count = float(weights.sum())
        mean = weights @ values / count
        apart = values - mean
        return cls(count, mean, (apart * weights[:, None]).T @ apart)

    def __add__(self, other: Moments) -> Moments:
        """Of both together."""
        if self.count == 0:
            return other
        if other.count == 0:
            return self
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    def without(self, part: Moments) -> Moments | None:
        """Of what is left when a part is taken away.

        Returns:
            None where rounding has eaten what is left: it must then be summed anew.
        """
        count = self.count - part.count
        if count < 0.5:
            return Moments.none(len(self.mean))
        mean = self.mean + (self.mean - part.mean) * (part.count / count)
        apart = mean - part.mean
        between = np.outer(apart, apart) * (count * part.count / self.count)
        scatter = self.scatter - part.scatter - between
        left, whole = np.diag(scatter), np.diag(self.scatter)
        if (left < _LEAST_LEFT * whole).any() and count > 1:
            return None
        return Moments(count, mean, scatter if count > 1.5 else np.zeros_like(scatter))

    @property
    def covariance(self) -> Floats:
        """(C, C), divided by the number less one; needs two samples."""
        return self.scatter / (self.count - 1)

    @property
    def spread(self) -> Floats:
        """(C,), standard deviations; 0 for one sample."""
        if self.count <= 1:
            return np.zeros_like(self.mean)
        deviation: Floats = np.sqrt(np.maximum(np.diag(self.scatter), 0) / (self.count - 1))
        return deviation
