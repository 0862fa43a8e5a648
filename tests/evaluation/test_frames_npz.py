"""frames.npz: what goes in comes out, and a damaged file is one line."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.evaluation.frames_npz import KEYS, NAME, read_frames, write_frames


@pytest.fixture
def folder(tmp_path):
    keys = {"sequence": np.array(["A", "A", "B"]), "recording": np.array(["A", "A", "B"]), "frame": np.arange(3)}
    write_frames(tmp_path, keys, {"mpjpe_mm": np.array([1.0, np.nan, 3.0])})
    return tmp_path


def test_columns_come_back(folder):
    columns = read_frames(folder)
    assert set(columns) == {*KEYS, "mpjpe_mm"}
    assert columns["sequence"].tolist() == ["A", "A", "B"] and columns["frame"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(columns["mpjpe_mm"], np.array([1.0, np.nan, 3.0], np.float32))


@pytest.mark.parametrize("kept", [0, 0.5, 0.95])
def test_a_cut_file_is_one_line(folder, kept):
    path = folder / NAME
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=r"frames\.npz: cannot be read .*run h2o evaluate again") as caught:
        read_frames(folder)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_is_one_line(folder):
    path = folder / NAME
    data = bytearray(path.read_bytes())
    start = data.index(b"sequence.npy") + 30
    data[start : start + 20] = bytes(255 - byte for byte in data[start : start + 20])
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        read_frames(folder)


def test_missing_files_and_columns_are_named(folder, tmp_path_factory):
    with pytest.raises(InputError, match="not found"):
        read_frames(tmp_path_factory.mktemp("empty"))
    np.savez(folder / NAME, sequence=np.array(["A"]), frame=np.arange(1))
    with pytest.raises(InputError, match="'recording'"):
        read_frames(folder)
