"""ONNX files: the numbers of PyTorch at every batch size, a stream that encodes each frame once, clean refusals."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_trees import h2o
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.inference import export
from h2onet.inference.export import export_onnx
from h2onet.inference.predictor import Predictor
from h2onet.network.checkpoint import checkpoint_hash, load_checkpoint, save_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network

DOCS = Path(__file__).resolve().parents[2] / "docs" / "predict.md"


def pictures(*leading: int) -> torch.Tensor:
    small = torch.rand(int(np.prod(leading)), 3, 9, 9, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(small, (128, 128), mode="bicubic").clamp(0, 1)
    return large.reshape(*leading, 3, 128, 128)


@pytest.fixture
def session():
    """session(path) -> run(inputs by name) -> outputs by name, through onnxruntime on one thread."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def open_file(path: Path):
        opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in opened.get_outputs()]

        def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return dict(zip(names, map(np.asarray, opened.run(names, inputs)), strict=True))

        return run, opened

    return open_file


@pytest.fixture(scope="module")
def exported(untrained, tmp_path_factory) -> tuple[Path, list[Path]]:
    """A multi-frame checkpoint, saved while training (the export must still be of eval mode), and its two files."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("exported")
    saved = save_checkpoint(folder / "best", untrained(frames=3).train())
    return saved, export_onnx(saved, folder / "out" / "model.onnx")


@pytest.fixture(scope="module")
def single(untrained, tmp_path_factory) -> tuple[H2ONet, Path, Path]:
    """A single-frame network with every output, its checkpoint, and the file that the command makes of it.

    onnxruntime's blocks are of 8 or 16 channels: a narrower network has maps that are no whole number of them.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: no ONNX export")
    folder = tmp_path_factory.mktemp("single")
    model, path = untrained(frames=1, width=0.25, joint_visibility=True), folder / "out" / "model.onnx"
    saved = save_checkpoint(folder / "best", model)
    done = h2o("export", "--checkpoint", saved, "--out", path)
    assert done.code == 0 and done.out == f"{path}\n" and [*path.parent.iterdir()] == [path], done
    return model, saved, path


@torch.inference_mode()
def test_a_stream_through_onnx_is_the_window_in_pytorch(session, untrained, exported):
    model, paths = untrained(frames=3), exported[1]
    assert [path.name for path in paths] == ["model.backbone.onnx", "model.fusion.onnx"]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    encode, _ = session(paths[0])
    fuse, opened = session(paths[1])
    inputs = [given.name for given in opened.get_inputs()]
    video = pictures(6)
    seen = [encode({"images": frame[None].numpy()}) for frame in video]
    model.eval()
    for t in (4, 5):
        window = [seen[t], seen[t - 2], seen[t - 4]]
        found = fuse({name: np.stack([frame[name] for frame in window], 1) for name in inputs})
        wanted = model(torch.stack([video[t], video[t - 2], video[t - 4]])[None])
        np.testing.assert_allclose(found["vertices"], wanted.vertices, atol=1e-5)
        np.testing.assert_allclose(found["joints"], wanted.joints, atol=1e-5)
        np.testing.assert_allclose(found["fused_canonical_vertices"], wanted.canonical_vertices[:, 0], atol=1e-5)
        mixed = model(torch.stack([video[t], video[t - 1], video[t - 4]])[None])
        assert (mixed.vertices - wanted.vertices).abs().max() > 1e-3  # a mixed-up window would be seen
        np.testing.assert_allclose(window[0]["occlusion_logits"], wanted.occlusion_logits[:, 0], atol=1e-4)


