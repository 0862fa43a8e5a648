"""What is mutated and who reads it: every kind of file that a command of this product takes from somebody else.

A target makes its small good files in a folder, names those to mutate with their format, and reads all of them the way
the commands do. `read` returns None where all was accepted and "row" where something became a row of failures.jsonl; it
writes nothing but below its own folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from fuzz.sandbox import Reader


@dataclass(frozen=True)
class Target:
    """`make` fills an empty folder; `files` (pattern, format) are those to mutate, `share` how many cases, relative."""

    make: Callable[[Path], object]
    files: tuple[tuple[str, str], ...]
    read: Reader
    share: float = 1.0


# -- datasets -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _hands():
    from h2onet.labeling.pose import load_hands
    from h2onet.labeling.raster import CpuRenderer

    return load_hands("standin"), CpuRenderer()


def _label(dataset: str, split: str = "train", annotations: str | None = None) -> Reader:
    """List, read and label every frame of a tree, as prepare-labels does."""

    def read(folder: Path) -> str | None:
        from h2onet.data.datasets import iter_frames, list_sequences
        from h2onet.data.frame import Failure, Frame
        from h2onet.labeling.label import label_frames
        from h2onet.labeling.objects import ObjectLibrary

        given = "raw" if annotations is None else folder / annotations
        failed = False
        hands, renderer = _hands()
        for sequence in list_sequences(dataset, folder / "root", split, "s0", given, "standin"):
            items = list(iter_frames(sequence))
            for item in items:
                if isinstance(item, Failure):
                    _check_row(item)
            labels = label_frames(
                [item for item in items if isinstance(item, Frame)],
                hands,
                ObjectLibrary(folder / "root" / "models"),
                renderer,
                rules=("depth",),
            )
            for _, failure in labels.failures:
                _check_row(failure)
            failed |= bool(labels.failures) or any(isinstance(item, Failure) for item in items)
        return "row" if failed else None

    return read


def _check_row(failure) -> None:
    text = f"{failure.path}: {failure.reason}"
    assert text.isprintable() and len(text) < 1000, f"not one short line: {text[:1000]!r}"


def _make_dexycb(folder: Path) -> None:
    import raw_trees

    raw_trees.write_dexycb(folder / "root", frames=2)


def _make_ho3d(version: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import raw_trees

        raw_trees.write_ho3d(folder / "root", version, {"ABF10": 2}, {"SB11": 2})
        raw_trees.write_released(folder / "root")

    return make


def _make_annotations(folder: Path) -> None:
    from h2onet.data.annotations import write_annotations

    _make_dexycb(folder)
    write_annotations("dexycb", folder / "root", "train", "s0", "standin", folder / "annotations.json")


def _make_table(suffix: str) -> Callable[[Path], None]:
    """Two hands in one photo and a third alone, a mask, an object with a mesh: a file of rows of either kind."""

    def make(folder: Path) -> None:
        import raw_trees
        import table_trees

        root = folder / "root"
        held = {"objects": [{"name": "mug", "pose": raw_trees.object_pose(0).tolist()}], "grasped": 0}
        rows = [
            table_trees.row(0, **held, mask="masks/0000.png"),
            table_trees.row(0, "left", index=7, camera="c1", subject="anna", split="train"),
            table_trees.row(1, box=[10, 20, 200, 220], joints=raw_trees.posed("right", 1).joints.tolist()),
        ]
        table_trees.write(root, rows, mask={"right": 255, "left": [9, 9, 9]}, splits={"train": ["one*"]})
        hand = raw_trees.hand_area(raw_trees.posed("right", 0).vertices)
        table_trees.write_mask(root / "masks" / "0000.png", hand)
        mesh = root / "models" / "mug" / "textured_simple.obj"
        mesh.parent.mkdir(parents=True)
        mesh.write_text(raw_trees.OBJ)
        if suffix == "parquet":
            pa = pytest.importorskip("pyarrow", reason="frames.parquet needs pyarrow")
            pq = pytest.importorskip("pyarrow.parquet", reason="frames.parquet needs pyarrow")
            columns = {
                name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)
            }
            pq.write_table(pa.table(columns), root / "frames.parquet", row_group_size=2)
            (root / "frames.jsonl").unlink()

    return make


# -- models ---------------------------------------------------------------------------------------------------------


def _make_mano(folder: Path) -> None:
    from h2onet.hand.standin.arrays import write_mano_pickles

    write_mano_pickles(folder)
    (folder / "MANO_LEFT.pkl").unlink()


def _read_mano(folder: Path) -> None:
    from h2onet.hand.mano import load_hand

    load_hand(folder, "right")


def _make_object(folder: Path) -> None:
    import raw_trees

    path = folder / "models" / "003_cracker_box" / "textured_simple.obj"
    path.parent.mkdir(parents=True)
    path.write_text("mtllib x.mtl\nusemtl x\n" + raw_trees.OBJ)


def _read_object(folder: Path) -> None:
    from h2onet.labeling.objects import ObjectLibrary

    ObjectLibrary(folder / "models").get("003_cracker_box")


def _make_hierarchy(folder: Path) -> None:
    import pickle

    from h2onet.hand.hierarchy import build_hierarchy
    from h2onet.hand.standin.arrays import standin_arrays

    hand = standin_arrays("right")
    built = build_hierarchy(hand.v_template, hand.faces)
    content = {
        "vertices": [np.zeros((size, 3)) for size in built.sizes],
        "face": [face.astype(np.int64) for face in built.faces],
        "up_transform": [matrix.tocoo() for matrix in built.upsample],
    }
    (folder / "transform.pkl").write_bytes(pickle.dumps(content, 2).replace(b"numpy._core", b"numpy.core"))


def _read_hierarchy(folder: Path) -> None:
    from h2onet.hand.hierarchy import load_hierarchy

    load_hierarchy(folder / "transform.pkl")


# -- stores ---------------------------------------------------------------------------------------------------------


def _make_labels(folder: Path) -> None:
    import clip_scene

    clip_scene.write_scene(folder, clip_scene.Scene(sequences={clip_scene.KEY: (0, 1)}))


def _read_labels(folder: Path) -> None:
    """Open, read every column, name every photo, and what build-clips asks of a sequence."""
    from h2onet.data.labels import LabelStore

    labels = LabelStore.open(folder / "labels.zarr")
    for name in labels.index:
        _ = labels[name][:]
    for row in range(min(4, len(labels))):
        labels.image(row)
    for key in labels.sequences:
        labels.store.read(key)
    labels.export_json(folder / "json")
    shutil.rmtree(folder / "json", ignore_errors=True)


def _make_clips(folder: Path) -> None:
    import torch
    from clip_factory import make_clip_store
    from h2onet.hand.mano import load_hand

    torch.set_num_threads(1)
    made = make_clip_store(folder / "made", load_hand("standin", "right"), {"s/r/c": 2})
    shutil.move(made, folder / "clips.zarr")
    shutil.rmtree(folder / "made")


def _read_clips(folder: Path) -> str | None:
    """`clips info`, `clips verify`, and the samples as training takes them."""
    from h2onet.data.clips import ClipDataset, clip_info, verify
    from h2onet.errors import InputError

    problems = verify(folder / "clips.zarr")
    for line in problems:
        assert line.isprintable() and len(line) < 1000, f"not one short line: {line[:1000]!r}"
    try:
        str(clip_info(folder / "clips.zarr"))
        samples = ClipDataset(str(folder / "clips.zarr"))
        for row in range(min(3, len(samples))):
            _ = samples[row]
    except InputError:
        assert problems, "refused, and verify found nothing"
        raise
    return "row" if problems else None


REMOTE = "memory://fuzz/remote.zarr"


def _make_remote(folder: Path) -> None:
    import clip_scene
    import fsspec
    from h2onet.pipeline.build_clips import build_clips

    labels = clip_scene.write_scene(folder, clip_scene.Scene(sequences={clip_scene.KEY: (0, 1)}))
    build_clips(labels, REMOTE, workers=1)
    memory = fsspec.filesystem("memory")
    memory.get("/fuzz/remote.zarr", str(folder / "remote.zarr"), recursive=True)
    memory.rm("/fuzz", recursive=True)


def _read_remote(folder: Path) -> str | None:
    """Open, download the index, verify, and read samples, from an object store that holds the folder's files."""
    import fsspec
    from h2onet.data.clips import ClipDataset, verify

    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)  # else the index is the first case's
    memory = fsspec.filesystem("memory")
    memory.put(str(folder / "remote.zarr"), "/fuzz/remote.zarr", recursive=True)
    try:
        problems = verify(REMOTE)
        samples = ClipDataset(REMOTE)
        for row in range(min(3, len(samples))):
            _ = samples[row]
    finally:
        memory.rm("/fuzz", recursive=True)
    return "row" if problems else None


