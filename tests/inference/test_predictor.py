"""Predictor: streaming equals recomputing, left hands are mirrored right ones, boxes and tracking, refusals."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.data.loading.windows import Window, window_positions
from h2onet.errors import InputError
from h2onet.hand.arrays import load_arrays
from h2onet.hand.camera import project
from h2onet.hand.pickles import safe_load
from h2onet.hand.rotations import mirror_pose
from h2onet.hand.skinning import SkinnedHand
from h2onet.hand.standin.arrays import write_mano_pickles
from h2onet.inference.cameras import assumed_intrinsics
from h2onet.inference.mano_fit import MeshFitter
from h2onet.inference.placement import place_wrist
from h2onet.inference.predictor import Predictor, crop, given_square
from h2onet.network.checkpoint import load_checkpoint, save_checkpoint
from h2onet.network.h2onet import H2ONet

BOX = np.array([60.0, 40.0, 130.0, 110.0])


@pytest.fixture(scope="module")
def single(untrained) -> H2ONet:
    return untrained(1)


@pytest.fixture(scope="module")
def multi(untrained) -> H2ONet:
    return untrained(3)


def pictures(count: int) -> np.ndarray:
    """(count, 160, 200, 3) uint8, smooth, all different."""
    small = torch.rand(count, 3, 10, 12, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(small, (160, 200), mode="bicubic").clamp(0, 1)
    return (large * 255).byte().permute(0, 2, 3, 1).numpy()


def test_a_stream_gives_what_recomputing_gives(multi: H2ONet) -> None:
    window = Window((2, 5), (0.0, 0.0))
    predictor, video = Predictor(multi, window=window), pictures(9)
    crops = [crop(picture, given_square(BOX, 200, 160), left=False)[0] for picture in video]
    for number, picture in enumerate(video):
        streamed = predictor(picture, BOX)
        chosen = window_positions(np.arange(number + 1), number, window)
        with torch.inference_mode():
            whole = multi(torch.from_numpy(np.stack([crops[i] for i in chosen]))[None])
        vertices = (whole.vertices - whole.joints[:, :1])[0].numpy()
        assert streamed.vertices == pytest.approx(vertices, abs=1e-5)
        assert whole.occlusion_logits is not None and streamed.occluded is not None
        expected = whole.occlusion_logits[0, 0].softmax(0)[1].numpy()
        assert streamed.occluded == pytest.approx(expected, abs=1e-4)
        if number >= 5:  # that the past matters, and which past
            with torch.inference_mode():
                other = multi(torch.from_numpy(np.stack([crops[i] for i in (number, number - 1, number - 5)]))[None])
            assert (other.vertices - whole.vertices).abs().max() > 1e-3
    assert len(predictor._past) == 7  # no more than the window reaches back, and one


def test_skipped_frames_let_time_pass(multi: H2ONet) -> None:
    window, video = Window((2, 4), (0.0, 0.0)), pictures(12)
    gapped, numbers = Predictor(multi, window=window), []
    for number, picture in enumerate(video):
        if number in (3, 5, 6, 7):
            gapped.skip()
            continue
        result = gapped(picture, BOX)
        numbers.append(number)
        # The nearest frame stands in for a skipped one, though it may lie before the window.
        chosen = window_positions(np.array(numbers), len(numbers) - 1, window)
        crops = [crop(video[numbers[i]], given_square(BOX, 200, 160), left=False)[0] for i in chosen]
        with torch.inference_mode():
            whole = multi(torch.from_numpy(np.stack(crops))[None])
        assert result.joints == pytest.approx((whole.joints - whole.joints[:, :1])[0].numpy(), abs=1e-5), number


def test_a_left_hand_is_the_mirrored_right_one(single: H2ONet) -> None:
    picture = pictures(1)[0]
    camera = np.array([[220.0, 0, 100.0], [0, 220.0, 80.0], [0, 0, 1]])
    mirrored_camera = camera.copy()
    mirrored_camera[0, 2] = 199 - camera[0, 2]
    mirrored_box = np.array([200 - BOX[2], BOX[1], 200 - BOX[0], BOX[3]])  # edges of pixels, not centres
    right = Predictor(single)(picture, BOX, "right", intrinsics=camera)
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    left = Predictor(single)(mirrored, mirrored_box, "left", intrinsics=mirrored_camera)
    flip = np.array([-1.0, 1.0, 1.0])
    assert left.vertices == pytest.approx(right.vertices * flip, abs=1e-6)
    assert left.joints_2d == pytest.approx(right.joints_2d * [-1, 1] + [199, 0], abs=1e-3)
    assert left.side == "left" and right.box_from == "given"
    if right.root is not None:
        assert left.root is not None
        assert left.root == pytest.approx(right.root * flip, abs=1e-4)
    faces = Predictor(single).faces
    assert np.array_equal(faces("left")[:, ::-1], faces("right"))


def test_a_change_of_side_starts_anew(multi: H2ONet) -> None:
    predictor, video = Predictor(multi), pictures(3)
    predictor(video[0], BOX, "right")
    predictor(video[1], BOX, "left")
    fresh = Predictor(multi)(video[1], BOX, "left")
    again = predictor(video[1], BOX, "left")
    assert len(predictor._past) == 2
    assert again.vertices == pytest.approx(fresh.vertices, abs=1e-5)


def test_without_a_box_the_last_joints_are_followed(single: H2ONet) -> None:
    video = pictures(3)
    follower, alone = Predictor(single), Predictor(single, track=False)
    assert follower(video[0]).box_from == "whole picture"
    assert alone(video[0]).box_from == alone(video[1]).box_from == "whole picture"
    follower._joints = np.array([80.0, 60.0]) + 12 * np.random.default_rng(0).uniform(-1, 1, (21, 2))
    tracked = follower(video[1])
    assert tracked.box_from == "tracked"
    low, high = tracked.box[:2], tracked.box[2:]
    assert (low < 70).all() and (high > 70).any() and (high - low).max() < 60
    larger = np.repeat(np.repeat(video[1], 2, axis=0), 2, axis=1)
    follower._joints = tracked.joints_2d * 0 + [[80.0, 60.0]] + 12 * np.random.default_rng(0).uniform(-1, 1, (21, 2))
    assert follower(larger).box_from == "whole picture"  # pixels of another picture
    follower(video[1])
    follower._joints = np.full((21, 2), 90.0)  # all joints in one place: lost
    assert follower(video[2]).box_from == "whole picture"
    follower._joints = np.array([[80.0, 60.0]]) + 12 * np.random.default_rng(0).uniform(-1, 1, (21, 2))
    assert follower(video[0]).box_from == "tracked"  # found again
    follower._joints = follower._joints * 0 + [[900.0, 60.0]]  # it left the picture
    assert follower(video[1]).box_from == "whole picture"
    follower.reset()
    assert follower.last_joints is None and follower(video[0]).box_from == "whole picture"


def test_a_frame_that_failed_is_not_remembered(multi: H2ONet, monkeypatch: pytest.MonkeyPatch) -> None:
    window, video = Window((1, 2), (0.0, 0.0)), pictures(4)
    skipped, failed = Predictor(multi, window=window), Predictor(multi, window=window)

    def broken(*_: object) -> None:
        raise InputError("the network's output is not finite")

    for number, picture in enumerate(video):
        if number != 2:
            wanted, found = skipped(picture, BOX), failed(picture, BOX)
            assert found.vertices == pytest.approx(wanted.vertices, abs=1e-9)
            continue
        skipped.skip()
        with monkeypatch.context() as patch, pytest.raises(InputError, match="not finite"):
            patch.setattr(failed, "_result", broken)
            failed(picture, BOX)


def test_the_window_is_that_of_the_training(multi: H2ONet, tmp_path: Path) -> None:
    for dataset, past in (("ho3d", (30, 60)), ("dexycb", (5, 10)), ("any", (5, 10)), (None, (5, 10))):
        recipe = {"recipe": {"dataset": dataset, "frames": 3}} if dataset else None
        folder = save_checkpoint(tmp_path / str(dataset), multi, metadata=recipe)
        found = Predictor(folder).window
        assert found is not None and found.past == past, dataset
    mine = Predictor(tmp_path / "ho3d", window=Window((2, 3), (0.0, 0.0))).window
    assert mine is not None and mine.past == (2, 3)


def test_grey_pictures_are_colour_without_colour(single: H2ONet) -> None:
    grey = pictures(1)[0][..., 0]
    expected = Predictor(single)(np.repeat(grey[..., None], 3, axis=2), BOX)
    for form in (grey, grey[..., None], np.dstack([grey, grey, grey, np.full_like(grey, 255)])):
        assert Predictor(single)(form, BOX).vertices == pytest.approx(expected.vertices, abs=1e-9)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([50, 50, 50, 90], "empty"),
        ([90, 50, 40, 90], "empty"),
        ([300, 10, 340, 50], "outside the 200 x 160 picture"),
        ([np.nan, 0, 10, 10], "expected 4 numbers"),
        ([1, 2, 3], "expected 4 numbers"),
    ],
)
def test_bad_boxes_are_refused_and_time_goes_on(multi: H2ONet, box: list, words: str) -> None:
    predictor, video = Predictor(multi), pictures(2)
    with pytest.raises(InputError, match=words):
        predictor(video[0], np.array(box))
    assert predictor(video[1], BOX).vertices.shape == (778, 3)
    assert predictor._past[0][0] == 1


def test_bad_pictures_and_options_are_refused(single: H2ONet, multi: H2ONet) -> None:
    predictor = Predictor(single)
    with pytest.raises(InputError, match="float64; for values in"):
        predictor(np.zeros((10, 10, 3)), BOX)
    for picture in (np.zeros((10, 10, 3), np.uint16), np.zeros((0, 5, 3), np.uint8), np.zeros((8, 8, 2), np.uint8)):
        with pytest.raises(InputError, match="picture"):
            predictor(picture, BOX)
    with pytest.raises(InputError, match="right or left"):
        predictor(pictures(1)[0], BOX, "both")
    with pytest.raises(InputError, match="network takes 2"):
        Predictor(multi, window=Window((5,), (0.0,)))
    with pytest.raises(InputError, match="bfloat16"):
        Predictor(single, precision="float8")
    with pytest.raises(InputError, match="--device"):
        Predictor(single, device="tpu")


def test_checkpoints_and_stage_1(untrained, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "net", untrained(1, oriented=False))
    result = Predictor(folder)(pictures(1)[0], BOX, intrinsics=assumed_intrinsics(200, 160))
    assert not result.oriented and result.root is None and result.occluded is None


def test_the_wrist_is_found_from_exact_projections() -> None:
    rng = np.random.default_rng(0)
    camera = np.array([[600.0, 0.0, 310.0], [0.0, 590.0, 250.0], [0.0, 0.0, 1.0]])
    for _ in range(20):
        joints = np.concatenate([np.zeros((1, 3)), rng.normal(0, 0.05, (20, 3))])
        wrist = rng.normal([0.0, 0.0, 0.7], 0.1)
        seen = project(joints + wrist, camera)
        found = place_wrist(joints, seen, camera)
        assert found is not None and found.wrist == pytest.approx(wrist, abs=1e-9)
        seen[[4, 8]] += 200.0  # two joints far off do not move it much
        robust = place_wrist(joints, seen, camera)
        assert robust is not None and np.linalg.norm(robust.wrist - wrist) < 0.05
    behind = project(joints + np.array([0.0, 0.0, 0.7]), camera)
    assert place_wrist(-joints, behind * 1e4, camera) is None


def test_a_mesh_comes_with_the_hand_that_has_it() -> None:
    """The parameters pose a hand onto the mesh, of either side; without a model there are none."""
    (picture,), network = pictures(1), load_checkpoint("synthetic")  # a trained one: its meshes look like hands
    predictor = Predictor(network, mano="standin", device="cpu")
    found = {side: predictor(picture, BOX, side) for side in ("right", "left")}
    for side, hand in found.items():
        assert hand.mano_pose is not None and hand.mano_shape is not None and hand.mano_wrist is not None
        model = SkinnedHand(load_arrays("standin", side))
        vertices, _ = model.pose(
            hand.mano_pose[None], hand.mano_shape[None], hand.mano_wrist - model.root(hand.mano_shape[None])
        )
        error = np.linalg.norm(vertices[0] - hand.vertices, axis=1).mean()
        assert hand.mano_error == pytest.approx(error, abs=1e-9)
        assert error < 5e-3 and np.abs(hand.mano_shape).max() < 4 and np.linalg.norm(hand.mano_wrist) < 5e-3
    mirrored = Predictor(network, mano="standin", device="cpu")(
        np.ascontiguousarray(picture[:, ::-1]), mirrored_box(), "left"
    )
    assert mirrored.mano_pose == pytest.approx(mirror_pose(found["right"].mano_pose), abs=1e-2)
    assert mirrored.mano_shape == pytest.approx(found["right"].mano_shape, abs=1e-2)
    bare = Predictor(network, device="cpu")(picture, BOX)
    assert bare.mano_pose is None and bare.mano_shape is None and bare.mano_error is None
    assert np.array_equal(bare.vertices, found["right"].vertices)


def mirrored_box() -> np.ndarray:
    return np.array([200 - BOX[2], BOX[1], 200 - BOX[0], BOX[3]])


def test_another_hand_than_the_network_s_is_refused(single: H2ONet, tmp_path: Path, caplog) -> None:
    for path in write_mano_pickles(tmp_path):
        content = safe_load(path)
        content["f"][0] = content["f"][1]
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="expected the hand that the network was trained on"):
        Predictor(single, mano=tmp_path)
    with pytest.raises(InputError, match="MANO_RIGHT"):
        MeshFitter(tmp_path / "nowhere")
    (tmp_path / "MANO_LEFT.pkl").unlink()
    fitter = MeshFitter(tmp_path)
    assert "MANO_LEFT" in caplog.text and fitter(np.zeros((1, 778, 3)), "left") is None
