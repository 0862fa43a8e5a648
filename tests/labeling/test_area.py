"""Shares of the hand's silhouette, other hands, and COCO's flags, on scenes whose answer is known."""

import numpy as np
import pytest
from h2onet.data.frame import Frame, OtherHand
from h2onet.hand.camera import project
from h2onet.hand.parts import CAUSES, PARTS
from h2onet.labeling import area
from h2onet.labeling.raster import CpuRenderer

OBJECT, OUTSIDE, OTHER = (CAUSES.index(name) for name in ("object", "outside the image", "other hand"))
FAR = (0.01, 0.02, 1.4)  # small in the image, so that exact rays are affordable


def hits(vertices: np.ndarray, faces: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(R,) inverse depth of the first triangle on each ray (R, 3) with z = 1, 0 where there is none; exact."""
    found = np.zeros(len(rays))
    for a, b, c in vertices[faces]:
        normal = np.cross(b - a, c - a)
        volume = rays @ normal
        inside = np.ones(len(rays), bool)
        for p, q in ((a, b), (b, c), (c, a)):
            inside &= (rays @ np.cross(p, q)) * np.sign(volume) >= 0
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(inside & (volume != 0), volume / (a @ normal), 0.0)
        np.maximum(found, inverse, out=found)
    return found


def rays_over(frame: Frame, points: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Rays with z = 1 on a fine grid over the projected points, and their pixels."""
    low, high = np.floor(points.min(axis=0)) - 1, np.ceil(points.max(axis=0)) + 1
    u, v = (np.arange(low[k], high[k], step) + step / 2 for k in range(2))
    pixels = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    return np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(frame.intrinsics).T, pixels


def cut_of(labels, row=0) -> tuple[float, np.ndarray, float]:
    return float(labels.hand_visible_area[row]), labels.hand_hidden_area[row], float(labels.object_visible_area[row])


def test_an_open_hand_is_seen_whole(stage):
    visible, hidden, before_objects = cut_of(stage.label(stage.frame(stage.pose())))
    assert visible == before_objects == 1 and (hidden == 0).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_plane_that_covers_a_known_share_of_the_silhouette(stage, share):
    bare = stage.frame(stage.pose(), middle=FAR)
    columns = np.nonzero(stage.silhouette(bare))[1]
    edge = float(np.quantile(columns, 1 - share).round())
    plane = stage.strip("plane", (edge, 240), (edge + 600, 240), 300, 0.5)  # covers u >= edge
    visible, hidden, before_objects = cut_of(stage.label(stage.frame(stage.pose(), middle=FAR, objects=[plane])))
    expected = (columns < edge).mean()
    assert abs(expected - (1 - share)) < 0.03
    assert visible == before_objects == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(hidden, [1 - expected, 0, 0], atol=1e-6)


def test_shares_are_those_of_exact_rays(stage, poses):
    """A ball before a bent hand that leaves the image: every share within 1 % of rays through a fine grid."""
    fingers = 0.5 * poses["bend"]
    bare = stage.frame(stage.pose(poses["turned"], fingers), middle=FAR)
    vertices, joints = stage.mesh(bare)
    intrinsics = bare.intrinsics.copy()
    intrinsics[0, 2] -= project(vertices, bare.intrinsics)[:, 0].mean() - 6.0  # a part leaves on the left
    ball, radius = joints[9] * 0.9, 0.02
    frame = stage.frame(bare.mano_pose, middle=FAR, intrinsics=intrinsics, objects=[stage.sphere("ball", ball, radius)])
    rays, pixels = rays_over(frame, project(vertices, intrinsics), 0.5)
    hand = hits(vertices, stage.hands.right.faces, rays)
    along, across = rays @ ball, (rays**2).sum(axis=1)  # the sphere's nearer point: t with |t ray - ball| = radius
    root = along**2 - across * (ball @ ball - radius**2)
    thing = np.where(root > 0, across / (along - np.sqrt(np.maximum(root, 0))), 0.0)
    whole, inside, covered = hand > 0, pixels[:, 0] >= 0, thing > hand
    visible, hidden, before_objects = cut_of(stage.label(frame))
    expected = [(whole & inside & ~covered).sum(), (whole & inside & covered).sum(), 0, (whole & ~inside).sum()]
    assert min(expected[0], expected[1], expected[3]) > 0.05 * whole.sum()
    np.testing.assert_allclose([visible, *hidden], np.array(expected) / whole.sum(), atol=0.01)
    assert before_objects == pytest.approx((whole & inside & ~covered).sum() / (whole & inside).sum(), abs=0.01)
    assert visible + hidden.sum() == pytest.approx(1, abs=1e-6)


def test_another_hand_before_two_fingers_hides_them_and_not_the_objects_share(stage):
    """The left hand, small and near, lies before the tips of the index and the middle finger."""
    bare = stage.frame(stage.pose())
    _, joints = stage.mesh(bare)
    tips = joints[[8, 12]].mean(axis=0)
    left = stage.frame(stage.pose(), side="left", middle=tips * 0.6)
    other = OtherHand("left", vertices=stage.mesh(left)[0] * 1.0)
    labels = stage.label(Frame(**vars(bare) | {"others": (other,)}), bare)
    hit = [PARTS.index("index"), PARTS.index("middle")]
    assert (labels.cause[0, hit] == OTHER).all() and (labels.other_hand_fraction[0, hit] > 0.1).all()
    assert (labels.joint_visible[0, [8, 12]] == 0).all() and (labels.coco_visibility[0, [8, 12]] == 1).all()
    total = labels.visible_fraction + labels.hidden_fraction.sum(axis=2) + labels.other_hand_fraction
    np.testing.assert_allclose(total, 1, atol=1e-6)
    visible, hidden, before_objects = cut_of(labels)
    assert before_objects == 1 and hidden[0] == hidden[2] == 0
    assert hidden[1] == pytest.approx(1 - visible) and hidden[1] > 0.05
    assert labels.mask_iou[0] < labels.mask_iou[1] == 1
    # The authors' rule knows no other hands: it looks at the dataset's mask alone.
    np.testing.assert_array_equal(labels.occluded[0], labels.occluded[1])
    behind = OtherHand("left", vertices=stage.mesh(stage.frame(stage.pose(), side="left", middle=tips * 1.3))[0])
    again = stage.label(Frame(**vars(bare) | {"others": (behind,)}))
    assert (again.cause == 0).all() and again.hand_visible_area[0] == 1


def test_a_posed_hand_and_its_mesh_hide_alike(stage):
    bare = stage.frame(stage.pose())
    model, rng = stage.hands.own("left"), np.random.default_rng(4)
    pose, shape = rng.normal(0, 0.2, 48), rng.normal(0, 0.5, 10)
    place = np.array([0.0, 0.0, 0.5])
    mesh = model.pose(pose[None], shape[None])[0][0] + place
    posed = OtherHand("left", mano_pose=pose, mano_shape=shape, translation=place)
    one, two = (stage.label(Frame(**vars(bare) | {"others": (o,)})) for o in (posed, OtherHand("left", vertices=mesh)))
    assert (one.cause == OTHER).any()
    for name in ("cause", "joint_visible", "other_hand_fraction", "hand_visible_area", "hand_hidden_area"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_what_is_wrong_with_another_hand_is_said(stage):
    bare, good = stage.frame(stage.pose()), OtherHand("left", None, np.zeros(48), np.zeros(10), np.array([0, 0, 0.5]))
    for fields, reason in (
        ({"side": "both"}, "other hand: side: expected right or left"),
        ({"mano_shape": None}, "other hand: mano_shape: expected 10 finite numbers, found none"),
        ({"mano_pose": np.full(48, np.nan)}, "other hand: mano_pose: expected 48 finite numbers, found NaN"),
        ({"translation": np.array([0, 0, 500.0])}, "other hand: translation: expected metres"),
        ({"vertices": np.zeros((5, 3))}, "other hand: vertices: expected 778 x 3 finite numbers, found shape (5, 3)"),
    ):
        labels = stage.label(Frame(**vars(bare) | {"others": (OtherHand(**vars(good) | fields),)}))
        assert labels.failures[0][1].reason.startswith(reason)


def test_a_joint_outside_the_image_is_0_for_coco_and_the_border_takes_its_share(stage):
    bare = stage.frame(stage.pose())
    _, joints = stage.mesh(bare)
    intrinsics = bare.intrinsics.copy()
    intrinsics[0, 2] += 640 - np.median(project(joints, bare.intrinsics)[:, 0])  # half of the joints leave on the right
    frame = stage.frame(bare.mano_pose, root=bare.root, intrinsics=intrinsics)
    labels = stage.label(frame)
    u = project(joints, intrinsics)[:, 0]
    assert (u >= 640).any() and (u < 640).any()
    np.testing.assert_array_equal(labels.coco_visibility[0], np.where(u < 640, 2, 0))
    visible, hidden, before_objects = cut_of(labels)
    whole = stage.silhouette(bare).sum()
    inside = stage.silhouette(frame).sum()
    assert before_objects == 1
    assert visible == pytest.approx(inside / whole, abs=0.003) and hidden[2] == pytest.approx(
        1 - inside / whole, abs=0.003
    )


def test_a_hand_that_reaches_the_camera_or_is_not_in_the_image(stage):
    close = stage.frame(stage.pose(np.zeros(3)), middle=(0.0, 0.0, 0.08), mask=None)
    labels = stage.label(close, rules=("depth",))
    assert np.isnan(labels.hand_visible_area[0]) and np.isnan(labels.hand_hidden_area[0]).all()
    away = stage.label(stage.frame(stage.pose(), middle=(5.0, 0.0, 1.0), mask=None), rules=("depth",))
    visible, hidden, before_objects = cut_of(away)
    assert visible == 0 and np.isnan(before_objects)
    np.testing.assert_array_equal(hidden, [0, 0, 1])
    assert (away.coco_visibility == 0).all()


def test_a_huge_silhouette_is_counted_on_a_coarser_grid(stage, monkeypatch):
    frame = stage.frame(stage.pose(), middle=(-0.17, 0.0, 0.3))
    fine = cut_of(stage.label(frame))
    monkeypatch.setattr(area, "MOST_PIXELS", 150)
    coarse = cut_of(stage.label(frame))
    assert 0.2 < fine[0] < 0.9 and fine[0] != coarse[0]
    assert coarse[0] == pytest.approx(fine[0], abs=0.01)


def test_drawing_only_what_matters_changes_no_share(stage):
    rng = np.random.default_rng(7)
    for number in range(12):
        ball = stage.sphere(f"ball{number}", (*rng.uniform(-0.06, 0.06, 2), 0.6), rng.uniform(0.01, 0.04))
        fingers = rng.normal(0, 0.2, (15, 3))
        frame = stage.frame(stage.pose(fingers=fingers), middle=(*rng.uniform(-0.3, 0.3, 2), 0.7), objects=[ball])
        spared, whole = stage.label(frame), stage.label(frame, renderer=CpuRenderer(sparing=False))
        for name in ("hand_visible_area", "hand_hidden_area", "object_visible_area", "coco_visibility"):
            np.testing.assert_array_equal(getattr(spared, name), getattr(whole, name), err_msg=name)