# -- checkpoints and runs -------------------------------------------------------------------------------------------


def _make_checkpoint(folder: Path) -> None:
    import torch
    from h2onet.hand.mano import load_hand
    from h2onet.network.checkpoint import save_checkpoint
    from h2onet.network.h2onet import NetworkConfig, build_network

    network = build_network(NetworkConfig(width=0.125), load_hand("standin", "right"))
    state = {"step": 3, "random": torch.get_rng_state(), "optimiser": {"state": {0: torch.zeros(4)}}}
    save_checkpoint(folder / "last", network, state, {"step": 3, "dataset_sha256": "abc"})


def _read_checkpoint(folder: Path) -> None:
    from h2onet.network.checkpoint import load_checkpoint, load_training_state, read_metadata

    load_checkpoint(folder / "last")
    load_training_state(folder / "last")
    read_metadata(folder / "last")


def _make_official(folder: Path) -> None:
    import torch

    torch.save({"a.weight": torch.zeros(3, 2), "b.bias": torch.ones(2)}, folder / "official.pth")


def _read_official(folder: Path) -> None:
    from h2onet.network.checkpoints.official import read_tensors

    read_tensors(folder / "official.pth")


def _make_recipe(folder: Path) -> None:
    from h2onet.training.recipe import load_recipe, to_toml

    (folder / "recipe.toml").write_text(to_toml(load_recipe("demo-multi-stage2")))


