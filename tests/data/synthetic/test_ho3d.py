"""The synthesized HO3D trees, read by code that knows only the dataset's description."""

import json
from pathlib import Path

import cv2
import numpy as np
import plain_readers as plain
import pytest
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.errors import InputError

FLIP = np.diag([1.0, -1.0, -1.0])
SCALE = 0.00012498664727900177
FRAMES = 6


@pytest.fixture(scope="module", params=["v2", "v3"])
def root(request, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / f"ho3d-{request.param}"
    synthesize(
        SynthesizeSettings(out, f"ho3d-{request.param}", sequences=3, frames=FRAMES, cameras=2, seed=1, workers=1)
    )
    return out


def entries(root: Path, name: str) -> list[str]:
    return (root / f"{name}.txt").read_text().split()


def version(root: Path) -> str:
    return root.name.removeprefix("ho3d-")


def mask_path(root: Path, sequence: str, number: str) -> Path:
    """v2: a JPEG with its sequence; v3: a PNG there, or of one sequence in the archive's own folder."""
    if version(root) == "v2":
        return root / "train" / sequence / "seg" / f"{number}.jpg"
    beside = root / "HO3D_v3_segmentations_rendered" / "train" / sequence / "seg"
    return (beside if beside.is_dir() else root / "train" / sequence / "seg") / f"{number}.png"


def test_v3_has_more_masks_than_lines(root):
    masks = [path for path in root.rglob("seg/*") if path.suffix in (".png", ".jpg")]
    assert (len(masks) > len(entries(root, "train")) + 1) == (version(root) == "v3")


def meta_of(root: Path, split: str, entry: str) -> dict:
    sequence, number = entry.split("/")
    return plain.read_pickle(root / split / sequence / "meta" / f"{number}.pkl")


def test_lists_name_existing_frames_and_leave_out_the_unannotated_one(root):
    suffix = "png" if version(root) == "v2" else "jpg"
    for split, kinds in (("train", ("rgb", "depth", "seg", "meta")), ("evaluation", ("rgb", "depth", "meta"))):
        listed = entries(root, split)
        assert listed == sorted(listed) and len(set(listed)) == len(listed)
        assert {p.name for s in (root / split).iterdir() for p in s.iterdir()} == set(kinds)
        homes = {p.parent.name for p in root.glob("HO3D_v3_segmentations_rendered/train/*/seg")}
        assert len(homes) == (version(root) == "v3")
        for entry in listed:
            sequence, number = entry.split("/")
            assert len(number) == 4 and sequence[-1] in "01"
            ends = {"rgb": suffix, "depth": "png", "meta": "pkl"}
            if split == "train":
                assert mask_path(root, sequence, number).is_file()
            for kind in ends:
                assert (root / split / sequence / kind / f"{number}.{ends[kind]}").is_file()
        on_disk = {f"{p.parent.parent.name}/{p.stem}" for p in (root / split).glob(f"*/rgb/*.{suffix}")}
        missing = on_disk - set(listed)
        assert len(missing) == (1 if split == "train" else 0)
        for entry in missing:
            sequence, number = entry.split("/")
            meta = root / split / sequence / "meta" / f"{number}.pkl"
            if version(root) == "v2":
                assert plain.read_pickle(meta)["objRot"] is None
            else:
                assert not meta.exists()
    recordings = [{e.split("/")[0][:-1] for e in entries(root, split)} for split in ("train", "evaluation")]
    assert not recordings[0] & recordings[1]


def test_opengl_metas_give_the_same_mesh_as_opencv(root):
    hand = plain.PlainMano(root / "mano" / "MANO_RIGHT.pkl")
    for entry in entries(root, "train"):
        meta = meta_of(root, "train", entry)
        betas, pose = meta["handBeta"].astype(float), meta["handPose"].astype(float)
        vertices, joints = hand.pose(pose, betas, meta["handTrans"])
        expected = hand.joints_21(vertices, joints, plain.HO3D_TIPS)[plain.HO3D_FROM_JOINTS]
        assert np.abs(expected - meta["handJoints3D"]).max() < 1e-5
        assert (vertices[:, 2] < 0).all()
        # the description's rules for OpenCV: R' = C R, trans' = C (trans + J0) - J0
        turned = pose.copy()
        turn = FLIP @ plain.rodrigues(pose[:3])
        turned[:3] = cv2.Rodrigues(turn)[0].ravel()
        root_joint = hand.rest_wrist(betas)
        moved = FLIP @ (meta["handTrans"] + root_joint) - root_joint
        assert np.abs(hand.pose(turned, betas, moved)[0] @ FLIP - vertices).max() < 1e-6
        if int(entry[-4:]) > 1:
            continue
        corners = meta["objCorners3DRest"] @ plain.rodrigues(meta["objRot"].ravel()).T + meta["objTrans"]
        assert np.abs(corners - meta["objCorners3D"]).max() < 1e-5
        points, _ = plain.read_obj(root / "models" / meta["objName"] / "textured_simple.obj")
        assert np.abs(points.max(axis=0) - meta["objCorners3DRest"].max(axis=0)).max() < 1e-5


def test_masks_and_coded_depth_agree_with_the_meshes(root):
    hand = plain.PlainMano(root / "mano" / "MANO_RIGHT.pkl")
    ratios = []
    for entry in entries(root, "train")[::3]:
        meta = meta_of(root, "train", entry)
        sequence, number = entry.split("/")
        mask = cv2.imread(str(mask_path(root, sequence, number)))[:, :, ::-1]
        assert mask.shape == (240, 320, 3)
        coded = cv2.imread(str(root / "train" / sequence / "depth" / f"{number}.png")).astype(int)
        depth = (coded[:, :, 2] + 256 * coded[:, :, 1]) * SCALE
        k = meta["camMat"].astype(float)
        vertices = hand.pose(meta["handPose"].astype(float), meta["handBeta"], meta["handTrans"])[0] @ FLIP
        points, faces = plain.read_obj(root / "models" / meta["objName"] / "textured_simple.obj")
        held = (points @ plain.rodrigues(meta["objRot"].ravel().astype(float)).T + meta["objTrans"]) @ FLIP
        uv = vertices[:, :2] / vertices[:, 2:] * [k[0, 0], k[1, 1]] + k[:2, 2]
        box = np.clip([*uv.min(axis=0) - 10, *uv.max(axis=0) + 10], 0, [640, 480, 640, 480]).astype(int)
        meshes = [(vertices, np.asarray(hand.data["f"]).astype(int), 255), (held, faces, 1)]
        ident, expected = plain.draw(meshes, k, (640, 480), box)
        cut = (slice(box[1], box[3]), slice(box[0], box[2]))
        big = cv2.resize(mask, (640, 480), interpolation=cv2.INTER_NEAREST)[cut]
        hand_channel, object_channel = (0, 2) if version(root) == "v2" else (2, 1)  # RGB
        red, blue = big[:, :, hand_channel] > 200, big[:, :, object_channel] > 200
        assert (ident[red] == 255).mean() > 0.9
        ratios.append(red.sum() / max((ident == 255).sum(), 1))
        if (ident == 1).sum() > 800:
            assert (ident[blue] == 1).mean() > 0.85
        inner = red & (ident == 255)
        assert np.median(np.abs(depth[cut][inner] - expected[inner])) < 0.0003
    assert np.median(ratios) > 0.8


def test_evaluation_hides_the_pose_and_the_released_truth_matches_the_wrists(root):
    xyz = np.array(json.loads((root / "evaluation_xyz.json").read_text()))
    verts = np.array(json.loads((root / "evaluation_verts.json").read_text()))
    listed = entries(root, "evaluation")
    assert xyz.shape == (len(listed), 21, 3) and verts.shape == (len(listed), 778, 3)
    hand = plain.PlainMano(root / "mano" / "MANO_RIGHT.pkl")
    regressor = hand.data["J_regressor"]
    for i, entry in enumerate(listed):
        meta = meta_of(root, "evaluation", entry)
        assert not {"handPose", "handBeta", "handTrans"} & set(meta)
        assert meta["handJoints3D"].shape == (3,)
        assert np.abs(meta["handJoints3D"] - xyz[i, 0]).max() < 1e-6
        assert np.abs(verts[i][plain.HO3D_TIPS] - xyz[i, 16:]).max() < 1e-6
        assert np.linalg.norm(regressor @ verts[i] - xyz[i, :16], axis=1).max() < 0.02
        x0, y0, x1, y1 = meta["handBoundingBox"]
        assert 0 <= x0 < x1 < 640 and 0 <= y0 < y1 < 480
        cv = xyz[i] @ FLIP
        uv = cv[:, :2] / cv[:, 2:] * np.diag(meta["camMat"])[:2] + meta["camMat"][:2, 2]
        uv = np.clip(uv, 0, [639, 479])
        assert (uv >= [x0 - 1, y0 - 1]).all() and (uv <= [x1 + 1, y1 + 1]).all()


def test_annotation_json_is_opencv_and_without_the_mean(root):
    if version(root) == "v3":
        assert not (root / "annotations").exists()  # HandOccNet's files exist for version 2 only
        return
    hand = plain.PlainMano(root / "mano" / "MANO_RIGHT.pkl")
    data = json.loads((root / "annotations" / "HO3D_train_data.json").read_text())
    assert [i["file_name"] for i in data["images"]] == [
        e.replace("/", "/rgb/") + ".png" for e in entries(root, "train")
    ]
    for entry, annotation in zip(entries(root, "train"), data["annotations"], strict=True):
        meta = meta_of(root, "train", entry)
        pose = np.array(annotation["mano_param"]["pose"])
        assert np.abs(plain.rodrigues(pose[:3]) - FLIP @ plain.rodrigues(meta["handPose"][:3])).max() < 1e-6
        assert np.abs(pose[3:] + hand.data["hands_mean"] - meta["handPose"][3:]).max() < 1e-6
        in_ho3d_order = (np.array(annotation["joints_coord_cam"]) @ FLIP)[plain.HO3D_FROM_JOINTS]
        assert np.abs(in_ho3d_order - meta["handJoints3D"]).max() < 1e-6
    data = json.loads((root / "annotations" / "HO3D_evaluation_data.json").read_text())
    for entry, annotation in zip(entries(root, "evaluation"), data["annotations"], strict=True):
        meta = meta_of(root, "evaluation", entry)
        assert np.abs(FLIP @ annotation["root_joint_cam"] - meta["handJoints3D"]).max() < 1e-6
        x0, y0, x1, y1 = meta["handBoundingBox"]
        assert np.allclose(annotation["bbox"], [x0, y0, x1 - x0, y1 - y0])


def test_version_3_has_a_calibration_that_agrees_between_cameras(root):
    if version(root) == "v2":
        assert not (root / "calibration").exists()
        return
    checked = 0
    for folder in sorted((root / "calibration").iterdir()):
        split = "train" if (root / "train" / f"{folder.name}0").is_dir() else "evaluation"
        digits = (folder / "calibration" / "cam_orders.txt").read_text().split()
        wrists = []
        for digit in digits:
            values = dict(
                part.split(": ")
                for part in (folder / "calibration" / f"cam_{digit}_intrinsics.txt").read_text().split(", ")
            )
            meta = meta_of(root, split, f"{folder.name}{digit}/0000")
            assert np.isclose(float(values["fx"]), meta["camMat"][0, 0]) and meta["camIDList"] == digits
            pose = np.loadtxt(folder / "calibration" / f"trans_{digit}.txt")
            wrist = FLIP @ meta["handJoints3D"].reshape(-1, 3)[0]
            wrists.append(pose[:3, :3] @ wrist + pose[:3, 3])
            checked += 1
        assert np.ptp(wrists, axis=0).max() < 1e-5
    assert checked == 6


def test_ho3d_needs_a_recording_for_each_split(tmp_path):
    with pytest.raises(InputError, match="at least 2"):
        synthesize(SynthesizeSettings(tmp_path / "out", "ho3d-v2", sequences=1, workers=1))
    assert list(tmp_path.iterdir()) == []
