"""animation.glb: in every frame each hand is where it was predicted, and nowhere when it was not; viewers agree."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from h2onet.hand.arrays import load_arrays
from h2onet.hand.gltf import FROM_OPENCV
from h2onet.hand.skinning import SkinnedHand
from h2onet.inference.animation import BOUND, Animation
from h2onet.inference.predictor import HandResult
from three_page import LACKING, ask_three

RATE = 25.0
FRAMES = 40
GONE = range(15, 22)  # frames without the right hand
ASK = """
  const mixer = new THREE.AnimationMixer(scene);
  mixer.clipAction(animations[0]).play();
  said.duration = animations[0].duration;
  said.frames = [];
  for (const frame of FRAMES) {
    mixer.setTime(Math.min(frame / RATE, animations[0].duration - 1e-6));
    scene.updateMatrixWorld(true);
    const hands = {};
    scene.traverse((mesh) => {
      if (!mesh.isMesh) return;
      const points = [];
      const point = new THREE.Vector3();
      for (let i = 0; i < mesh.geometry.attributes.position.count; i += 7) {
        mesh.getVertexPosition(i, point).applyMatrix4(mesh.matrixWorld);
        points.push(point.toArray());
      }
      const dark = mesh.morphTargetInfluences.slice(mesh.morphTargetDictionary["thumb hidden"]);
      hands[mesh.name] = { points, dark };
    });
    said.frames.push(hands);
  }
