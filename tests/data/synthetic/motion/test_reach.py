"""Made-up and replayed motion: smooth, holding, not through the object, and bones where they were recorded."""

from pathlib import Path

import numpy as np
import pytest
from h2onet.data.synthetic.motion.grasp import find_grasp, hand_rotation
from h2onet.data.synthetic.motion.reach import make_recording, resting_pose
from h2onet.data.synthetic.motion.recorded import load_motion, table_of
from h2onet.data.synthetic.motion.retarget import fit_betas, replay, retarget_fingers
from h2onet.data.synthetic.motion.skeleton import chain, finger_rotations, joints_21, skeleton_of
from h2onet.data.synthetic.performance import hand_model, perform
from h2onet.data.synthetic.scene.objects import catalogue, object_mesh, object_texture
from h2onet.errors import InputError
from scipy.spatial.transform import Rotation

OBJECTS = ("005_tomato_soup_can", "006_mustard_bottle", "009_gelatin_box", "025_mug", "035_power_drill")


def skeleton(side: str = "right", seed: int = 0):
    return skeleton_of(hand_model(side).arrays, np.random.default_rng(seed).normal(0, 0.6, 10))


@pytest.fixture(scope="module", params=range(len(OBJECTS)), ids=OBJECTS)
def performance(request):
    side = ("right", "left")[request.param % 2]
    return perform(make_recording(skeleton(side), OBJECTS[request.param], 130, 2, np.random.default_rng(request.param)))


@pytest.mark.parametrize("name", list(catalogue()))
def test_object_meshes_are_closed_outward_and_agree_with_their_distance(name):
    mesh, thing = object_mesh(name), catalogue()[name]
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1, keepdims=True)
    normal /= area
    middle = (a + b + c) / 3
    inside = thing.distance(middle - 0.0015 * normal) < 0
    assert inside.mean() > 0.97
    # where parts of an object overlap, a face may lie inside another part: never the other way round
    if len(thing.parts) == 1:
        assert (thing.distance(middle + 0.0015 * normal) > 0).mean() > 0.97
    assert ((mesh.normals[mesh.faces[:, 0]] * normal).sum(axis=1) > 0).all()
    bounds = np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)])
    assert np.abs(bounds.sum(axis=0)).max() < 1e-5  # the origin is the middle
    assert 0.015 < (bounds[1] - bounds[0]).max() < 0.3
    assert object_texture(name).std() > 4


def test_skeleton_chain_is_the_model_without_skin():
    rng = np.random.default_rng(1)
    for side in ("right", "left"):
        bones = skeleton(side)
        turned = finger_rotations(bones, rng.uniform(0, 1.2, (4, 15)), rng.normal(0, 0.1, (4, 5)))
        joints, _ = chain(bones, turned)
        assert np.allclose(
            np.linalg.norm(np.diff(joints[:, 1:4], axis=1), axis=-1),
            np.linalg.norm(np.diff(bones.joints[1:4], axis=0), axis=-1),
        )


def test_fingers_bend_towards_the_palm_on_both_hands():
    for side in ("right", "left"):
        bones = skeleton(side)
        flat = chain(bones, finger_rotations(bones, np.zeros(15), np.zeros(5)))[1]
        bent = chain(bones, finger_rotations(bones, np.full(15, 0.6), np.zeros(5)))[1]
        assert (bent[:4, 1] < flat[:4, 1] - 0.03).all()  # the palm faces -y in MANO's rest axes


def test_hand_rotation_points_fingers_and_palm():
    fingers, palm = np.array([0.1, 0.9, 0.0]), np.array([-1.0, 0.1, -0.2])
    for side, along in (("right", [-1.0, 0, 0]), ("left", [1.0, 0, 0])):
        turn = hand_rotation(side, fingers, palm)
        assert np.isclose(np.linalg.det(turn), 1.0)
        assert (turn @ along) @ fingers > 0.85 and (turn @ [0, -1.0, 0]) @ palm / np.linalg.norm(palm) > 0.999


def test_the_wrist_moves_smoothly_and_at_real_speed(performance):
    steps = np.linalg.norm(np.diff(performance.recording.wrist, axis=0), axis=1)
    assert 0.003 < np.median(steps) < 0.015  # DexYCB: 8.5 mm per frame
    assert steps.max() < 0.05
    jerk = np.diff(performance.recording.wrist, n=2, axis=0)
    assert np.linalg.norm(jerk, axis=1).max() < 0.012
    assert np.linalg.norm(np.diff(performance.vertices, axis=0), axis=-1).max() < 0.06


def test_the_hand_stays_above_the_table_and_holds_what_it_lifts(performance):
    recording = performance.recording
    assert performance.vertices[..., 2].min() > -0.012
    held = recording.object_poses[:, recording.grasped]
    after = recording.touch + 8
    assert held[after:, 2, 3].max() > held[0, 2, 3] + 0.05  # it is lifted
    local = np.einsum("fij,fvj->fvi", np.linalg.inv(held)[:, :3, :3], performance.vertices - held[:, None, :3, 3])
    assert np.ptp(local[after:], axis=0).max() < 0.002  # and rigidly with the hand
    still = recording.object_poses[:, [i for i in range(len(recording.objects)) if i != recording.grasped]]
    assert np.ptp(still, axis=0).max(initial=0.0) == 0.0


