"""Whole evaluations of untrained networks: files, agreement, exports read by independent readers, refusals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.data.clips import ClipStore
from h2onet.data.readers.dexycb_splits import SUBJECTS, sequence_list
from h2onet.errors import InputError
from h2onet.evaluation.compare import compare
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.evaluation.exports import count_missing_recordings
from h2onet.evaluation.ho3d.official import evaluate_predictions
from h2onet.evaluation.page.clips import Section
from h2onet.hand.camera import opencv_from_opengl
from h2onet.network.checkpoint import load_checkpoint, save_checkpoint

FILES = ["breakdown.json", "frames.npz", "metrics.json", "pieces", "protocol.json", "report.html", "report.json"]
HO3D_FROM_JOINTS = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]


@pytest.fixture(scope="module")
def single(store: Path, make_checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A result folder of the single-frame network with its exports, and what was returned."""
    out = tmp_path_factory.mktemp("single")
    extra = [Section("Something added", "with <words>", plots=["<svg></svg>"])]
    return out, evaluate_clips(
        make_checkpoint(), store, out, dexycb_txt=out / "pose.txt", predictions_out=out / "said.npz", extra=extra
    )


def test_files_agree_with_each_other(single: tuple[Path, dict]) -> None:
    out, metrics = single
    assert (
        sorted(path.name for path in out.iterdir() if path.suffix not in (".txt",) and path.name != "said.npz") == FILES
    )
    assert json.loads((out / "metrics.json").read_text()) == metrics
    with np.load(out / "frames.npz", allow_pickle=False) as file:
        frames = {name: file[name] for name in file.files}
    assert len(frames["frame"]) == metrics["frames"] == 22
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm", "f_15", "pa_f_15", "orientation_deg"):
        assert metrics[name] == pytest.approx(frames[name].mean(dtype=np.float64), rel=1e-6), name
    assert metrics["pa_mpjpe_mm"] <= metrics["proper_pa_mpjpe_mm"] <= metrics["mpjpe_mm"]
    assert all(0 <= metrics[name] <= 1 for name in ("joint_auc", "pa_vertex_auc", "f_5"))
    assert metrics["occlusion_accuracy"] is None and metrics["acceleration_error_mm"] > 0


def test_breakdowns_add_up(single: tuple[Path, dict]) -> None:
    out, metrics = single
    broken = json.loads((out / "breakdown.json").read_text())
    for title in ("occluded_fingers", "object", "hand_side", "subject", "camera"):
        rows = broken[title].values()
        assert sum(row["frames"] for row in rows) == 22, title
        total = sum(row["frames"] * row["mpjpe_mm"] for row in rows) / 22
        assert total == pytest.approx(metrics["mpjpe_mm"]), title
    for title in ("visible_fraction", "cause"):
        assert sum(row["fingers"] for row in broken[title].values()) == 22 * 5, title
    times = [*broken["after_reappearance"].values(), *broken["hidden_for"].values()]
    assert sum(row["fingers"] for row in times) == 22 * 5
    assert set(broken["object"]) == {"004_sugar_box", "025_mug"}
    assert {side: row["frames"] for side, row in broken["hand_side"].items()} == {"left": 10, "right": 12}
    low, high = broken["confidence_95"]["mpjpe_mm"].values()
    assert low <= metrics["mpjpe_mm"] <= high


