"""A series that grows without end, kept in few points: neighbours are merged as it grows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class _Point:
    """The mean of so many values that stood side by side."""

    x: float
    y: float
    count: int


class ThinSeries:
    """Takes points in the order of x; a plot has never more of them to draw than it has room for.

    Args:
        most: points, at least 4; from twice as many on each two neighbours become one.
    """

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self._points: list[_Point] = []
        self._each = 1  # values to a point

    def __len__(self) -> int:
        return len(self._points)

    def add(self, points: Iterable[tuple[float, float]]) -> None:
        """Take more points; those that are no numbers must have been left out."""
        kept = self._points
        for x, y in points:
            if kept and kept[-1].count < self._each:
                last = kept[-1]
                last.count += 1
                last.x += (x - last.x) / last.count
                last.y += (y - last.y) / last.count
            else:
                kept.append(_Point(x, y, 1))
                if len(kept) >= 2 * self.most:
                    self._merge()
                    kept = self._points

    def _merge(self) -> None:
        self._each *= 2
        pairs = zip(self._points[::2], self._points[1::2])
        self._points = [
            _Point(
                (one.x * one.count + other.x * other.count) / (one.count + other.count),
                (one.y * one.count + other.y * other.count) / (one.count + other.count),
                one.count + other.count,
            )
            for one, other in pairs
        ]

    def smooth(self, share: float = 0.1) -> list[tuple[float, float]]:
        """The points, each the mean of its surroundings.

        Args:
            share: of the series that such a mean spans; with few points nothing is smoothed.
        """
        values = [point.y for point in self._points]
        reach = int(len(values) * share / 2)
        smooth = []
        for place, point in enumerate(self._points):
            # As far to the left as to the right, or the ends would be bent.
            near = min(reach, place, len(values) - 1 - place)
            # Not by running sums: beside a loss beyond all measure they would forget the others.
            smooth.append((point.x, sum(values[place - near : place + near + 1]) / (2 * near + 1)))
        return smooth
