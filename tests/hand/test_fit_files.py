"""h2o fit: files in every form and order, what is refused in one line, what is said of the wrong side."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_trees import h2o, refused
from h2onet.hand.arrays import load_arrays
from h2onet.hand.parts import ORDERS
from h2onet.hand.skinning import SkinnedHand
from h2onet.hand.standin.components import sample_poses

COUNT = len(sample_poses())
Hands = tuple[np.ndarray, np.ndarray, np.ndarray]


def hands(tips: str = "manopth") -> Hands:
    """Pose (48), vertices and joints of the stand-in's sample poses before a camera."""
    hand = SkinnedHand(load_arrays("standin", "right"))
    rng = np.random.default_rng(3)
    pose = np.concatenate([rng.normal(0, 0.8, (COUNT, 3)), np.stack(list(sample_poses().values()))], axis=1)
    place = rng.normal([0, 0, 0.6], 0.05, (COUNT, 3))
    return pose, *hand.pose(pose, rng.normal(0, 1, (COUNT, 10)), place, tips=tips)


def in_order(joints: np.ndarray, order: str) -> np.ndarray:
    """Joints of this project in another order: the inverse of what is read."""
    return joints[:, np.argsort(ORDERS[order])]


def fit(path: Path, out: Path, *more: object, side: str = "right"):
    return h2o("fit", "--joints", path, "--mano", "standin", "--side", side, "--out", out, *more)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("form", ["npz", "json"])
def test_joints_of_every_order_and_form(order, form, tmp_path, caplog):
    _, _, joints = hands("ho3d" if order == "ho3d" else "manopth")
    path, out = tmp_path / f"joints.{form}", tmp_path / "new folder" / "fit.npz"
    if form == "npz":
        np.savez(path, joints=in_order(joints, order), frame=np.arange(COUNT))
    else:
        path.write_text(json.dumps({"joints": in_order(joints, order).tolist(), "source": "elsewhere"}))
    done = fit(path, out, "--order", order)
    assert done.code == 0 and f"{COUNT} hands, fitted to joints" in done.out and not caplog.records, done
    with np.load(out) as found:
        shapes = {name: found[name].shape for name in found}
        assert shapes == {
            "mano_pose": (COUNT, 48), "mano_shape": (COUNT, 10), "wrist": (COUNT, 3), "error": (COUNT,), "side": ()
        }  # fmt: skip
        assert found["side"] == "right" and found["error"].max() < 1e-3
        assert found["wrist"] == pytest.approx(joints[:, 0], abs=2e-3)


def test_meshes_are_preferred_and_give_back_the_pose(tmp_path):
    pose, vertices, joints = hands()
    path, out = tmp_path / "hands.npz", tmp_path / "fit.npz"
    np.savez(path, joints=np.float32(joints), vertices=np.float32(vertices))
    done = fit(path, out)
    assert done.code == 0 and "fitted to vertices" in done.out
    with np.load(out) as found:
        assert found["error"].max() < 5e-6 and found["mano_pose"] == pytest.approx(pose, abs=5e-3)
    assert "fitted to joints" in fit(path, out, "--no-vertices").out
    assert "fitted to vertices" in fit(path, out, "--vertices", "--limits").out


@pytest.mark.parametrize("kind", ["joints", "vertices"])
def test_hands_of_one_person_get_one_shape(kind, tmp_path):
    _, vertices, joints = hands()
    path, out = tmp_path / "hands.npz", tmp_path / "fit.npz"
    observed = {"joints": joints, "vertices": vertices}[kind]
    np.savez(path, **{kind: np.concatenate([observed, np.full_like(observed[:1], np.nan)])})
    done = fit(path, out, "--one-shape")
    assert done.code == 0 and f"{COUNT + 1} hands of one shape, 1 unknown (NaN), fitted to {kind}" in done.out
    with np.load(out) as found:
        assert len(np.unique(found["mano_shape"][:COUNT], axis=0)) == 1 and np.isnan(found["mano_shape"][COUNT]).all()
    assert fit(path, out).code == 0
    with np.load(out) as found:
        assert len(np.unique(found["mano_shape"][:COUNT], axis=0)) == COUNT


def test_hands_of_two_people_are_not_passed_over(tmp_path, caplog):
    arrays, rng = load_arrays("standin", "right"), np.random.default_rng(3)
    hand, shapes = SkinnedHand(arrays), np.repeat(rng.normal(size=(2, 10)), 8, axis=0)
    pose = np.concatenate([rng.normal(size=(16, 3)), arrays.hands_mean + rng.normal(0, 0.3, (16, 45))], axis=1)
    np.savez(tmp_path / "two.npz", joints=hand.pose(pose, shapes)[1])
    assert fit(tmp_path / "two.npz", tmp_path / "fit.npz", "--one-shape").code == 0
    assert "are these one person's hands? The worst, hand " in caplog.text
    caplog.clear()
    assert fit(tmp_path / "two.npz", tmp_path / "fit.npz").code == 0 and not caplog.records


def test_unknown_hands_are_rows_of_nan(tmp_path):
    _, _, joints = hands()
    expected = tmp_path / "expected.npz"
    np.savez(tmp_path / "hands.npz", joints=joints)
    assert fit(tmp_path / "hands.npz", expected).code == 0
    holes = joints.tolist()
    holes[2], holes[5] = None, (-np.ones((21, 3))).tolist()  # DexYCB's way to say that there is no hand
    holes[6][3][1] = float("nan")
    (tmp_path / "hands.json").write_text(json.dumps({"joints": holes}))
    done = fit(tmp_path / "hands.json", tmp_path / "fit.npz")
    assert done.code == 0 and f"{COUNT} hands, 3 unknown (NaN)" in done.out
    with np.load(tmp_path / "fit.npz") as found, np.load(expected) as whole:
        unknown = np.isin(np.arange(COUNT), [2, 5, 6])
        for name in ("mano_pose", "mano_shape", "wrist", "error"):
            assert np.isnan(found[name][unknown]).all()
            assert np.array_equal(found[name][~unknown], whole[name][~unknown])


