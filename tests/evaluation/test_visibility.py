"""Somebody else's joints seen, scored against labels: the three formats, counted scores, and every refusal."""

import json
import logging
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from cli_trees import h2o, refused
from h2onet.data.labels import LabelStore
from h2onet.errors import InputError
from h2onet.evaluation.compare import compare
from h2onet.evaluation.scoring.visibility import joint_metrics
from h2onet.evaluation.visibility import evaluate_visibility, read_seen

UNKNOWN = 255
SEQUENCES = {"S1/R1/cam0": 6, "S1/R1/cam1": 6, "S2/left/cam0": 6}


@pytest.fixture(scope="module")
def labels(make_store) -> Path:
    """The labels.zarr that the clips of three camera sequences were cut from: two recordings, 18 frames."""
    return make_store(SEQUENCES).parent / "labels.zarr"


def answers(labels: Path, noise: float = 0.3, seed: int = 0) -> dict[str, np.ndarray]:
    """What a fair detector might say of every frame; the first joint of the third frame is left out."""
    store, rng = LabelStore.open(labels), np.random.default_rng(seed)
    visible = store["joint_visible"]
    seen = np.clip(np.where(visible == 1, 0.7, 0.3) + rng.normal(0, noise, visible.shape), 0, 1)
    seen[2, 0] = np.nan
    return {
        "sequence": np.array(store.sequences)[store["sequence_id"]],
        "frame": store["frame"].astype(np.int64),
        "joints_seen": seen,
    }


