"""The empty room as a camera sees it, against code that casts its rays one way for all walls and the table."""

import cv2
import numpy as np
import pytest
from h2onet.data.synthetic.scene.room import _ROOM, linear, make_backdrop, make_look, make_rig


def backdrop_by_pixels(camera, look):
    """Colour, depth, table and points: every wall is sampled for every pixel."""
    u, v = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    k = camera.intrinsics
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], axis=-1)
    rotation = camera.camera_from_table[:3, :3]
    eye, rays = -rotation.T @ camera.camera_from_table[:3, 3], rays @ rotation
    reach = np.maximum((_ROOM[:, 0] - eye) / rays, (_ROOM[:, 1] - eye) / rays)
    down = -eye[2] / rays[..., 2]
    wall, depth = reach.argmin(axis=-1), reach.min(axis=-1)
    points = eye + depth[..., None] * rays
    index = np.where(wall == 2, 4, 2 * wall + (np.take_along_axis(rays, wall[..., None], -1)[..., 0] > 0))
    colour = np.zeros((480, 640, 3), np.float32)
    for i, image in enumerate(look.walls):
        a, b = (1, 2) if i < 2 else (0, 2) if i < 4 else (0, 1)
        s = (points[..., a] - _ROOM[a, 0]) / (_ROOM[a, 1] - _ROOM[a, 0])
        t = (points[..., b] - _ROOM[b, 0]) / (_ROOM[b, 1] - _ROOM[b, 0])
        colour = np.where((index == i)[..., None], sampled(image, s, 1 - t) * 0.8, colour)
    on = eye + down[..., None] * rays
    table = (down > 0) & (down < depth) & (np.abs(on[..., :2]) < look.table_half).all(axis=-1)
    st = np.clip(on[..., :2] / 1.9 + 0.5, 0, 1)
    colour = np.where(table[..., None], sampled(look.table, st[..., 0], st[..., 1]), colour)
    rim = cv2.morphologyEx(table.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    colour = np.where(rim[..., None], cv2.GaussianBlur(colour, (5, 5), 1.0), colour)
    return colour, np.where(table, down, depth), table, np.where(table[..., None], on, points)


def sampled(image, s, t):
    x, y = (s * (image.shape[1] - 1)).astype(np.float32), (t * (image.shape[0] - 1)).astype(np.float32)
    return linear(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


@pytest.mark.parametrize("seed", range(4))
def test_the_empty_room_is_that_of_plain_code(seed):
    rng = np.random.default_rng(seed)
    look = make_look(seed, rng)
    for camera in make_rig(rng, spread=0.05 + 0.1 * seed, far=1 + 0.15 * seed)[seed % 2 :: 3]:
        found = make_backdrop(camera, look)
        colour, depth, table, points = backdrop_by_pixels(camera, look)
        np.testing.assert_array_equal(found.colour, colour.astype(np.float32))
        np.testing.assert_array_equal(found.depth, depth.astype(np.float32))
        np.testing.assert_array_equal(found.table, table)
        np.testing.assert_array_equal(found.points, points.astype(np.float32))
