"""Hostile pickles: refused by name, in one line, with nothing of them run and no memory reserved for claims."""

import functools
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from h2onet.errors import InputError
from h2onet.hand import pickle_records, pickles
from h2onet.hand.pickles import safe_load
from hypothesis import given, settings
from hypothesis import strategies as st


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def nest_plain(call):
    return call


def nest_list(call):
    return {"v_template": [1, (2, {3: call})]}


def nest_object_array(call):
    return {"v_template": np.array([1.0, call], dtype=object)}


def nest_key(call):
    return {call: 1}


def nest_unused_state(call):
    matrix = scipy.sparse.csc_matrix(np.eye(2))
    vars(matrix)["extra"] = call
    return matrix


def attacks(marker):
    """Ways to make a file when Python's own unpickler reads it, and the name that must be refused."""
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "system": (Call(os.system, f"touch {marker}"), f"{os.system.__module__}.system"),
        "eval": (Call(eval, code), "eval"),
        "exec": (Call(exec, code), "exec"),
        "getattr": (Call(getattr, Call(__import__, "os"), "system"), "getattr"),
        "popen": (Call(subprocess.call, ["touch", str(marker)]), ".call"),
        "partial": (Call(functools.partial, os.system, f"touch {marker}"), "partial"),
        "open": (Call(open, str(marker), "w"), "open"),
        "numpy": (Call(np.save, str(marker), 1), "numpy.save"),
        "numpy load": (Call(np.load, str(marker), None, True), "numpy.load"),
        "memmap": (Call(np.memmap, str(marker), "uint8", "w+", 0, (1,)), "memmap"),
        "own reader": (Call(safe_load, str(marker)), "safe_load"),
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hostile.pkl"


def refused(path, raw, said=""):
    """The one-line refusal of these bytes."""
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        safe_load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and said in message
    return message


@pytest.mark.parametrize("nest", [nest_plain, nest_list, nest_object_array, nest_key, nest_unused_state])
@pytest.mark.parametrize("name", attacks("x"))
def test_calls_are_refused_by_name_and_not_run(path, tmp_path, name, nest):
    call, said = attacks(tmp_path / "marker")[name]
    for protocol in range(6):
        message = refused(path, pickle.dumps(nest(call), protocol), said)
        assert "nothing was run" in message
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["system", "eval", "exec", "popen", "open", "numpy", "memmap"])
def test_the_attacks_are_real(path, tmp_path, name):
    """Python's own unpickler runs them: what is refused above would have done something."""
    path.write_bytes(pickle.dumps(attacks(tmp_path / "marker")[name][0]))
    reader = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-c", reader, str(path)], check=False, cwd=tmp_path)
    assert len(os.listdir(tmp_path)) == 2


