"""HO3D's raw tree: lists, OpenGL to OpenCV, joint order, masks, evaluation with and without released ground truth."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import raw_trees as trees
import torch
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Failure, Frame, Unannotated
from h2onet.data.readers.ho3d import FROM_HO3D, NO_ANNOTATION, NO_META
from h2onet.data.readers.ho3d_lists import read_list, select
from h2onet.data.readers.ho3d_masks import channel_counts, mask_files
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.hand.pickles import safe_load


@pytest.fixture(scope="module", params=["v2", "v3"])
def made(request, tmp_path_factory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(f"ho3d-{request.param}")
    return f"ho3d-{request.param}", trees.write_ho3d(root, request.param)


@pytest.fixture
def v2(tmp_path) -> Path:
    return trees.write_ho3d(tmp_path / "v2")


@pytest.fixture
def v3(tmp_path) -> Path:
    return trees.write_ho3d(tmp_path / "v3", "v3")


def frames(dataset, root, split="train", **options) -> list[Any]:
    sequences = list_sequences(dataset, root, split, mano="standin", **options)
    return [item for sequence in sequences for item in iter_frames(sequence)]


def test_validation_is_every_twentieth_of_the_sorted_list(tmp_path):
    names = [f"{key}/{number:04d}" for key in ("MC1", "ABF10") for number in range(25)]
    (tmp_path / "train.txt").write_text("\n".join(reversed(names)) + "\n\n")
    entries = read_list(tmp_path, "train")
    held_out = {f"{key}/{number:04d}" for _, key, number in select(entries, "val")}
    assert held_out == set(sorted(names)[::20])
    assert {f"{key}/{number:04d}" for _, key, number in select(entries, "train")} == set(names) - held_out
    assert [position for position, _, _ in select(entries, "train")] == sorted(
        p for p, _, _ in select(entries, "train")
    )


def test_lists_drive_everything_and_give_the_index(made):
    dataset, root = made
    lines = (root / "train.txt").read_text().split()
    found = {}
    for split in ("train", "val"):
        for sequence in list_sequences(dataset, root, split):
            assert (np.diff(sequence.numbers) > 0).all()
            pairs = zip(sequence.numbers.tolist(), sequence.indices.tolist(), strict=True)
            found |= {f"{sequence.key}/{number:04d}": index for number, index in pairs}
    assert found == {line: index for index, line in enumerate(lines)}


def test_training_frames_are_the_hand_that_was_written(made):
    dataset, root = made
    for frame in frames(dataset, root):
        truth = trees.posed("right", frame.number, "ho3d")
        assert isinstance(frame, Frame) and (root / frame.image).is_file() and frame.side == "right"
        np.testing.assert_allclose(frame.joints, truth.joints, atol=1e-9)
        np.testing.assert_allclose(frame.joints_2d, trees.projected(truth.joints), atol=1e-6)
        np.testing.assert_allclose(frame.objects[0].pose, trees.object_pose(frame.number), atol=1e-9)
        model = load_hand("standin", "right", dtype=torch.float64)
        pose, shape, offset = (
            torch.from_numpy(x)[None] for x in (frame.mano_pose, frame.mano_shape, frame.translation)
        )
        np.testing.assert_allclose(model(pose, shape, offset).vertices[0].numpy(), truth.vertices, atol=1e-9)
        assert frame.objects[0].name == "003_cracker_box" and frame.grasped == 0


def test_masks_are_enlarged_by_nearest_neighbour(made):
    dataset, root = made
    suffix, channel = {"ho3d-v2": (".jpg", 2), "ho3d-v3": (".png", 0)}[dataset]  # BGR
    for frame in frames(dataset, root):
        picture = cv2.imread(str((root / frame.image.replace("rgb", "seg")).with_suffix(suffix)))
        assert picture is not None
        small = picture[:, :, channel] > 200
        assert frame.hand_mask.shape == (480, 640) and small.shape == (240, 320)
        np.testing.assert_array_equal(frame.hand_mask, np.kron(small, np.ones((2, 2), bool)))
        truth = trees.hand_area(trees.posed("right", frame.number, "ho3d").vertices)
        assert (frame.hand_mask & truth).sum() / (frame.hand_mask | truth).sum() > 0.9


def test_the_channel_of_the_hand_is_a_setting(v2):
    sequence = list_sequences("ho3d-v2", v2, "train", mano="standin", seg_channel="blue")[0]
    assert not frames("ho3d-v2", v2, seg_channel="blue")[0].hand_mask.any()
    counts = channel_counts(sequence, int(sequence.numbers[0]))
    assert counts is not None
    red, green, blue = counts
    assert red > 500 and green == blue == 0
    with pytest.raises(InputError, match="seg_channel"):
        list_sequences("ho3d-v2", v2, "train", seg_channel="pink")


def test_joint_order_is_the_inverse_of_the_submission_order():
    assert [trees.TO_HO3D[i] for i in FROM_HO3D] == list(range(21))


def test_evaluation_frames_have_the_wrist_only(made):
    dataset, root = made
    items = frames(dataset, root, "test")
    assert len(items) == 2
    for frame in items:
        truth = trees.posed("right", frame.number, "ho3d")
        points = trees.projected(truth.joints)
        assert frame.mano_pose is None and frame.joints is None and frame.vertices is None and frame.hand_mask is None
        np.testing.assert_allclose(frame.root, truth.joints[0], atol=1e-9)
        np.testing.assert_allclose(frame.box, [*points.min(axis=0), *points.max(axis=0)])


def test_released_ground_truth_gives_joints_and_vertices(v3):
    trees.write_released(v3)
    for frame in frames("ho3d-v3", v3, "test"):
        truth = trees.posed("right", frame.number, "ho3d")
        np.testing.assert_allclose(frame.joints, truth.joints, atol=1e-9)
        np.testing.assert_allclose(frame.vertices, truth.vertices, atol=1e-9)
        assert frame.mano_pose is None


def test_released_ground_truth_of_another_version_is_refused(v3):
    trees.write_released(v3)
    (v3 / "evaluation_xyz.json").write_text(json.dumps([np.zeros((21, 3)).tolist()]))
    with pytest.raises(InputError, match=r"has 1 frames, evaluation\.txt 2"):
        list_sequences("ho3d-v3", v3, "test")


def test_frames_without_annotation_are_counted_not_lost(v2, v3):
    path = v2 / "train/ABF10/meta/0001.pkl"
    meta = {"objRot": None, "handPose": None, "camMat": trees.INTRINSICS}
    trees.save_meta(path, meta)
    assert [i.reason for i in frames("ho3d-v2", v2) if isinstance(i, Unannotated)] == [NO_ANNOTATION]
    (v3 / "train/ABF10/meta/0001.pkl").unlink()
    assert [i.reason for i in frames("ho3d-v3", v3) if isinstance(i, Unannotated)] == [NO_META]
    (v2 / "train/ABF10/meta/0002.pkl").unlink()
    assert [i.reason for i in frames("ho3d-v2", v2) if isinstance(i, Failure)] == [NO_META]


def test_a_sequence_without_any_meta_is_a_failure_not_frames_without_a_hand(v3):
    shutil.rmtree(v3 / "train/ABF10/meta")
    items = frames("ho3d-v3", v3)
    (failure,) = [item for item in items if isinstance(item, Failure)]
    assert failure.path == "train/ABF10/meta" and "No such file or directory (2 frames)" in failure.reason
    assert {item.sequence for item in items if isinstance(item, Frame)} == {"SM2"}


def test_a_missing_mask_is_named_and_the_frame_kept(v2):
    (v2 / "train/ABF10/seg/0001.jpg").unlink()
    mask = v2 / "train/ABF10/seg/0002.jpg"
    mask.write_bytes(mask.read_bytes()[: mask.stat().st_size // 2])  # decodes, with its lower half grey
    items = frames("ho3d-v2", v2)
    failures = {item.path: item.reason for item in items if isinstance(item, Failure)}
    assert failures == {
        "train/ABF10/seg/0001.jpg": "the mask is missing",
        "train/ABF10/seg/0002.jpg": failures["train/ABF10/seg/0002.jpg"],
    }
    assert failures["train/ABF10/seg/0002.jpg"].startswith("the mask is not readable: truncated JPEG")
    assert [f.hand_mask is None for f in items if isinstance(f, Frame)].count(True) == 2


class _Hostile:
    def __reduce__(self):
        return (print, ("never",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"camMat": np.zeros((3, 3))}, "expected positive"),
        ({"handPose": np.full(48, np.nan)}, "handPose is not finite"),
        ({"handTrans": np.zeros(2)}, "handTrans has shape"),
        ({"handBeta": None}, "handBeta"),
        ({"objName": _Hostile()}, "refused"),
    ],
)
def test_bad_metas_are_failures_with_their_name(v2, change, reason):
    path = v2 / "train/ABF10/meta/0001.pkl"
    meta = safe_load(path)
    trees.save_meta(path, meta | change)
    failures = [item for item in frames("ho3d-v2", v2) if isinstance(item, Failure)]
    assert [f.path for f in failures] == ["train/ABF10/meta/0001.pkl"] and reason in failures[0].reason


def test_a_truncated_meta_is_a_failure(v2):
    path = v2 / "train/ABF10/meta/0001.pkl"
    path.write_bytes(path.read_bytes()[:60])
    assert [i.path for i in frames("ho3d-v2", v2) if isinstance(i, Failure)] == ["train/ABF10/meta/0001.pkl"]


def test_a_meta_of_another_kind_is_a_failure(v2):
    trees.save_meta(v2 / "train/ABF10/meta/0001.pkl", [1, 2])
    (failure,) = [item for item in frames("ho3d-v2", v2) if isinstance(item, Failure)]
    assert failure == Failure("train/ABF10/meta/0001.pkl", "holds a list, expected the fields of a frame")


def test_a_transposed_field_is_a_failure(v2):
    path = v2 / "train/ABF10/meta/0001.pkl"
    meta = safe_load(path)
    trees.save_meta(path, meta | {"handJoints3D": meta["handJoints3D"].T, "objTrans": meta["objTrans"][:, None]})
    assert [i.reason for i in frames("ho3d-v2", v2) if isinstance(i, Failure)] == [
        "handJoints3D has shape (3, 21), expected (21, 3)"
    ]


@pytest.mark.parametrize(("version", "other"), [("v2", "jpg"), ("v3", "png")])
def test_converted_photos_are_read_and_said(tmp_path, caplog, version, other):
    root = trees.write_ho3d(tmp_path, version)
    released = frames(f"ho3d-{version}", root)
    for photo in root.glob("train/*/rgb/*"):
        photo.rename(photo.with_suffix(f".{other}"))
    converted = frames(f"ho3d-{version}", root)
    assert [frame.number for frame in converted] == [frame.number for frame in released]
    assert all(isinstance(frame, Frame) and (root / frame.image).is_file() for frame in converted)
    assert caplog.text.count(f"photos are .{other} files") == 1


def test_masks_of_v3_in_the_archives_own_folder(tmp_path, v3):
    """One sequence of masks only beside train/, as the second archive unpacks; more masks than lines in the list."""
    before = [frame.hand_mask for frame in frames("ho3d-v3", v3)]
    home = v3 / "HO3D_v3_segmentations_rendered" / "train" / "ABF10"
    home.mkdir(parents=True)
    (v3 / "train" / "ABF10" / "seg").rename(home / "seg")
    for number in (17, 1000):
        shutil.copy(home / "seg" / "0000.png", home / "seg" / f"{number:04d}.png")
    found = frames("ho3d-v3", v3)
    assert all(isinstance(frame, Frame) for frame in found) and len(found) == len(before)
    for frame, mask in zip(found, before, strict=True):
        assert mask.any() and np.array_equal(frame.hand_mask, mask)
    moved = next(sequence for sequence in list_sequences("ho3d-v3", v3, "train") if sequence.key == "ABF10")
    assert mask_files(moved).files[1000].startswith("HO3D_v3_segmentations_rendered/")


def test_a_missing_mask_is_named_where_its_neighbours_lie(v3):
    (v3 / "train" / "ABF10" / "seg" / "0001.png").unlink()
    failed = [item for item in frames("ho3d-v3", v3) if isinstance(item, Failure)]
    assert failed == [Failure("train/ABF10/seg/0001.png", "the mask is missing")]


def test_a_byte_order_mark_moves_no_frame(tmp_path):
    names = [f"{key}/{number:04d}" for key in ("ABF10", "MC1") for number in range(25)]
    found = []
    for mark in ("", "\ufeff"):
        (tmp_path / "train.txt").write_text(mark + "\n".join(names) + "\n", encoding="utf-8")
        found.append(select(read_list(tmp_path, "train"), "val"))
    assert found[0] == found[1] and found[0][0][1] == "ABF10"


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "x" * 5000, "a\nb", "", 7])
def test_an_object_name_that_is_no_name_fails_its_frame(v3, name):
    path = v3 / "train" / "ABF10" / "meta" / "0001.pkl"
    meta = safe_load(path)
    trees.save_meta(path, meta | {"objName": name})
    failed = [item for item in frames("ho3d-v3", v3) if isinstance(item, Failure)]
    assert [failure.path for failure in failed] == ["train/ABF10/meta/0001.pkl"]
    assert "objName is " in failed[0].reason and len(failed[0].reason) < 200 and "\n" not in failed[0].reason


def test_an_object_without_a_place_is_none(v3):
    path = v3 / "train" / "ABF10" / "meta" / "0001.pkl"
    meta = safe_load(path)
    for broken in ({**meta, "objTrans": None}, {name: value for name, value in meta.items() if name != "objTrans"}):
        trees.save_meta(path, broken)
        frame = next(item for item in frames("ho3d-v3", v3) if item.sequence == "ABF10" and item.number == 1)
        assert frame.objects == () and frame.grasped == -1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ABF10 0001\n", "line 1"),
        ("ABF10/0001\nABF10/x\n", "line 2"),
        ("ABF10/0001\n\nSM2/0001\nABF10/0001\n", "line 4 repeats line 1, ABF10/0001"),
        ("\n", "lists no frames"),
        (None, "not readable"),
    ],
)
def test_bad_lists_are_named(v2, text, message):
    path = v2 / "train.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        list_sequences("ho3d-v2", v2, "train")
    assert "train.txt" in str(caught.value)


def test_a_missing_photo_is_a_failure(v2):
    shutil.rmtree(v2 / "train/SM2/rgb")
    sequences = [s for s in list_sequences("ho3d-v2", v2, "train", mano="standin") if s.key == "SM2"]
    assert all(
        isinstance(item, Failure) and item.reason == "the photo is missing" for item in iter_frames(sequences[0])
    )