def test_no_hands_at_all(tmp_path):
    for name, joints in (("none", np.empty((0, 21, 3))), ("unknown", np.full((2, 21, 3), np.nan))):
        np.savez(tmp_path / f"{name}.npz", joints=joints)
        done = fit(tmp_path / f"{name}.npz", tmp_path / "fit.npz")
        assert done.code == 0 and f"{len(joints)} hands" in done.out and "mm" not in done.out
        with np.load(tmp_path / "fit.npz") as found:
            assert found["mano_pose"].shape == (len(joints), 48) and np.isnan(found["error"]).all()


def test_the_other_side_is_noticed(tmp_path, caplog):
    _, vertices, joints = hands()
    np.savez(tmp_path / "hands.npz", joints=joints, vertices=vertices)
    for points in ("--no-vertices", "--vertices"):
        done = fit(tmp_path / "hands.npz", tmp_path / "fit.npz", points, side="left")
        assert done.code == 0 and "is --side right meant?" in caplog.text and len(caplog.records) == 1
        caplog.clear()


def test_what_is_no_hand_is_said_to_be_none(tmp_path, caplog):
    _, vertices, _ = hands()
    shuffled = vertices[:, np.random.default_rng(0).permutation(778)]
    np.savez(tmp_path / "hands.npz", vertices=shuffled)
    done = fit(tmp_path / "hands.npz", tmp_path / "fit.npz")
    assert done.code == 0 and "no such hands" in caplog.text


@pytest.mark.parametrize(
    ("given", "more", "words"),
    [
        (lambda j: {"joints": j * 1000}, (), ("millimetres", "divide by 1000")),
        (lambda j: {"joints": j * 10}, (), ("expected hands in metres", "scale them")),
        (lambda j: {"joints": j / 100}, (), ("expected hands in metres",)),
        (lambda j: {"joints": in_order(j, "ho3d")}, (), ("--order ho3d",)),
        (lambda j: {"joints": j}, ("--order", "ho3d"), ("--order h2onet",)),
        (lambda j: {"joints": j[:, :20]}, (), ("joints has shape (8, 20, 3)", "(N, 21, 3)")),
        (lambda j: {"joints": j[0]}, (), ("joints has shape (21, 3)",)),
        (lambda j: {"joints": j.astype(str)}, (), ("expected numbers",)),
        (lambda j: {"keypoints": j}, (), ("lacks joints", "keypoints")),
        (lambda j: {"joints": j}, ("--vertices",), ("lacks vertices (N, 778, 3)",)),
        (lambda j: {"joints": j}, ("--order", "openpose"), ("--order", "mediapipe", "openpose")),
        (lambda j: {"joints": j}, ("--side", "both"), ("--side", "both")),
        (lambda j: {"joints": j}, ("--tips", "mine"), ("tips", "mine")),
        (lambda j: {"joints": j}, ("--noise", "0"), ("--noise", "above 0", "found 0 mm")),
        (lambda j: {"joints": j}, ("--noise", "1e160"), ("--noise", "up to 1000 mm")),
        (lambda j: {"joints": j}, ("--mano", "nowhere"), ("nowhere",)),
    ],
)  # fmt: skip
def test_refusals(given, more, words, tmp_path):
    np.savez(tmp_path / "hands.npz", **given(hands()[2]))
    out = tmp_path / "fit.npz"
    defaults = {"--joints": tmp_path / "hands.npz", "--mano": "standin", "--side": "right", "--out": out}
    options = [word for pair in defaults.items() if pair[0] not in more for word in pair]
    error = refused(out, "fit", *options, *more)
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", ("expected an object with joints, found list",)),
        ('{"joints": 3}', ("expected a list of hands",)),
        ('{"joints": [[[1, 2], [3]]]}', ("several shapes",)),
        ('{"joints": [[["1", "2", "3"]]]}', ("expected (N, 21, 3) numbers",)),
        ('{"joints": [true, null]}', ("several shapes",)),
        ('{"joints": ', ("JSON",)),
        ("", ("JSON",)),
    ],
)
def test_refused_json(text, words, tmp_path):
    (tmp_path / "hands.json").write_text(text)
    options = ("--joints", tmp_path / "hands.json", "--mano", "standin", "--side", "right")
    error = refused(tmp_path / "fit.npz", "fit", *options, "--out", tmp_path / "fit.npz")
    assert str(tmp_path / "hands.json") in error and all(word in error for word in words), error


def test_refused_places(tmp_path):
    np.savez(tmp_path / "hands.npz", joints=hands()[2])
    options = ("fit", "--joints", tmp_path / "hands.npz", "--mano", "standin", "--side", "right")
    before = (tmp_path / "hands.npz").read_bytes()
    assert "give another --out" in h2o(*options, "--out", tmp_path / "hands.npz").error
    assert "ends in .npz" in refused(tmp_path / "fit.json", *options, "--out", tmp_path / "fit.json")
    assert (tmp_path / "hands.npz").read_bytes() == before
    for path in (tmp_path, tmp_path / "nowhere.npz"):
        given = ("fit", "--joints", path, *options[3:], "--out", tmp_path / "fit.npz")
        assert str(path) in refused(tmp_path / "fit.npz", *given)
    no_model = ("fit", "--joints", tmp_path / "hands.npz", "--side", "right", "--out", tmp_path / "fit.npz")
    assert "--mano" in refused(tmp_path / "fit.npz", *no_model)