def test_page_holds_everything_and_asks_for_nothing(single: tuple[Path, dict]) -> None:
    page = (single[0] / "report.html").read_text()
    assert "Something added" in page and "with &lt;words&gt;" in page
    assert 'name="viewport"' in page and page.count("data:image/jpeg;base64,") > 15
    outside = re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*|url\((?!#)[^)]*\)|@import[^;]*""", page)
    assert outside == []
    assert "best sequences" in page and "H2ONet, multi frame" in page
    numbers = json.loads((single[0] / "report.json").read_text())
    assert len(numbers["pck"]["joints"]["share"]) == 100
    assert {path.suffix for path in (single[0] / "pieces").iterdir()} == {".png"}


def test_toolkit_text_scores_the_same_in_an_independent_reader(single: tuple[Path, dict], store: Path) -> None:
    """Reads the text as dex-ycb-toolkit does (index, 63 numbers in mm) and scores it against the annotation."""
    out, metrics = single
    index = ClipStore.open(store).index
    lines = [[float(x) for x in line.split(",")] for line in (out / "pose.txt").read_text().splitlines()]
    assert all(len(line) == 64 for line in lines)
    said = {int(line[0]): np.array(line[1:]).reshape(21, 3) for line in lines}
    assert sorted(said) == index["dataset_index"].tolist()
    relative, aligned = [], []
    for number, truth in zip(index["dataset_index"].tolist(), 1000.0 * index["joints"].astype(np.float64), strict=True):
        p, t = said[number], truth
        relative.append(np.linalg.norm((p - p[0]) - (t - t[0]), axis=1).mean())
        p0, t0 = p - p.mean(0), t - t.mean(0)
        u, s, vt = np.linalg.svd((t0 / np.linalg.norm(t0)).T @ (p0 / np.linalg.norm(p0)))
        fitted = p0 / np.linalg.norm(p0) @ (u @ vt).T * s.sum() * np.linalg.norm(t0)
        aligned.append(np.linalg.norm(fitted - t0, axis=1).mean())
        assert p[0] == pytest.approx(t[0], abs=1e-3)  # placed at the annotated wrist
    assert np.mean(relative) == pytest.approx(metrics["mpjpe_mm"], abs=1e-3)
    assert np.mean(aligned) == pytest.approx(metrics["pa_mpjpe_mm"], abs=1e-3)


def test_predictions_are_written_for_anyone(single: tuple[Path, dict], store: Path) -> None:
    with np.load(single[0] / "said.npz", allow_pickle=False) as file:
        assert file["vertices"].shape == (22, 778, 3) and file["joints"].shape == (22, 21, 3)
        assert file["joints"][:, 0] == pytest.approx(ClipStore.open(store).index["root"], abs=1e-6)
        assert file["sequence"][12] == "S2/left/cam0"
        for name in ("is_left", "dataset_index", "box", "mano_pose"):
            np.testing.assert_array_equal(file[name], ClipStore.open(store).index[name], err_msg=name)
        assert file["is_left"].sum() == 10 and file["mano_pose"].shape == (22, 48) and file["box"].shape == (22, 4)


def test_multi_frame_scores_occlusion(store: Path, make_checkpoint, tmp_path: Path) -> None:
    metrics = evaluate_clips(make_checkpoint(frames=3), store, tmp_path, report=False)
    assert 0 <= metrics["occlusion_accuracy"] <= 1
    broken = json.loads((tmp_path / "breakdown.json").read_text())
    assert set(broken["occlusion"]) == {"thumb", "index", "middle", "ring", "little", "global"}
    thumb = broken["occlusion"]["thumb"]
    assert {"accuracy", "precision", "recall", "f1", "brier", "calibration_error"} <= set(thumb)
    assert not (tmp_path / "report.html").exists()
    assert json.loads((tmp_path / "protocol.json").read_text())["past_frames"] == [5, 10]


def test_stage_1_is_scored_without_orientation(store: Path, make_checkpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(oriented=False)
    metrics = evaluate_clips(checkpoint, store, tmp_path / "a")
    assert metrics["orientation_deg"] is None and metrics["acceleration_error_mm"] is None
    assert metrics["mpvpe_mm"] > 0 and (tmp_path / "a" / "report.html").is_file()
    with pytest.raises(InputError, match="stage 2"):
        evaluate_clips(checkpoint, store, tmp_path / "b", dexycb_txt=tmp_path / "pose.txt")
    assert not (tmp_path / "b").exists() and not (tmp_path / "pose.txt").exists()


def test_a_result_of_a_partial_download_is_warned_about(
    make_store, make_checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = list(sequence_list()[SUBJECTS[2]])
    # Two of the 160 recordings of s0's test split, and one that is of its training split.
    clips = make_store({f"{SUBJECTS[2]}/{names[i]}/836212060125": 2 for i in (4, 99, 5)})
    assert count_missing_recordings(ClipStore.open(clips)) == (158, 160)
    evaluate_clips(make_checkpoint(), clips, tmp_path / "a", dexycb_txt=tmp_path / "pose.txt", report=False)
    assert "158 of 160 recordings of this split are not in" in caplog.text


def test_ho3d_export_gives_the_official_scores_again(make_store, make_checkpoint, tmp_path: Path) -> None:
    """metrics.json of HO3D clips, our pred.json scored as HO3D does, and the released truth agree."""
    clips = make_store({"SM10": 3, "AP10": 3}, dataset="ho3d-v2", released=True)
    metrics = evaluate_clips(make_checkpoint(), clips, tmp_path / "a", ho3d_json=tmp_path / "pred.json", report=False)
    index = ClipStore.open(clips).index
    truth = opencv_from_opengl(index["joints"].astype(np.float64))[:, HO3D_FROM_JOINTS]
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps(truth.tolist()))
    vertices = opencv_from_opengl(index["vertices"].astype(np.float64))
    (tmp_path / "evaluation_verts.json").write_text(json.dumps(vertices.tolist()))
    official = evaluate_predictions(tmp_path / "pred.json", tmp_path, "ho3d-v2", tmp_path / "b")
    assert len(official) == 14
    for name, value in official.items():
        # The wrist is exactly right in memory and 1e-8 m off in the file: half a step of the first threshold, 2.4e-4.
        assert metrics[name] == pytest.approx(value, abs=3e-4), name
    assert metrics["pa_mpvpe_mm"] == pytest.approx(10 * official["mesh_al_mean3d"], abs=1e-3)


def test_clips_without_any_truth_still_give_a_page(make_store, make_checkpoint, tmp_path: Path) -> None:
    clips = make_store({"SM10": 3}, dataset="ho3d-v3", known=False)
    metrics = evaluate_clips(make_checkpoint(frames=3), clips, tmp_path, ho3d_json=tmp_path / "pred.json")
    assert metrics["mpjpe_mm"] is None and metrics["frames"] == 3 and metrics["frames_with_mesh"] == 0
    assert (tmp_path / "report.html").is_file() and (tmp_path / "pred.zip").is_file()


def test_what_cannot_be_scored_is_refused(store: Path, make_checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="HO3D format"):
        evaluate_clips(make_checkpoint(), store, tmp_path / "out", ho3d_json=tmp_path / "pred.json")
    network = load_checkpoint(make_checkpoint())
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.fill_(1e30)  # finite itself, its products are not
    broken = save_checkpoint(tmp_path / "broken", network)
    with pytest.raises(InputError, match=r"S1/R1/cam0.*frame 0.*not finite"):
        evaluate_clips(broken, store, tmp_path / "out")
    with pytest.raises(InputError, match="nowhere"):
        evaluate_clips(make_checkpoint(), tmp_path / "nowhere.zarr", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hands_that_are_points_are_said(store: Path, make_checkpoint, tmp_path: Path, caplog) -> None:
    network = load_checkpoint(make_checkpoint())
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.zero_()
    metrics = evaluate_clips(save_checkpoint(tmp_path / "zero", network), store, tmp_path / "out", report=False)
    count = metrics["frames"]
    assert f"{count} of {count} predicted hands are a single point" in caplog.text


def test_compare_pairs_frames_and_refuses_unlike_protocols(
    single: tuple[Path, dict], store: Path, make_store, make_checkpoint, tmp_path: Path
) -> None:
    evaluate_clips(make_checkpoint(seed=1), store, tmp_path / "other", report=False)
    both = compare(single[0], tmp_path / "other")
    line = next(line for line in both.lines if line.metric == "mpjpe_mm")
    assert line.first is not None and line.second is not None
    assert line.difference == pytest.approx(line.second - line.first)
    assert line.interval is not None and line.interval[0] <= line.difference <= line.interval[1]
    assert line.p_value == 0.5 or line.p_value == 1.0  # two recordings allow no other
    assert both.recordings == 2 and "so few recordings" in str(both)
    same = compare(single[0], single[0])
    assert {line.difference for line in same.lines if line.difference is not None} == {0.0}

    evaluate_clips(make_checkpoint(), make_store({"S1/R1/cam0": 3}), tmp_path / "fewer", report=False)
    with pytest.raises(InputError, match="frames 22 against 3"):
        compare(single[0], tmp_path / "fewer")
    forced = compare(single[0], tmp_path / "fewer", force=True)
    assert forced.recordings == 0 and "not the same protocol: frames 22 against 3" in str(forced)
    with pytest.raises(InputError, match="expected a folder that h2o evaluate wrote"):
        compare(single[0], tmp_path)


def test_the_page_compares_with_another_evaluation_of_the_same_frames(
    single: tuple[Path, dict], store: Path, make_store, make_checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "multi"
    metrics = evaluate_clips(make_checkpoint(3), store, out, against=single[0])
    page = (out / "report.html").read_text()
    section = page[page.index("Against another evaluation") :]
    for title, key in (("PA-MPJPE, mm", "pa_mpjpe_mm"), ("seen earlier in the window", "pa_mpjpe_seen_earlier_mm")):
        cells = re.findall(r"<td>(.*?)</td>", section[section.index(title) :].split("</tr>")[0])
        assert cells[:2] == [f"{single[1][key]:.4f}", f"{metrics[key]:.4f}"], title
        assert cells[2] == f"{metrics[key] - single[1][key]:+.3f}" and " to " in cells[3], title
    assert "paired over 2 recordings" in section

    other = make_store({"S1/R1/cam0": 3}, seed=5)
    with pytest.raises(InputError, match=r"not measured as this evaluation: .*frames_sha256"):
        evaluate_clips(make_checkpoint(), other, tmp_path / "other", against=single[0])
    with pytest.raises(InputError, match="expected a folder that h2o evaluate wrote"):
        evaluate_clips(make_checkpoint(), store, tmp_path / "other", against=tmp_path)
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match="is --out itself"):
        evaluate_clips(make_checkpoint(), store, out, against=out)


def test_processes_that_decode_the_clips_change_no_score(single: tuple[Path, dict], store, make_checkpoint, tmp_path):
    assert evaluate_clips(make_checkpoint(), store, tmp_path, num_workers=2, report=False) == single[1]