def test_exported_maps_stay_in_onnxruntimes_blocks(single, tmp_path: Path):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    onnxruntime.InferenceSession(str(single[2]), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    copies = sum(node.op_type in ("ReorderInput", "ReorderOutput") for node in nodes)
    if copies == 0:
        pytest.skip("onnxruntime has no blocked layout on this processor")
    assert copies < 20  # 12 with onnxruntime 1.32, and 90 with the layers as they are (docs/network.md, "ONNX")


def test_the_loop_in_the_docs_is_predictors_stream(exported, tmp_path: Path):
    """The page's own lines, run beside exported files by a process of their own."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    (lines,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.S)
        if "onnxruntime.InferenceSession" in block
    ]
    folder, files = exported
    for file in files:
        (tmp_path / file.name).symlink_to(file)
    small = torch.rand(13, 3, 8, 9, generator=torch.Generator().manual_seed(2))
    video = torch.nn.functional.interpolate(small, (120, 150), mode="bicubic").clamp(0, 1)
    frames = (video * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    np.save(tmp_path / "frames.npy", frames)
    box = np.array([30.0, 20.0, 110.0, 95.0])
    before = f"import numpy as np\nframes, box = np.load('frames.npy'), np.array({box.tolist()})\n"
    after = "np.save('meshes.npy', np.stack(meshes))\nnp.save('logits.npy', logits)\n"
    (tmp_path / "stream.py").write_text(before + lines + after)
    done = subprocess.run([sys.executable, "stream.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predictor = Predictor(folder)
    wanted = [predictor(frame, box) for frame in frames]
    found = np.load(tmp_path / "meshes.npy")
    assert found.shape == (13, 778, 3)
    np.testing.assert_allclose(found, [hand.vertices for hand in wanted], atol=1e-5)
    hidden = torch.from_numpy(np.load(tmp_path / "logits.npy")).softmax(0)[1].numpy()
    np.testing.assert_allclose(hidden, wanted[-1].occluded, atol=1e-4)


@torch.inference_mode()
def test_a_single_frame_file_takes_any_batch(session, single):
    model, saved, path = single
    run, opened = session(path)
    for batch in (1, 3, 8):
        found, wanted = run({"images": pictures(batch).numpy()}), model(pictures(batch))
        meshes = {"vertices", "canonical_vertices", "joints", "joints_2d", "rotation"}
        assert set(found) == {*meshes, "joint_visibility_logits"}
        for name in meshes:
            np.testing.assert_allclose(found[name], getattr(wanted, name), atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found["joint_visibility_logits"], wanted.joint_visibility_logits, atol=1e-4)
    facts = json.loads(opened.get_modelmeta().custom_metadata_map["h2onet"])
    assert facts["checkpoint_sha256"] == checkpoint_hash(saved)
    assert facts["network"]["width"] == 0.25


def test_outputs_are_those_that_the_network_has(untrained):
    plain = export._build_graphs(untrained(1, oriented=False), Path("model.onnx"))[Path("model.onnx")]
    assert set(plain.outputs) == {"vertices", "canonical_vertices", "joints", "joints_2d"}


@torch.inference_mode()
def test_frames_weighed_by_joints_are_fused_in_onnx_as_in_pytorch(session, tmp_path: Path):
    """The fusion's file alone: a backbone with this head says what the single-frame file says."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(2)
    config = NetworkConfig(frames=3, width=0.125, joint_visibility=True, fusion_weights="joints")
    model = build_network(config, load_hand("standin")).eval()
    folded = load_checkpoint(save_checkpoint(tmp_path / "best", model)).for_inference(channels_last=False)
    export.suit_onnxruntime(folded)
    backbone, fusion = export._build_graphs(folded, tmp_path / "model.onnx").values()
    assert "joint_visibility_logits" in backbone.outputs
    (tmp_path / "fusion.onnx").write_bytes(export._to_onnx(fusion, {}))
    video = pictures(3)
    seen = [model.encode(frame[None]).tensors() for frame in video]
    fuse, opened = session(tmp_path / "fusion.onnx")
    names = [given.name for given in opened.get_inputs()]
    assert "joint_visibility_logits" in names and "occlusion_logits" in names
    found = fuse({name: torch.stack([frame[name] for frame in seen], 1).numpy() for name in names})
    np.testing.assert_allclose(found["vertices"], model(video[None]).vertices, atol=1e-5)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    with pytest.raises(InputError, match=r"onnx, onnxscript, onnxruntime.*pip install h2onet\[onnx\]"):
        export_onnx(tmp_path / "best", tmp_path / "model.onnx")


def test_other_file_names_and_bad_checkpoints_are_refused(tmp_path: Path):
    pytest.importorskip("onnxscript")
    with pytest.raises(InputError, match=r"expected the name of an \.onnx file"):
        export_onnx(tmp_path / "best", tmp_path / "model")
    with pytest.raises(InputError, match="check the path"):
        export_onnx(tmp_path / "best", tmp_path / "out" / "model.onnx")
    assert not (tmp_path / "out").exists()


def test_a_file_that_differs_from_pytorch_is_not_left_behind(untrained, tmp_path: Path, monkeypatch):
    pytest.importorskip("onnxscript")
    folder = save_checkpoint(tmp_path / "best", untrained(frames=1))
    (tmp_path / "model.onnx").write_bytes(b"the previous export")

    def disagree(*_: object) -> None:
        raise RuntimeError("differs")

    monkeypatch.setattr(export, "_to_onnx", lambda graph, facts: b"half")
    monkeypatch.setattr(export, "_compare", disagree)
    with pytest.raises(RuntimeError, match="differs"):
        export_onnx(folder, tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"the previous export"
