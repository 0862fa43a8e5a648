"""Published scores to compare with: after Procrustes alignment, millimetres and percent.

Source: the poster of H2ONet (CVPR 2023), whose rows for other methods are its authors' figures. Scores on synthetic
data or on parts of a split are not comparable with them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row: errors in mm, areas under the curve and F-scores in percent, all aligned."""

    dataset: str
    method: str
    joint_error: float
    joint_auc: float
    vertex_error: float
    vertex_auc: float
    f_5: float
    f_15: float


PUBLISHED = (
    Published("dexycb", "HandOccNet", 5.8, 88.4, 5.5, 89.0, 78.0, 99.0),
    Published("dexycb", "MobRecon", 6.4, 87.3, 5.6, 88.9, 78.5, 98.8),
    Published("dexycb", "H2ONet, single frame", 5.7, 88.9, 5.5, 89.1, 80.1, 99.0),
    Published("dexycb", "H2ONet, multi frame", 5.3, 89.4, 5.2, 89.6, 80.5, 99.3),
    Published("ho3d-v2", "HandOccNet", 9.1, 81.9, 9.0, 81.9, 56.1, 96.2),
    Published("ho3d-v2", "MobRecon", 9.4, 81.3, 9.5, 81.0, 53.3, 95.5),
    Published("ho3d-v2", "H2ONet, single frame", 9.0, 82.0, 9.0, 81.9, 55.4, 96.0),
    Published("ho3d-v2", "H2ONet, multi frame", 8.5, 82.9, 8.6, 82.8, 57.0, 96.6),
)
