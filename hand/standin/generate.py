"""Makes the stand-in hand's arrays: `python -m h2onet.hand.standin.generate` writes right.npz.

The skeleton is measured on real frames, the skin is `surface`'s, the mesh `mesh`'s, its motion `rig`'s and its shape
and pose components are `components`'. Here they become metres and take MANO's vertex numbers at the places that other
people's code relies on (fingertips, wrist loop, finger ranges).
"""

import numpy as np

from ..parts import FINGERS, mano_parts
from .arrays import ARRAY_FIELDS, RIGHT, TIP_VERTICES, WRIST_LOOP
from .components import mean_pose, pose_components, sample_poses, shape_components
from .mesh import HandMesh, build_mesh
from .rig import joint_regressor, pose_correctives, skin_weights
from .surface import FINGER_ORDER, PARENTS, finger_coordinates, fingers, hand_surface, project


def generate_right() -> dict[str, np.ndarray]:
    """The right hand's arrays by the names of `ARRAY_FIELDS`: metres, float64.

    Not those of right.npz to the bit: on another processor linear algebra rounds otherwise, by less than 1e-10, and
    on old ones vertices at equal distances take each other's numbers.
    """
    mesh = build_mesh()
    weights = skin_weights(mesh)
    place = _numbering(mesh, weights)
    vertices, weights = mesh.vertices[place], weights[place]
    number = np.argsort(place)
    faces = number[mesh.faces]
    _, normals = project(hand_surface, vertices)
    components, mean = pose_components(), mean_pose()
    poses = np.array(list(sample_poses().values()))
    return {
        "v_template": vertices / 1000,
        "shapedirs": shape_components(vertices, normals, weights) / 1000,
        "posedirs": pose_correctives(vertices, weights) / 1000,
        "joint_regressor": joint_regressor(vertices, weights),
        "weights": weights,
        "hands_components": components,
        "hands_mean": mean,
        "hands_coeffs": (poses - mean) @ components.T,
        "faces": faces.astype(np.int32),
        "parents": PARENTS.astype(np.int64),
    }


def _numbering(mesh: HandMesh, weights: np.ndarray) -> np.ndarray:
    """For each of MANO's vertex numbers, the vertex of `mesh` that takes it (778,).

    Fingertips and the wrist loop exactly; the other numbers of a finger in MANO go to the vertices which that finger
    moves most, from its base to its tip, so that index lists made for MANO still mean about the same places.
    """
    place = np.full(len(mesh.vertices), -1)
    for name, numbers in TIP_VERTICES.items():
        pulp, nail, nail_side = mesh.tips[name][4], mesh.tips[name][1], mesh.tips[name][2]
        place[list(numbers)] = [mesh.tips[name][0], pulp, nail, nail_side][: len(numbers)]
    place[list(WRIST_LOOP)] = mesh.wrist
    left = np.setdiff1d(np.arange(len(place)), place)
    for part, name in enumerate(FINGERS):
        numbers = np.flatnonzero((mano_parts().vertex == part) & (place < 0))
        first = 1 + 3 * FINGER_ORDER.index(name)
        moved = weights[left, first : first + 3].sum(axis=1)
        along = finger_coordinates(fingers()[name], mesh.vertices[left])[0]
        chosen = np.lexsort((-along, -moved))[: len(numbers)]
        chosen = chosen[np.argsort(along[chosen], kind="stable")]
        place[numbers] = left[chosen]
        left = np.delete(left, chosen)
    left = left[np.argsort(-mesh.vertices[left, 0], kind="stable")]
    place[place < 0] = left
    return place


if __name__ == "__main__":
    made = generate_right()
    np.savez_compressed(RIGHT, **{name: made[name] for name in ARRAY_FIELDS})  # pyright: ignore[reportArgumentType]
