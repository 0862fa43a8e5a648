"""The baseline of the label benchmark: a loop that does what the authors' labeller does, in the way it does it.

Per frame: load the photo, pose one hand, make a pyrender renderer, draw 640x480, delete the renderer, read the
segmentation, compare colours at every vertex, write one JSON. Its debug pictures are left out. Nothing here is part of
the package; the labels are compared with ours, so that both sides of the ratio do the same work.
"""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.data.frame import Frame
from h2onet.hand.camera import project
from h2onet.hand.mano import HandModel
from h2onet.hand.parts import LABELS, PARTS
from h2onet.hand.rotations import mirror_pose

COLOURS = np.array([(255, 0, 255), (255, 255, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)], np.uint8)


class OriginalLoop:
    """Labels frames one at a time; raises ImportError or an OpenGL error where pyrender cannot draw."""

    def __init__(self, root: Path, right: HandModel, out: Path) -> None:
        """root: the dataset; right: the right hand's model; out: the folder for one JSON per frame."""
        os.environ["PYOPENGL_PLATFORM"] = "egl"
        import pyrender

        self.pyrender, self.root, self.right, self.out = pyrender, root, right, out

    def label(self, frame: Frame, annotation_file: Path) -> np.ndarray:
        """(7,) labels of one frame. annotation_file: the npz that holds its segmentation."""
        photo = cv2.imread(str(self.root / frame.image))
        if photo is None:
            raise FileNotFoundError(self.root / frame.image)
        vertices = self._pose(frame)
        colour, depth = self._render(vertices, frame.intrinsics)
        mask = np.load(annotation_file)["seg"] == 255
        drawn = np.where((depth > 0)[..., None], colour, photo[..., ::-1]) * mask[..., None]
        pixels = project(vertices, frame.intrinsics).astype(int)
        beyond = (pixels[:, 0] >= frame.width) | (pixels[:, 1] >= frame.height)
        pixels[beyond] = 0
        shown = drawn[pixels[:, 1], pixels[:, 0]]
        occluded = {}
        for part, name in enumerate(PARTS):
            mine = self.right.parts.vertex == part
            occluded[name] = int((shown[mine] == COLOURS[part]).all(axis=1).sum() < 30)
        with np.errstate(invalid="ignore", divide="ignore"):  # a hand outside the photo: 0 / 0, which is not < 0.4
            occluded["global"] = int(np.divide(mask.sum(), (depth > 0).sum()) < 0.4)
        (self.out / f"{frame.index}.json").write_text(json.dumps(occluded))
        return np.array([occluded[name] for name in LABELS])

    def _pose(self, frame: Frame) -> np.ndarray:
        """Vertices (778, 3) m of one hand: a batch of one, as in the original."""
        pose = frame.mano_pose if frame.side == "right" else mirror_pose(np.asarray(frame.mano_pose))
        with torch.no_grad():
            posed = self.right(torch.as_tensor(pose)[None], torch.as_tensor(frame.mano_shape)[None])
        mesh = (posed.vertices[0] - posed.joints[0, :1]).numpy()
        return (mesh if frame.side == "right" else mesh * (-1, 1, 1)) + frame.root

    def _render(self, vertices: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colour (480, 640, 3) and depth (480, 640) from a renderer made for this frame and deleted after it."""
        pyrender = self.pyrender
        corners = (vertices * (1, -1, -1))[self.right.faces.ravel()].astype(np.float32)
        colours = np.ones((len(corners), 4), np.float32)
        colours[:, :3] = np.repeat(COLOURS[self.right.parts.face], 3, axis=0) / 255.0
        scene = pyrender.Scene(bg_color=(1.0, 1.0, 1.0, 1.0), ambient_light=(1.0, 1.0, 1.0))
        scene.add(pyrender.Mesh([pyrender.Primitive(corners, color_0=colours)]))
        (fx, _, cx), (_, fy, cy) = intrinsics[0], intrinsics[1]
        scene.add(pyrender.IntrinsicsCamera(fx, fy, cx, cy))
        renderer = pyrender.OffscreenRenderer(640, 480)
        colour, depth = renderer.render(scene, flags=pyrender.RenderFlags.FLAT)
        renderer.delete()
        return colour, depth
