"""Smoothing against known truth: jitter, error and lag of both ways, by motion, noise and frame rate.

    python benchmarks/smooth.py --json benchmarks/smooth.json
    python benchmarks/smooth.py --sweep --json FILE                 how good a filter that looks back only can be
    python benchmarks/smooth.py --smoke                             does the script run

A right hand moves as the synthesizer moves it: "reach" (comes, grasps, carries; mostly slow) and "gestures" (to and fro
without rest, fingers bend and open), resampled from 30 frames per second. What a network says of each frame is the
truth and noise: the palm's turn, every finger joint's turn, the wrist (deeper than wide), the 2D joints. "white" noise
is new in every frame, "correlated" remembers 0.1 s (autoregressive of the first order). Nothing is biased: what a
network gets wrong in all frames alike no filter changes, and would only bring the errors' ratios nearer to 1.

--sweep: trackers of constant speed with fixed weights (alpha for the place, beta for the speed; Kalata 1984 says which
belong together, here beta is up to 2.5 times that), the best of 42 chosen with hindsight for each case: the least error
with at most half the jitter, and the least jitter with at most 1.02 of the error.

Jitter is `steadiness.jitter` of the joints in the camera's frame, and of their error against the truth, because the
truth's own motion has jitter too; error their mean distance; lag that behind the truth, less the noisy track's own.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from h2onet.data.synthetic.choice import GRASPED
from h2onet.data.synthetic.motion.gestures import make_gestures
from h2onet.data.synthetic.motion.reach import make_recording
from h2onet.data.synthetic.motion.skeleton import skeleton_of
from h2onet.hand.arrays import load_arrays
from h2onet.hand.skinning import SkinnedHand
from h2onet.inference.one_euro import Points, Turns
from h2onet.inference.predictor import HandResult
from h2onet.inference.smoothing import HandSmoother, parts_between_cuts, smooth_track
from h2onet.inference.steadiness import jitter, lag
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

MOTIONS, NOISES, RATES = ("reach", "gestures"), ("white", "correlated"), (15, 30, 60)
FULL, LOW = 1.0, 0.4
RECORDED = 30  # frames per second
MEMORY = 0.1  # s, of correlated noise
PALM, FINGER = np.radians(3.0), np.radians(5.0)  # root mean square of the whole turn
WRIST = np.array([0.003, 0.003, 0.010])  # m: x, y, depth
SEEN = 1.5  # px, each of x and y
CAMERA = Rotation.from_euler("x", 125, degrees=True)  # the table's frame to that of a camera across the table
PLACE = np.array([0.0, 0.05, 0.8])
FOCAL, MIDDLE = 600.0, np.array([320.0, 240.0])


@dataclass(frozen=True, eq=False)
class Motion:
    """pose (F, 48) rad and wrist (F, 3) m in the camera's frame."""

    pose: np.ndarray
    wrist: np.ndarray


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Jitter, error and lag of smoothed hands.")
    parser.add_argument("--recordings", type=int, default=3, help="of each motion")
    parser.add_argument("--frames", type=int, default=240, help="of a recording at 30 frames per second")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--sweep", action="store_true", help="the best filter of many, by hindsight")
    parser.add_argument("--smoke", action="store_true", help="one short recording")
    options = parser.parse_args()
    if options.smoke:
        options.recordings, options.frames = 1, 60
    hand = SkinnedHand(load_arrays("standin", "right"))
    rows = []
    for motion in MOTIONS:
        recorded = [record(hand, motion, options.frames, seed) for seed in range(options.recordings)]
        for rate in RATES:
            truths = [results(hand, resampled(one, rate)) for one in recorded]
            for noise in NOISES:
                if options.sweep:
                    raws = [
                        results(hand, noisy(resampled(one, rate), rate, noise, FULL, seed), FULL, seed)
                        for seed, one in enumerate(recorded)
                    ]
                    rows.append({"motion": motion, "rate": rate, "noise": noise} | best_fixed(truths, raws))
                    print(json.dumps(rows[-1]), flush=True)
                    continue
                for level in (FULL, LOW):
                    found = [
                        measure(
                            truth, results(hand, noisy(resampled(one, rate), rate, noise, level, seed), level, seed)
                        )
                        for seed, (one, truth) in enumerate(zip(recorded, truths, strict=True))
                    ]
                    rows.append({"motion": motion, "rate": rate, "noise": noise, "level": level} | averaged(found))
                    print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"recordings": options.recordings, "rows": rows}, indent=1) + "\n")


