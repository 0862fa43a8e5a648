"""The fit of MANO's parameters: how near it comes, how fast it is, and Adam on the smplx layer beside it.

    python benchmarks/fit.py --mano DIR [--motion FILE.npz] [--hands 512] [--rounds 5] [--json runs/benchmarks/fit.json]
    python benchmarks/fit.py --mano DIR --only-people [--json FILE]     one shape for each person, and nothing else
    python benchmarks/fit.py --mano standin --smoke         does the script run

Meshes and joints are posed here, of both hands: turns of every finger joint normal about the hand's mean (0.4 rad),
shapes normal, any global rotation. With --motion (the recorded DexYCB joints of left hands) joints are also those of
real poses: as recorded, and as this hand makes them when its fingers point the same ways. Adam starts where our fit
starts (the closed form) and stops as soon as the mean vertex error of its batch is at most 0.05 mm, which is far more
than our fit leaves; pose, shape and place have rates of their own, and of several rates, all decaying, the fastest
counts. Both run on one core with one thread, in turn, on the same batches of 64. Processor time; medians over rounds.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from h2onet.data.synthetic.motion.recorded import load_motion
from h2onet.data.synthetic.motion.retarget import retarget_fingers
from h2onet.data.synthetic.motion.skeleton import pose_of, skeleton_of
from h2onet.hand.arrays import HandArrays, load_arrays
from h2onet.hand.fit_start import PartTurns
from h2onet.hand.fitting import BATCH, FittedHands, HandFitter
from h2onet.hand.mano import HandModel
from h2onet.hand.skinning import SkinnedHand
from h2onet.inference.mano_fit import NOISE
from scipy.spatial.transform import Rotation

ENOUGH = 5e-5  # m, mean vertex error
RATES = (0.02, 0.01, 0.04)  # of the pose; chosen by trial, as are the factors and the decay
SHAPE_RATE, PLACE_RATE, DECAY = 5.0, 0.1, 0.01 ** (1 / 3000)
MOST_STEPS = 4000


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="What the fit of MANO's parameters reaches, and how fast.")
    parser.add_argument("--mano", default="standin", help="folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, or standin")
    parser.add_argument("--motion", type=Path, help="recorded joints of left hands")
    parser.add_argument("--hands", type=int, default=512, help="hands of each side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/fit.json"))
    parser.add_argument("--only-people", action="store_true", help="only what one shape for all hands of a person does")
    parser.add_argument("--smoke", action="store_true", help="few hands, one round, few steps")
    options = parser.parse_args()
    if options.smoke:
        options.hands, options.rounds = 8, 1
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "options": {name: str(value) for name, value in vars(options).items()},
        "machine": {"processor": platform.processor() or platform.machine(), "load": os.getloadavg()},
    }
    arrays = load_arrays(options.mano, "right")
    found["people"] = people(arrays, options.hands)
    for side in () if options.only_people else ("right", "left"):
        arrays = load_arrays(options.mano, side)
        found[side] = {"meshes": from_meshes(arrays, options.hands), "joints": from_joints(arrays, options.hands)}
        if options.motion is not None and side == "left":
            found[side] |= from_motion(arrays, options.motion, options.hands)
    if not options.only_people:
        arrays = load_arrays(options.mano, "right")
        found["one mesh at a time, 3 mm off"] = one_by_one(arrays)
        found["speed"] = speed(arrays, options.rounds, 20 if options.smoke else MOST_STEPS)
    found["machine"]["load at the end"] = os.getloadavg()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def random_hands(arrays: HandArrays, count: int, seed: int = 0) -> np.ndarray:
    """Parameters (count, 61): pose, shape, wrist."""
    rng = np.random.default_rng(seed)
    turns = Rotation.random(count, rng=rng).as_rotvec()
    fingers = arrays.hands_mean + rng.normal(0, 0.4, (count, 45))
    return np.concatenate([turns, fingers, rng.normal(size=(count, 10)), rng.normal([0, 0, 0.6], 0.1, (count, 3))], 1)


def posed(arrays: HandArrays, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints: LBS - J0 + wrist."""
    hand, shape = SkinnedHand(arrays), parameters[:, 48:58]
    return hand.pose(parameters[:, :48], shape, parameters[:, 58:] - hand.root(shape))


