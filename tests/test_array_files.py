"""Arrays of .npz and .npy files: read as numpy reads them, refused before anything is reserved for a claim."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from h2onet import array_files, zip_members
from h2onet.array_files import NUMBERS, TEXT, WHOLE, names_of, read_npy, read_npz
from h2onet.zip_members import read_members


def header(shape: str, descr: str = "<f8", data: bytes = b"") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels_000000.npz"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
        np.zeros((0, 4), np.float32),
        np.array(3.5),
        np.array([True, False]),
        np.array(["a", "bcé"]),
    ],
    ids=str,
)
def test_arrays_are_read_as_numpy_reads_them(array, path):
    np.savez_compressed(path, a=array, b=np.zeros(2))
    np.save(path.with_suffix(".npy"), array)
    for found in (
        read_npz(path, {"a": None}, {"a": NUMBERS + TEXT})["a"],
        read_npy(path.with_suffix(".npy"), None, NUMBERS + TEXT),
    ):
        assert found.dtype == array.dtype and np.array_equal(found, array) and found.flags.writeable
    assert names_of(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (header("(1000000000000, 3)"), "has shape"),
        (header("(999999999999999999999, 3)"), "shape|header"),
        (header("(2, 3)"), "claims 48 bytes, the file has"),
        (header("(2, 3)", data=bytes(47)), "claims 48 bytes"),
        (header("(2, 3)", data=bytes(49)), "more bytes than its shape"),
        (header("(2, 3)", "<c16", bytes(96)), "complex128, expected numbers"),
        (header("(2, 3)", "<U1", bytes(24)), "expected numbers"),
        (header("(2, 3)", "|O", bytes(48)), "expected numbers"),
        (header("(2, True)", data=bytes(48)), "another header"),
        (header("(" * 900), "another header"),
        (b"hello", "is no array"),
        (b"", "is no array"),
    ],
)
def test_members_that_are_refused(member, said, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", member + (bytes(200) if b"1000000000000" in member else b""))
    with pytest.raises(ValueError, match=said) as caught:
        read_npz(path, {"a": (2, 3)})
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


def test_a_claim_is_held_against_the_bound(path, monkeypatch):
    np.savez(path, a=np.zeros(10), b=np.zeros(10))
    assert len(read_npz(path, {"a": None, "b": None}, largest=160)) == 2
    with pytest.raises(ValueError, match="claims 80 bytes, expected at most 79"):
        read_npz(path, {"a": None, "b": None}, largest=159)


def test_files_of_another_kind(path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    for content, said in ((buffer.getvalue(), r"is a \.npy file"), (b"", "no whole"), (b"PK\x03\x04", "no whole")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_npz(path, {"a": None})
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match=r"is a \.npz file"):
        read_npy(path)
    with pytest.raises(ValueError, match="lacks the array b"):
        read_npz(path, {"b": None})
    with pytest.raises(ValueError, match="whole numbers"):
        read_npz(path, {"a": None}, {"a": WHOLE})
    whole = bytearray(path.read_bytes())
    whole[170] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="no whole"):
        read_npz(path, {"a": None})


def test_the_number_of_members_is_bounded(path, monkeypatch):
    monkeypatch.setattr(array_files, "_MOST_MEMBERS", 1)
    np.savez(path, a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(ValueError, match="holds 2 arrays"):
        read_npz(path, {"a": None})


def outcome(path: Path, **options) -> object:
    """What `read_npz` gives or says."""
    try:
        arrays = read_npz(path, {"a": None, "b": (None, 3)}, {"a": WHOLE}, **options)
    except (ValueError, OSError) as error:
        return str(error)
    return {name: (array.dtype.str, array.shape, array.tobytes("A")) for name, array in arrays.items()}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_files_are_told_as_zipfile_tells_them(save, path, monkeypatch):
    """Every byte changed in turn, and every length: the quick way gives what the slow one gives, or leaves it to it."""
    save(path, a=np.arange(24, dtype=np.uint8).reshape(4, 6), b=np.ones((2, 3)), c=np.zeros(3))
    whole = path.read_bytes()
    files = [whole, b"PK\5\6" + bytes(18), whole + b"x", b"x" + whole, whole[:-22] * 2 + whole[-22:]]
    files += [whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :] for i in range(len(whole)) for flip in (1, 0x5A)]
    files += [whole[:i] for i in range(0, len(whole), 7)]
    quick = read_members
    taken = []

    def counted(*arguments):
        taken.append(quick(*arguments) is not None)
        return quick(*arguments)

    for content in files:
        path.write_bytes(content)
        monkeypatch.setattr(array_files, "read_members", counted)
        found = outcome(path)
        monkeypatch.setattr(array_files, "read_members", lambda *_: None)
        assert found == outcome(path)
    assert taken[0] and 0 < sum(taken) < len(taken) / 2


def test_plain_files_are_read_at_once(path):
    np.savez_compressed(path, a=np.arange(1000), b=np.ones((2, 3)))
    members = read_members(path, ["a.npy", "b.npy"], 10_000, 2)
    with zipfile.ZipFile(path) as archive:
        assert members == {name: archive.read(name) for name in ("a.npy", "b.npy")}
    assert read_members(path, ["a.npy", "b.npy"], 8_200, 2) is None  # more bytes than are allowed in all
    assert read_members(path, ["a.npy"], 10_000, 1) is None  # more members
    assert read_members(path, ["c.npy"], 10_000, 2) is None


@pytest.mark.parametrize("peculiar", ["comment", "note", "gap", "twice", "folder entry", "bzip2", "large"])
def test_peculiar_archives_are_left_to_zipfile(peculiar, path, monkeypatch):
    kind = zipfile.ZIP_BZIP2 if peculiar == "bzip2" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", kind) as archive:
        info = zipfile.ZipInfo("a.npy")
        info.comment = b"note" if peculiar == "note" else b""
        archive.writestr(info, header("(4,)", "|u1", b"1234"), kind)
        archive.writestr("b.npy", header("(1, 3)", data=bytes(24)), kind)
        if peculiar == "comment":
            archive.comment = b"hello"
        if peculiar == "folder entry":
            archive.writestr("ünï/", b"")
        if peculiar == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("a.npy", header("(4,)", "|u1", b"5678"), kind)
    if peculiar == "gap":
        path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    if peculiar == "large":
        monkeypatch.setattr(zip_members, "LARGEST_FILE", 64)
    assert read_members(path, ["a.npy", "b.npy"], 10_000, 9) is None
    assert bytes(read_npz(path, {"a": (4,)})["a"]) == (b"5678" if peculiar == "twice" else b"1234")


def test_arrays_that_start_at_odd_places_are_left_to_zipfile(path):
    """Compiled code takes aligned arrays; a header of another length than numpy's own moves them."""
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + np.ones(2).tobytes())
    array = read_npz(path, {"a": (2,)})["a"]
    assert array.flags.aligned and (array == 1).all()


def test_an_archive_whose_end_points_before_its_start_is_no_npz(tmp_path):
    np.savez(tmp_path / "a.npz", joints=np.zeros((2, 3)))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    end = data.rfind(b"PK\x05\x06")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    data[end + 16 : end + 20] = (start + 50).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match="joints lies nowhere in the file"):
        read_npz(tmp_path / "a.npz", {"joints": None})
