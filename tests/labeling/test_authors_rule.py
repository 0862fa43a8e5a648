"""The h2onet rule: the authors' own labels on the golden frames, and its borders and thresholds one by one."""

import json

import numpy as np
import pytest
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.hand.camera import project
from h2onet.hand.parts import LABELS, PARTS
from h2onet.labeling.label import label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.occlusion import authors_rule
from h2onet.labeling.pose import load_hands
from h2onet.labeling.raster import CpuRenderer, PartImage

W, H = 40, 30


@pytest.mark.parametrize("annotations", ["raw", "annotations/DEX_YCB_s0_test_data.json"], ids=["raw", "json"])
def test_golden_labels_are_the_authors(golden, annotations):
    """0 of 140 labels differ; vertex counts differ by float rounding of the original in at most 2 of 20 frames."""
    root, mano = golden / "labels" / "DEX_YCB", golden / "labels" / "mano"
    source = annotations if annotations == "raw" else root / annotations
    sequences = list_sequences("dexycb", root, "test", annotations=source, mano=mano)
    frames = [frame for sequence in sequences for frame in iter_frames(sequence) if isinstance(frame, Frame)]
    expected = {entry["file_name"]: entry for entry in json.loads((golden / "labels" / "expected.json").read_text())}
    labels = label_frames(frames, load_hands(mano), ObjectLibrary(root / "models"), CpuRenderer())
    assert {frame.image for frame in frames} == set(expected) and len(frames) == 20
    assert not labels.failures and not labels.missing_objects
    wanted = np.array([[expected[frame.image][name] for name in LABELS] for frame in frames])
    np.testing.assert_array_equal(labels.occluded, wanted)
    counts = np.array([expected[frame.image]["visible_vertices"] for frame in frames])
    difference = np.abs(labels.visible_vertices - counts)
    assert difference.max() <= 2 and (difference.any(axis=1)).sum() <= 2
    assert (labels.mask_iou > 0.99).all()  # the masks of these frames were made from the same meshes


def rule(points, part=0, shown=None, mask=None):
    """Counts of part `part` for vertices (N, 2) px before an image that shows it everywhere, unless told otherwise."""
    points = np.array(points, np.float64).reshape(-1, 2)
    image = np.full((H, W), part, np.uint8) if shown is None else shown
    mask = np.ones((H, W), bool) if mask is None else mask
    parts = np.full(len(points), part, np.uint8)
    return authors_rule(points, parts, PartImage(image, image != 255, (0, 0)), mask)


def only(x, y, part=0):
    """An image that shows `part` in one pixel."""
    image = np.full((H, W), 255, np.uint8)
    image[y, x] = part
    return image


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((7.99, 5.0), (7, 5)),
        ((-0.99, 5.0), (0, 5)),  # truncated towards zero, not floored
        ((-1.0, 5.0), (W - 1, 5)),  # negative indices count from the far side
        ((-W, -H), (0, 0)),
        ((-W - 0.9, 5.0), (0, 5)),
        ((W - 1.5, -2.5), (W - 2, H - 2)),
        ((W, 5.0), (0, 0)),  # beyond the far sides: the whole vertex goes to pixel (0, 0)
        ((5.0, H), (0, 0)),
        ((1e300, -1e300), (0, 0)),
    ],
)
def test_vertices_fall_into_the_pixels_of_the_original(point, pixel):
    shown = only(*pixel)
    assert rule([point], shown=shown).visible_vertices[0] == 1
    assert rule([point], shown=np.where(shown == 0, 255, 0).astype(np.uint8)).visible_vertices[0] == 0


@pytest.mark.parametrize(
    "point", [(-W - 1.0, 5.0), (5.0, -H - 1.0), (np.nan, 5.0), (5.0, np.nan), (-1e300, 5.0), (-np.inf, 5.0)]
)
def test_where_the_original_would_crash_a_vertex_does_not_count(point):
    assert rule([point]).visible_vertices[0] == 0


def test_a_vertex_counts_only_on_its_own_part_inside_the_mask():
    points = np.array([[3.5, 3.5]])
    mask = np.zeros((H, W), bool)
    assert rule(points, mask=mask).visible_vertices[0] == 0
    mask[3, 3] = True
    assert rule(points, mask=mask).visible_vertices[0] == 1
    assert rule(points, part=2, shown=only(3, 3, 1)).visible_vertices[2] == 0
    viewport = PartImage(np.zeros((2, 2), np.uint8), np.ones((2, 2), bool), (3, 2))
    assert authors_rule(points, np.zeros(1, np.uint8), viewport, mask).visible_vertices[0] == 1
    assert authors_rule(points + 2, np.zeros(1, np.uint8), viewport, ~mask).visible_vertices[0] == 0


def test_thirty_vertices_make_a_part_visible():
    for count, occluded in ((29, 1), (30, 0)):
        label = rule(np.full((count, 2), 4.5), part=3)
        assert label.visible_vertices[3] == count and label.occluded[3] == occluded
        assert label.occluded[[0, 1, 2, 4, 5]].all()


@pytest.mark.parametrize(
    ("in_mask", "rendered", "expected"), [(39, 100, 1), (40, 100, 0), (0, 100, 1), (0, 0, 0), (5, 0, 0)]
)
def test_global_compares_the_whole_mask_with_the_rendered_pixels(in_mask, rendered, expected):
    mask, covered = np.zeros((2, H * W), bool)
    mask[-in_mask or H * W :] = True  # far from the rendered pixels: only the numbers count
    covered[:rendered] = True
    image = PartImage(np.full((H, W), 255, np.uint8), covered.reshape(H, W), (0, 0))
    label = authors_rule(np.zeros((1, 2)), np.zeros(1, np.uint8), image, mask.reshape(H, W))
    assert label.occluded[6] == expected


def test_an_open_hand_in_its_own_mask_is_visible_and_half_a_mask_hides_the_rest(stage):
    whole = stage.frame(stage.pose())
    assert whole.hand_mask is not None
    half = whole.hand_mask.copy()
    points = project(stage.mesh(whole)[0], whole.intrinsics)
    fingers_end = np.percentile(points[:, 0], 60)
    half[:, : int(fingers_end)] = False
    labels = stage.label(whole, stage.frame(stage.pose(), mask=half), stage.frame(stage.pose(), mask=half & False))
    np.testing.assert_array_equal(labels.occluded[0], np.zeros(7))
    assert labels.occluded[1, 1:5].all() and not labels.occluded[1, 5]
    np.testing.assert_array_equal(labels.occluded[2], np.ones(7))
    assert (labels.visible_vertices[0] > labels.visible_vertices[1]).any()


def test_left_hands_are_the_mirrored_right_model_with_its_winding_kept(stage, hands):
    """So OpenGL's culling shows a left hand's inside: the far side's parts, which the rule then counts."""
    left = stage.frame(stage.pose(), side="left")
    labels, flipped = stage.label(left), stage.label(stage.frame(stage.pose()))
    assert labels.labelled.all() and labels.visible_vertices.shape == (1, len(PARTS))
    assert (labels.visible_vertices[0] != flipped.visible_vertices[0]).any()
    assert (np.abs(labels.visible_vertices[0] - flipped.visible_vertices[0]) < 25).all()