class Fixed:
    """A tracker of constant speed with fixed weights, in the place of a `OneEuro`."""

    def __init__(self, space: Any, alpha: float, beta: float) -> None:
        self.space, self.alpha, self.beta = space, alpha, beta
        self.value: Any = None
        self.speed: Any = 0.0

    def __call__(self, value: Any, frames: int = 1) -> Any:
        """The filtered value; frames follow each other here."""
        if self.value is None:
            self.value, self.speed = value, np.zeros_like(self.space.change(value, value))
            return value
        expected = self.space.changed(self.value, self.speed)
        new = self.space.change(expected, value)
        self.value, self.speed = self.space.changed(expected, self.alpha * new), self.speed + self.beta * new
        return self.value


class FixedSmoother(HandSmoother):
    """A `HandSmoother` whose filters never change."""

    def __init__(self, alpha: float, beta: float) -> None:
        self.weights = alpha, beta
        super().__init__()

    def reset(self) -> None:
        """As ever, with fixed filters."""
        super().reset()
        made: Any = [Fixed(space, *self.weights) for space in (Turns(), Points(), Points(), Points())]
        self._turn, self._shape, self._seen, self._root = made


def best_fixed(truths: list[list[HandResult]], raws: list[list[HandResult]]) -> dict:
    """The best of all fixed filters, by hindsight; jitter and error as shares of those before."""
    found, shares = [], []
    for truth, raw in zip(truths, raws, strict=True):
        shares.append(ratio(jitter([positions(truth)]), jitter([positions(raw)])))
    for alpha in (0.15, 0.25, 0.35, 0.45, 0.55, 0.7, 0.85):
        for times in (0.0, 0.3, 0.6, 1.0, 1.6, 2.5):
            beta = times * (2 * (2 - alpha) - 4 * np.sqrt(1 - alpha))
            pairs = []
            for truth, raw in zip(truths, raws, strict=True):
                smoother = FixedSmoother(alpha, beta)
                exact, before, after = positions(truth), positions(raw), positions([smoother(one) for one in raw])
                gain = distance(after, exact) / distance(before, exact)
                pairs.append((ratio(jitter([after]), jitter([before])), gain))
            found.append(np.mean(pairs, axis=0))
    steady = min((one for one in found if one[0] <= 0.5), key=lambda one: one[1], default=None)
    exact = min((one for one in found if one[1] <= 1.02), key=lambda one: one[0], default=None)
    return {
        "jitter_of_truth": round(statistics.mean(shares), 2),
        "least_error_at_half_jitter": None if steady is None else [round(float(value), 2) for value in steady],
        "least_jitter_at_error_1.02": None if exact is None else [round(float(value), 2) for value in exact],
    }


