"""The synthesized DexYCB tree, read by code that knows only the dataset's description."""

import json
from pathlib import Path

import cv2
import numpy as np
import plain_readers as plain
import pytest
from h2onet.data.readers.dexycb_splits import SERIALS, SUBJECTS, YCB_NAMES, in_split, positions, sequence_list
from h2onet.data.synthesize import SynthesizeSettings, synthesize

FRAMES = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "dexycb"
    synthesize(SynthesizeSettings(out, sequences=4, frames=FRAMES, cameras=3, seed=3, workers=1))
    return out


def recordings(root: Path):
    for folder in sorted(root.glob("20*/20*")):
        yield folder, plain.read_yaml(folder / "meta.yml")


def camera_matrix(root: Path, serial: str) -> np.ndarray:
    color = plain.read_yaml(root / "calibration" / "intrinsics" / f"{serial}_640x480.yml")["color"]
    return np.array([[color["fx"], 0, color["ppx"]], [0, color["fy"], color["ppy"]], [0, 0, 1]])


def labels(root: Path):
    """(folder, meta, serial, frame, npz content, betas, hand) of every label file."""
    hands = {side: plain.PlainMano(root / "mano" / f"MANO_{side.upper()}.pkl") for side in ("right", "left")}
    for folder, meta in recordings(root):
        betas = plain.read_yaml(root / "calibration" / f"mano_{meta['mano_calib'][0]}" / "mano.yml")["betas"]
        for serial in meta["serials"]:
            for frame in range(meta["num_frames"]):
                with np.load(folder / serial / f"labels_{frame:06d}.npz") as content:
                    yield folder, meta, serial, frame, dict(content), np.array(betas), hands[meta["mano_sides"][0]]


