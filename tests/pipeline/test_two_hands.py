"""Labels of a tree with two hands against one without the second: by both rules what the other hand hides is hidden.

Both trees hold the same recordings: what differs between their labels is the other hand's doing.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_trees import h2o
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame, OtherHand
from h2onet.data.labels import LabelStore
from h2onet.hand.parts import CAUSES, FINGERS, PARTS
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import load_hands, pose_frames
from h2onet.labeling.raster import CpuRenderer, Mesh, View
from h2onet.pipeline.label_sequence import _with_rendered_mask
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
from h2onet.pipeline.write_table import write_table

OTHER = CAUSES.index("other hand")
SPLITS = ("train", "test")  # of three recordings


@pytest.fixture(scope="module")
def made(two_hand_trees, tmp_path_factory) -> SimpleNamespace:
    """Roots and labels by split, with one hand and with two."""
    folder, roots, labels = tmp_path_factory.mktemp("two"), dict(zip((1, 2), two_hand_trees, strict=True)), {}
    for hands in (1, 2):
        for split in SPLITS:
            out = folder / f"{split}{hands}.zarr"
            sheet = folder / f"{split}{hands}.png"
            prepare_labels(
                LabelSettings("dexycb", roots[hands], split, out=out, mano="standin", workers=1, sheet=sheet)
            )
            labels[split, hands] = LabelStore.open(out)
    return SimpleNamespace(folder=folder, roots=roots, labels=labels)


def column(made, name: str, hands: int) -> np.ndarray:
    return np.concatenate([made.labels[split, hands][name] for split in SPLITS])


def masks_of(made, hands: int) -> list[dict[str, np.ndarray]]:
    """seg and other_seg of every labelled frame, in the rows' order."""
    found = []
    for split in SPLITS:
        labels = made.labels[split, hands]
        for row in range(len(labels)):
            path = made.roots[hands] / labels.image(row).replace("color_", "labels_").replace(".jpg", ".npz")
            with np.load(path) as content:
                found.append({name: content[name] for name in ("seg", "other_seg") if name in content.files})
    return found


def frames_of(made, split: str) -> Iterator[Frame]:
    """The frames with two hands that have an annotated one."""
    for sequence in list_sequences("dexycb", made.roots[2], split, mano="standin", warn=False):
        yield from (frame for frame in iter_frames(sequence) if isinstance(frame, Frame))


def silhouettes(made) -> list[np.ndarray]:
    """(480, 640) bool of every labelled frame with two hands: the annotated hand as if nothing hid it."""
    hands, renderer, found = load_hands("standin"), CpuRenderer(), []
    for split in SPLITS:
        for frame in frames_of(made, split):
            posed = pose_frames([frame], hands)
            mesh = Mesh(posed.own[0], hands.own(frame.side).faces, posed.own_2d[0])
            view = View(frame.intrinsics, 640, 480, (0, 0, 640, 480))
            found.append(renderer.inverse_depth([mesh], view) > 0)
    return found


def test_the_depth_rule_names_the_other_hand_where_the_segmentation_shows_it(made):
    """Its share of the silhouette is that of the pixels which show it there; an arm before both is nobody's."""
    by_other, outside = column(made, "hand_hidden_area", 2)[:, 1:].T
    shown, many = [], 0
    for row, (masks, whole) in enumerate(zip(masks_of(made, 2), silhouettes(made), strict=True)):
        pixels = whole.sum() / (1 - outside[row]) if outside[row] < 1 else np.inf
        seen = (whole & (masks["other_seg"] > 0)).sum()
        arms = (whole & (masks["seg"] == 0) & (masks["other_seg"] == 0)).sum()
        counted = by_other[row] * pixels if np.isfinite(pixels) else 0.0
        assert seen - 0.01 * seen - 3 <= counted <= seen + arms + 3, row
        many += seen > 500 and arms < 50
        shown.append(seen)
    assert many >= 15 and shown.count(0) >= 10
    covered, fractions = np.array(shown) > 0, column(made, "other_hand_fraction", 2)
    assert (fractions[~covered] == 0).all() and (by_other[~covered] == 0).all()
    causes = column(made, "cause", 2)
    assert (causes[~covered] != OTHER).all() and (causes[covered] == OTHER).any(axis=1).sum() >= 10
    assert (column(made, "cause", 1) != OTHER).all()


