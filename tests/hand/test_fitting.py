"""The fit: derivatives, what it recovers from meshes and from joints, and that bits know no batch."""

from dataclasses import replace

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand import fitting
from h2onet.hand.arrays import load_arrays
from h2onet.hand.fit_points import joint_points, mesh_points, spread_rows
from h2onet.hand.fit_priors import BEND, SPREAD, TWIST, finger_axes, for_joints, for_vertices
from h2onet.hand.fitting import FittedHands, HandFitter
from h2onet.hand.parts import JOINT_NAMES, ORDERS
from h2onet.hand.rotations import matrix_from_axis_angle, mirror_pose
from h2onet.hand.skinning import SkinnedHand
from h2onet.hand.standin.components import sample_poses
from scipy.spatial.transform import Rotation


@pytest.fixture(params=["golden-right", "golden-left", "standin-right", "standin-left"], scope="module")
def arrays(request):
    """Every hand there is: MANO-format files of the reference folder and the built-in one."""
    source, _, side = request.param.partition("-")
    if source == "golden":
        return load_arrays(request.getfixturevalue("golden") / "labels" / "mano", side)
    return load_arrays("standin", side)


@pytest.fixture(scope="module")
def standin() -> HandFitter:
    return HandFitter(load_arrays("standin", "right"))


def random_hands(arrays, count: int, spread: float = 0.4) -> np.ndarray:
    """Parameters (count, 61): any global rotation, finger turns about the hand's mean, shapes and wrists."""
    rng = np.random.default_rng(5)
    globals_ = Rotation.random(count, random_state=6).as_rotvec()
    fingers = arrays.hands_mean + rng.normal(0, spread, (count, 45))
    return np.concatenate([globals_, fingers, rng.normal(size=(count, 10)), rng.normal(0, 0.3, (count, 3))], axis=1)


def posed(arrays, parameters: np.ndarray, tips: str = "manopth") -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints as the contract has them: LBS - J0 + wrist."""
    hand, pose, shape = SkinnedHand(arrays), parameters[:, :48], parameters[:, 48:58]
    return hand.pose(pose, shape, parameters[:, 58:] - hand.root(shape), tips=tips)


def again(arrays, fitted: FittedHands) -> tuple[np.ndarray, np.ndarray]:
    return posed(arrays, np.concatenate([fitted.mano_pose, fitted.mano_shape, fitted.wrist], axis=1))


def turns_between(pose: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles (N, 16) rad between the joint turns of two poses."""
    a, b = (matrix_from_axis_angle(each.reshape(-1, 16, 3)) for each in (pose, other))
    return np.linalg.norm(Rotation.from_matrix((a.swapaxes(2, 3) @ b).reshape(-1, 3, 3)).as_rotvec(), axis=1).reshape(
        -1, 16
    )


def test_points_are_those_of_the_skinned_hand(arrays):
    mesh, parameters = mesh_points(arrays), random_hands(arrays, 4)
    vertices, joints = posed(arrays, parameters, "ho3d")
    assert np.abs(mesh.place(parameters) - vertices).max() < 1e-14
    assert np.abs(joint_points(mesh, "ho3d", arrays.side).place(parameters) - joints).max() < 1e-14
    rows = spread_rows(mesh, 50)
    assert len(set(rows)) == 50 and np.abs(mesh[rows].place(parameters) - vertices[:, rows]).max() < 1e-14


def test_derivatives_are_those_of_finite_differences(arrays):
    parameters = random_hands(arrays, 4)
    parameters[0, :48], parameters[1, :48] = 0.0, 1e-5 * parameters[1, :48]
    parameters[2, :3] *= np.pi / np.linalg.norm(parameters[2, :3])
    mesh = mesh_points(arrays)
    observed = mesh.place(parameters) + np.random.default_rng(0).normal(0, 0.01, (4, 778, 3))
    for points, seen in (
        (mesh, observed),
        (joint_points(mesh, "manopth", arrays.side), observed[:, :21]),
    ):
        step = 1e-6 * np.eye(61)
        moved = [(points.place(parameters + e) - points.place(parameters - e)) / 2e-6 for e in step]
        rows = np.stack([*moved, points.place(parameters) - seen], axis=1).reshape(4, 62, -1)
        expected, found = rows @ rows.swapaxes(1, 2), points.normal_equations(parameters, seen)
        assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()


