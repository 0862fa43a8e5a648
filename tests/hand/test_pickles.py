"""Reading data pickles of every age: MANO as distributed (Python 2, chumpy, old scipy), cleaned copies, HO3D metas."""

import pickle
import struct
import sys
import types
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse
from h2onet.errors import InputError
from h2onet.hand.arrays import load_arrays
from h2onet.hand.pickles import safe_load
from h2onet.hand.standin.arrays import standin_arrays

PurePickler: Any = pickle._Pickler  # the one whose methods can be replaced


class Python2Pickler(PurePickler):
    """Writes protocol 2 as Python 2 does: byte strings as STRING opcodes, text keys as byte strings too."""

    dispatch: ClassVar = dict(PurePickler.dispatch)

    def save_bytes(self, value):
        if len(value) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(value)]) + value)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch[bytes] = save_bytes
    dispatch[str] = lambda self, value: self.save_bytes(value.encode("latin-1"))


@pytest.fixture
def chumpy(monkeypatch):
    """Stand-ins for chumpy's modules, there only while a test file is written."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name, module in (("Ch", modules["chumpy.ch"]), ("Select", modules["chumpy.reordering"])):
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
    return types.SimpleNamespace(Ch=modules["chumpy.ch"].Ch, Select=modules["chumpy.reordering"].Select)


def as_distributed(content, path):
    """Write `content` as Python 2 would have, with the module names of the numpy and scipy of that time."""
    with path.open("wb") as file:
        Python2Pickler(file, 2).dump(content)
    raw = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    raw = raw.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")
    path.write_bytes(raw)
    return raw


def mano_as_distributed(chumpy):
    """The stand-in's arrays in the objects of MANO's distribution: shapedirs is a Select over a longer Ch."""
    a = standin_arrays("right")
    full = chumpy.Ch()
    rest = np.random.default_rng(0).normal(size=(778, 3, 10))
    full.__dict__.update(x=np.concatenate([a.shapedirs, rest], axis=2), _dirty_vars={"x"}, _itr=None, _status="new")
    columns = np.arange(778 * 3 * 20).reshape(778, 3, 20)[:, :, :10].ravel()
    select = chumpy.Select()
    select.__dict__.update(a=full, idxs=columns, preferred_shape=(778, 3, 10), _dirty_vars={"a"}, _make_dense=False)
    template = chumpy.Ch()
    template.__dict__.update(x=a.v_template, _dirty_vars=set())
    return {
        "v_template": template,
        "shapedirs": select,
        "posedirs": np.asfortranarray(a.posedirs),
        "J_regressor": scipy.sparse.csc_matrix(a.joint_regressor),
        "J": a.joint_regressor @ a.v_template,
        "weights": a.weights,
        "hands_components": a.hands_components,
        "hands_mean": a.hands_mean,
        "hands_coeffs": a.hands_coeffs,
        "f": a.faces.astype(np.uint32),
        "kintree_table": np.stack([a.parents.astype(np.uint32), np.arange(16, dtype=np.uint32)]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def test_mano_as_distributed_loads_without_chumpy(chumpy, tmp_path, monkeypatch):
    path = tmp_path / "MANO_RIGHT.pkl"
    raw = as_distributed(mano_as_distributed(chumpy), path)
    names = ["chumpy.ch\nCh", "chumpy.reordering\nSelect", "scipy.sparse.csc\ncsc_matrix", "__builtin__\nset"]
    assert all(f"c{name}\n".encode() in raw for name in names), "the file must be like the distributed one"
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.delitem(sys.modules, name)
    found, expected = load_arrays(path, "right"), standin_arrays("right")
    assert np.array_equal(found.shapedirs, expected.shapedirs) and np.array_equal(found.faces, expected.faces)
    assert np.array_equal(found.v_template, expected.v_template) and np.array_equal(found.posedirs, expected.posedirs)
    assert np.array_equal(found.joint_regressor, expected.joint_regressor)
    assert "chumpy" not in sys.modules


@pytest.mark.parametrize("protocol", range(6))
def test_objects_of_every_protocol(chumpy, tmp_path, protocol):
    """Protocols 0 and 1 make objects through copy_reg._reconstructor, 2 and later through NEWOBJ."""
    ch, select = chumpy.Ch(), chumpy.Select()
    ch.__dict__.update(x=np.arange(6.0).reshape(2, 3))
    select.__dict__.update(a=ch, idxs=np.array([5, 0]))
    matrix = scipy.sparse.csr_matrix(np.array([[0.0, 1.5, 0.0], [2.0, 0.0, 3.0]]))
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"ch": ch, "select": select, "m": matrix, "set": {1, 2}}, protocol))
    found = safe_load(path)
    assert np.array_equal(found["ch"], ch.x) and np.array_equal(found["select"], [5.0, 0.0])
    assert scipy.sparse.issparse(found["m"]) and np.array_equal(found["m"].toarray(), matrix.toarray())
    assert found["set"] == {1, 2}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        np.arange(12, dtype=">i4").reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        np.array([True, False]),
        np.array("012_box"),
        np.array([b"ab", b"c"]),
        np.array(3.5),
        np.zeros((0, 45)),
        np.array([None, "x", np.arange(2)], dtype=object),
        np.float32(2.5),
        np.int64(-3),
        np.bool_(True),
        [1, -(2**70), 2.5, "ü", b"\x00\xff", None, True, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, [], set()],
        {"a": {"b": [1, {"c": (2, 3)}]}, 4: 5},
    ],
    ids=lambda v: type(v).__name__,
)
def test_values_of_every_protocol(tmp_path, value, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    found = safe_load(path)
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and found.shape == value.shape and found.flags.writeable
        equal = [np.array_equal(a, b) for a, b in zip(found.ravel(), value.ravel(), strict=True)]
        assert all(equal)
    else:
        assert found == value


@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
@pytest.mark.parametrize("container", ["matrix", "array"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_sparse_matrices(tmp_path, kind, container, protocol):
    dense = np.diag([1.0, 0.0, 2.5, 4.0])[:, :3]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(getattr(scipy.sparse, f"{kind}_{container}")(dense), protocol))
    assert np.array_equal(safe_load(path).toarray(), dense)


def test_ho3d_meta_of_python_2(tmp_path):
    rng = np.random.default_rng(0)
    meta = {
        "handPose": rng.normal(size=48),
        "handJoints3D": rng.normal(size=(21, 3)).astype(np.float32),
        "objRot": rng.normal(size=(3, 1)),
        "objName": "021_bleach_cleanser",
        "objLabel": 12,
        "handBoundingBox": [100, 50, 300, 260],
        "camIDList": ["0", "1"],
        "handBeta": None,
    }
    path = tmp_path / "0000.pkl"
    as_distributed(meta, path)
    found = safe_load(path)
    assert list(found) == list(meta) and all(type(key) is str for key in found)
    assert np.array_equal(found["handPose"], meta["handPose"]) and found["handBeta"] is None
    assert found["handJoints3D"].dtype == np.float32 and found["objName"] == meta["objName"]
    assert found["handBoundingBox"] == meta["handBoundingBox"] and found["camIDList"] == ["0", "1"]


def test_one_object_named_twice_is_one_array(tmp_path):
    array = np.arange(3.0)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([array, {"again": array}], 2))
    found = safe_load(path)
    assert found[0] is found[1]["again"]


def test_reference_files_read_as_python_reads_them(golden):
    """The hierarchy and a MANO-format file, against numpy's own view of the same bytes."""
    content = safe_load(golden / "transform.pkl")
    expected = np.load(golden / "spirals.npz")
    for level in range(5):
        assert np.array_equal(content["vertices"][level], expected[f"vertices_{level}"])
        assert np.array_equal(content["face"][level], expected[f"face_{level}"])
    for level in range(4):
        found = content["up_transform"][level].tocsr().sorted_indices()
        triplets = tuple(expected[f"up_{level}_{name}"] for name in ("val", "row", "col"))
        wanted = scipy.sparse.csr_matrix((triplets[0], triplets[1:]), shape=expected[f"up_{level}_shape"])
        assert found.shape == wanted.shape and abs(found - wanted).nnz == 0


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04zip", b"{}", b"\x80\x02"])
def test_other_files_are_no_pickles(tmp_path, content):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable pickle|refused") as caught:
        safe_load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_folders_and_giants(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        safe_load(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        safe_load(tmp_path)
    giant = tmp_path / "giant.pkl"
    with giant.open("wb") as file:
        file.truncate(2**30)  # sparse: takes no room on the disk
    with pytest.raises(InputError, match="below 64 MB"):
        safe_load(giant)


def test_every_truncation_is_refused(tmp_path):
    raw = pickle.dumps({"a": np.arange(4.0), "m": scipy.sparse.csc_matrix(np.eye(2)), "s": {1}, "t": "text"}, 2)
    path = tmp_path / "a.pkl"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(InputError):
            safe_load(path)
    path.write_bytes(raw)
    assert np.array_equal(safe_load(path)["a"], np.arange(4.0))
