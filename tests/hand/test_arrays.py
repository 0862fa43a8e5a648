"""Finding MANO's files and refusing wrong ones with a line that says what to do."""

import pickle
import shutil

import numpy as np
import pytest
import scipy.sparse
from h2onet.errors import InputError
from h2onet.hand.arrays import find_mano, load_arrays
from h2onet.hand.standin.arrays import standin_arrays, write_mano_pickles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mano")
    write_mano_pickles(folder)
    return folder


@pytest.fixture
def fields():
    """MANO's fields as a cleaned copy has them."""
    a = standin_arrays("right")
    kintree = np.stack([a.parents.astype(np.uint32), np.arange(16, dtype=np.uint32)])
    return {
        "v_template": a.v_template,
        "shapedirs": a.shapedirs,
        "posedirs": a.posedirs,
        "J_regressor": a.joint_regressor,
        "weights": a.weights,
        "hands_components": a.hands_components,
        "hands_mean": a.hands_mean,
        "hands_coeffs": a.hands_coeffs,
        "f": a.faces.astype(np.uint32),
        "kintree_table": kintree,
    }


def write(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def same(a, b):
    names = ("v_template", "shapedirs", "posedirs", "joint_regressor", "weights", "hands_components", "hands_mean")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in (*names, "faces", "parents"))


@pytest.mark.parametrize("below", ["", "models", "mano", "mano/models"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_files_are_found_where_people_have_them(folder, tmp_path, below, side):
    name = f"MANO_{side.upper()}.pkl"
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / name, tmp_path / below / name)
    assert find_mano(tmp_path, side) == tmp_path / below / name
    arrays = load_arrays(str(tmp_path), side)
    assert arrays.side == side and arrays.source.endswith(name) and len(arrays.sha256) == 64
    assert same(arrays, standin_arrays(side))
    assert same(load_arrays(tmp_path / below / name, side), arrays)


def test_golden_files_load(golden):
    for side in ("right", "left"):
        arrays = load_arrays(golden / "labels" / "mano", side)
        assert arrays.parents.tolist() == [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
        assert arrays.faces.dtype == np.int32 and arrays.v_template.dtype == np.float64


@pytest.mark.parametrize("make", [lambda p: p, lambda p: p / "nowhere"])
def test_missing_files_say_where_mano_comes_from(tmp_path, make):
    with pytest.raises(InputError) as caught:
        load_arrays(make(tmp_path), "left")
    message = str(caught.value)
    assert "MANO_LEFT.pkl" in message and "https://mano.is.tue.mpg.de" in message and "regist" in message
    assert str(tmp_path) in message and "\n" not in message


def test_a_left_file_is_no_right_hand(folder, tmp_path):
    shutil.copy(folder / "MANO_LEFT.pkl", tmp_path / "MANO_RIGHT.pkl")
    with pytest.raises(InputError, match=r"expected a right hand, found a left one.*MANO_RIGHT\.pkl"):
        load_arrays(tmp_path, "right")
    with pytest.raises(InputError, match="expected a left hand, found a right one"):
        load_arrays(folder / "MANO_RIGHT.pkl", "left")


def test_an_unknown_side_is_refused(folder):
    for mano in (folder, "standin"):
        with pytest.raises(InputError, match="right or left"):
            load_arrays(mano, "both")


def test_sparse_regressors_and_missing_coefficients_are_fine(fields, tmp_path):
    expected = fields["J_regressor"]
    fields["J_regressor"] = scipy.sparse.csc_matrix(expected)
    del fields["hands_coeffs"]
    arrays = load_arrays(write(tmp_path / "MANO_RIGHT.pkl", fields), "right")
    assert np.array_equal(arrays.joint_regressor, expected) and arrays.hands_coeffs.shape == (0, 45)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("v_template", lambda v: v[:-1], r"expected shape \(778, 3\), found \(777, 3\)"),
        ("shapedirs", lambda v: v[..., :9], r"expected shape \(778, 3, 10\)"),
        ("weights", lambda v: np.where(v > 0.99, np.nan, v), "finite"),
        ("posedirs", lambda v: v.astype("S8"), "expected numbers"),
        ("posedirs", lambda v: None, "found None"),
        ("f", lambda v: v + 1, "vertex ids 0..777"),
        ("kintree_table", lambda v: v[:, ::-1], "parent before"),
        ("J_regressor", lambda v: scipy.sparse.csc_matrix((2**30, 778)), "expected shape"),
    ],
)
def test_wrong_fields_are_named(fields, tmp_path, name, change, said):
    fields[name] = change(fields[name])
    path = write(tmp_path / "MANO_RIGHT.pkl", fields)
    with pytest.raises(InputError, match=said) as caught:
        load_arrays(path, "right")
    assert name in str(caught.value) and str(path) in str(caught.value)


def test_missing_fields_and_other_contents_are_named(fields, tmp_path):
    del fields["weights"]
    with pytest.raises(InputError, match="weights: missing"):
        load_arrays(write(tmp_path / "a.pkl", fields), "right")
    with pytest.raises(InputError, match="expected a dictionary"):
        load_arrays(write(tmp_path / "b.pkl", [1, 2]), "right")


def test_a_changed_file_is_read_again(fields, tmp_path):
    path = write(tmp_path / "MANO_RIGHT.pkl", fields)
    before = load_arrays(path, "right")
    assert load_arrays(path, "right") is before
    fields["hands_mean"] = fields["hands_mean"] + 1.0
    fields["note"] = "another size"
    assert not np.array_equal(load_arrays(write(path, fields), "right").hands_mean, before.hands_mean)