def compare(arrays: HandArrays, truth: np.ndarray, fitted: FittedHands) -> dict[str, float]:
    """Distances in mm and angles in degrees between true hands, by parameters (N, 61), and fitted ones."""
    found = np.concatenate([fitted.mano_pose, fitted.mano_shape, fitted.wrist], axis=1)
    (vertices, joints), (own_vertices, own_joints) = posed(arrays, truth), posed(arrays, found)
    turns = [Rotation.from_rotvec(each[:, :48].reshape(-1, 3)) for each in (truth, found)]
    angles = np.degrees((turns[0].inv() * turns[1]).magnitude())
    off, joint_off = (1000 * np.linalg.norm(a - b, axis=2) for a, b in ((vertices, own_vertices), (joints, own_joints)))
    return {
        "hands": len(truth),
        "mean vertex error, mm": off.mean(),
        "worst hand's mean vertex error, mm": off.mean(axis=1).max(),
        "worst vertex, mm": off.max(),
        "mean joint error, mm": joint_off.mean(),
        "worst hand's mean joint error, mm": joint_off.mean(axis=1).max(),
        "mean joint angle error, degrees": angles.mean(),
        "worst joint angle error, degrees": angles.max(),
        "worst shape error": np.abs(truth[:, 48:58] - found[:, 48:58]).max(),
    }


def from_meshes(arrays: HandArrays, count: int) -> dict[str, float]:
    """Fits to meshes of random hands."""
    truth = random_hands(arrays, count)
    return compare(arrays, truth, HandFitter(arrays).to_vertices(posed(arrays, truth)[0]))


def from_joints(arrays: HandArrays, count: int) -> dict[str, float]:
    """Fits to joints of random hands: their twists are as random, so only distances at the joints say something."""
    truth = random_hands(arrays, count)
    return compare(arrays, truth, HandFitter(arrays).to_joints(posed(arrays, truth)[1]))


def from_motion(arrays: HandArrays, path: Path, count: int) -> dict[str, dict[str, float]]:
    """Fits to recorded joints, and to those of this hand in the recorded poses, with random shapes."""
    motion = load_motion(path)
    rows = np.flatnonzero(motion.present)
    rows = rows[np.linspace(0, len(rows) - 1, min(8 * count, len(rows))).astype(int)]
    joints = motion.joints[rows]
    fitter = HandFitter(arrays)
    recorded = fitter.to_joints(joints)
    truth = random_hands(arrays, len(rows))
    truth[:, :3], truth[:, 58:] = recorded.mano_pose[:, :3], joints[:, 0]
    turns = Rotation.from_rotvec(truth[:, :3]).as_matrix()
    truth[:, 3:48] = pose_of(retarget_fingers(skeleton_of(arrays, np.zeros(10)), joints, turns))
    return {
        "recorded joints": {
            "hands": len(rows),
            "mean joint error, mm": 1000 * recorded.error.mean(),
            "worst hand's mean joint error, mm": 1000 * recorded.error.max(),
        },
        "joints of recorded poses": compare(arrays, truth, fitter.to_joints(posed(arrays, truth)[1])),
    }


PEOPLE = 8
PARTS = ("mano_pose", "mano_shape", "wrist", "error")


