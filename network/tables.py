"""The mesh tables a network is built over (spirals, up-sampling, faces), and reading them from a checkpoint's tensors.

Levels run from the finest (778 vertices) to the coarsest (49), as in `hand.hierarchy`; in the state dict, decoder
levels run from coarse to fine. Indices and weights only, no units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from torch import Tensor

from ..errors import InputError
from ..hand.hierarchy import Hierarchy

LEVELS = 4


@dataclass(frozen=True)
class StoredTables:
    """The tables of a checkpoint, named as in `hand.hierarchy.Hierarchy`; the faces of the finest level only."""

    sizes: tuple[int, ...]
    spirals: tuple[np.ndarray, ...]
    upsample: tuple[csr_matrix, ...]
    faces: tuple[np.ndarray, ...]
    sha256: str


MeshTables = Hierarchy | StoredTables


def is_table(name: str) -> bool:
    """Does this tensor of a state dict describe the mesh (and not something learned)?"""
    return name.endswith((".spiral", ".upsample", ".finger_of_vertex")) or name == "faces"


def read_tables(path: Path, tensors: Mapping[str, Tensor], sha256: str) -> StoredTables:
    """The tables among a checkpoint's tensors. Raises InputError for missing ones and for indices out of range."""
    names = [f"decoder.levels.{LEVELS - 1 - i}" for i in range(LEVELS)]
    wanted = [f"{name}.{leaf}" for name in names for leaf in ("spiral", "upsample")] + ["faces"]
    if any(name not in tensors or tensors[name].dim() != 2 for name in wanted):
        raise InputError(
            f"{path}: its mesh tables are missing or misshapen (expected {wanted[0]} ..); take another checkpoint"
        )
    spirals = tuple(tensors[f"{name}.spiral"].numpy() for name in names)
    upsample = tuple(tensors[f"{name}.upsample"].float().numpy() for name in names)
    faces = tensors["faces"].numpy()
    sizes = (*(len(matrix) for matrix in upsample), upsample[-1].shape[1])
    for i, (spiral, matrix) in enumerate(zip(spirals, upsample, strict=True)):
        if matrix.shape != (sizes[i], sizes[i + 1]) or len(spiral) != sizes[i]:
            raise InputError(
                f"{path}: mesh level {i} has {len(spiral)} spirals and up-sampling {matrix.shape}; "
                "take another checkpoint"
            )
        check_indices(path, f"{names[i]}.spiral", spiral, sizes[i])
    check_indices(path, "faces", faces, sizes[0])
    return StoredTables(sizes, spirals, tuple(csr_matrix(matrix) for matrix in upsample), (faces,), sha256)


def check_indices(path: Path, name: str, indices: np.ndarray, size: int) -> None:
    """Raises InputError unless `indices` are whole numbers in [0, size)."""
    if indices.dtype.kind not in "iu" or indices.size == 0 or indices.min() < 0 or indices.max() >= size:
        raise InputError(
            f"{path}: {name}: expected vertex ids from 0 to {size - 1}, found others; take another checkpoint"
        )
