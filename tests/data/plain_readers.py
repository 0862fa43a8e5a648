"""Readers of DexYCB and HO3D written from the datasets' description alone, with nothing of the project in them.

What the synthesizer writes is checked against these, so that an error made twice inside the project cannot hide.
"""

import pickle
from pathlib import Path

import numpy as np
import yaml

KINTREE = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
JOINTS_FROM_MANO = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
MANOPTH_TIPS = {"right": [745, 317, 444, 556, 673], "left": [745, 317, 445, 556, 673]}
HO3D_TIPS = [744, 333, 444, 555, 672]
HO3D_FROM_JOINTS = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]


class _TupleLoader(yaml.SafeLoader):
    """What the toolkit's FullLoader does with extrinsics: the values are tagged as python tuples."""


_TupleLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node))
)


def read_yaml(path: Path) -> dict:
    return _TupleLoader(path.read_text()).get_single_data()


def read_pickle(path: Path) -> dict:
    return pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301 - written by this very test session


def rodrigues(v: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(v)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = v / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


class PlainMano:
    """MANO's own file and formulas in float64: vertices (778, 3) and the 16 joints, metres."""

    def __init__(self, path: Path) -> None:
        self.data = read_pickle(path)

    def finger_pose(self, coefficients: np.ndarray, mean: bool = True) -> np.ndarray:
        pose = np.asarray(coefficients, float) @ np.asarray(self.data["hands_components"])
        return pose + np.asarray(self.data["hands_mean"]) if mean else pose

    def rest_wrist(self, betas: np.ndarray) -> np.ndarray:
        return self._rest(betas)[1][0]

    def _rest(self, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shaped = np.asarray(self.data["v_template"]) + np.asarray(self.data["shapedirs"]) @ np.asarray(betas, float)
        return shaped, self.data["J_regressor"] @ shaped

    def pose(self, full_pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shaped, joints = self._rest(betas)
        turns = np.stack([rodrigues(v) for v in np.asarray(full_pose, float).reshape(16, 3)])
        feature = (turns[1:] - np.eye(3)).reshape(135)
        posed = shaped + np.asarray(self.data["posedirs"]) @ feature
        world = np.zeros((16, 4, 4))
        for j in range(16):
            local = np.eye(4)
            local[:3, :3] = turns[j]
            local[:3, 3] = joints[j] - (joints[KINTREE[j]] if j else 0)
            world[j] = local if j == 0 else world[KINTREE[j]] @ local
        placed = world[:, :3, 3] + translation
        relative = world.copy()
        relative[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], joints)
        blended = np.einsum("vj,jab->vab", np.asarray(self.data["weights"]), relative)
        vertices = np.einsum("vab,vb->va", blended[:, :3, :3], posed) + blended[:, :3, 3] + translation
        return vertices, placed

    def joints_21(self, vertices: np.ndarray, joints: np.ndarray, tips: list[int]) -> np.ndarray:
        return np.concatenate([joints, vertices[tips]])[JOINTS_FROM_MANO]


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0] == "v":
            vertices.append([float(w) for w in words[1:4]])
        elif words and words[0] == "f":
            faces.append([int(w.split("/")[0]) - 1 for w in words[1:4]])
    return np.array(vertices), np.array(faces)


def draw(meshes: list[tuple[np.ndarray, np.ndarray, int]], k: np.ndarray, size: tuple[int, int], box) -> tuple:
    """A slow z-buffer, triangle by triangle, of the pixel centres in box (x0, y0, x1, y1): ids and depths there."""
    del size
    x0, y0, x1, y1 = box
    depth, ident = np.full((y1 - y0, x1 - x0), np.inf), np.zeros((y1 - y0, x1 - x0), int)
    for vertices, faces, number in meshes:
        uv = vertices[:, :2] / vertices[:, 2:] * [k[0, 0], k[1, 1]] + k[:2, 2]
        for a, b, c in faces:
            p = uv[[a, b, c]]
            low = np.maximum(np.floor(p.min(axis=0) - 0.5), [x0, y0]).astype(int)
            high = np.minimum(np.ceil(p.max(axis=0) + 0.5), [x1, y1]).astype(int)
            if (high <= low).any():
                continue
            x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
            (ax, ay), (bx, by), (cx, cy) = p
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if area == 0:
                continue
            wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
            wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
            wc = 1 - wa - wb
            z = 1 / (wa / vertices[a, 2] + wb / vertices[b, 2] + wc / vertices[c, 2])
            rows, columns = slice(low[1] - y0, high[1] - y0), slice(low[0] - x0, high[0] - x0)
            closer = (wa >= 0) & (wb >= 0) & (wc >= 0) & (z < depth[rows, columns])
            depth[rows, columns] = np.where(closer, z, depth[rows, columns])
            ident[rows, columns] = np.where(closer, number, ident[rows, columns])
    return ident, depth
