"""The authors' partition of MANO, fingertips, and parts from skinning weights."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.mano import load_arrays
from h2onet.hand.parts import (
    FINGERS,
    JOINT_NAMES,
    JOINTS_FROM_MANO,
    LABELS,
    PALM,
    PARTS,
    TIPS,
    is_mano_topology,
    mano_parts,
    parts_from_weights,
    parts_of,
    tip_vertices,
)


def test_sizes_of_the_partition():
    parts = mano_parts()
    assert np.bincount(parts.vertex).tolist() == [100, 122, 119, 124, 122, 191]
    assert np.bincount(parts.face).tolist() == [186, 232, 232, 237, 232, 419]
    assert parts.vertex.dtype == parts.face.dtype == np.uint8
    assert (*PARTS, "global") == LABELS and PARTS[PALM] == "palm"


def test_ranges_are_disjoint():
    from h2onet.hand import parts

    for ranges, count in ((parts._VERTEX_RANGES, 778), (parts._FACE_RANGES, 1538)):
        pieces = [piece.partition("-") for text in ranges.values() for piece in text.split()]
        ids = [i for first, _, last in pieces for i in range(int(first), int(last or first) + 1)]
        assert len(ids) == len(set(ids)) and max(ids) < count


def test_partition_equals_the_authors(golden):
    expected = np.load(golden / "hand" / "parts.npz")
    parts = mano_parts()
    assert np.array_equal(parts.vertex, expected["vertex_part"])
    assert np.array_equal(parts.face, expected["face_part"])
    assert tuple(expected["names"]) == PARTS


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", TIPS)
def test_each_tip_lies_in_its_finger(name, side):
    assert [PARTS[mano_parts().vertex[v]] for v in tip_vertices(name, side)] == list(FINGERS)


def test_unknown_tips_and_sides_are_refused():
    with pytest.raises(InputError, match="manopth, h2onet, ho3d, smplx"):
        tip_vertices("openpose", "right")
    with pytest.raises(InputError, match="right or left"):
        tip_vertices("ho3d", "both")


def test_parts_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        mano_parts().vertex[0] = 1


def test_mano_topology_is_known_with_either_winding_and_in_no_other_order(golden):
    faces = np.load(golden / "hand" / "template.npz")["faces"]
    assert is_mano_topology(faces) and is_mano_topology(faces[:, ::-1].astype(np.uint32))
    assert not is_mano_topology(np.roll(faces, 1, axis=0)), "face parts go by face number"
    other = faces.copy()
    other[7, 0] = (other[7, 0] + 1) % 778
    assert not is_mano_topology(other) and not is_mano_topology(faces[:-1])
    for side in ("right", "left"):
        arrays = load_arrays(golden / "labels" / "mano", side)
        assert is_mano_topology(arrays.faces) and parts_of(arrays.faces, arrays.weights) is mano_parts()


def test_weights_give_the_finger_of_the_strongest_joint():
    # One vertex per joint in MANO's order: wrist, index, middle, little, ring, thumb.
    names = ["palm"] + [f for f in ("index", "middle", "little", "ring", "thumb") for _ in range(3)]
    weights = 0.7 * np.eye(16) + 0.3 / 16
    faces = np.array([[1, 2, 3], [1, 2, 0], [0, 1, 4], [13, 14, 15]])
    parts = parts_from_weights(weights, faces)
    assert [PARTS[p] for p in parts.vertex] == names
    assert [PARTS[p] for p in parts.face] == ["index", "palm", "palm", "thumb"]
    assert parts_of(faces, weights).vertex.tolist() == parts.vertex.tolist()


def test_weights_agree_with_the_authors_on_mano(golden):
    """Fingers are the same but for a few vertices between them; the palm gives up the knuckles."""
    arrays = load_arrays(golden / "labels" / "mano", "right")
    found, authors = parts_from_weights(arrays.weights, arrays.faces), mano_parts()
    in_a_finger = authors.vertex != PALM
    assert (found.vertex == authors.vertex)[in_a_finger].mean() > 0.99
    assert (found.vertex == authors.vertex).mean() > 0.85


@pytest.mark.parametrize("side", ["right", "left"])
def test_tips_of_the_stand_in_lie_in_their_fingers(side):
    arrays = load_arrays("standin", side)
    parts = parts_of(arrays.faces, arrays.weights)
    for name in TIPS:
        assert [PARTS[parts.vertex[v]] for v in tip_vertices(name, side)] == list(FINGERS)
    assert (np.bincount(parts.vertex, minlength=6) > 60).all()


@pytest.mark.parametrize(
    ("weights", "faces"),
    [(np.ones((5, 15)), [[0, 1, 2]]), (np.ones((5, 16)), [[0, 1, 5]]), (np.ones((5, 16)), [[0, 1]])],
)
def test_weights_of_other_shapes_are_refused(weights, faces):
    with pytest.raises(InputError):
        parts_from_weights(weights, np.array(faces))


def test_joint_order_runs_from_wrist_to_little_tip():
    tips_at = [JOINTS_FROM_MANO.index(16 + finger) for finger in range(5)]
    assert tips_at == [4, 8, 12, 16, 20] and sorted(JOINTS_FROM_MANO) == list(range(21))
    assert [JOINT_NAMES[i] for i in tips_at] == [f"{finger}_tip" for finger in FINGERS]
