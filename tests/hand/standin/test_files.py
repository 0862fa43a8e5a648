"""The stand-in hand's files: MANO's own pickle form, the same bytes each time, readable by everybody's readers."""

import dataclasses
import pickle

import numpy as np
import smplx
from h2onet.hand.mano import load_arrays
from h2onet.hand.pickles import safe_load
from h2onet.hand.standin.arrays import standin_arrays, write_mano_pickles


def test_pickles_are_manos_form_and_the_same_every_time(tmp_path):
    paths = write_mano_pickles(tmp_path / "a")
    assert [p.name for p in paths] == ["MANO_RIGHT.pkl", "MANO_LEFT.pkl"]
    again = write_mano_pickles(tmp_path / "b")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["MANO_LEFT.pkl", "MANO_RIGHT.pkl"]
    data = paths[0].read_bytes()
    assert b"numpy._core" not in data and b"scipy.sparse._" not in data  # names that old readers do not have
    content = pickle.loads(data, encoding="latin1")  # noqa: S301 - our own file, read as other people's code reads it
    safe = safe_load(paths[0])
    assert set(content) == set(safe)
    assert (content["bs_style"], content["bs_type"]) == ("lbs", "lrotmin")
    assert content["f"].dtype == np.uint32
    assert content["kintree_table"].dtype == np.uint32
    assert content["kintree_table"][0, 0] == 2**32 - 1
    assert type(content["J_regressor"]).__name__ == "csc_matrix"
    right = standin_arrays("right")
    assert np.allclose(content["J"], content["J_regressor"] @ content["v_template"], atol=1e-15)
    for name in ("v_template", "shapedirs", "posedirs", "weights", "hands_components", "hands_mean", "hands_coeffs"):
        assert np.array_equal(content[name], getattr(right, name)), name
        assert np.array_equal(safe[name], getattr(right, name)), name


def test_the_pickles_are_read_back_as_the_same_arrays(tmp_path):
    write_mano_pickles(tmp_path)
    for side in ("right", "left"):
        read, made = load_arrays(tmp_path, side), standin_arrays(side)
        for field in dataclasses.fields(made):
            if field.name not in ("side", "source", "sha256"):
                assert np.array_equal(getattr(read, field.name), getattr(made, field.name)), field.name


def test_smplx_reads_the_pickles(tmp_path, capsys):
    write_mano_pickles(tmp_path)
    for side in ("right", "left"):
        layer = smplx.MANO(model_path=str(tmp_path), is_rhand=side == "right", use_pca=False, flat_hand_mean=True)
        made = standin_arrays(side)
        output = layer()
        assert np.allclose(output.vertices[0].numpy(force=True), made.v_template, atol=1e-6)
        assert np.allclose(output.joints[0].numpy(force=True), made.joint_regressor @ made.v_template, atol=1e-6)
    capsys.readouterr()