def test_meshes_of_random_poses_and_shapes_are_recovered(arrays):
    parameters = random_hands(arrays, 12)
    vertices, _ = posed(arrays, parameters)
    fitted = HandFitter(arrays).to_vertices(vertices)
    found = again(arrays, fitted)[0]
    assert np.linalg.norm(found - vertices, axis=2).mean(axis=1).max() < 5e-6
    assert fitted.error == pytest.approx(np.linalg.norm(found - vertices, axis=2).mean(axis=1), abs=1e-12)
    assert np.degrees(turns_between(fitted.mano_pose, parameters[:, :48])).max() < 0.2
    assert fitted.mano_shape == pytest.approx(parameters[:, 48:58], abs=0.05)
    assert fitted.wrist == pytest.approx(parameters[:, 58:], abs=1e-5)
    assert np.linalg.norm(fitted.mano_pose.reshape(-1, 16, 3), axis=2).max() <= np.pi + 1e-12


def test_turns_far_from_rest_are_recovered(arrays):
    parameters = random_hands(arrays, 12, spread=0.8)
    vertices, _ = posed(arrays, parameters)
    assert HandFitter(arrays).to_vertices(vertices).error.max() < 5e-6


def test_a_mesh_that_no_hand_has_is_fitted_as_well_as_can_be(arrays):
    """Where there is no exact answer, no change of a parameter betters the one that is found."""
    parameters, rng = random_hands(arrays, 4), np.random.default_rng(1)
    mesh = mesh_points(arrays)
    waves = np.sin(mesh.template.T @ rng.normal(0, 40, (4, 3, 30)))
    vertices = mesh.place(parameters) + 5e-4 * waves @ rng.normal(0, 1, (4, 30, 3))
    fitted = HandFitter(arrays).to_vertices(vertices)
    found = np.concatenate([fitted.mano_pose, fitted.mano_shape, fitted.wrist], axis=1)
    squares = ((mesh.place(found) - vertices) ** 2).sum(axis=(1, 2))
    assert fitted.error.min() > 5e-4 and fitted.error.max() < 4e-3
    for step in 0.02 * np.eye(61)[:58]:  # a degree, or a fiftieth of a shape's unit
        for sign in (-1, 1):
            others = ((mesh.place(found + sign * step) - vertices) ** 2).sum(axis=(1, 2))
            assert (others > squares * (1 - 1e-3)).all()


def natural_hands(arrays) -> np.ndarray:
    """Parameters of the stand-in's sample poses and what lies between them, in the arrays' side."""
    samples = np.stack(list(sample_poses().values()))
    fingers = np.concatenate([samples, (samples + np.roll(samples, 1, axis=0)) / 2])
    parameters = random_hands(arrays, len(fingers))
    parameters[:, 3:48] = fingers if arrays.side == "right" else mirror_pose(fingers)
    return parameters


def test_joints_alone_give_a_near_and_likely_hand(arrays):
    parameters = natural_hands(arrays)
    vertices, joints = posed(arrays, parameters)
    fitted = HandFitter(arrays).to_joints(joints)
    found = again(arrays, fitted)
    assert fitted.error == pytest.approx(np.linalg.norm(found[1] - joints, axis=2).mean(axis=1), abs=1e-12)
    assert fitted.error.mean() < 6e-4 and fitted.error.max() < 1e-3
    assert np.linalg.norm(found[0] - vertices, axis=2).mean() < 3e-3
    twists = (finger_axes(arrays) @ fitted.mano_pose[:, 3:].reshape(-1, 15, 3, 1))[..., TWIST, 0]
    assert np.degrees(np.sqrt((twists[:, :12] ** 2).mean())) < 15


def test_noisy_joints_are_kept_to_likely_hands(standin):
    parameters = natural_hands(standin.arrays)
    _, joints = posed(standin.arrays, parameters)
    noisy = joints + np.random.default_rng(0).normal(0, 0.004, joints.shape)
    trusting, doubting = standin.to_joints(noisy, noise=2e-4), standin.to_joints(noisy, noise=4e-3)
    off = [np.linalg.norm(again(standin.arrays, each)[1] - joints, axis=2).mean() for each in (trusting, doubting)]
    assert off[1] < 0.95 * off[0] and trusting.error.mean() < doubting.error.mean()
    assert (doubting.mano_shape**2).mean() < 0.3 * (trusting.mano_shape**2).mean()