"""


def results(side: str, seed: int) -> list[HandResult]:
    """A hand that moves, turns more than once round and bends, with probabilities of its own."""
    hand, rng = SkinnedHand(load_arrays("standin", side)), np.random.default_rng(seed)
    time = np.linspace(0, 1, FRAMES)[:, None]
    bends = np.sin(2 * np.pi * (time * rng.uniform(0.5, 2, 45) + rng.uniform(size=45))) * 0.3
    pose = np.concatenate([time * [7.0, 2.0, -3.0], bends], axis=1)
    vertices, joints = hand.pose(pose, rng.normal(size=(1, 10)))
    vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
    roots = [0.0, 0.0, 0.5] + 0.1 * np.sin(7 * time + [seed, 1, 2])
    hidden = 0.5 + 0.5 * np.sin(9 * time + np.arange(6))
    return [
        HandResult(*mesh, np.zeros((21, 2)), chance, root, np.zeros(4), "given", side, True)
        for *mesh, chance, root in zip(vertices, joints, hidden, roots, strict=True)
    ]


@pytest.fixture(scope="module")
def hands() -> dict[str, list[HandResult | None]]:
    right: list[HandResult | None] = list(results("right", 0))
    for frame in GONE:
        right[frame] = None
    return {"right-0": right, "left-1": list(results("left", 1))}


def animate(hands: dict[str, list[HandResult | None]], frames: int = FRAMES) -> tuple[bytes, dict]:
    animation = Animation(RATE)
    for frame in range(frames):
        there = [(int(name[-1]), result, name) for name, each in hands.items() if (result := each[frame]) is not None]
        animation.add([(n, result, load_arrays("standin", name.split("-")[0]).faces) for n, result, name in there])
    data, facts = animation.finish()
    assert data is not None
    return data, facts


class Gltf:
    """A reader of the bare format, by its specification."""

    def __init__(self, data: bytes) -> None:
        assert data[:8] == b"glTF\x02\0\0\0" and len(data) == struct.unpack_from("<I", data, 8)[0]
        length = struct.unpack_from("<I", data, 12)[0]
        self.content, self.buffer = json.loads(data[20 : 20 + length]), data[28 + length :]
        assert len(self.buffer) == self.content["buffers"][0]["byteLength"]

    def array(self, accessor: int) -> np.ndarray:
        told = self.content["accessors"][accessor]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[told["type"]]
        if "bufferView" not in told:
            return np.zeros((told["count"], width))
        kind = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[told["componentType"]]
        start = self.content["bufferViews"][told["bufferView"]]["byteOffset"]
        found = np.frombuffer(self.buffer, kind, told["count"] * width, start).reshape(-1, width)
        for bound, function in (("min", np.min), ("max", np.max)):
            assert bound not in told or (function(found, axis=0) == told[bound]).all()
        return found.astype(np.float64)

    def curve(self, node: int, path: str) -> tuple[np.ndarray, np.ndarray]:
        (animation,) = self.content["animations"]
        for channel in animation["channels"]:
            if channel["target"] == {"node": node, "path": path}:
                sampler = animation["samplers"][channel["sampler"]]
                return self.array(sampler["input"])[:, 0], self.array(sampler["output"])
        return np.zeros(1), np.ones((1, 3))  # a scale that never changes


def turn(quaternion: np.ndarray, points: np.ndarray) -> np.ndarray:
    axis, real = quaternion[:3], quaternion[3]
    return points + 2 * np.cross(axis, np.cross(axis, points) + real * points)


def test_every_frame_is_within_the_bound(hands) -> None:
    data, facts = animate(hands)
    file = Gltf(data)
    assert facts["rate"] == RATE and facts["frames"] == FRAMES
    for number, node in enumerate(file.content["nodes"]):
        mesh = file.content["meshes"][node["mesh"]]
        (primitive,) = mesh["primitives"]
        base = file.array(primitive["attributes"]["POSITION"])
        shapes = np.array([file.array(target["POSITION"]) for target in primitive["targets"]])
        times, places = file.curve(number, "translation")
        turns, weights = file.curve(number, "rotation")[1], file.curve(number, "weights")[1]
        starts, scales = file.curve(number, "scale")
        weights = weights.reshape(len(times), len(shapes))
        told = facts["hands"][node["name"]]
        assert told["frames"] == len(times) and told["shapes"] == len(shapes) - 5
        worst, row = 0.0, 0
        for frame, result in enumerate(hands[node["name"]]):
            shown = scales[np.searchsorted(starts, frame / RATE, "right") - 1]
            assert (shown == (result is not None)).all(), frame
            if result is None:
                continue
            assert times[row] == pytest.approx(frame / RATE, abs=1e-6)
            points = turn(turns[row], base + np.tensordot(weights[row], shapes, 1)) + places[row]
            wanted = (result.vertices + result.root) * FROM_OPENCV
            worst = max(worst, np.linalg.norm(points - wanted, axis=1).max())
            np.testing.assert_allclose(weights[row, -5:], result.fingers_hidden, atol=1e-6)
            row += 1
        assert row == len(times) and worst <= BOUND + 1e-6 and worst == pytest.approx(told["largest_error_m"], abs=2e-6)
        assert ((turns[1:] * turns[:-1]).sum(1) > 0).all(), "neighbouring turns take the short way"


def test_only_the_hidden_finger_gets_dark(hands) -> None:
    file = Gltf(animate(hands)[0])
    mesh = file.content["meshes"][0]
    primitive, names = mesh["primitives"][0], mesh["extras"]["targetNames"]
    colours = file.array(primitive["attributes"]["COLOR_0"])
    covered = np.zeros(len(colours), int)
    for name, target in zip(names, primitive["targets"], strict=True):
        change = file.array(target["COLOR_0"])
        if "hidden" in name:
            assert not file.array(target["POSITION"]).any() and change.any()
            covered += change.any(1)
            assert ((colours + change)[change.any(1)] < 0.05).all()
        else:
            assert not change.any() and file.array(target["POSITION"]).any()
    assert covered.max() == 1


def test_size_grows_with_the_frames_and_not_with_their_square() -> None:
    """Of one frame, of the same frame again and again, and of a motion that comes twice."""
    once = [*results("right", 0)]
    alone, facts = animate({"right-0": once}, 1)
    assert facts["hands"]["right-0"]["shapes"] == 0 and facts["hands"]["right-0"]["largest_error_m"] < 1e-7
    still, facts = animate({"right-0": once[:1] * FRAMES})
    assert facts["hands"]["right-0"]["shapes"] == 0 and len(still) - len(alone) < FRAMES * 100
    moving, facts = animate({"right-0": once})
    twice, more = animate({"right-0": once * 2}, 2 * FRAMES)
    shapes = facts["hands"]["right-0"]["shapes"]
    assert 0 < shapes < FRAMES / 2 and abs(more["hands"]["right-0"]["shapes"] - shapes) <= 1
    assert len(twice) - len(moving) < 20_000 + FRAMES * 4 * (shapes + 14)


def test_hands_without_a_place_or_word_of_what_is_hidden(hands) -> None:
    given = [replace(result, occluded=None) for result in hands["left-1"]]
    lost = [replace(result, root=None) if frame in (0, 5, 6) else result for frame, result in enumerate(given)]
    file = Gltf(animate({"left-1": lost})[0])
    places = file.curve(0, "translation")[1]
    for frame, source in ((0, 1), (5, 4), (6, 4), (7, 7)):
        np.testing.assert_allclose(places[frame], given[source].root * FROM_OPENCV, atol=1e-6)
    assert not any("hidden" in name for name in file.content["meshes"][0]["extras"]["targetNames"])
    nowhere = Gltf(animate({"left-1": [replace(result, root=None) for result in given]})[0])
    assert not nowhere.curve(0, "translation")[1].any()


def test_a_run_without_hands_has_no_file() -> None:
    animation = Animation(None)
    animation.add([])
    assert animation.finish() == (None, {"rate": 30.0, "frames": 1, "hands": {}})


@pytest.mark.skipif(bool(LACKING), reason=LACKING)
def test_three_js_sees_the_predicted_meshes(hands, tmp_path: Path) -> None:
    frames = [0, 1, 7, 14, 15, 21, 22, FRAMES - 2]
    script = ASK.replace("of FRAMES", f"of {frames}").replace("RATE", str(RATE))
    said = ask_three(animate(hands)[0], script, tmp_path)
    assert "error" not in said, said["error"]
    assert said["duration"] == pytest.approx((FRAMES - 1) / RATE)
    for frame, shown in zip(frames, said["frames"], strict=True):
        assert set(shown) == set(hands)
        for name, each in hands.items():
            points, result = np.array(shown[name]["points"]), each[frame]
            if result is None:
                assert np.ptp(points, axis=0).max() == 0, "a hand that is missing has no size"
                continue
            off = np.linalg.norm(points - ((result.vertices + result.root) * FROM_OPENCV)[::7], axis=1)
            assert off.max() < BOUND + 1e-5, (name, frame)
            np.testing.assert_allclose(shown[name]["dark"], result.fingers_hidden, atol=1e-4)
