"""ONNX export: a single-frame network as one file; a multi-frame one as two, so that a stream encodes frames once.

Those two are the backbone and the fusion. Inputs and outputs carry the names and shapes of `network.prediction`
(metres, OpenCV axes, RGB in [0, 1]); the first axis ("batch") is free. Every graph is run with onnxruntime and compared
with PyTorch before any file is written.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..durable import writing_file
from ..errors import InputError
from ..network.checkpoint import checkpoint_hash, load_checkpoint
from ..network.h2onet import IMAGE_SIZE, H2ONet
from ..network.prediction import FrameFeatures, NetworkConfig
from .onnx_layers import suit_onnxruntime

OPSET = 18  # GridSample needs 16; torch's exporter writes 18 without converting
_BATCHES = (1, 2, 5)
_TOLERANCE = 1e-4  # relative to the largest value of an output; float32 rounding is below 1e-5
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Graph:
    """One file to write: a module, its inputs by name as a function of the batch size, and the names of its outputs."""

    module: nn.Module
    inputs: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...]


def export_onnx(checkpoint: str | Path, out: str | Path, hierarchy: str | Path | None = None) -> list[Path]:
    """Write a checkpoint (folder or official file, which needs `hierarchy`) as ONNX; returns the paths written.

    Single-frame: `out`, images (batch, 3, 128, 128) to vertices, canonical_vertices, joints, joints_2d, rotation.
    joint_visibility_logits (batch, 21) is among these, or among a frame's features, where the network has that head.
    Multi-frame: NAME.backbone.onnx, images to a frame's features, and NAME.fusion.onnx, stacked features (batch, T,
    ...), current frame first, to vertices, canonical_vertices (of the current frame), joints. Raises InputError for bad
    checkpoints, a name without .onnx, missing packages or a torch too old to export.
    """
    path = Path(out)
    _check_environment(path)
    reference = load_checkpoint(checkpoint, hierarchy=hierarchy).for_inference(channels_last=False)
    model = copy.deepcopy(reference)
    suit_onnxruntime(model)
    facts = {
        "checkpoint_sha256": checkpoint_hash(checkpoint),
        "network": asdict(reference.config),
        "images": "RGB in [0, 1]",
    }
    graphs, references = _build_graphs(model, path), _build_graphs(reference, path)
    files = {target: _to_onnx(graph, facts) for target, graph in graphs.items()}
    for target, content in files.items():
        _compare(references[target], content, target)
    for target, content in files.items():
        with writing_file(target) as file:
            file.write(content)
    return list(files)


def _check_environment(path: Path) -> None:
    if path.suffix != ".onnx" or path.is_dir():
        raise InputError(f"{path}: expected the name of an .onnx file to write; pass e.g. --out model.onnx")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX export needs {', '.join(missing)}, not installed here; run: pip install h2onet[onnx]")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise InputError(f"ONNX export needs torch 2.6 or newer, found {torch.__version__}; run: pip install -U torch")


class _Single(nn.Module):
    def __init__(self, model: H2ONet, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        prediction = self.model(images)
        return tuple(getattr(prediction, name) for name in self.outputs)


class _Backbone(nn.Module):
    def __init__(self, model: H2ONet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.encode(images).tensors().values())


class _Fusion(nn.Module):
    def __init__(self, model: H2ONet, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        named = dict(zip(self.names, tensors, strict=True))
        # What fusion does not compute with would be an input of the graph that is never read (`_read_by_fusion`).
        vertices = named["canonical_vertices"]
        unread = {
            "joints_2d": vertices[:, :, :21, :2],
            "occlusion_logits": vertices[:, :, :2, 0, None].expand(-1, -1, 2, 6),
        }
        prediction = self.model.predict_window(FrameFeatures(**(unread | named)))
        return prediction.vertices, prediction.canonical_vertices[:, 0], prediction.joints


def _pictures(batch: int) -> Tensor:
    return torch.rand(batch, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(batch))


def _build_graphs(model: H2ONet, path: Path) -> dict[Path, _Graph]:
    return _multi_frame(model, path) if model.config.frames > 1 else {path: _single_frame(model)}


def _single_frame(model: H2ONet) -> _Graph:
    outputs = ("vertices", "canonical_vertices", "joints", "joints_2d")
    outputs += ("rotation",) if model.config.oriented else ()
    outputs += ("joint_visibility_logits",) if model.config.joint_visibility else ()
    return _Graph(_Single(model, outputs).eval(), lambda batch: {"images": _pictures(batch)}, outputs)


def _multi_frame(model: H2ONet, path: Path) -> dict[Path, _Graph]:
    with torch.no_grad():
        features = model.encode(_pictures(1)).tensors()
    backbone = _Graph(_Backbone(model).eval(), lambda batch: {"images": _pictures(batch)}, tuple(features))
    names = tuple(name for name in features if name in _read_by_fusion(model.config))

    @torch.no_grad()
    def window(batch: int) -> dict[str, Tensor]:
        seen = model.encode(_pictures(batch * model.config.frames)).unstack(model.config.frames).tensors()
        # Hands look visible in random pictures; the comparison needs every mixture of hidden fingers and hands.
        generator = torch.Generator().manual_seed(batch)
        seen["occlusion_logits"] = torch.randn(seen["occlusion_logits"].shape, generator=generator)
        seen["occlusion_logits"][batch // 2, 0, 1] += 10.0
        if "joint_visibility_logits" in names:
            seen["joint_visibility_logits"] = 3.0 * torch.randn(batch, model.config.frames, 21, generator=generator)
        return {name: seen[name] for name in names}

    # An ONNX graph's inputs and outputs share one namespace: the fused mesh needs a name of its own.
    fusion = _Graph(_Fusion(model, names).eval(), window, ("vertices", "fused_canonical_vertices", "joints"))
    return {path.with_suffix(".backbone.onnx"): backbone, path.with_suffix(".fusion.onnx"): fusion}


def _read_by_fusion(config: NetworkConfig) -> set[str]:
    """The features that a multi-frame network's fusion computes with."""
    read = {"canonical_vertices", "vertex_features"}
    if config.oriented:
        read |= {"orientation_features", "rotation", "occlusion_logits"}
    return read | {"joint_visibility_logits" if config.fusion_weights == "joints" else "occlusion_logits"}


