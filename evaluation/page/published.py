"""Published scores to compare with: millimetres and percent, each row with its source.

Errors and areas are after Procrustes alignment, `raw_` ones only after moving the wrist. Scores on synthetic data or on
parts of a split are not comparable with them.
"""

from dataclasses import dataclass

POSTER = "H2ONet poster, CVPR 2023"
HANDOCCNET = "HandOccNet repository"
UNIHOPE = "UniHOPE poster; retrained, hands without objects too"


@dataclass(frozen=True)
class Published:
    """One row: errors in mm, areas under the curve and F-scores in percent; None where the source does not say."""

    dataset: str
    method: str
    source: str
    joint_error: float | None = None
    joint_auc: float | None = None
    vertex_error: float | None = None
    vertex_auc: float | None = None
    f_5: float | None = None
    f_15: float | None = None
    raw_joint_error: float | None = None
    raw_vertex_error: float | None = None


def unihope_row(method: str, raw_joint: float, joint: float, raw_vertex: float, vertex: float) -> Published:
    """A row of UniHOPE's table, with the columns in its order."""
    return Published(
        "dexycb",
        method,
        UNIHOPE,
        joint_error=joint,
        vertex_error=vertex,
        raw_joint_error=raw_joint,
        raw_vertex_error=raw_vertex,
    )


PUBLISHED = (
    Published("dexycb", "H2ONet, multi frame", POSTER, 5.3, 89.4, 5.2, 89.6, 80.5, 99.3),
    Published("dexycb", "H2ONet, single frame", POSTER, 5.7, 88.9, 5.5, 89.1, 80.1, 99.0),
    Published("dexycb", "HandOccNet", POSTER, 5.8, 88.4, 5.5, 89.0, 78.0, 99.0),
    Published("dexycb", "MobRecon", POSTER, 6.4, 87.3, 5.6, 88.9, 78.5, 98.8),
    Published("dexycb", "HandOccNet", HANDOCCNET, joint_error=5.80, raw_joint_error=14.04),
    Published("dexycb", "SimpleHand", "SimpleHand paper", joint_error=5.5, vertex_error=5.5),
    unihope_row("H2ONet", 14.78, 5.72, 14.63, 6.19),
    unihope_row("HandOccNet", 14.02, 6.17, 13.55, 5.95),
    unihope_row("MobRecon", 15.02, 6.71, 13.93, 5.91),
    unihope_row("SimpleHand", 14.78, 6.30, 14.11, 6.03),
    Published("ho3d-v2", "H2ONet, multi frame", POSTER, 8.5, 82.9, 8.6, 82.8, 57.0, 96.6),
    Published("ho3d-v2", "H2ONet, single frame", POSTER, 9.0, 82.0, 9.0, 81.9, 55.4, 96.0),
    Published("ho3d-v2", "HandOccNet", POSTER, 9.1, 81.9, 9.0, 81.9, 56.1, 96.2),
    Published("ho3d-v2", "MobRecon", POSTER, 9.4, 81.3, 9.5, 81.0, 53.3, 95.5),
    Published("ho3d-v2", "HandOccNet", HANDOCCNET, joint_error=9.1, vertex_error=8.8, f_5=56.4, f_15=96.3),
    Published("ho3d-v2", "MobRecon", "MobRecon paper", joint_error=9.2, vertex_error=9.4),
)
