"""The arrays that make a hand, MANO's or the stand-in's: float64, metres, in MANO's rest axes."""

from dataclasses import dataclass

import numpy as np

SIDES = ("right", "left")
STANDIN = "standin"
"""Names the built-in hand where a folder with MANO's files could stand."""


@dataclass(frozen=True)
class HandArrays:
    """MANO's arrays, read-only: float64 in metres (faces int32, parents int64 with -1 for the wrist).

    v_template `(778, 3)`, shapedirs `(778, 3, 10)`, posedirs `(778, 3, 135)`, joint_regressor `(16, 778)`,
    weights `(778, 16)`, hands_components `(45, 45)`, hands_mean `(45,)`, hands_coeffs `(N, 45)`, faces `(1538, 3)`,
    parents `(16,)`; source names the file (or "standin"), sha256 its content.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray
    joint_regressor: np.ndarray
    weights: np.ndarray
    hands_components: np.ndarray
    hands_mean: np.ndarray
    hands_coeffs: np.ndarray
    faces: np.ndarray
    parents: np.ndarray
    side: str
    source: str
    sha256: str