def test_the_tree_is_complete_and_clean(root):
    for subject in sorted(root.glob("20*")):
        assert subject.name in SUBJECTS
        for folder in subject.iterdir():  # the toolkit asserts that there is nothing but sequences
            assert folder.is_dir() and folder.name in sequence_list()[subject.name]
    for folder, meta in recordings(root):
        assert meta["num_frames"] == FRAMES and len(meta["serials"]) == 3
        assert meta["mano_sides"] == [sequence_list()[folder.parent.name][folder.name]]
        for serial in meta["serials"]:
            assert serial in SERIALS
            kinds = ("color_{:06d}.jpg", "aligned_depth_to_color_{:06d}.png", "labels_{:06d}.npz")
            assert sorted(p.name for p in (folder / serial).iterdir()) == sorted(
                kind.format(i) for kind in kinds for i in range(FRAMES)
            )
        grasped = YCB_NAMES[meta["ycb_ids"][meta["ycb_grasp_ind"]] - 1]
        position = positions()[folder.parent.name, folder.name]
        assert grasped == [n for n in YCB_NAMES if n != "051_large_clamp"][position // 5]
        assert (root / "calibration" / f"extrinsics_{meta['extrinsics']}" / "extrinsics.yml").is_file()
    assert {p.parent.name for p in root.glob("models/*/textured_simple.obj")} == set(YCB_NAMES)
    assert {meta["mano_sides"][0] for _, meta in recordings(root)} == {"right", "left"}


def test_every_split_of_every_setup_has_annotated_frames(root):
    counts = {(setup, split): 0 for setup in ("s0", "s1", "s2", "s3") for split in ("train", "val", "test")}
    for folder, _, serial, _, content, _, _ in labels(root):
        if (content["joint_3d"] == -1).all():
            continue
        place = (
            SUBJECTS.index(folder.parent.name),
            SERIALS.index(serial),
            positions()[folder.parent.name, folder.name],
        )
        for setup, split in counts:
            counts[setup, split] += in_split(setup, split, *place)
    assert min(counts.values()) >= 5, counts


def test_label_files_have_the_published_shapes(root):
    for _, meta, _, _, content, _, _ in labels(root):
        kinds = {key: (value.shape, value.dtype.name) for key, value in content.items()}
        assert kinds == {
            "seg": ((480, 640), "uint8"),
            "pose_y": ((len(meta["ycb_ids"]), 3, 4), "float32"),
            "pose_m": ((1, 51), "float32"),
            "joint_3d": ((1, 21, 3), "float32"),
            "joint_2d": ((1, 21, 2), "float32"),
        }
        assert set(np.unique(content["seg"])) <= {0, 255, *meta["ycb_ids"]}


def test_joints_are_those_of_the_posed_model_and_project_to_joint_2d(root):
    absent, outside, checked = 0, 0, 0
    for _, meta, serial, _, content, betas, hand in labels(root):
        pose, joint_3d, joint_2d = content["pose_m"][0].astype(float), content["joint_3d"][0], content["joint_2d"][0]
        if (pose == 0).all():
            assert (joint_3d == -1).all() and (joint_2d == -1).all() and not (content["seg"] == 255).any()
            absent += 1
            continue
        full = np.concatenate([pose[:3], hand.finger_pose(pose[3:48])])
        vertices, joints = hand.pose(full, betas, pose[48:])
        expected = hand.joints_21(vertices, joints, plain.MANOPTH_TIPS[meta["mano_sides"][0]])
        assert np.abs(expected - joint_3d).max() < 1e-5
        assert np.abs(pose[48:] + hand.rest_wrist(betas) - joint_3d[0]).max() < 1e-6
        k = camera_matrix(root, serial)
        projected = joint_3d[:, :2] / joint_3d[:, 2:] * [k[0, 0], k[1, 1]] + k[:2, 2]
        assert np.abs(projected - joint_2d).max() < 2e-3
        outside += bool(((joint_2d < 0) | (joint_2d >= [640, 480])).any())
        checked += 1
    assert absent >= 3 and outside >= 3 and checked >= 50


def test_masks_and_depth_agree_with_the_meshes(root):
    seen = 0
    for folder, meta, serial, frame, content, betas, hand in labels(root):
        pose = content["pose_m"][0].astype(float)
        if frame % 4 != 3 or (pose == 0).all():
            continue
        k = camera_matrix(root, serial)
        joints = content["joint_2d"][0]
        box = np.clip([*joints.min(axis=0) - 30, *joints.max(axis=0) + 30], 0, [640, 480, 640, 480]).astype(int)
        if box[2] - box[0] < 40 or box[3] - box[1] < 40:
            continue
        full = np.concatenate([pose[:3], hand.finger_pose(pose[3:48])])
        meshes = [(hand.pose(full, betas, pose[48:])[0], np.asarray(hand.data["f"]).astype(int), 255)]
        for number, place in zip(meta["ycb_ids"], content["pose_y"].astype(float), strict=True):
            vertices, faces = plain.read_obj(root / "models" / YCB_NAMES[number - 1] / "textured_simple.obj")
            meshes.append((vertices @ place[:, :3].T + place[:, 3], faces, number))
        ident, depth = plain.draw(meshes, k, (640, 480), box)
        cut = (slice(box[1], box[3]), slice(box[0], box[2]))
        seg = content["seg"][cut]
        image = cv2.imread(str(folder / serial / f"aligned_depth_to_color_{frame:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert image.dtype == np.uint16 and image.shape == (480, 640)
        labelled = seg > 0
        # Only the outline may differ (rounding of vertices to 1/256 px, OBJ digits); the forearm may hide, never add.
        assert (ident[labelled] != seg[labelled]).mean() < 0.01
        hidden = (ident > 0) & ~labelled
        assert (image[cut][hidden] <= 1000 * depth[hidden] + 2).mean() > 0.9 if hidden.sum() > 50 else True
        agree = labelled & (ident == seg)
        assert np.median(np.abs(image[cut][agree] / 1000 - depth[agree])) < 0.0006
        assert np.percentile(np.abs(image[cut][agree] / 1000 - depth[agree]), 99) < 0.002
        seen += 1
    assert seen >= 8


def test_extrinsics_carry_all_cameras_to_one_world(root):
    for folder, meta in recordings(root):
        extrinsics = plain.read_yaml(root / "calibration" / f"extrinsics_{meta['extrinsics']}" / "extrinsics.yml")
        table = {key: np.array(value).reshape(3, 4) for key, value in extrinsics["extrinsics"].items()}
        assert all(isinstance(value, tuple) for value in extrinsics["extrinsics"].values())
        assert set(table) == {*SERIALS, "apriltag"}
        assert np.array_equal(table[extrinsics["master"]], np.eye(4)[:3])
        with np.load(folder / "pose.npz") as world:
            pose_y, pose_m = world["pose_y"], world["pose_m"]
        assert pose_y.shape == (FRAMES, len(meta["ycb_ids"]), 7) and pose_m.shape == (FRAMES, 1, 51)
        hand = plain.PlainMano(root / "mano" / f"MANO_{meta['mano_sides'][0].upper()}.pkl")
        betas = plain.read_yaml(root / "calibration" / f"mano_{meta['mano_calib'][0]}" / "mano.yml")["betas"]
        for frame in range(FRAMES):
            for serial in meta["serials"]:
                turn, offset = table[serial][:, :3], table[serial][:, 3]
                with np.load(folder / serial / f"labels_{frame:06d}.npz") as content:
                    for place, known in zip(content["pose_y"], pose_y[frame], strict=True):
                        x, y, z, w = known[:4].astype(float)
                        q = 2 * np.arctan2(np.linalg.norm([x, y, z]), w) * np.array([x, y, z])
                        q = q / max(np.linalg.norm([x, y, z]), 1e-12)
                        assert np.abs(turn @ place[:, :3] - plain.rodrigues(q)).max() < 1e-5
                        assert np.abs(turn @ place[:, 3] + offset - known[4:]).max() < 1e-5
                    if (content["pose_m"] == 0).all():
                        assert (pose_m[frame] == 0).all()
                        continue
                    full = np.concatenate([pose_m[frame, 0, :3], hand.finger_pose(pose_m[frame, 0, 3:48])])
                    vertices, joints = hand.pose(full, betas, pose_m[frame, 0, 48:].astype(float))
                    expected = hand.joints_21(vertices, joints, plain.MANOPTH_TIPS[meta["mano_sides"][0]])
                    assert np.abs(content["joint_3d"][0] @ turn.T + offset - expected).max() < 1e-5


@pytest.mark.parametrize("split", ["train", "test"])
def test_annotation_json_holds_coefficients_times_components_without_the_mean(root, split):
    data = json.loads((root / "annotations" / f"DEX_YCB_s0_{split}_data.json").read_text())
    files = {image["id"]: image["file_name"] for image in data["images"]}
    expected = {}
    for folder, meta, serial, frame, content, betas, hand in labels(root):
        place = (
            SUBJECTS.index(folder.parent.name),
            SERIALS.index(serial),
            positions()[folder.parent.name, folder.name],
        )
        if in_split("s0", split, *place) and not (content["joint_3d"] == -1).all():
            name = f"{folder.parent.name}/{folder.name}/{serial}/color_{frame:06d}.jpg"
            expected[name] = content, betas, hand, meta, camera_matrix(root, serial)
    assert sorted(files[a["image_id"]] for a in data["annotations"]) == sorted(expected)
    for annotation in data["annotations"]:
        content, betas, hand, meta, k = expected[files[annotation["image_id"]]]
        pose = content["pose_m"][0].astype(float)
        written = np.concatenate([pose[:3], hand.finger_pose(pose[3:48], mean=False)])
        assert np.abs(annotation["mano_param"]["pose"] - written).max() < 1e-6
        assert np.abs(annotation["mano_param"]["shape"] - betas).max() < 1e-6
        assert np.abs(annotation["joints_coord_cam"] - content["joint_3d"][0]).max() < 1e-7
        assert annotation["hand_type"] == meta["mano_sides"][0]
        assert np.allclose(annotation["cam_param"]["princpt"], k[:2, 2])