def test_bits_know_no_batch(arrays):
    parameters = random_hands(arrays, 3)
    vertices, joints = posed(arrays, parameters)
    fitter = HandFitter(arrays, limits=True)
    for fit, points in ((fitter.to_vertices, vertices), (fitter.to_joints, joints)):
        many = fit(np.tile(points, (30, 1, 1)))  # more than one batch
        for name in ("mano_pose", "mano_shape", "wrist", "error"):
            alone = np.concatenate([getattr(fit(points[i : i + 1]), name) for i in range(3)])
            found = getattr(many, name)
            assert np.array_equal(found, np.concatenate([alone] * 30)), name


def test_unknown_hands_stay_unknown_and_move_no_other(standin):
    parameters = random_hands(standin.arrays, 6)
    vertices, joints = posed(standin.arrays, parameters)
    for fit, points in ((standin.to_vertices, vertices), (standin.to_joints, joints)):
        damaged, whole = points.copy(), fit(points)
        damaged[1, 3, 2], damaged[2], damaged[3, 0, 0], damaged[4] = np.nan, -1.0, np.inf, 1e300
        found = fit(damaged)
        for name in ("mano_pose", "mano_shape", "wrist", "error"):
            values = getattr(found, name)
            assert np.isnan(values[1:5]).all() and np.array_equal(values[[0, 5]], getattr(whole, name)[[0, 5]])
        nothing = fit(points[:0])
        assert nothing.mano_pose.shape == (0, 48) and nothing.error.shape == (0,)
        assert np.isnan(fit(np.full_like(points, np.nan)).error).all()


def test_a_moved_hand_has_the_same_fingers(standin):
    parameters = natural_hands(standin.arrays)[:4]
    turn, offset = Rotation.random(random_state=2).as_matrix(), np.array([0.1, -0.4, 0.9])
    for fit, points in zip((standin.to_vertices, standin.to_joints), posed(standin.arrays, parameters), strict=True):
        before, after = fit(points), fit(points @ turn.T + offset)
        assert np.degrees(turns_between(before.mano_pose, after.mano_pose)[:, 1:]).max() < 0.1
        assert after.mano_shape == pytest.approx(before.mano_shape, abs=0.02)
        assert after.wrist == pytest.approx(before.wrist @ turn.T + offset, abs=1e-5)


def test_the_mirrored_hand_is_the_other_side_s(standin):
    left = HandFitter(load_arrays("standin", "left"))
    right_points = posed(standin.arrays, natural_hands(standin.arrays)[:4])
    for side in ("vertices", "joints"):
        points = right_points[side == "joints"]
        one, other = (
            getattr(fitter, f"to_{side}")(seen)
            for fitter, seen in ((standin, points), (left, points * [-1.0, 1.0, 1.0]))
        )
        # The middle finger's tip is another vertex on the left.
        assert np.degrees(turns_between(one.mano_pose, mirror_pose(other.mano_pose))).max() < (
            0.1 if side == "vertices" else 20
        )
        assert other.error == pytest.approx(one.error, abs=2e-4)


def of_one_person(arrays, count: int) -> np.ndarray:
    """`random_hands` with the shape of the first."""
    parameters = random_hands(arrays, count)
    parameters[:, 48:58] = parameters[0, 48:58]
    return parameters


def test_meshes_of_one_person_give_back_its_shape(arrays):
    parameters = of_one_person(arrays, 70)  # more than a batch
    vertices, _ = posed(arrays, parameters)
    fitted = HandFitter(arrays).to_vertices(vertices, one_shape=True)
    assert len(np.unique(fitted.mano_shape, axis=0)) == 1
    assert np.abs(fitted.mano_shape[0] - parameters[0, 48:58]).max() < 1e-3 and fitted.error.max() < 2e-6


