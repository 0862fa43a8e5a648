"""Blended shapes: as many as the motion has, no vertex further off than the bound, and the error that is told is so."""

import numpy as np
import pytest
from h2onet.hand.low_rank import find_blend


def motion(frames: int, rank: int, vertices: int = 30, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    moved = rng.normal(size=(frames, rank)) @ rng.normal(size=(rank, 3 * vertices)) * 0.01
    return (rng.normal(size=3 * vertices) + moved + noise * rng.normal(size=moved.shape)).astype(np.float32)


def distance(frames: np.ndarray, blend) -> float:
    made = blend.mean + blend.weights.astype(np.float64) @ blend.shapes
    return float(np.linalg.norm((frames - made).reshape(len(frames), -1, 3), axis=2).max())


@pytest.mark.parametrize("frames", [20, 60, 700])  # fewer than numbers, and more than are computed at a time
def test_as_many_shapes_as_the_motion_has(frames: int) -> None:
    moving = motion(frames, 5)
    blend = find_blend(moving, 1e-4, 50)
    assert blend.shapes.shape == (5, 90) and blend.weights.shape == (frames, 5)
    assert blend.error < 1e-5 and blend.error == pytest.approx(distance(moving, blend))
    np.testing.assert_allclose(np.abs(blend.weights).max(0), 1, atol=1e-6)


@pytest.mark.parametrize("frames", [50, 400])
def test_the_fewest_within_the_bound_or_all_that_are_allowed(frames: int) -> None:
    shaky = motion(frames, 3, noise=1e-3)
    counts = []
    for bound in (1e-2, 3e-3, 1e-3):
        blend = find_blend(shaky, bound, 90)
        counts.append(len(blend.shapes))
        assert blend.error <= bound and blend.error == pytest.approx(distance(shaky, blend), rel=1e-6)
        if counts[-1]:
            fewer = find_blend(shaky, 0.0, counts[-1] - 1)
            assert len(fewer.shapes) == counts[-1] - 1 and fewer.error > bound
    assert counts == sorted(counts) and counts[0] <= 3 < counts[-1]
    held = find_blend(shaky, 1e-6, 7)
    assert len(held.shapes) == 7 and held.error == pytest.approx(distance(shaky, held), rel=1e-6) and held.error > 1e-6


def test_what_stands_still_needs_no_shape() -> None:
    for frames in (1, 2, 300):
        blend = find_blend(np.repeat(motion(1, 2), frames, axis=0), 1e-4, 9)
        assert blend.shapes.shape == (0, 90) and blend.weights.shape == (frames, 0) and blend.error < 1e-7
