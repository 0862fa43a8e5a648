"""Which earlier frames belong to a frame: (t, short past, long past), by frame number inside one camera sequence.

The authors pick neighbours by list position, which crosses sequence borders wherever a frame is missing; here
the number counts, and the nearest existing frame stands in for a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...hand.parts import FINGERS, UNKNOWN


@dataclass(frozen=True)
class Window:
    """How far back the past frames lie, nearest first, and how wide training jitters them.

    Past frame i lies past[i] + trunc((u - 0.5) * jitter[i]) frames back, the last one past[-1] - trunc(u * jitter[-1]),
    u uniform in [0, 1), as in the authors' loaders. Before frame number past[-1] the past is spread evenly over
    what there is: half way back and frame 0. An empty `past` means single frames.
    """

    past: tuple[int, ...] = (5, 10)
    jitter: tuple[float, ...] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.past) != len(self.jitter):
            raise InputError(
                f"Window: past has {len(self.past)} entries, jitter {len(self.jitter)}; give one jitter per past frame"
            )
        if any(k < 1 for k in self.past) or list(self.past) != sorted(self.past):
            raise InputError(f"Window: past is {self.past}; expected increasing positive frame distances")
        if any(j < 0 for j in self.jitter) or any(int(j) >= k for j, k in zip(self.jitter, self.past, strict=True)):
            raise InputError(f"Window: jitter is {self.jitter}; expected values from 0 to below past={self.past}")

    def __len__(self) -> int:
        """Frames in the window, the current one included."""
        return 1 + len(self.past)

    def fixed(self) -> Window:
        """The same window without jitter: validation and test."""
        return replace(self, jitter=(0.0,) * len(self.past))

    def offsets(self, number: int, rng: np.random.Generator | None = None) -> tuple[int, ...]:
        """Frames back of every past frame, for the frame with this number; without `rng` nothing jitters."""
        if not self.past:
            return ()
        count = len(self.past)
        draws = [0.5] * (count - 1) + [0.0] if rng is None else rng.random(count).tolist()
        if number < self.past[-1]:
            return tuple(number * (i + 1) // count for i in range(count))
        near = [k + int((u - 0.5) * j) for k, j, u in zip(self.past[:-1], self.jitter, draws, strict=False)]
        return (*near, self.past[-1] - int(draws[-1] * self.jitter[-1]))


SAMPLINGS = ("uniform", "hidden")
"""How an epoch draws its frames: all equally often, or by `sampling_weights`."""

_RANGES = {
    "dexycb": Window((5, 10), (4.0, 2.0)),
    "ho3d-v2": Window((30, 60), (10.0, 5.0)),
    "ho3d-v3": Window((30, 60), (10.0, 5.0)),
}


def window_of(dataset: str, train: bool, past: int | None = None, own: Mapping[str, Any] | None = None) -> Window:
    """The authors' window for a dataset, with the jitter of training or without; `past` 0, 1 or 2 frames (None: all).

    `own` is the attribute `window` of a store whose dataset is none of theirs: `past` and `jitter` as `Window` has
    them, of which a table may have fewer than are asked for (InputError).
    """
    if own is None and dataset not in _RANGES:
        raise InputError(f"window of dataset {dataset!r}: expected one of {', '.join(_RANGES)}; give a Window instead")
    if not 0 <= (past or 0) <= 2:
        raise InputError(f"window with {past} past frames: the datasets' windows have 0 to 2; give a Window instead")
    window = _RANGES[dataset] if own is None else Window(tuple(own["past"]), tuple(own["jitter"]))
    if len(window.past) < (past or 0):
        raise InputError(
            f"dataset {dataset!r} has {len(window.past)} past frames, {past} were asked for; say in its dataset.toml"
            " how far back they lie ([window] past = [5, 10]), or take a single-frame network"
        )
    window = Window(window.past[:past], window.jitter[:past])
    return window if train else window.fixed()


def nearest_position(numbers: np.ndarray, wanted: int) -> int:
    """Position of the frame number nearest to `wanted` in the increasing `numbers` (F,); the earlier one on a tie."""
    right = int(np.searchsorted(numbers, wanted))
    if right == 0:
        return 0
    if right == len(numbers) or wanted - int(numbers[right - 1]) <= int(numbers[right]) - wanted:
        return right - 1
    return right


def window_positions(
    numbers: np.ndarray, position: int, window: Window, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Positions (T,) of a window in one camera sequence's sorted frame `numbers`: the current frame first.

    No position lies after the current one, none outside `numbers`.
    """
    number = int(numbers[position])
    earlier = numbers[: position + 1]
    return np.array([position, *(nearest_position(earlier, number - k) for k in window.offsets(number, rng))], np.int64)


def fixed_positions(numbers: NDArray, window: Window) -> NDArray[np.int64]:
    """`window_positions` without jitter for every frame of a camera sequence at once: (F, T) from `numbers` (F,)."""
    window = window.fixed()
    wanted = numbers[:, None] - np.array([window.offsets(int(number)) for number in numbers], np.int64).reshape(
        len(numbers), len(window.past)
    )
    right = np.searchsorted(numbers, wanted)  # never past the frame itself: no wanted number is larger than its own
    left = np.maximum(right - 1, 0)
    earlier = (right > 0) & (wanted - numbers[left] <= numbers[right] - wanted)
    return np.column_stack([np.arange(len(numbers)), np.where(earlier, left, right)]).astype(np.int64)


def seen_earlier(occluded: NDArray, sequence: NDArray, numbers: NDArray, window: Window) -> NDArray[np.uint8]:
    """Was a finger visible in a past frame of its frame's window without jitter: (N, 5) 1 yes, 0 no, 255 unknown.

    Of N frames, those of a sequence side by side: occluded (N, 5) 1 hidden, 0 visible, 255 unknown; sequence (N,) ids;
    numbers (N,) frame numbers, increasing within a sequence. Unknown where no past frame is known to show the finger
    and one of them is not known to hide it.
    """
    found = np.full(occluded.shape, UNKNOWN, np.uint8)
    if not window.past:
        return found
    starts = np.flatnonzero(np.diff(sequence, prepend=-1))
    for rows in np.split(np.arange(len(sequence)), starts[1:]):
        past = occluded[rows[fixed_positions(numbers[rows], window)[:, 1:]]]
        found[rows] = np.where((past == 0).any(1), 1, np.where((past == 1).all(1), 0, UNKNOWN))
    return found


def sampling_weights(occluded: NDArray, sequence: NDArray, numbers: NDArray, window: Window) -> NDArray[np.float64]:
    """How often a frame is drawn relative to others by `sampling = hidden`: (N,), 1 + k.

    k is the number of its fingers, 0 to 5, that are hidden in it and visible in a past frame of its window; arguments
    as for `seen_earlier`, `occluded` (N, 5 or more). Frames in which a window has nothing to tell keep weight 1.
    """
    fingers = occluded[:, : len(FINGERS)]
    told = (fingers == 1) & (seen_earlier(fingers, sequence, numbers, window) == 1)
    return 1.0 + told.sum(1)