@pytest.mark.parametrize("kind", ["vertices", "joints"])
def test_one_shape_is_the_likeliest_of_all(standin, kind):
    """No other shape makes the squares and what is believed less, whatever the poses do then."""
    arrays, noise = standin.arrays, 2e-3
    mesh = mesh_points(arrays)
    points = mesh if kind == "vertices" else joint_points(mesh, "manopth", "right")
    prior = (for_vertices if kind == "vertices" else for_joints)(arrays, noise, limits=False)
    parameters = of_one_person(arrays, 5)
    observed = points.place(parameters) + np.random.default_rng(2).normal(0, noise, (5, points.count, 3))
    fit = standin.to_vertices if kind == "vertices" else standin.to_joints
    fitted = fit(observed, noise=noise, one_shape=True)
    found = np.concatenate([fitted.mano_pose, fitted.mano_shape, fitted.wrist], axis=1)
    alone = replace(prior, normal=prior.normal.copy())
    alone.normal[48:58, 48:58] = 0

    def cost(shape: np.ndarray) -> float:
        start = found.copy()
        start[:, 48:58] = shape
        best = fitting._descend(points, observed, start, alone, 1e-9, fitting.OWN)
        squares = fitting._equations(points, observed, best, alone)[:, -1, -1].sum()
        belief = 5 / fitting.INDEPENDENT * points.count * prior.normal[48:58, 48:58]
        return squares + shape @ belief @ shape

    here = cost(found[0, 48:58])
    steps = np.concatenate([np.eye(10), -np.eye(10)])
    assert min(cost(found[0, 48:58] + 0.1 * step) for step in steps) > here
    assert cost(parameters[0, 48:58]) > here and cost(np.zeros(10)) > here


def test_of_all_shapes_that_were_tried_the_likeliest_is_kept(standin, monkeypatch):
    """Points that are no hands bend the way so much that whole steps go too far: they are shortened."""
    points = joint_points(mesh_points(standin.arrays), "manopth", "right")
    tried, descend = [], fitting._descend

    def recorded(points, observed, start, prior, enough, free=fitting.ALL):
        found = descend(points, observed, start, prior, enough, free)
        if free is fitting.OWN:
            shape, belief = found[0, 48:58], for_joints(standin.arrays, 1e-2, limits=True).normal[48:58, 48:58]
            squares = fitting._equations(points, observed, found, prior)[:, -1, -1].sum()
            tried.append((squares + shape @ (points.count * belief) @ shape, shape))
        return found

    monkeypatch.setattr(fitting, "_descend", recorded)
    observed = np.random.default_rng(0).normal(0, 0.06, (3, points.count, 3))  # so few that belief counts once
    fitted = standin.to_joints(observed, noise=1e-2, one_shape=True)
    costs = [cost for cost, _ in tried]
    assert max(np.diff(costs)) > 0  # one went too far
    assert fitted.mano_shape[0] == pytest.approx(tried[int(np.argmin(costs))][1], abs=1e-12)


def test_one_shape_of_noisy_joints_is_nearer_to_the_truth(standin):
    parameters = of_one_person(standin.arrays, 40)
    joints = posed(standin.arrays, parameters)[1] + np.random.default_rng(3).normal(0, 3e-3, (40, 21, 3))
    joints[7] = np.nan
    many, one = (standin.to_joints(joints, noise=3e-3, one_shape=shared) for shared in (False, True))
    known = np.arange(40) != 7
    assert np.isnan(one.mano_shape[7]).all() and len(np.unique(one.mano_shape[known], axis=0)) == 1
    off = [np.abs(each.mano_shape[known] - parameters[known, 48:58]).mean() for each in (many, one)]
    assert off[1] < 0.8 * off[0]


def test_errors_that_hands_share_do_not_free_their_shape(standin):
    """However often the same wrong hand is seen: a network's bias, a hand at rest."""
    rng = np.random.default_rng(4)
    joints = posed(standin.arrays, random_hands(standin.arrays, 1))[1] + rng.normal(0, 3e-3, (1, 21, 3))
    alone = standin.to_joints(joints, noise=3e-3)
    many = standin.to_joints(np.repeat(joints, 150, axis=0), noise=3e-3, one_shape=True)
    assert np.abs(many.mano_shape).max() < 2 * np.abs(alone.mano_shape).max()


def test_a_hand_that_is_none_has_no_say_in_the_shape(standin):
    parameters = of_one_person(standin.arrays, 12)
    joints = posed(standin.arrays, parameters)[1]
    wrong = joints.copy()
    wrong[5] = np.random.default_rng(1).normal(0, 0.06, (21, 3))
    wrong[9, 20] += 5.0
    good = [row for row in range(12) if row not in (5, 9)]
    shape = standin.to_joints(wrong, one_shape=True).mano_shape
    expected = standin.to_joints(joints[good], one_shape=True).mano_shape[0]
    assert len(np.unique(shape, axis=0)) == 1 and shape[0] == pytest.approx(expected, abs=1e-9)


