"""A One-Euro filter for points and for turns, frame by frame.

Casiez, Roussel and Vogel (CHI 2012): a low-pass filter that smooths what rests, and opens where a value runs away from
it, so that what moves is not left behind. Two things differ from the paper. The speed, which that filter knows, is
carried on (Holt 1957), so that steady motion is not delayed at all. And the cutoff rises not with the speed, which then
takes nothing away any more, but with how far the values are on average from where that speed takes them.

Time counts in frames: cutoffs are shares of the frame rate, and a lag is a number of frames at any rate.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

SLOWEST = 0.1
"""Least cutoff, cycles per frame: 3 Hz at 30 frames per second."""
SPEED = 1 / 6
"""Cutoff of the speed, cycles per frame."""
AWAY = 0.2
"""How much one frame counts in the mean of how far the values run away."""
LOST = 5
"""Frames; a value that is missed for more starts anew."""


Value = TypeVar("Value")


class Space(Protocol[Value]):
    """What a filter must know of its values; a change is an array whose last axis is a vector's."""

    def change(self, before: Value, after: Value) -> np.ndarray:
        """What takes `before` to `after`."""
        ...

    def changed(self, value: Value, change: np.ndarray) -> Value:
        """`value` after a change."""
        ...


class Points:
    """Points (..., k) m or px."""

    def change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The way from one to the other."""
        return after - before

    def changed(self, value: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The points moved."""
        return value + change


class Turns:
    """Rotations; a change is the shortest turn as an axis-angle vector (3,) rad, made after the rotation.

    Changes are of neighbours, so that no angle comes near pi and no axis flips, wherever the rotation itself is.
    """

    def change(self, before: Rotation, after: Rotation) -> np.ndarray:
        """The turn from one to the other."""
        return (after * before.inv()).as_rotvec()

    def changed(self, value: Rotation, change: np.ndarray) -> Rotation:
        """The rotation turned."""
        return Rotation.from_rotvec(change) * value


class OneEuro(Generic[Value]):
    """Filters one value, frame after frame.

    tolerance: the cutoff rises by 1 / (2 pi tolerance) with the distance by which values run away, in units of the
    value; a low-pass filter that does not carry the speed on would stay behind by less than `tolerance`.
    """

    def __init__(self, space: Space[Value], tolerance: float) -> None:
        self._space, self._tolerance = space, tolerance
        self._value: Value | None = None

    def __call__(self, value: Value, frames: int = 1) -> Value:
        """The filtered value of a frame so many frames after the last one; the first passes as it is."""
        change, changed = self._space.change, self._space.changed
        if self._value is None or frames > LOST + 1:
            self._value = value
            self._speed = self._away = np.zeros_like(change(value, value))  # per frame
            return value
        last = self._value
        expected = changed(last, frames * self._speed)
        new = change(expected, value)
        self._away = self._away + AWAY * (new / frames - self._away)
        away = float(np.sqrt(np.square(self._away).sum(-1).mean()))
        cutoff = SLOWEST + away / (2 * np.pi * self._tolerance)
        self._value = changed(expected, _weight(cutoff * frames) * new)
        self._speed = self._speed + _weight(SPEED * frames) * (change(last, self._value) / frames - self._speed)
        return self._value


def _weight(cutoff: float) -> float:
    """How much a new value counts in a low-pass filter of the first order with this cutoff, in cycles per step."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff))
