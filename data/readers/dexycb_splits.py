"""DexYCB's lists and split rules: subjects, cameras, objects, and the position of every sequence.

Split rules (s0-s3) are positions in the full list of 100 sequences per subject, sorted by name. The list is part of the
package (`dexycb_sequences.csv`), so that a partial download still gets the right split.
Source: dex-ycb-toolkit's dataset definition, `dex_ycb_toolkit/dex_ycb.py`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

SUBJECTS = (
    "20200709-subject-01",
    "20200813-subject-02",
    "20200820-subject-03",
    "20200903-subject-04",
    "20200908-subject-05",
    "20200918-subject-06",
    "20200928-subject-07",
    "20201002-subject-08",
    "20201015-subject-09",
    "20201022-subject-10",
)
SERIALS = (
    "836212060125",
    "839512060362",
    "840412060917",
    "841412060263",
    "932122060857",
    "932122060861",
    "932122061900",
    "932122062010",
)
YCB_NAMES = (
    "002_master_chef_can",
    "003_cracker_box",
    "004_sugar_box",
    "005_tomato_soup_can",
    "006_mustard_bottle",
    "007_tuna_fish_can",
    "008_pudding_box",
    "009_gelatin_box",
    "010_potted_meat_can",
    "011_banana",
    "019_pitcher_base",
    "021_bleach_cleanser",
    "024_bowl",
    "025_mug",
    "035_power_drill",
    "036_wood_block",
    "037_scissors",
    "040_large_marker",
    "051_large_clamp",
    "052_extra_large_clamp",
    "061_foam_brick",
)
"""Names by YCB id - 1: `YCB_NAMES[ycb_id - 1]`. HO3D's objects are among them."""


def object_names(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    """Names by `object_id` - 1 of a store with these attributes: YCB's, then the dataset's own where it has others.

    0 stands for an object without a number, -1 for none annotated.
    """
    return tuple(attrs.get("object_names") or YCB_NAMES)


_ALL_SUBJECTS, _ALL_CAMERAS = frozenset(range(10)), frozenset(range(8))
_S1 = {"train": frozenset({0, 1, 2, 3, 4, 5, 9}), "val": frozenset({6}), "test": frozenset({7, 8})}
_S2 = {"train": frozenset(range(6)), "val": frozenset({6}), "test": frozenset({7})}
_S3 = {"val": frozenset({3, 19}), "test": frozenset({7, 11, 15})}


def in_split(setup: str, split: str, subject: int, camera: int, position: int) -> bool:
    """Whether a camera recording belongs to a split: 0-based indices of subject, camera and sequence."""
    return (
        subject in subjects_of(setup, split)
        and camera in cameras_of(setup, split)
        and position_in_split(setup, split, position)
    )


def subjects_of(setup: str, split: str) -> frozenset[int]:
    """Subject indices of a split."""
    if setup == "s0":
        return {"train": _ALL_SUBJECTS, "val": frozenset({0, 1}), "test": _ALL_SUBJECTS - {0, 1}}[split]
    return _S1[split] if setup == "s1" else _ALL_SUBJECTS


def cameras_of(setup: str, split: str) -> frozenset[int]:
    """Camera indices of a split."""
    return _S2[split] if setup == "s2" else _ALL_CAMERAS


def position_in_split(setup: str, split: str, position: int) -> bool:
    """Whether the sequence at this position of its subject's sorted list belongs to the split."""
    if setup == "s0":
        return (position % 5 == 4) == (split != "train")
    if setup == "s3":
        group = position // 5
        held_out = _S3["val"] | _S3["test"]
        return group not in held_out if split == "train" else group in _S3[split]
    return True


@lru_cache(maxsize=1)
def sequence_list() -> dict[str, dict[str, str]]:
    """subject -> {sequence name: hand side}, names sorted: all 1000 sequences of the full dataset."""
    text = files("h2onet.data.readers").joinpath("dexycb_sequences.csv").read_text("utf-8")
    found = {}
    for row in csv.DictReader(text.splitlines()):
        sides = {f"{row['date']}_{time}": side for side in ("right", "left") for time in row[side].split()}
        found[row["subject"]] = dict(sorted(sides.items()))
    return found


@lru_cache(maxsize=1)
def positions() -> dict[tuple[str, str], int]:
    """(subject, sequence name) -> position in the subject's sorted list, for the full dataset."""
    return {
        (subject, name): position for subject, names in sequence_list().items() for position, name in enumerate(names)
    }