def test_a_hand_alone_has_the_shape_it_had(standin):
    joints = posed(standin.arrays, random_hands(standin.arrays, 1))[1]
    one, alone = (standin.to_joints(joints, one_shape=shared) for shared in (True, False))
    assert one.mano_shape == pytest.approx(alone.mano_shape, abs=0.1)  # which stops a little earlier
    nothing = standin.to_joints(np.full((2, 21, 3), np.nan), one_shape=True)
    assert (
        np.isnan(nothing.mano_shape).all() and standin.to_joints(np.empty((0, 21, 3)), one_shape=True).error.size == 0
    )


def test_limits_hold_back_what_no_finger_does_and_nothing_else(standin):
    limited = HandFitter(standin.arrays, limits=True)
    fist = posed(standin.arrays, natural_hands(standin.arrays)[:3])[1]
    assert limited.to_joints(fist).mano_pose == pytest.approx(standin.to_joints(fist).mano_pose, abs=0.05)
    axes = finger_axes(standin.arrays)
    parameters = np.zeros((1, 61))
    parameters[0, 6:9] = -1.2 * axes[1, BEND]  # the index finger's second joint, bent backwards
    joints = posed(standin.arrays, parameters)[1]
    free, held = (fitter.to_joints(joints).mano_pose[0, 6:9] @ axes[1, BEND] for fitter in (standin, limited))
    assert free < -1.0 and held > free + 0.15


def test_axes_close_and_spread_the_hand(arrays):
    """A positive bend brings the next joint towards the palm (-y); a spread moves it sideways; a twist does nothing."""
    axes = finger_axes(arrays)
    rest = posed(arrays, np.zeros((1, 61)))[1][0]
    for finger, first in zip(("index", "middle", "little", "ring"), (0, 3, 6, 9), strict=True):
        joint = JOINT_NAMES.index(f"{finger}_pip")
        moved = {}
        for axis in (TWIST, BEND, SPREAD):
            parameters = np.zeros((1, 61))
            parameters[0, 3 + 3 * first : 6 + 3 * first] = 0.3 * axes[first, axis]
            moved[axis] = posed(arrays, parameters)[1][0, joint] - rest[joint]
        bend, spread = (moved[axis] / np.linalg.norm(moved[axis]) for axis in (BEND, SPREAD))
        assert bend[1] < -0.5 and abs(spread[1]) < 0.3 and abs(bend @ spread) < 0.3
        assert np.linalg.norm(moved[TWIST]) < 1e-12 < 0.004 < np.linalg.norm(moved[BEND])
    assert axes @ axes.swapaxes(1, 2) == pytest.approx(np.tile(np.eye(3), (15, 1, 1)), abs=1e-12)


def test_orders_are_inverse_to_each_other():
    numbers = np.arange(21)
    for rows in ORDERS.values():
        assert sorted(rows) == list(range(21)) and rows[0] == 0
        back = np.argsort(rows)
        assert np.array_equal(numbers[list(rows)][back], numbers)
    # HO3D: index, middle, little, ring, thumb, three joints each, then the tips, thumb first.
    ho3d = np.argsort(ORDERS["ho3d"])
    names = [JOINT_NAMES[i] for i in ho3d]
    assert names[1::3][:5] == ["index_mcp", "middle_mcp", "little_mcp", "ring_mcp", "thumb_mcp"]
    assert names[16:] == ["thumb_tip", "index_tip", "middle_tip", "ring_tip", "little_tip"]


@pytest.mark.parametrize("points", [np.zeros((2, 20, 3)), np.zeros((21, 3)), np.full((1, 21, 3), "a")])
def test_other_shapes_are_refused(standin, points):
    with pytest.raises(InputError, match=r"joints: expected \(N, 21, 3\)"):
        standin.to_joints(points)
    with pytest.raises(InputError, match=r"vertices: expected \(N, 778, 3\)"):
        standin.to_vertices(points)
    for noise in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="noise"):
            standin.to_joints(np.zeros((1, 21, 3)), noise=noise)
