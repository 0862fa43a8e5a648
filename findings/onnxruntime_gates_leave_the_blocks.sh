#!/usr/bin/env bash
# FINDING: one squeeze-and-excitation gate per layer makes onnxruntime's CPU graph copy every feature map out of its fast layout and back, 18 copies instead of 2 in six layers; a product of equal shapes costs none.
#
# onnxruntime keeps maps between convolutions in blocks of channels. Multiplying a map (1, C, H, W) with one number per
# channel (1, C, 1, 1) that was computed in the graph leaves that layout: a ReorderOutput before, a ReorderInput behind.
# The same product with two whole maps stays in blocks, and a constant factor is folded into a convolution. The nodes are
# counted in the optimised graph that onnxruntime itself writes. (On x86 processors, where this layout exists.)
# It matters for hand-object data because the usual hand networks for phones and webcams run on CPUs and are full of such
# gates (MobileNetV3, EfficientNet, attention blocks). A gate that is written as pooling, 1x1 convolution and a product
# of equal shapes keeps the layout.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cd "$work"

venv/bin/python - <<'PY'
import platform
from collections import Counter
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LAYERS, CHANNELS = 6, 64
rng = np.random.default_rng(0)


def network(gate):
    """Convolution and ReLU, six times, each followed by the gate: none, per channel, constant, or by a whole map."""
    nodes, weights, name = [], [], "x"

    def node(kind, inputs, output, **settings):
        nodes.append(helper.make_node(kind, inputs, [output], **settings))
        return output

    def weight(label, *shape):
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, shape).astype(np.float32), label))
        return label

    for i in range(LAYERS):
        name = node("Conv", [name, weight(f"w{i}", CHANNELS, CHANNELS, 3, 3)], f"conv{i}", pads=[1] * 4)
        name = node("Relu", [name], f"relu{i}")
        if gate == "per channel":
            pooled = node("GlobalAveragePool", [name], f"pool{i}")
            pooled = node("Conv", [pooled, weight(f"g{i}", CHANNELS, CHANNELS, 1, 1)], f"squeeze{i}")
            name = node("Mul", [name, node("Sigmoid", [pooled], f"gate{i}")], f"product{i}")
        elif gate == "constant":
            name = node("Mul", [name, weight(f"s{i}", 1, CHANNELS, 1, 1)], f"product{i}")
        elif gate == "whole map":
            name = node("Mul", [name, name], f"product{i}")
    shape = [1, CHANNELS, 32, 32]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", name)]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    return model.SerializeToString()


def copies(gate):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    options.log_severity_level = 3
    onnxruntime.InferenceSession(network(gate), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load("optimised.onnx").graph.node)
    return kinds["ReorderInput"] + kinds["ReorderOutput"]


print("onnxruntime", version("onnxruntime"), platform.machine(), f" copies between layouts in {LAYERS} layers:")
found = {gate: copies(gate) for gate in ("none", "per channel", "constant", "whole map")}
for gate, count in found.items():
    print(f"  gate {gate:12s} {count}")

assert found["none"] == found["constant"] == found["whole map"] == 2
assert found["per channel"] >= 2 * LAYERS, "gates per channel stay in the blocked layout now"
PY
