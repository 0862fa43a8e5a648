"""A reader that another package brings: the one on the page, installed as an entry point, labels like a table."""

import importlib
import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import raw_trees as raw
import table_trees as tables
from cli_trees import h2o
from h2onet.data.datasets import list_sequences
from h2onet.data.labels import LabelStore
from h2onet.data.readers.plugins import _found, plugin
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-dataset.md"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package with one entry point where Python finds it."""

    def put(code: str, name: str = "our-rig", value: str = "our_rig:OurRig") -> None:
        site = tmp_path / "site"
        info = site / "our_rig-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-rig\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[h2onet.datasets]\n{name} = {value}\n")
        (site / "our_rig.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()

    _found.cache_clear()
    plugin.cache_clear()
    yield put
    _found.cache_clear()
    plugin.cache_clear()
    sys.modules.pop("our_rig", None)


@pytest.fixture
def rig(tmp_path) -> Path:
    """A tree as the page's reader expects it: two sequences; the photo of one frame is missing."""
    root, photo = tmp_path / "rig", cv2.imencode(".jpg", np.full((480, 640, 3), 90, np.uint8))[1].tobytes()
    rows = {}
    for key, count in (("day1", 3), ("day2", 2)):
        truths = [raw.posed("right", number) for number in range(count)]
        rows[key] = [[*truth.pose.tolist(), *raw.BETAS.tolist(), *truth.translation.tolist()] for truth in truths]
        (root / key).mkdir(parents=True)
        for number in range(count):
            (root / key / f"{number:04d}.jpg").write_bytes(photo)
    (root / "poses.json").write_text(json.dumps(rows))
    (root / "day1/0001.jpg").unlink()
    return root


def page_reader() -> str:
    (code,) = re.findall(r"```python\n(# our_rig\.py.*?)```", PAGE.read_text(), re.DOTALL)
    return code


def label(dataset: str, root: Path, out: Path) -> LabelStore:
    prepare_labels(LabelSettings(dataset, root, "train", "standin", out, workers=1))
    return LabelStore.open(out)


def test_the_reader_of_the_page_gives_what_a_table_gives(install, rig, tmp_path):
    install(page_reader())
    own = label("our-rig", rig, tmp_path / "own.zarr")
    assert own.attrs["failures"] == 1 and own.attrs["dataset"] == "our-rig" and own.sequences == ["day1", "day2"]
    camera = [600.0, 600.0, 320.0, 240.0]
    places = [(key, number) for key, count in (("day1", 3), ("day2", 2)) for number in range(count)]
    given = [
        tables.row(number, sequence=key, image=f"{key}/{number:04d}.jpg", index=number, intrinsics=camera)
        for key, number in places
        if (key, number) != ("day1", 1)
    ]
    same = label("table", tables.write(tmp_path / "t", given), tmp_path / "table.zarr")
    assert [each["sha256"] for each in own.attrs["sequences"]] == [each["sha256"] for each in same.attrs["sequences"]]
    assert build_clips(tmp_path / "own.zarr", tmp_path / "c.zarr", workers=1).frames == 4
    assert own.image(1) == "day1/0002.jpg" and own.attrs["window"] == {"past": [5, 10], "jitter": [4.0, 2.0]}


def test_commands_know_it_and_say_so(install, rig, tmp_path):
    install(page_reader())
    assert "one of dexycb, ho3d-v2, ho3d-v3, table, our-rig" in h2o("doctor", "--dataset", "none").error
    done = h2o("doctor", "--dataset", "our-rig", "--root", rig, "--mano", "standin")
    assert done.code == 0 and "read by an installed package" in done.out
    options = ("--dataset", "our-rig", "--split", "train", "--out", tmp_path / "a.json", "--mano", "standin")
    assert "others are read as they are" in h2o("annotations", *options, "--root", rig).error
    assert "--root" in h2o("prepare-labels", *options).error


BROKEN = [
    ("raise RuntimeError('no driver')", "our-rig = our_rig:OurRig: no driver; repair that package"),
    ("", "our_rig:OurRig: module 'our_rig' has no attribute 'OurRig'"),
    (
        "from h2onet.data.frame import CameraSequence\nclass OurRig:\n"
        "    def folders(self, root):\n        return root, root\n"
        "    def list_sequences(self, root, split, mano):\n"
        "        return [CameraSequence('our-rig', str(root), split, '', 'a', [], [])]",
        "the reader of our-rig lists a has no facts",
    ),
]


@pytest.mark.parametrize(("code", "words"), BROKEN, ids=["raises", "absent", "without facts"])
def test_a_reader_that_is_none_is_one_line(install, rig, code, words):
    install(code)
    with pytest.raises(InputError) as caught:
        list_sequences("our-rig", rig, "train")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_of_this_program_stays_its_own(install, rig, tmp_path):
    install(page_reader(), name="table")
    root = tables.write(tmp_path / "t", [tables.row(0)])
    assert list_sequences("table", root, "train")[0].facts.name == "mine"
    with pytest.raises(InputError, match="--dataset our-rig: expected one of"):
        list_sequences("our-rig", rig, "train")