def record(hand: SkinnedHand, motion: str, frames: int, seed: int) -> Motion:
    """One recording of the synthesizer."""
    rng = np.random.default_rng(seed)
    skeleton = skeleton_of(hand.arrays, np.zeros(10))
    thing = GRASPED[seed % len(GRASPED)]
    made = (
        make_gestures(skeleton, thing, frames, rng)
        if motion == "gestures"
        else make_recording(skeleton, thing, frames, 2, rng)
    )
    there = np.flatnonzero(made.present)
    shown = slice(there[0], there[-1] + 1)
    wrist = CAMERA.apply(made.wrist[shown])
    pose = made.pose[shown].copy()
    pose[:, :3] = (CAMERA * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    return Motion(pose, wrist - wrist.mean(axis=0) + PLACE)


def resampled(motion: Motion, rate: int) -> Motion:
    """The motion at another frame rate, by splines."""
    times = np.arange(len(motion.wrist)) / RECORDED
    wanted = np.arange(0.0, times[-1] + 1e-9, 1 / rate)
    turns = [
        RotationSpline(times, Rotation.from_rotvec(motion.pose[:, start : start + 3]))(wanted).as_rotvec()
        for start in range(0, 48, 3)
    ]
    return Motion(np.concatenate(turns, axis=1), CubicSpline(times, motion.wrist)(wanted))


def noisy(motion: Motion, rate: int, noise: str, level: float, seed: int) -> Motion:
    """The motion as a network might see it."""
    count = len(motion.wrist)
    drawn = unit_noise(count, 51, rate, noise, np.random.default_rng(seed))
    turns = drawn[:, :48].reshape(count, 16, 3) * np.array([PALM] + 15 * [FINGER])[:, None] / np.sqrt(3)
    off = Rotation.from_rotvec(level * turns.reshape(-1, 3)) * Rotation.from_rotvec(motion.pose.reshape(-1, 3))
    return Motion(off.as_rotvec().reshape(count, 48), motion.wrist + level * WRIST * drawn[:, 48:])


def unit_noise(count: int, width: int, rate: int, noise: str, rng: np.random.Generator) -> np.ndarray:
    """(count, width) of variance 1."""
    drawn = rng.normal(size=(count, width))
    if noise == "white":
        return drawn
    kept = np.exp(-1 / (rate * MEMORY))
    for at in range(1, count):
        drawn[at] = kept * drawn[at - 1] + np.sqrt(1 - kept**2) * drawn[at]
    return drawn


def results(hand: SkinnedHand, motion: Motion, level: float = 0.0, seed: int = 0) -> list[HandResult]:
    """What a predictor would return, of every frame."""
    vertices, joints = hand.pose(motion.pose, np.zeros((1, 10)))
    vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
    placed = joints + motion.wrist[:, None]
    seen = FOCAL * placed[..., :2] / placed[..., 2:] + MIDDLE
    seen = seen + level * SEEN * np.random.default_rng([seed, 1]).normal(size=seen.shape)
    return [
        HandResult(mesh, own, points, None, wrist, np.zeros(4), "given", "right", True)
        for mesh, own, points, wrist in zip(vertices, joints, seen, motion.wrist, strict=True)
    ]


def measure(truth: list[HandResult], raw: list[HandResult]) -> dict:
    """Ratios of smoothed to raw, and lags, by both ways of smoothing."""
    smoother = HandSmoother()
    ways = {"online": [smoother(one) for one in raw], "offline": smooth_track(raw, range(len(raw)))}
    exact, before = positions(truth), positions(raw)
    found: dict = {
        "jitter_of_truth_mm": jitter([exact]),
        "jitter_mm": jitter([before]),
        "error_mm": distance(before, exact),
        "cuts": len(parts_between_cuts(raw, range(len(raw)))) - 1,
    }
    for way, smooth in ways.items():
        after = positions(smooth)
        found[way] = {
            "jitter": ratio(jitter([after]), jitter([before])),
            "jitter_of_error": ratio(jitter([after - exact]), jitter([before - exact])),
            "error": distance(after, exact) / found["error_mm"],
            "error_about_wrist": distance(about_wrist(smooth), about_wrist(truth))
            / distance(about_wrist(raw), about_wrist(truth)),
            "error_2d": distance(seen(smooth), seen(truth)) / distance(seen(raw), seen(truth)),
            "lag_frames": (lag([(after, exact)]) or 0.0) - (lag([(before, exact)]) or 0.0),
        }
    return found


def positions(track: list[HandResult]) -> np.ndarray:
    """Joints (F, 21, 3) in the camera's frame, mm."""
    return 1000 * np.stack([one.joints + (0.0 if one.root is None else one.root) for one in track])


def about_wrist(track: list[HandResult]) -> np.ndarray:
    """Joints (F, 21, 3) about the wrist, mm."""
    return 1000 * np.stack([one.joints for one in track])


def seen(track: list[HandResult]) -> np.ndarray:
    """2D joints (F, 21, 2), px."""
    return np.stack([one.joints_2d for one in track])


def distance(points: np.ndarray, others: np.ndarray) -> float:
    """The mean distance."""
    return float(np.linalg.norm(points - others, axis=-1).mean())


def ratio(value: float | None, of: float | None) -> float:
    """One by the other; tracks here are long enough to have jitter."""
    assert value is not None and of is not None
    return value / of


def averaged(found: list[dict]) -> dict:
    """The mean of every figure over recordings."""
    return {
        name: averaged([one[name] for one in found])
        if isinstance(value, dict)
        else round(statistics.mean(one[name] for one in found), 3)
        for name, value in found[0].items()
    }


if __name__ == "__main__":
    main()