def write(path: Path, said: dict[str, np.ndarray]) -> Path:
    """The answers as .npz, .jsonl or .parquet, by the suffix."""
    if path.suffix == ".npz":
        np.savez(path, **said)
    elif path.suffix == ".jsonl":
        rows = zip(*(values.tolist() for values in said.values()), strict=True)
        lines = [
            {"sequence": key, "frame": frame, "joints_seen": [None if v != v else v for v in seen], "by": "a detector"}
            for key, frame, seen in rows
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        import pyarrow as pa
        import pyarrow.parquet

        pyarrow.parquet.write_table(pa.table({**said, "joints_seen": said["joints_seen"].tolist()}), path)
    return path


def test_scores_are_those_of_the_labels_joint_by_joint(labels: Path, tmp_path: Path) -> None:
    said = answers(labels)
    metrics = evaluate_visibility(write(tmp_path / "seen.npz", said), labels, tmp_path / "out")
    visible = LabelStore.open(labels)["joint_visible"]
    known = (visible != UNKNOWN) & np.isfinite(said["joints_seen"])
    assert (visible == 0).sum() > 0 and metrics["frames"] == 18 and metrics["joints"] == known.sum()
    assert {name: metrics[name] for name in joint_metrics(1 - said["joints_seen"], visible)} == joint_metrics(
        1 - said["joints_seen"], visible
    )
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    broken = json.loads((tmp_path / "out" / "breakdown.json").read_text())
    row = broken["joint_visibility"]["index_tip"]
    mine = known[:, 8]
    right = (said["joints_seen"][mine, 8] > 0.5) == (visible[mine, 8] == 1)
    assert row["frames"] == mine.sum() and row["accuracy"] == pytest.approx(right.mean())
    assert set(broken["confidence_95"]) == {
        "joint_visibility_accuracy",
        "joint_visibility_roc_auc",
        "joint_visibility_map",
        "joint_visibility_macro_f1",
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert "index_tip" in page and f"{metrics['joint_visibility_roc_auc']:.3f}"[:4] in page and "<h2>Frames" not in page
    assert not re.search(r'(src|href)="?(https?:)?//', page)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_formats_say_the_same(labels: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed")
    said = answers(labels)
    one, two = (read_seen(write(tmp_path / f"seen{kind}", said)) for kind in (".npz", suffix))
    np.testing.assert_array_equal(one.sequence, two.sequence)
    np.testing.assert_array_equal(one.frame, two.frame)
    np.testing.assert_array_equal(one.seen, two.seen)


def test_frames_may_be_left_out_and_come_in_any_order(labels: Path, tmp_path: Path, caplog) -> None:
    said = answers(labels)
    order = np.random.default_rng(1).permutation(18)[:11]
    part = {name: values[order] for name, values in said.items()}
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_visibility(write(tmp_path / "seen.npz", part), labels, tmp_path / "out", report=False)
    assert (metrics["frames"], metrics["frames_not_predicted"]) == (11, 7)
    assert "7 of 18 frames" in caplog.text
    visible = LabelStore.open(labels)["joint_visible"][order]
    expected = joint_metrics(1 - part["joints_seen"], visible)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_two_detectors_are_compared_pair_by_pair(labels: Path, tmp_path: Path) -> None:
    for name, noise in (("good", 0.1), ("bad", 0.6)):
        evaluate_visibility(
            write(tmp_path / f"{name}.npz", answers(labels, noise)), labels, tmp_path / name, report=False
        )
    lines = {line.metric: line for line in compare(tmp_path / "bad", tmp_path / "good").lines}
    line = lines["joint_visibility_accuracy"]
    assert line.difference > 0 and line.interval[0] <= line.difference <= line.interval[1]


def spoil(said: dict[str, np.ndarray], **changes: np.ndarray) -> dict[str, np.ndarray]:
    return {**said, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v[:0] for k, v in s.items()}, "holds no frame"),
        (lambda s: spoil(s, joints_seen=s["joints_seen"][:, :20]), "joints_seen has shape"),
        (lambda s: spoil(s, joints_seen=s["joints_seen"] * 100), "expected probabilities from 0"),
        (lambda s: spoil(s, frame=s["frame"] + 1000), "entry 1 is sequence 'S1/R1/cam0' frame 1000"),
        (lambda s: spoil(s, sequence=np.array(["x"] * 18)), "entry 1 is sequence 'x'"),
        (lambda s: {k: np.concatenate([v, v[:1]]) for k, v in s.items()}, "comes twice (entry 19)"),
        (lambda s: spoil(s, frame=s["frame"][:3]), "other lengths"),
        (lambda s: spoil(s, joints_seen=np.full((18, 21), np.nan)), "nothing to score"),
        (lambda s: {k: v for k, v in s.items() if k != "frame"}, "lacks the array frame"),
    ],
)
def test_a_wrong_file_is_one_line_and_writes_nothing(labels: Path, tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "seen.npz"
    np.savez(path, **change(answers(labels)))
    with pytest.raises(InputError) as error:
        evaluate_visibility(path, labels, tmp_path / "out")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2"),
        ('{"sequence": "a", "frame": 1}', "joints_seen"),
        ('{"sequence": "a", "frame": 1, "joints_seen": [0.5]}', "1 numbers, expected 21"),
        ('{"sequence": "a", "frame": 1.5, "joints_seen": []}', "frame"),
        ("[" * 4000, "line 2"),
    ],
)
def test_a_wrong_line_is_named(labels: Path, tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "seen.jsonl", answers(labels))
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n{line}\n")
    with pytest.raises(InputError, match="line 2") as error:
        read_seen(path)
    assert message in str(error.value)


def test_the_command(labels: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "seen.jsonl", answers(labels))
    done = h2o("evaluate", "--visibility", path, "--labels", labels, "--out", tmp_path / "out")
    assert done.code == 0 and "joint visibility ROC AUC" in done.out, done
    for words, message in (
        (("--visibility", path), "needs --labels"),
        (("--visibility", path, "--labels", labels, "--clips", labels), "--clips: is for another form"),
        (("--labels", labels, "--checkpoint", "x", "--clips", labels), "--labels: goes with --visibility"),
        (("--visibility", tmp_path / "no.npz", "--labels", labels), "no such file"),
        (("--visibility", tmp_path / "no.csv", "--labels", labels), "ends in .npz, .jsonl, .parquet"),
    ):
        assert message in refused(tmp_path / "other", "evaluate", *words, "--out", tmp_path / "other")
