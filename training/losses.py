"""The losses of H2ONet, one pure function each (docs/training.md; the mesh losses are those of MobRecon).

Predictions and targets are float tensors in metres whose first axis counts frames; 2D joints in [0, 1] of the crop.
Every function returns `sum over its frames / denominator` of a per-frame mean. The denominator is an argument
because several processes share one batch: if it is the number of frames of the whole batch divided by the number of
processes, the average of the processes' gradients is the gradient of one process. With the number of frames of its own
input the result is the plain mean. All arithmetic is float32 or wider whatever autocast does, and square roots have
gradient 0 at 0, so that zero-length edges and degenerate faces give finite gradients (the authors' code gives NaN
there).
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..hand.parts import LABEL_OF_OUTPUT, UNKNOWN

SHORTEST = 1e-6  # m


def vertices_l1(predicted: Tensor, true: Tensor, denominator: Tensor | float) -> Tensor:
    """L1 of vertices: (N, V, 3), (N, V, 3) m -> scalar m. Mean over vertices and axes."""
    return _l1(predicted, true, denominator)


def joints_l1(predicted: Tensor, true: Tensor, denominator: Tensor | float) -> Tensor:
    """L1 of 3D joints: (N, 21, 3), (N, 21, 3) m -> scalar m. Mean over joints and axes."""
    return _l1(predicted, true, denominator)


def joints_2d_l1(predicted: Tensor, true: Tensor, denominator: Tensor | float) -> Tensor:
    """L1 of 2D joints: (N, 21, 2), (N, 21, 2) in [0, 1] of the crop (values outside are possible) -> scalar."""
    return _l1(predicted, true, denominator)


def edge_length_l1(predicted: Tensor, true: Tensor, faces: Tensor, denominator: Tensor | float) -> Tensor:
    """L1 of edge lengths: (N, V, 3), (N, V, 3) m, faces (F, 3) int64 -> scalar m. Mean over the faces' 3F edges."""
    lengths = [safe_norm(_edges(_wide(vertices), faces)) for vertices in (predicted, true)]
    return (lengths[0] - lengths[1]).abs().mean(dim=(1, 2)).sum() / denominator


def normal_cosine(predicted: Tensor, true: Tensor, faces: Tensor, denominator: Tensor | float) -> Tensor:
    """Mean |cos| between predicted edges and the true normal of their face: (N, V, 3) twice, faces (F, 3) -> scalar.

    0 where every edge lies in the plane of the true face; degenerate faces and zero-length edges count as 0.
    """
    edges = _unit(_edges(_wide(predicted), faces))
    true_edges = _unit(_edges(_wide(true), faces))
    normals = _unit(torch.linalg.cross(true_edges[:, 0], true_edges[:, 2]))
    return (edges * normals[:, None]).sum(-1).abs().mean(dim=(1, 2)).sum() / denominator


def rotation_mse(predicted: Tensor, true: Tensor, denominator: Tensor | float) -> Tensor:
    """Mean squared difference of rotation matrices: (N, 3, 3), (N, 3, 3) -> scalar."""
    return (_wide(predicted) - _wide(true)).square().mean(dim=(1, 2)).sum() / denominator


def occlusion_cross_entropy(logits: Tensor, occluded: Tensor, denominator: Tensor | float) -> Tensor:
    """Cross-entropy of the occlusion classifier: logits (N, 2, 6), occluded (N, 7) uint8 -> scalar.

    The six outputs are thumb, index, middle, ring, little, global; class 0 is visible, 1 occluded. Unknown labels
    (255) do not count: the denominator is the number of known ones, `known_labels(occluded)`.
    """
    wanted = occluded[:, LABEL_OF_OUTPUT].long()
    entropy = functional.cross_entropy(_wide(logits), wanted, ignore_index=UNKNOWN, reduction="sum")
    return entropy / denominator


def known_labels(occluded: Tensor) -> Tensor:
    """Number of known labels among the six classified ones: (N, 7) uint8 -> scalar int64."""
    return (occluded[:, LABEL_OF_OUTPUT] != UNKNOWN).sum()


def joint_visibility_cross_entropy(
    logits: Tensor, visible: Tensor, seen: Tensor | float, hidden: Tensor | float
) -> Tensor:
    """Balanced binary cross-entropy of the joints' visibility: logits (N, 21), visible (N, 21) uint8 -> scalar.

    Half the mean over seen joints (1) plus half the mean over hidden ones (0): each kind weighs as half of the known
    joints, however rare it is. Unknown joints (255) do not count. The denominators are the numbers of seen and of
    hidden joints, `known_joints(visible)`, at least 1: a batch with one kind only has that kind's half.
    """
    wide, is_seen = _wide(logits), visible == 1
    entropy = functional.binary_cross_entropy_with_logits(wide, is_seen.to(wide.dtype), reduction="none")
    return ((entropy * is_seen).sum() / seen + (entropy * (visible == 0)).sum() / hidden) / 2


def known_joints(visible: Tensor) -> Tensor:
    """Numbers of seen and of hidden joints: (N, 21) uint8 -> (2,) int64."""
    return torch.stack([(visible == 1).sum(), (visible == 0).sum()])


def safe_norm(vectors: Tensor) -> Tensor:
    """Length of vectors (..., 3) -> (...), with gradient 0 (not NaN) at the zero vector."""
    squared = vectors.square().sum(-1)
    zero = squared == 0  # not `> 0`: NaN must stay NaN, or the guard would not see it
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squared).sqrt())


def _unit(vectors: Tensor) -> Tensor:
    # The gradient of a direction grows as 1 / length: below a micrometre an edge's direction is noise.
    length = safe_norm(vectors)[..., None]
    usable = length > SHORTEST
    return vectors / torch.where(usable, length, 1.0) * usable


def _edges(vertices: Tensor, faces: Tensor) -> Tensor:
    # (N, V, 3) -> (N, 3, F, 3): second minus first, third minus second, third minus first corner.
    # index_select: its backward is an ordered index_add, on a CPU several times faster than advanced indexing's.
    a, b, c = (vertices.index_select(1, faces[:, corner]) for corner in range(3))
    return torch.stack((b - a, c - b, c - a), dim=1)


def _l1(predicted: Tensor, true: Tensor, denominator: Tensor | float) -> Tensor:
    return (_wide(predicted) - _wide(true)).abs().mean(dim=(1, 2)).sum() / denominator


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
