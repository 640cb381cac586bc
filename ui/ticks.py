"""Round numbers along an axis."""

from __future__ import annotations

import math


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """The multiples of 1, 2 or 5 times a power of ten between two values, as many as fit.

    Args:
        low: the axis's lower end.
        high: its upper end.
        most: how many there may be, at least 2.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    least_step = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(least_step))
    # Rounding must not lift a step of exactly 1, 2 or 5 to the next one.
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least_step * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_label(value: float, step: float) -> str:
    """The number with as many decimals as its neighbours at ``step`` need."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    # -0.0 is no number that a reader expects.
    return f"{value + 0.0:.{decimals}f}" if round(value, decimals) else "0"