def test_only_what_it_covers_differs_from_the_recording_without_it(made):
    one, two = (lambda name: column(made, name, 1)), (lambda name: column(made, name, 2))
    for name in ("frame", "mano_pose", "joints", "object_pose", "object_visible_area"):
        np.testing.assert_array_equal(one(name), two(name), err_msg=name)
    apart = two("other_hand_fraction").sum(axis=1) + two("hand_hidden_area")[:, 1] == 0
    apart &= (two("joint_visible") == one("joint_visible")).all(axis=1)
    assert apart.sum() >= 10
    for name in ("visible_fraction", "hidden_fraction", "cause", "hand_visible_area", "hand_hidden_area"):
        np.testing.assert_array_equal(one(name)[apart], two(name)[apart], err_msg=name)
    assert (two("visible_fraction") <= one("visible_fraction")).all()
    assert (two("joint_visible") <= one("joint_visible")).all()
    total = two("visible_fraction") + two("hidden_fraction").sum(axis=2) + two("other_hand_fraction")
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_the_authors_rule_counts_what_it_covers_as_occluded(made):
    """The mask is the annotated hand's, without the pixels that show the other one: the rule needs to know no more."""
    counts = [column(made, "visible_vertices", hands) for hands in (1, 2)]
    assert (counts[1] <= counts[0]).all()
    pairs = zip(masks_of(made, 1), masks_of(made, 2), strict=True)
    same = np.array([np.array_equal(a["seg"] == 255, b["seg"] == 255) for a, b in pairs])
    assert same.sum() >= 10
    np.testing.assert_array_equal(counts[0][same], counts[1][same])
    occluded = [column(made, "occluded", hands) for hands in (1, 2)]
    fingers = np.arange(len(FINGERS))
    gone = column(made, "other_hand_fraction", 2)[:, fingers] > 0.9
    assert gone.sum() >= 5 and (occluded[1][:, fingers][gone] == 1).all()
    assert (occluded[0][:, fingers] < occluded[1][:, fingers]).sum() >= 10


def test_where_no_arm_lies_before_it_the_mask_agrees(made):
    overlap = column(made, "mask_iou", 2)
    arms = [
        (whole & (masks["seg"] == 0) & (masks["other_seg"] == 0)).sum()
        for masks, whole in zip(masks_of(made, 2), silhouettes(made), strict=True)
    ]
    clear = (np.array(arms) < 10) & (column(made, "hand_visible_area", 2) > 0.1)
    assert clear.sum() >= 15 and overlap[clear].min() > 0.97


@pytest.fixture(scope="module")
def stores(made) -> tuple[Path, Path]:
    return made.folder / "train1.zarr", made.folder / "train2.zarr"


def test_the_commands_speak_of_it(made, stores, tmp_path):
    said = h2o("labels", "info", stores[1])
    assert said.code == 0 and "other hand" in said.out
    compared = h2o("labels", "compare", *stores)
    differing = next(line for line in compared.out.splitlines() if "other_hand_fraction" in line)
    assert compared.code == 1 and differing
    assert h2o("labels", "export", stores[1], "--to", "csv", "--out", tmp_path / "l.csv").code == 0
    header = (tmp_path / "l.csv").read_text().splitlines()[0]
    assert all(f"other_hand_fraction_{part}" in header for part in PARTS) and "hand_hidden_area_other_hand" in header
    assert h2o("labels", "verify", stores[1]).code == 0
    clips = tmp_path / "clips.zarr"
    assert h2o("build-clips", "--labels", stores[1], "--out", clips, "--workers", 1).code == 0
    assert h2o("clips", "info", clips).code == h2o("clips", "verify", clips).code == 0
    assert (made.folder / "train2.png").is_file()
    root = made.roots[2]
    assert h2o("doctor", "--dataset", "dexycb", "--root", root, "--mano", root / "mano").code == 0


def test_a_rendered_mask_leaves_out_what_another_hand_hides(made):
    """Where a dataset releases meshes and no masks, the rendered one stands in: it must not hold hidden pixels."""
    hands, renderer = load_hands("standin"), CpuRenderer()
    tools = (hands, ObjectLibrary(made.roots[2] / "models"), renderer)
    checked = 0
    for split in SPLITS:
        for frame in frames_of(made, split):
            vertices = pose_frames([frame], hands).own[0]
            released = Frame(**vars(frame) | {"vertices": vertices, "mano_pose": None, "hand_mask": None})
            alone = Frame(**vars(released) | {"others": ()})
            mask, without = (_with_rendered_mask(each, tools).hand_mask for each in (released, alone))
            assert mask is not None and without is not None and frame.hand_mask is not None
            with np.load(made.roots[2] / frame.image.replace("color_", "labels_").replace(".jpg", ".npz")) as content:
                other = content["other_seg"] > 0
            assert not (mask & ~without).any()
            assert (frame.hand_mask & ~mask).sum() <= 0.01 * frame.hand_mask.sum() + 3
            assert (mask & other).sum() <= 0.01 * other.sum() + 3
            checked += (without & other).sum() > 500
    assert checked >= 8
    broken = Frame(**vars(released) | {"others": (OtherHand("left", vertices=np.full((778, 3), np.nan)),)})
    assert _with_rendered_mask(broken, tools) is broken  # fails by name when it is labelled


def test_a_table_says_that_it_leaves_out_hands_without_a_row(made, tmp_path, caplog):
    crowded = sum(bool(frame.others) for frame in frames_of(made, "test"))
    write_table("dexycb", made.roots[2], ["test"], "s0", "standin", tmp_path / "two")
    assert crowded and f"{crowded} frames show another hand" in caplog.text
    caplog.clear()
    write_table("dexycb", made.roots[1], ["test"], "s0", "standin", tmp_path / "one")
    assert "another hand" not in caplog.text