def _to_onnx(graph: _Graph, facts: dict[str, object]) -> bytes:
    import onnx

    inputs = graph.inputs(2)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else four warnings about torchvision, which is unused
    batch = torch.export.Dim("batch", min=1, max=4096)
    # The exporter prints to stdout, which is for results; its warnings are about torchvision and its own version.
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamic_shapes=_dynamic_shapes(graph.module, len(inputs), batch),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"h2onet": json.dumps(facts)})
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def _dynamic_shapes(module: nn.Module, inputs: int, batch: object) -> tuple[object, ...]:
    # A *args signature takes one tuple of specifications for all of its tensors.
    each = tuple({0: batch} for _ in range(inputs))
    return (each,) if isinstance(module, _Fusion) else each


def _compare(graph: _Graph, content: bytes, target: Path) -> None:
    """Raise RuntimeError where onnxruntime and PyTorch disagree at any of several batch sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # its threads would spin beside torch's
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for batch in _BATCHES:
        inputs = graph.inputs(batch)
        with torch.no_grad():
            wanted: Iterable[Tensor] = graph.module(*inputs.values())
        found = session.run(list(graph.outputs), {name: value.numpy() for name, value in inputs.items()})
        for name, ours, theirs in zip(graph.outputs, wanted, found, strict=True):
            difference = float((ours - torch.from_numpy(theirs)).abs().max() / ours.abs().max().clamp_min(1e-6))
            if not difference < _TOLERANCE:
                raise RuntimeError(
                    f"{target}: {name} differs from PyTorch by {difference:.1e} at batch {batch}; not written"
                )
            _log.info("%s: %s within %.1e of PyTorch at batch %d", target.name, name, difference, batch)
