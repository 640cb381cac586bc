"""The upright axis of a plot: from where to where, linear or by powers of ten, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .ticks import round_ticks, tick_label

#: From so many times the smallest value on, the largest one would press all else to the ground.
_DECADES = 100.0


@dataclass(frozen=True)
class ValueAxis:
    """Where values stand.

    Args:
        low: the lower end; above 0 where ``is_log``.
        high: the upper end, above ``low``.
        is_log: by powers of ten.
    """

    low: float = 0.0
    high: float = 1.0
    is_log: bool = False

    def share(self, value: float) -> float:
        """How high a value stands: 0 at the lower end, 1 at the upper one; outside it stands at the edge."""
        if self.is_log:
            low, high, value = math.log(self.low), math.log(self.high), math.log(max(value, self.low))
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Values and how they are written, at most so many."""
        if not self.is_log:
            # One tick alone does not say how long the axis is.
            tried = [round_ticks(self.low, self.high, count) for count in range(most, most + 4)]
            values = next((ticks for ticks in tried if len(ticks) > 1), tried[-1])
            step = values[1] - values[0] if len(values) > 1 else self.high - self.low
            return [(value, tick_label(value, step)) for value in values]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        # The more room, the more steps to a decade; with little room not every decade.
        choices = [(1, factors) for factors in ((1, 2, 5), (1, 3), (1,))]
        choices += [(step, (1,)) for step in range(2, max(last - first, 2) + 1)]
        values = []
        for step, factors in choices:
            values = [
                factor * 10.0**power
                for power in range(first, last + 1)
                if power % step == 0
                for factor in factors
                if self.low * (1 - 1e-9) <= factor * 10.0**power <= self.high * (1 + 1e-9)
            ]
            if len(values) <= most:
                break
        return [(value, f"{value:.0e}" if value < 1e-3 or value >= 1e5 else f"{value:g}") for value in values]


def loss_axis(values: Sequence[float]) -> ValueAxis:
    """For numbers that fall, over decades perhaps: from 0 on, or by powers of ten."""
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return ValueAxis()
    low, high = min(found), max(found)
    if low > 0 and high / low >= _DECADES:
        return ValueAxis(low / 1.3, high * 1.3, is_log=True)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    # A scale that nearly reaches zero begins there.
    return ValueAxis(0.0 if 0 <= low < 0.4 * high else low - margin, high + margin)


def share_axis(values: Sequence[float]) -> ValueAxis:
    """For figures that reach 1 at best: as much of the scale as they need, and not more than there is of it."""
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return ValueAxis()
    low, high = min(found), max(found)
    margin = max(0.05 * (high - low), 0.005)
    return ValueAxis(0.0 if 0 <= low < 0.25 * high else low - margin, max(min(high + margin, 1.0), high))