def people(arrays: HandArrays, count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Fits to `count` hands of `PEOPLE` people, each hand with a shape of its own and one for each person.

    Joints and meshes are exact, or every coordinate off by 3 mm (standard deviation), which the fit is told: each by
    itself, or alike for all hands of a person, in the hand's own frame.
    """
    each = max(count // PEOPLE, 2)
    truth = random_hands(arrays, PEOPLE * each)
    truth[:, 48:58] = np.repeat(truth[::each, 48:58], each, axis=0)
    vertices, joints = posed(arrays, truth)
    turns = Rotation.from_rotvec(truth[:, :3]).as_matrix()
    rng, fitter = np.random.default_rng(3), HandFitter(arrays)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, fit, points in (("joints", fitter.to_joints, joints), ("meshes", fitter.to_vertices, vertices)):
        fit(points[:2], one_shape=True)
        for off, alike in ((0.0, False), (3e-3, False), (3e-3, True)):
            wrong, noise = rng.normal(0, off, points.shape), dict[str, Any](noise=off) if off else {}
            if alike:
                wrong = np.repeat(wrong[::each], each, axis=0) @ turns.swapaxes(1, 2)
            seen = points + wrong
            row = found[f"{name}, {1000 * off:.0f} mm off{' alike' * alike}"] = {}
            for kind, one_shape in (("a shape for each hand", False), ("one for each person", True)):
                start = time.process_time()
                fitted = [fit(seen[n : n + each], one_shape=one_shape, **noise) for n in range(0, len(seen), each)]
                spent = time.process_time() - start
                whole = FittedHands(*(np.concatenate([getattr(one, part) for one in fitted]) for part in PARTS))
                row[kind] = {
                    **compare(arrays, truth, whole),
                    "mean shape error": np.abs(truth[:, 48:58] - whole.mano_shape).mean(),
                    "ms a hand": 1000 * spent / len(seen),
                }
    return found


def one_by_one(arrays: HandArrays, off: float = 3e-3) -> dict[str, float]:
    """Fits to meshes that no hand has, as a network's are: waves of `off` m (root mean square) along the hand."""
    rng = np.random.default_rng(7)
    waves = np.sin(arrays.v_template @ rng.normal(0, 40, (BATCH, 3, 20)) + rng.uniform(0, 6.3, (BATCH, 1, 20)))
    waves = waves @ rng.normal(0, 1, (BATCH, 20, 3))
    waves *= off / np.sqrt((waves**2).sum(axis=2).mean(axis=1))[:, None, None]
    vertices, fitter, times, errors = posed(arrays, random_hands(arrays, BATCH))[0] + waves, HandFitter(arrays), [], []
    fitter.to_vertices(vertices[:1])
    for mesh in vertices:
        start = time.process_time()
        errors.append(float(fitter.to_vertices(mesh[None], NOISE).error[0]))
        times.append(1000 * (time.process_time() - start))
    return {
        "mean error, mm": 1000 * statistics.mean(errors),
        "ms, median": statistics.median(times),
        "ms, most": max(times),
    }


def speed(arrays: HandArrays, rounds: int, most: int) -> dict[str, object]:
    """Hands per second of our fit, to meshes and to joints, and of Adam; ratios of each round."""
    fitter, adam = HandFitter(arrays), AdamFit(arrays)
    times: dict[str, list[float]] = {"meshes": [], "joints": [], "Adam": []}
    ratios: list[float] = []
    steps: list[int] = []
    errors: list[float] = []
    for number in range(rounds + 1):
        vertices, joints = posed(arrays, random_hands(arrays, BATCH, 100 + number))
        taken = {}
        for name, fit, points in (("meshes", fitter.to_vertices, vertices), ("joints", fitter.to_joints, joints)):
            start = time.process_time()
            fitted = fit(points)
            taken[name] = time.process_time() - start
            if name == "meshes":
                ours = float(fitted.error.mean())
        if number == 0:  # warms caches of both up
            adam.run(vertices, RATES[0], 5)
            continue
        runs = [adam.run(vertices, RATES[0], most)]
        for rate in RATES[1:]:  # a slower rate need not be followed to its end
            runs.append(adam.run(vertices, rate, min(runs, key=lambda run: (not run[2], run[0]))[1]))
        reached = [run for run in runs if run[2]]
        best = min(reached or runs)
        errors.append(ours)
        taken["Adam"] = best[0]
        for name, value in taken.items():
            times[name].append(value)
        ratios.append(best[0] / taken["meshes"])
        steps.append(best[1] if reached else -best[1])
    return {
        "batch": BATCH,
        "rounds": rounds,
        "hands/s": {name: BATCH / statistics.median(values) for name, values in times.items()},
        "ms a hand": {name: 1000 / BATCH * statistics.median(values) for name, values in times.items()},
        "ms a hand, each round": {name: [1000 / BATCH * value for value in values] for name, values in times.items()},
        "our mean vertex error, mm": 1000 * statistics.mean(errors),
        "Adam's steps to 0.05 mm (negative: not reached)": steps,
        "Adam's time over ours, each round": ratios,
        "Adam's time over ours, median": statistics.median(ratios),
    }


class AdamFit:
    """The same fit by Adam on smplx's layer."""

    def __init__(self, arrays: HandArrays) -> None:
        self.hand, self.start = HandModel(arrays), PartTurns(arrays)

    def run(self, vertices: np.ndarray, rate: float, most: int) -> tuple[float, int, bool]:
        """Processor seconds and steps until the mean vertex error is at most `ENOUGH`, and whether it came to that."""
        begin = time.process_time()
        observed = torch.from_numpy(vertices).float()
        pose, shape = torch.from_numpy(self.start.pose(vertices)).float(), torch.zeros(len(vertices), 10)
        place = observed.mean(dim=1) - self.hand(pose, shape).vertices.mean(dim=1)
        parameters = [each.requires_grad_() for each in (pose, shape, place)]
        rates = zip(parameters, (1.0, SHAPE_RATE, PLACE_RATE), strict=True)
        optimiser = torch.optim.Adam([{"params": [each], "lr": rate * factor} for each, factor in rates])
        decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, DECAY)
        for step in range(most):
            off = self.hand(*parameters).vertices - observed
            if float(off.detach().norm(dim=2).mean()) <= ENOUGH:
                return time.process_time() - begin, step, True
            optimiser.zero_grad()
            (1e6 * off.square().sum(dim=2).mean()).backward()
            optimiser.step()
            decay.step()
        return time.process_time() - begin, most, False


if __name__ == "__main__":
    main()