def _read_recipe(folder: Path) -> None:
    from h2onet.training.recipe import load_recipe, to_toml

    to_toml(load_recipe(folder / "recipe.toml"))


def _make_run(folder: Path) -> None:
    lines = [{"step": step, "loss": 1 / (step + 1), "epoch": 0, "validation": {"mpjpe": 4.0}} for step in range(4)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _read_run(folder: Path) -> str | None:
    from h2onet.evaluation.page.training import read_history, training_section

    history = read_history(folder)
    training_section([history])
    return "row" if history.broken else None


# -- evaluation -----------------------------------------------------------------------------------------------------


def _make_predictions(folder: Path) -> None:
    import zipfile

    rng, frames = np.random.default_rng(0), 3
    truth = [rng.normal(0, 0.04, (frames, count, 3)) + np.array([0, 0, -0.6]) for count in (21, 778)]
    for name, points in zip(("evaluation_xyz.json", "evaluation_verts.json"), truth, strict=True):
        (folder / name).write_text(json.dumps(np.round(points, 4).tolist()))
    (folder / "evaluation.txt").write_text("".join(f"SM1/{number:04d}\n" for number in range(frames)))
    (folder / "frames.txt").write_text("".join(f"SM1/{number:04d}\n" for number in range(frames)))
    content = json.dumps([np.round(points + 0.003, 4).tolist() for points in truth])
    (folder / "pred.json").write_text(content)
    with zipfile.ZipFile(folder / "pred.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("pred.json", content)


def _read_predictions(name: str) -> Reader:
    def read(folder: Path) -> None:
        from h2onet.evaluation.ho3d.official import evaluate_predictions

        out = folder / "out"
        try:
            evaluate_predictions(
                folder / name, folder, "ho3d-v2", out, frames=folder / "frames.txt", report=name == "pred.zip"
            )
        finally:
            shutil.rmtree(out, ignore_errors=True)

    return read


def _make_results(folder: Path) -> None:
    from h2onet.evaluation.ho3d.official import evaluate_predictions

    _make_predictions(folder)
    for name in ("a", "b"):
        evaluate_predictions(folder / "pred.json", folder, "ho3d-v2", folder / name, report=False)


def _read_results(folder: Path) -> None:
    from h2onet.evaluation.compare import compare

    str(compare(folder / "a", folder / "b"))


# -- pictures -------------------------------------------------------------------------------------------------------


BOX = [1, 2, 30, 40]
CAMERA = [[600, 0, 32], [0, 600, 24], [0, 0, 1]]


def _picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.repeat(np.repeat(rng.integers(0, 255, (6, 8, 3), np.uint8), 8, 0), 8, 1)


def _make_pictures(folder: Path) -> None:
    import cv2

    (folder / "pictures").mkdir()
    for name in ("a.jpg", "b.png", "c.webp", "d.bmp", "e.tiff"):
        cv2.imwrite(str(folder / "pictures" / name), _picture())
    (folder / "boxes.json").write_text(json.dumps({"a.jpg": BOX, "b.png": [{"box": BOX, "side": "left"}]}))
    (folder / "boxes.csv").write_text("name,x0,y0,x1,y1,side\na.jpg,1,2,30,40,left\nb.png,1,2,30,40,right\n")
    (folder / "intrinsics.json").write_text(json.dumps({"a.jpg": CAMERA, "b.png": CAMERA}))


def _read_pictures(folder: Path) -> str | None:
    from h2onet.inference.places import read_boxes, read_intrinsics
    from h2onet.inference.sources import PictureFolder

    reasons = [frame.reason for frame in PictureFolder.open(folder / "pictures").read()]
    for name in ("boxes.json", "boxes.csv"):
        read_boxes(folder / name)
    read_intrinsics(folder / "intrinsics.json")
    for reason in filter(None, reasons):
        assert reason.isprintable() and len(reason) < 1000, f"not one short line: {reason[:1000]!r}"
    return "row" if any(reasons) else None


def _make_video(suffix: str, code: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import cv2

        writer = cv2.VideoWriter(str(folder / f"video.{suffix}"), cv2.VideoWriter.fourcc(*code), 20, (64, 48))
        assert writer.isOpened(), f"OpenCV cannot write {suffix} here"
        for shift in range(6):
            writer.write(np.roll(_picture(), 3 * shift, 1))
        writer.release()

    return make


def _read_video(suffix: str) -> Reader:
    def read(folder: Path) -> str | None:
        from h2onet.inference.video import Video

        frames = list(Video.open(folder / f"video.{suffix}").read())
        return "row" if any(frame.reason for frame in frames) else None

    return read


def _make_joints(folder: Path) -> None:
    from h2onet.hand.arrays import load_arrays
    from h2onet.hand.skinning import SkinnedHand

    _, joints = SkinnedHand(load_arrays("standin")).pose(np.zeros((2, 48)), np.zeros((2, 10)))
    np.savez(folder / "joints.npz", joints=joints)
    (folder / "joints.json").write_text(json.dumps({"joints": np.round(joints, 3).tolist()}))


def _read_joints(folder: Path) -> None:
    from h2onet.hand.fit_files import fit_file

    for name in ("joints.npz", "joints.json"):
        fit_file(folder / name, folder / "fit.npz", mano="standin", side="right")


TARGETS: dict[str, Target] = {
    "dexycb-labels": Target(_make_dexycb, (("root/*/*/*/labels_*.npz", "npz"),), _label("dexycb"), 2),
    "dexycb-yaml": Target(_make_dexycb, (("root/**/*.yml", "yaml"),), _label("dexycb"), 2),
    "dexycb-objects": Target(_make_object, (("models/*/*.obj", "text"),), _read_object, 2),
    "ho3d-v2-meta": Target(_make_ho3d("v2"), (("root/train/*/meta/*.pkl", "pickle"),), _label("ho3d-v2"), 2),
    "ho3d-v2-lists": Target(_make_ho3d("v2"), (("root/train.txt", "text"),), _label("ho3d-v2")),
    "ho3d-v2-masks": Target(_make_ho3d("v2"), (("root/train/*/seg/*.jpg", "bytes"),), _label("ho3d-v2")),
    "ho3d-v3-meta": Target(_make_ho3d("v3"), (("root/train/*/meta/*.pkl", "pickle"),), _label("ho3d-v3")),
    "ho3d-v3-masks": Target(_make_ho3d("v3"), (("root/train/*/seg/*.png", "bytes"),), _label("ho3d-v3")),
    "ho3d-v3-evaluation": Target(
        _make_ho3d("v3"),
        (
            ("root/evaluation/*/meta/*.pkl", "pickle"),
            ("root/evaluation_*.json", "json"),
            ("root/evaluation.txt", "text"),
        ),
        _label("ho3d-v3", "test"),
    ),
    "annotations": Target(
        _make_annotations, (("annotations.json", "json"),), _label("dexycb", annotations="annotations.json")
    ),
    "table-toml": Target(_make_table("jsonl"), (("root/dataset.toml", "text"),), _label("table")),
    "table-jsonl": Target(_make_table("jsonl"), (("root/frames.jsonl", "jsonl"),), _label("table"), 2),
    "table-parquet": Target(_make_table("parquet"), (("root/frames.parquet", "parquet"),), _label("table"), 2),
    "table-masks": Target(_make_table("jsonl"), (("root/masks/*.png", "bytes"),), _label("table")),
    "joints": Target(_make_joints, (("joints.npz", "npz"), ("joints.json", "json")), _read_joints),
    "mano": Target(_make_mano, (("MANO_RIGHT.pkl", "pickle"),), _read_mano),
    "hierarchy": Target(_make_hierarchy, (("transform.pkl", "pickle"),), _read_hierarchy),
    "label-store": Target(
        _make_labels,
        (("labels.zarr/**/zarr.json", "json"), ("labels.zarr/**/c/**/[0-9]", "bytes"), ("labels.zarr/**/c", "bytes")),
        _read_labels,
        2,
    ),
    "clip-store": Target(
        _make_clips,
        (("clips.zarr/**/zarr.json", "json"), ("clips.zarr/**/c/**/[0-9]", "bytes"), ("clips.zarr/**/c", "bytes")),
        _read_clips,
        2,
    ),
    "remote-store": Target(
        _make_remote,
        (("remote.zarr/**/*.json", "json"), ("remote.zarr/**/c/**/[0-9]", "bytes")),
        _read_remote,
    ),
    "checkpoint": Target(
        _make_checkpoint,
        (("last/config.json", "json"), ("last/model.safetensors", "bytes"), ("last/training.pt", "bytes")),
        _read_checkpoint,
    ),
    "official": Target(_make_official, (("official.pth", "bytes"),), _read_official),
    "recipe": Target(_make_recipe, (("recipe.toml", "text"),), _read_recipe, 2),
    "run": Target(_make_run, (("metrics.jsonl", "text"),), _read_run),
    "predictions": Target(
        _make_predictions,
        (("pred.json", "json"), ("evaluation_*.json", "json"), ("evaluation.txt", "text"), ("frames.txt", "text")),
        _read_predictions("pred.json"),
        2,
    ),
    "predictions-zip": Target(_make_predictions, (("pred.zip", "bytes"),), _read_predictions("pred.zip")),
    "results": Target(
        _make_results,
        (("a/metrics.json", "json"), ("a/protocol.json", "json"), ("a/frames.npz", "npz")),
        _read_results,
    ),
    "pictures": Target(
        _make_pictures,
        (("pictures/*", "bytes"), ("boxes.json", "json"), ("boxes.csv", "text"), ("intrinsics.json", "json")),
        _read_pictures,
        2,
    ),
    "video-mp4": Target(_make_video("mp4", "mp4v"), (("video.mp4", "bytes"),), _read_video("mp4")),
    "video-avi": Target(_make_video("avi", "MJPG"), (("video.avi", "bytes"),), _read_video("avi")),
    "video-mkv": Target(_make_video("mkv", "MJPG"), (("video.mkv", "bytes"),), _read_video("mkv")),
}