def test_fingers_close_on_the_object_and_not_through_it(performance):
    recording = performance.recording
    thing = catalogue()[recording.objects[recording.grasped]]
    held = recording.object_poses[-1, recording.grasped]
    distance = thing.distance((performance.vertices[-1] - held[:3, 3]) @ held[:3, :3])
    assert distance.min() < 0.003  # it touches
    assert distance.min() > -0.015 and (distance < -0.006).mean() < 0.03  # flesh gives a little, bones do not
    turning = performance.joints[recording.touch + 10 :: 6]
    assert np.ptp(turning.mean(axis=1), axis=0).max() > 0.05  # the view of the hand changes over time


def test_grasps_hold_with_thumb_and_fingers_for_most_objects():
    contacts = []
    for i, thing in enumerate(catalogue().values()):
        rest = resting_pose(thing.name, 0.02, 0.03, 0.4 * i)
        contacts.append(find_grasp(skeleton(), thing, rest, np.random.default_rng(i)).contacts)
    assert np.mean([c >= 3 for c in contacts]) > 0.85


def test_same_seed_same_motion_other_seed_other_motion():
    def wrist(seed):
        return make_recording(skeleton(), OBJECTS[0], 60, 1, np.random.default_rng(seed)).wrist

    assert np.array_equal(wrist(4), wrist(4)) and not np.array_equal(wrist(4), wrist(5))


def test_retargeting_gives_back_the_joints_of_a_known_pose():
    bones = skeleton("left", 3)
    rng = np.random.default_rng(0)
    turned = finger_rotations(bones, rng.uniform(0.0, 1.1, (20, 15)), rng.normal(0, 0.08, (20, 5)))
    turn = Rotation.random(20, random_state=0).as_matrix()
    joints = joints_21(*chain(bones, turned)) @ turn.transpose(0, 2, 1) + rng.normal(0, 1, (20, 1, 3))
    again = retarget_fingers(bones, joints, turn)
    assert np.abs(joints_21(*chain(bones, again)) @ turn.transpose(0, 2, 1) + joints[:, :1] - joints).max() < 1e-6


@pytest.fixture(scope="module")
def motion(shared: Path):
    return load_motion(shared / "data" / "dexycb_motion_left.npz")


@pytest.mark.parametrize("subject", ["20200709-subject-01", "20201002-subject-08"])
def test_replay_keeps_wrist_bones_and_object(motion, subject):
    arrays = hand_model("left").arrays
    bones = skeleton_of(arrays, fit_betas(motion, subject, arrays))
    table = table_of(motion, subject)
    name = next(n for n in motion.spans if n.startswith(subject))
    start, end = motion.spans[name]
    played = perform(replay(motion, name, bones, table, 1000, 1, 0, np.random.default_rng(0)))
    there = played.recording.present
    joints = played.joints @ table[:3, :3].T + table[:3, 3]
    real = motion.joints[start:end]
    error = np.linalg.norm(joints - real, axis=-1)[there]
    assert np.abs(joints[there, 0] - real[there, 0]).max() < 1e-6
    assert error.mean() < 0.003 and error.max() < 0.01
    direction = [np.diff(j[there][:, 1:].reshape(-1, 5, 4, 3), axis=2) for j in (joints, real)]
    cosine = (direction[0] * direction[1]).sum(-1) / np.prod([np.linalg.norm(d, axis=-1) for d in direction], axis=0)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 3.0
    placed = table @ played.recording.object_poses[:, 0]
    assert np.abs(placed[:, :3, 3] - motion.object_translation[start:end]).max() < 1e-6
    assert (there == motion.present[start:end]).all()


def test_replayed_objects_rest_on_the_table_and_follow_the_hand(motion):
    for subject in sorted({name.split("/")[0] for name in motion.spans}):
        inverse = np.linalg.inv(table_of(motion, subject))
        spans = [span for name, span in motion.spans.items() if name.startswith(subject)]
        turns = Rotation.from_rotvec(motion.object_rotation[[s for s, _ in spans]]).as_matrix()
        lowest = []
        for (start, _), turn in zip(spans, turns, strict=True):
            points = object_mesh(motion.object_name[start]).vertices @ turn.T + motion.object_translation[start]
            lowest.append((points @ inverse[:3, :3].T + inverse[:3, 3])[:, 2].min())
        assert np.abs(np.median(lowest)) < 0.03 and np.percentile(np.abs(lowest), 80) < 0.045


def test_a_motion_file_without_its_fields_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no zip")
    np.savez(tmp_path / "short.npz", hand_pose=np.zeros((3, 48)))
    for name, words in (("text.npz", "motion file"), ("short.npz", "object_rotation"), ("none.npz", "motion file")):
        with pytest.raises(InputError, match=words):
            load_motion(tmp_path / name)
