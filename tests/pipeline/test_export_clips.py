"""webdataset shards: pictures byte for byte, rows as JSON, sequences whole."""

import json
import tarfile

import clip_scene
import numpy as np
import pytest
from h2onet.data.clips import ClipStore
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.export_clips import export_webdataset


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


@pytest.fixture
def clips(tmp_path):
    build_clips(clip_scene.write_scene(tmp_path, clip_scene.Scene(labelled=False)), tmp_path / "c.zarr", workers=1)
    return tmp_path / "c.zarr"


def test_every_frame_is_there_with_its_picture_and_row(clips, tmp_path):
    summary = export_webdataset(clips, tmp_path / "out", frames_per_shard=5)
    store = ClipStore.open(clips)
    assert (summary.frames, summary.shards) == (21, 2)
    shards = [members(tmp_path / "out" / f"clips-{i:06d}.tar") for i in range(2)]
    assert [len(shard) for shard in shards] == [24, 18]  # a sequence each, two members per frame
    assert all("." not in name[: name.rindex(".")] for shard in shards for name in shard)  # webdataset splits at a dot
    key = clip_scene.OTHER.replace("/", "__") + "__000004"
    assert shards[1][key + ".jpg"] == store.jpegs(np.array([16]))[0]
    row = json.loads(shards[1][key + ".json"])
    assert row["sequence"] == clip_scene.OTHER and row["frame"] == 4 and row["is_left"] is False
    np.testing.assert_array_equal(np.float32(row["joints"]), store.index["joints"][16])
    np.testing.assert_array_equal(row["intrinsics"], store.index["intrinsics"][16])
    assert row["visible_fraction"] == [None] * 6 and row["occluded"] == [255] * 7
    assert json.loads((tmp_path / "out" / "clips.json").read_text())["dataset"] == "dexycb"


def test_the_same_store_gives_the_same_bytes_and_nothing_is_overwritten(clips, tmp_path):
    export_webdataset(clips, tmp_path / "a")
    export_webdataset(clips, tmp_path / "b")
    assert (tmp_path / "a/clips-000000.tar").read_bytes() == (tmp_path / "b/clips-000000.tar").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export_webdataset(clips, tmp_path / "a")
    with pytest.raises(InputError, match="does not exist"):
        export_webdataset(tmp_path / "no.zarr", tmp_path / "c")
    assert not (tmp_path / "c").exists()