OBJECT_DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8K\x00K\x01tR"
BYTE_DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
STATE = b"(K\x01(K\x01t" + BYTE_DTYPE + b"I00\nC\x01xtb"  # one byte, of one axis
RECONSTRUCT = b"ccopy_reg\n_reconstructor\n("
CSC = b"cscipy.sparse.csc\ncsc_matrix\n)\x81"
FOUR = struct.pack("<I", 2**31 - 1)


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("name with dots", b"\x80\x04\x8c\x08builtins\x8c\x0fset.__class__.x\x93.", "builtins.set.__class__.x"),
        ("name that is no string", b"\x80\x04K\x01K\x02\x93.", "class name"),
        ("old-style instance", b"(ios\nsystem\n.", "os.system"),
        ("object of a name", b"(cos\nsystem\no.", "os.system"),
        ("persistent id", b"Pmodule\n.", "PERSID"),
        ("binary persistent id", b"K\x01Q.", "BINPERSID"),
        ("extension registry", b"\x80\x02\x82\x01.", "EXT1"),
        ("keyword arguments", b"\x80\x04cchumpy.ch\nCh\n)}\x92.", "NEWOBJ_EX"),
        ("foreign buffer", b"\x80\x05\x97.", "NEXT_BUFFER"),
        ("call of a string", b"X\x01\x00\x00\x00x)R.", "calls a str"),
        ("call of an object", b"cchumpy.ch\nCh\n)\x81)R.", "calls a chumpy.ch.Ch"),
        ("call of the array class", b"cnumpy\nndarray\n(K\x05tR.", "numpy.ndarray"),
        ("object of the array class", b"cnumpy\nndarray\n)\x81.", "numpy.ndarray"),
        ("object of a function", b"c_codecs\nencode\n)\x81.", "_codecs.encode"),
        (
            "array of another class",
            ARRAY.replace(b"numpy\nndarray", b"chumpy.ch\nCh") + b".",
            "_reconstruct",
        ),
        ("other codec", b"c_codecs\nencode\n(X\x01\x00\x00\x00xX\x03\x00\x00\x00hextR.", "_codecs.encode"),
        ("codec of bytes", b"c_codecs\nencode\n(C\x01xX\x06\x00\x00\x00latin1tR.", "_codecs.encode"),
        ("set of a call", b"c__builtin__\nset\n(K\x05tR.", "__builtin__.set"),
        ("bytes of a length", b"c__builtin__\nbytes\n(" + b"J" + FOUR + b"tR.", "__builtin__.bytes"),
        (
            "reconstructor with a state",
            RECONSTRUCT + b"cchumpy.ch\nCh\nc__builtin__\nobject\nK\x01tR.",
            "_reconstructor",
        ),
        (
            "reconstructor of a base",
            RECONSTRUCT + b"cchumpy.ch\nCh\nc__builtin__\nset\nNtR.",
            "_reconstructor",
        ),
        ("object itself", RECONSTRUCT + b"c__builtin__\nobject\nc__builtin__\nobject\nNtR.", "object"),
        ("state of a name", b"c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb.", "state of a _codecs.encode"),
        ("state of a dictionary", b"}}b.", "state of a dict"),
        ("state of a set", b"\x80\x04\x8f}b.", "state of a set"),
        ("a name as a value", b"cnumpy\nndarray\n.", "numpy.ndarray"),
        ("dtype of Python text", b"cnumpy\ndtype\n(X\x05\x00\x00\x00i4,i4tR.", "i4,i4"),
        ("dtype of a class", b"cnumpy\ndtype\n(cchumpy.ch\nCh\ntR.", "array type"),
        (
            "structured dtype",
            BYTE_DTYPE + b"(K\x03X\x01\x00\x00\x00|N(X\x01\x00\x00\x00at}K\x00K\x00K\x00tb.",
            "structured",
        ),
    ],
)
def test_odd_opcodes_are_refused(path, name, raw, said):
    refused(path, raw, said)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        (
            "array larger than its data",
            ARRAY + STATE.replace(b"K\x01t", b"J" + FOUR + b"J" + FOUR + b"t", 1) + b".",
        ),
        ("negative shape", ARRAY + STATE.replace(b"K\x01t", b"J\xff\xff\xff\xfft", 1) + b"."),
        ("object array without a list", ARRAY + b"(K\x01(J" + FOUR + b"t" + OBJECT_DTYPE + b"I00\nC\x01xtb."),
        ("array of too many axes", ARRAY + STATE.replace(b"K\x01t", b"K\x01" * 99 + b"t", 1) + b"."),
        ("array without a state", ARRAY + b"."),
        (
            "two states",
            ARRAY + STATE + STATE + b".",
        ),
        ("memo index", b"K\x01r" + FOUR + b"0j\x00\x00\x00\x00."),
        ("length of bytes", b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b"x."),
        ("length of a byte array", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x."),
        ("length of an integer", b"\x8b" + FOUR + b"\x01."),
        ("integer of many digits", b"I" + b"9" * 10**6 + b"\n."),
        ("an object in itself", b"cchumpy.ch\nCh\n)\x81q\x00}X\x01\x00\x00\x00xh\x00sb."),
        ("deep lists", b"]" * 20_000 + b"a" * 19_999 + b"."),
        ("sparse matrix without a shape", CSC + b"}b."),
        ("sparse matrix of lists", CSC + b"}X\x06\x00\x00\x00_shapeK\x02K\x02\x86sb."),
        ("numbers under chumpy", b"cchumpy.ch\nCh\n)\x81}X\x01\x00\x00\x00xX\x01\x00\x00\x00ysb."),
        ("only a mark", b"(."),
        ("unhashable key", b"}]K\x01s."),
        ("unhashable member", b"\x80\x04\x8f(]\x90."),
        ("append to a dictionary", b"}K\x01a."),
        ("frame beyond the end", b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"K\x01"),
    ],
)
def test_impossible_claims_are_refused_without_memory(path, name, raw):
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            safe_load(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_the_pieces_above_are_valid_on_their_own(path):
    path.write_bytes(ARRAY + STATE + b".")
    assert safe_load(path).tolist() == [ord("x")]


@pytest.mark.parametrize("indices", [[0, 9], [0, -1]])
def test_sparse_indices_outside_the_matrix_are_refused(path, indices):
    matrix = scipy.sparse.csc_matrix(np.eye(2))
    matrix.indices[:] = indices  # scipy's compiled loops would follow them out of the array
    refused(path, pickle.dumps(matrix), "not a readable pickle")


def test_a_select_cannot_reach_outside_its_array(path):
    names = b"cchumpy.reordering\nSelect\n)\x81}(X\x01\x00\x00\x00a"
    raw = names + pickle.dumps(np.arange(3.0), 2)[2:-1] + b"X\x04\x00\x00\x00idxs"
    for indices in (np.array([3]), np.array([0.5]), np.array([-4])):
        refused(path, raw + pickle.dumps(indices, 2)[2:-1] + b"ub.", "not a readable pickle")


def doubled(times):
    """Lists, each twice in the next: 2^times entries when written out."""
    return b"]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(times)) + b"."


def test_shared_lists_are_weighed_as_written_out(path):
    path.write_bytes(doubled(10))
    found, depth = safe_load(path), 0
    while found:
        found, depth = found[0], depth + 1
    assert depth == 10
    refused(path, doubled(21), "1000000 entries")


def many(unit, count, before=b"", after=b"."):
    return before + unit * count + after


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (many(b"K\x010", pickles._MOST_OPCODES // 2 + 1), "opcodes"),
        (many(b"\x85", pickle_records._DEEPEST + 1, b")"), "nested more than 100"),
        (b"\x8a\x42" + b"\x01" * 66 + b".", "512 bits"),
        (b"}(K\x01K\x02tK\x03s.", "a key that is neither"),
        (b"\x80\x04\x8f(G\x3f\xf0\x00\x00\x00\x00\x00\x00\x90.", "a key that is neither"),
        (b"}\x8a\x05" + (2**33).to_bytes(5, "little") + b"K\x01s.", "a key that is neither"),
        (b"K\x01r" + struct.pack("<I", 2**24) + b".", "memo index"),
        (b"c__builtin__\nset\n((K\x01K\x02t]q\x00(h\x00eK\x03ltR.", ""),
    ],
)
def test_bounds_of_one_file(path, raw, said):
    refused(path, raw, said)


def test_arrays_that_share_their_data_are_counted_each_time(path, monkeypatch):
    monkeypatch.setattr(pickle_records, "MOST_BYTES", 1000)
    array = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tRq\x010" + b"C\x64" + bytes(100) + b"q\x020"
    one = ARRAY + b"(K\x01(K\x64th\x01I00\nh\x02tb"
    path.write_bytes(array + b"(" + one * 10 + b"l.")
    assert len(safe_load(path)) == 10
    refused(path, array + b"(" + one * 11 + b"l.", "MB of arrays")


def test_text_that_is_encoded_again_and_again_is_counted(path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_BYTES", 1000)
    text = b"X\x64\x00\x00\x00" + b"x" * 100 + b"q\x000X\x06\x00\x00\x00latin1q\x010"
    one = b"c_codecs\nencode\n(h\x00h\x01tR"
    path.write_bytes(text + b"(" + one * 10 + b"l.")
    assert len(safe_load(path)) == 10
    refused(path, text + b"(" + one * 11 + b"l.", "written out")


def test_reading_leaves_the_reader_as_it_was(path):
    before = {name: vars(module).copy() for name, module in (("m", pickles), ("r", pickle_records))}
    refused(path, b"c__builtin__\nset\nN}X\x08\x00\x00\x00__code__K\x01s\x86b.")
    refused(path, b"cchumpy.ch\nCh\n}X\x0c\x00\x00\x00__setstate__K\x01sb.")
    assert {name: vars(module) for name, module in (("m", pickles), ("r", pickle_records))} == before


SAMPLE = pickle.dumps(
    {"a": np.arange(4.0), "m": scipy.sparse.csc_matrix(np.eye(2)), "s": {1}, "t": ("x", b"yz", [1, 2.5, None])}, 2
)


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_damaged_files_give_data_or_an_input_error(tmp_path_factory, changes):
    raw = bytearray(SAMPLE)
    for position, value in changes:
        raw[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(raw)
    try:
        safe_load(path)
    except InputError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_random_bytes_give_data_or_an_input_error(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "random.pkl"
    path.write_bytes(raw + b".")
    try:
        safe_load(path)
    except InputError as error:
        assert "\n" not in str(error)
