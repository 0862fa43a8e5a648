"""Pictures of synthetic scenes against plain code that does the same, pixel by pixel and tap by tap."""

import cv2
import numpy as np
import pytest
from h2onet.data.synthetic.performance import hand_model
from h2onet.data.synthetic.scene import room, shading
from h2onet.data.synthetic.scene.objects import catalogue
from h2onet.data.synthetic.scene.shadows import _BIAS, SCALE, cast_shadows
from h2onet.data.synthetic.scene.shot import HandShape, geometry_of, skin_colours, textures_of
from h2onet.hand.zbuffer import rasterize
from scipy.spatial.transform import Rotation

MIDDLE = np.array([0.0, 0.0, 0.08])
SEEDS = range(3)


def scene(seed):
    """A hand and three objects thrown over the table, one camera's view of it, the look and the shadows."""
    rng = np.random.default_rng(seed)
    model = hand_model("left" if seed % 2 else "right")
    look = room.make_look(seed, rng)
    colours = skin_colours(model.arrays.v_template, model.faces, model.arrays.weights, look.skin)
    hand = model.arrays.v_template @ Rotation.random(rng=rng).as_matrix().T + rng.uniform([-0.1, -0.1, 0.0], 0.2)
    things = tuple(rng.choice(list(catalogue()), 3, replace=False))
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = Rotation.random(3, rng=rng).as_matrix(), rng.uniform(-0.1, 0.2, (3, 3))
    shape = HandShape(hand, np.array([0.0, -1.0, 0.2]), model.faces, colours)
    geometry = geometry_of([shape], things, poses, look)
    camera = room.make_rig(rng)[int(rng.integers(8))]
    view = shading.view_of(camera, look, MIDDLE)
    return geometry, textures_of(things), view, look, cast_shadows(geometry, look.lights[0], MIDDLE), rng


def share(point, shadows):
    """Share of the first light at a point: all 25 taps, one after the other."""
    u, v, d = shadows.axes @ (point - shadows.centre)
    u, v, d = u * SCALE + 160, v * SCALE + 160, d - _BIAS
    if min(u, v) < 6 or max(u, v) >= 314:
        return 1.0
    i, j = int(u), int(v)
    across, along = ([1 - f, 1, 1, 1, f] for f in (u - i, v - j))
    open_taps = shadows.nearest[j - 2 : j + 3, i - 2 : i + 3] >= d
    return (np.outer(along, across) * open_taps).sum() / 16


def surface(x, y, f, geometry, points, z, textures, camera, look, shadows):
    """Colour (3,) of face f through the image point (x, y)."""
    corners = geometry.faces[f]
    p = points[corners]
    opposite = np.array([np.linalg.det([p[k - 2] - [x, y], p[k - 1] - [x, y]]) for k in range(3)])
    weights = np.maximum(opposite / np.linalg.det([p[1] - p[0], p[2] - p[0]]) / z[corners], 0)
    weights /= weights.sum()
    point, normal = weights @ geometry.vertices[corners], weights @ geometry.normals[corners]
    normal /= np.linalg.norm(normal)
    eye = -camera.camera_from_table[:3, :3].T @ camera.camera_from_table[:3, 3] - point
    eye /= np.linalg.norm(eye)
    normal = -normal if normal @ eye < 0 else normal
    up = 0.5 + 0.5 * normal[2]
    contact = 1 - 0.45 * max(0.0, 1 - max(point[2], 0.0) / 0.04) * (1 - up)
    light, gloss = (look.ambient[1] + (look.ambient[0] - look.ambient[1]) * up) * contact, 0.0
    for i in range(2):
        facing = normal @ look.lights[i]
        if facing > 0:
            arrives = share(point + 0.002 * normal, shadows) if i == 0 else 1.0
            light = light + facing * arrives * look.light_colours[i]
            half = (look.lights[i] + eye) / np.linalg.norm(look.lights[i] + eye)
            gloss += arrives * geometry.shine[f] * max(normal @ half, 0.0) ** 28 * look.light_colours[i, 1]
    if geometry.texture[f] < 0:
        return weights @ geometry.colours[corners].astype(float) * light + gloss
    size = textures.shape[1]
    u, v = weights @ geometry.uv[corners].astype(float)
    u, v = np.clip([u * size - 0.5, (1 - v) * size - 0.5], 0, size - 1.001)
    square = textures[geometry.texture[f], int(v) : int(v) + 2, int(u) : int(u) + 2].astype(float)
    across = square[:, 0] * (1 - u % 1) + square[:, 1] * (u % 1)
    return (across[0] * (1 - v % 1) + across[1] * (v % 1)) * light + gloss


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_is_that_of_plain_code(seed):
    geometry, textures, view, look, shadows, rng = scene(seed)
    picture, seg, metres = shading.paint(geometry, textures, view, look, shadows)

    camera, backdrop = view.camera, view.backdrop
    points, z = camera.project(geometry.vertices)
    seen = rasterize(points, z, geometry.faces, width=640, height=480, samples=shading.SAMPLES)
    face, hit = seen.face, seen.face >= 0
    identity = np.where(hit, geometry.identity[face].astype(int), -1)
    np.testing.assert_array_equal(seg, np.where(hit[0], identity[0], 0))
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(metres, np.where(hit[0], 1 / seen.inverse_depth[0], backdrop.depth))

    arrives = cv2.remap(shadows.table, *view.places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1.0)
    sky = look.ambient[0] + max(look.lights[1, 2], 0) * look.light_colours[1]
    ground = backdrop.colour * (sky + arrives[..., None] * look.lights[0, 2] * look.light_colours[0])
    same = (identity == identity[0]).all(axis=0)
    shaded = arrives < 1
    kinds = [same & hit[0], ~same, ~hit.any(axis=0) & shaded, ~hit.any(axis=0) & ~shaded]
    assert all(kind.sum() > 20 for kind in kinds)
    for kind in kinds:
        for y, x in rng.permutation(np.argwhere(kind))[:150]:
            samples = [0] if same[y, x] else range(1, 5)
            colours = [
                surface(x + sx, y + sy, face[s, y, x], geometry, points, z, textures, camera, look, shadows)
                if hit[s, y, x]
                else ground[y, x]
                for s in samples
                for sx, sy in [shading.SAMPLES[s]]
            ]
            root = np.sqrt(np.mean(colours, axis=0) * camera.gain)
            np.testing.assert_allclose(picture[y, x], root * (0.955 + 0.045 * root), rtol=2e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_range_of_the_shadow_map_is_that_of_its_taps(seed):
    shadows = scene(seed)[4]
    for j, i in np.random.default_rng(seed).integers(6, 314, (300, 2)):
        taps = shadows.nearest[j - 2 : j + 3, i - 2 : i + 3]
        assert (shadows.range[0, j, i], shadows.range[1, j, i]) == (taps.min(), taps.max())


@pytest.mark.parametrize("seed", SEEDS)
def test_grain_is_added_as_plain_code_adds_it(seed):
    rng = np.random.default_rng(seed)
    picture = rng.uniform(-0.1, 1.2, (480, 640, 3)).astype(np.float32)
    grain, strength = rng.standard_normal((500, 660, 3), dtype=np.float32), rng.uniform(1.5, 3)
    x, y = (int(k) for k in rng.integers(20, size=2))
    photo = shading.develop(picture, grain.reshape(500, -1), (x, y), strength)
    part = grain[y : y + 480, x : x + 640]
    expected = 255.0 * picture.astype(float) + (np.float32(strength) * part).astype(float)
    np.testing.assert_array_equal(photo, np.clip(expected, 0, 255).astype(np.uint8)[..., ::-1])
