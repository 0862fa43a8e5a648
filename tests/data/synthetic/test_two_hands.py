"""Trees with the person's other hand, read by code that knows only DexYCB's description and the two extra fields."""

from pathlib import Path

import cv2
import numpy as np
import plain_readers as plain
import pytest
from h2onet.data.readers.dexycb_splits import YCB_NAMES


@pytest.fixture(scope="module")
def trees(two_hand_trees) -> tuple[Path, Path]:
    """The same recordings with one hand and with two."""
    return two_hand_trees


def frames(tree: Path, name: str = "labels_*.npz"):
    """(path below the tree, its arrays) of every label file."""
    for path in sorted(tree.glob(f"20*/20*/*/{name}")):
        with np.load(path) as content:
            yield path.relative_to(tree), dict(content)


def depth_of(tree: Path, name: Path) -> np.ndarray:
    path = tree / name.parent / name.name.replace("labels", "aligned_depth_to_color").replace("npz", "png")
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    return image.astype(int)


class Scene:
    """What a frame's files say stands before its camera, posed by plain code."""

    def __init__(self, tree: Path, name: Path, arrays: dict[str, np.ndarray]) -> None:
        self.meta = plain.read_yaml(tree / name.parents[1] / "meta.yml")
        calibration = tree / "calibration"
        self.betas = plain.read_yaml(calibration / f"mano_{self.meta['mano_calib'][0]}" / "mano.yml")["betas"]
        color = plain.read_yaml(calibration / "intrinsics" / f"{name.parent.name}_640x480.yml")["color"]
        self.k = np.array([[color["fx"], 0, color["ppx"]], [0, color["fy"], color["ppy"]], [0, 0, 1]])
        self.own = self.hand(tree, self.meta["mano_sides"][0], arrays["pose_m"][0])
        self.other = self.hand(tree, self.meta["other_sides"][0], arrays["other_pose_m"][0])
        self.objects = []
        for number, place in zip(self.meta["ycb_ids"], arrays["pose_y"].astype(float), strict=True):
            vertices, faces = plain.read_obj(tree / "models" / YCB_NAMES[number - 1] / "textured_simple.obj")
            self.objects.append((vertices @ place[:, :3].T + place[:, 3], faces, number))

    def hand(self, tree: Path, side: str, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model = plain.PlainMano(tree / "mano" / f"MANO_{side.upper()}.pkl")
        pose = np.concatenate([row[:3], model.finger_pose(row[3:48])])
        return model.pose(pose, self.betas, row[48:].astype(float))[0], np.asarray(model.data["f"]).astype(int)


def test_the_published_fields_are_there_as_ever_and_two_more(trees):
    one, two = trees
    names = [sorted(str(p.relative_to(tree)) for p in tree.rglob("*")) for tree in trees]
    assert names[0] == names[1]  # no further file anywhere
    for (name, alone), (again, both) in zip(frames(one), frames(two), strict=True):
        assert name == again
        assert set(both) - set(alone) == {"other_pose_m", "other_seg"} and set(alone) <= set(both)
        assert (both["other_pose_m"].shape, both["other_pose_m"].dtype) == ((1, 51), np.float32)
        assert (both["other_seg"].shape, both["other_seg"].dtype) == ((480, 640), np.uint8)
        meta = plain.read_yaml(two / name.parents[1] / "meta.yml")
        assert set(np.unique(both["seg"])) <= {0, 255, *meta["ycb_ids"]}  # no value that DexYCB does not have
        assert set(np.unique(both["other_seg"])) <= {0, 255}
        assert meta["other_sides"] == ["left" if meta["mano_sides"] == ["right"] else "right"]
        for field in ("pose_y", "pose_m", "joint_3d", "joint_2d"):
            np.testing.assert_array_equal(alone[field], both[field])
    assert "hands" not in (one / "synthetic.json").read_text() and '"hands": 2' in (two / "synthetic.json").read_text()


def test_where_the_other_hand_and_its_arm_are_is_nothing_else_and_the_rest_is_as_without_them(trees):
    one, two = trees
    covered = []
    for (name, alone), (_, both) in zip(frames(one), frames(two), strict=True):
        near, far = depth_of(two, name), depth_of(one, name)
        other = both["other_seg"] == 255
        assert (near <= far).all() and (near < far)[other].all()
        assert (both["seg"][near < far] == 0).all()  # the other hand, or its arm
        np.testing.assert_array_equal(both["seg"][near == far], np.where(other, 0, alone["seg"])[near == far])
        covered.append((name.parents[1], (other & (alone["seg"] == 255)).sum() / max((alone["seg"] == 255).sum(), 1)))
    for recording in {recording for recording, _ in covered}:
        shares = np.array([share for found, share in covered if found == recording])
        assert shares.max() > 0.15 and shares.min() < 0.03, recording
    assert sum(share == 0 for _, share in covered) >= 10


def test_masks_and_depth_are_those_of_the_two_posed_hands_and_the_objects(trees):
    _, two = trees
    seen = 0
    for name, arrays in frames(two, "labels_00000[4-9].npz"):
        wanted = (arrays["other_seg"] == 255).sum() > 400 and (arrays["seg"] == 255).sum() > 400
        if not wanted or seen == 5:
            continue
        scene = Scene(two, name, arrays)
        rows, columns = np.nonzero(arrays["other_seg"] | (arrays["seg"] == 255))
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        meshes = [(*scene.own, 255), (*scene.other, 254), *scene.objects]
        ident, depth = plain.draw(meshes, scene.k, (640, 480), box)
        cut = slice(box[1], box[3]), slice(box[0], box[2])
        found = np.where(arrays["other_seg"] == 255, 254, arrays["seg"].astype(int))[cut]
        labelled = found > 0
        assert (ident[labelled] != found[labelled]).mean() < 0.01
        agree = labelled & (ident == found)
        assert np.median(np.abs(depth_of(two, name)[cut][agree] / 1000 - depth[agree])) < 0.0006
        seen += 1
    assert seen == 5


def test_the_world_file_has_the_other_hand_too(trees):
    _, two = trees
    for path in two.glob("20*/20*/pose.npz"):
        meta = plain.read_yaml(path.parent / "meta.yml")
        extrinsics = plain.read_yaml(two / "calibration" / f"extrinsics_{meta['extrinsics']}" / "extrinsics.yml")
        with np.load(path) as world:
            assert world["other_pose_m"].shape == world["pose_m"].shape == (14, 1, 51)
            rows = world["other_pose_m"]
        serial = meta["serials"][0]
        pose = np.array(extrinsics["extrinsics"][serial]).reshape(3, 4)
        name = (path.parent / serial / "labels_000007.npz").relative_to(two)
        with np.load(two / name) as content:
            scene = Scene(two, name, dict(content))
        vertices, _ = scene.hand(two, meta["other_sides"][0], rows[7, 0])
        assert np.abs(scene.other[0] @ pose[:, :3].T + pose[:, 3] - vertices).max() < 1e-5
