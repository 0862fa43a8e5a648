"""`h2o clips verify` names every attribute, array and frame that is not as it was written."""

import json
import shutil
from pathlib import Path

import clip_scene
import pytest
from h2onet.data.clips import verify
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips

KEY = clip_scene.KEY


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    labels = clip_scene.write_scene(folder, clip_scene.Scene(sequences={KEY: (0, 1, 2)}))
    build_clips(labels, folder / "clips.zarr", workers=1)
    return folder / "clips.zarr"


@pytest.fixture
def clips(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "clips.zarr"))


def change(file: Path, place: tuple, value: object) -> None:
    """Put a value (`...`: nothing) at a place of a JSON file."""
    content = json.loads(file.read_text())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    file.write_text(json.dumps(content))


WRONG = (..., None, -1, 10**30, float("nan"), "no\nword", [], {"a": 1}, [[1]], True)
INDEX = ("dataset", "split", "setup", "max_scale", "margin", "rules", "mano", "codec", "root", "image", "labels",
         "labels_sha256", "failures", "unfinished", "frames", "sequences", "columns", "renderer")  # fmt: skip
SEQUENCE = ("key", "n_frames", "fields", "blobs", "sha256", "state", "nbytes", "failures")


@pytest.mark.parametrize("name", INDEX)
def test_every_attribute_of_the_index_is_watched(clips, name):
    file = clips / "index" / "zarr.json"
    before = file.read_text()
    if name not in json.loads(before)["attributes"]:
        pytest.skip("not written for this scene")
    own = json.loads(before)["attributes"][name]
    for wrong in WRONG:
        if wrong == own:
            continue
        change(file, ("attributes", name), wrong)
        problems = verify(clips)
        assert any(name in problem for problem in problems), (wrong, problems)
        assert not any("\n" in problem for problem in problems)
        file.write_text(before)
    assert verify(clips) == []


@pytest.mark.parametrize("name", SEQUENCE)
def test_every_attribute_of_a_sequence_is_watched(clips, name):
    file = next(clips.glob("sequences/*/zarr.json"))
    before = file.read_text()
    for wrong in WRONG:
        if wrong == json.loads(before)["attributes"][name]:
            continue
        change(file, ("attributes", name), wrong)
        assert any(name in problem for problem in verify(clips)), wrong
        file.write_text(before)


def test_every_attribute_of_the_store_is_watched(clips):
    file = clips / "zarr.json"
    before = file.read_text()
    for name in json.loads(before)["attributes"]:
        for wrong in (..., 10**30, "other"):
            change(file, ("attributes", name), wrong)
            if name == "schema":
                with pytest.raises(InputError, match="schema"):
                    verify(clips)
            elif name != "token" or wrong == ...:
                assert any(name in problem for problem in verify(clips)), (name, wrong)
            file.write_text(before)


def test_several_damaged_attributes_are_all_named(clips):
    change(clips / "zarr.json", ("attributes", "token"), 5)
    change(clips / "zarr.json", ("attributes", "settings", "codec"), ...)
    change(clips / "index" / "zarr.json", ("attributes", "max_scale"), "x")
    change(clips / "index" / "zarr.json", ("attributes", "columns", "box", "dtype"), "O")
    change(next(clips.glob("sequences/*/zarr.json")), ("attributes", "nbytes"), -1)
    told = "\n".join(verify(clips))
    assert all(name in told for name in ("token", "no codec", "max_scale", "columns", "nbytes")), told


@pytest.mark.parametrize(
    "damage",
    [
        ("index/box/zarr.json", b"{"),
        ("index/box/zarr.json", None),
        ("index/box/c/0/0", b""),
        ("index/frame/c/0", None),
        ("sequences/*/jpeg/c/0", b"x"),
        ("sequences/*/jpeg/zarr.json", b"[]"),
        ("sequences/*/rows/zarr.json", None),
        ("sequences/*/zarr.json", None),
        ("sequences/*/zarr.json", b"\xff"),
        ("sequences/zarr.json", None),
    ],
    ids=str,
)
def test_damaged_files_are_named(clips, damage):
    pattern, content = damage
    file = next(clips.glob(pattern))
    file.unlink() if content is None else file.write_bytes(content)
    problems = verify(clips)
    part = file.relative_to(clips).parts
    assert any((part[1] if part[1] != "zarr.json" else "sequences") in problem for problem in problems), problems
