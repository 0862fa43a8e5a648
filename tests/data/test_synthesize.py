"""The synthesizer as a command: settings that make no dataset, trees in the way, same seed same bytes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from h2onet.cores import THREAD_VARIABLES
from h2onet.data.readers.dexycb_splits import in_split
from h2onet.data.synthesize import SynthesizeSettings, _results, synthesize
from h2onet.data.synthetic.choice import all_choices, choose_cameras, choose_sequences
from h2onet.errors import InputError
from llvmlite.binding import get_host_cpu_name

BEFORE = Path(__file__).parents[1] / "fixtures" / "synthesized.json"
"""Digests of what is in two small trees as commit 94d1534 made them, and with what: other libraries, and other
instructions of the processor, make other pictures. To be written anew (`write_digests`) by whoever changes them with
intent."""


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def content(path: Path) -> bytes:
    """A file's pixels or arrays, however they are packed, or its bytes."""
    if path.suffix in (".jpg", ".png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        return f"{image.dtype} {image.shape}".encode() + image.tobytes()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return b"".join(f"{name} {a.dtype} {a.shape}".encode() + a.tobytes() for name, a in arrays.items())
    return path.read_bytes()


def digest_by_folder(root: Path) -> dict[str, str]:
    """One digest of names and contents for everything below each of a tree's folders, and for each of its files."""
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root)
        value = hashlib.sha256(content(path)).hexdigest()
        found.setdefault(name.parts[0], hashlib.sha256()).update(f"{name.as_posix()} {value}\n".encode())
    return {name: value.hexdigest() for name, value in found.items()}


def made_with() -> dict[str, str]:
    libraries = ("numpy", "scipy", "opencv-python-headless", "numba")
    return {name: version(name) for name in libraries} | {"processor": get_host_cpu_name()}


def small_trees(folder: Path) -> dict[str, dict[str, str]]:
    found = {}
    for layout, handling in (("dexycb", "mixed"), ("ho3d-v3", "lift")):
        out = folder / layout
        synthesize(
            SynthesizeSettings(out, layout, sequences=2, frames=2, cameras=1, seed=5, handling=handling, workers=1)
        )
        found[layout] = digest_by_folder(out)
    return found


def write_digests(folder: Path) -> None:
    """Call by hand, with an empty folder, with code whose bytes are right: adds this machine, or does it again."""
    others = [entry for entry in json.loads(BEFORE.read_text()) if entry["made_with"] != made_with()]
    entries = [*others, {"made_with": made_with(), "trees": small_trees(folder)}]
    BEFORE.write_text(json.dumps(entries, indent=1) + "\n")


def test_trees_with_one_hand_hold_what_they_held_to_the_byte(tmp_path):
    before = {json.dumps(entry["made_with"]): entry["trees"] for entry in json.loads(BEFORE.read_text())}
    here = json.dumps(made_with())
    if here not in before:
        pytest.skip(f"the digests are of {' and '.join(before)}, here is {here}")
    assert small_trees(tmp_path) == before[here]


@pytest.mark.parametrize(
    ("layout", "handling", "hands", "looks"),
    # mixed: one recording of lifting, one of gestures
    [("dexycb", "mixed", 2, "plain"), ("dexycb", "gestures", 1, "wide"), ("ho3d-v2", "lift", 1, "plain")],
)
def test_same_seed_same_bytes_with_any_number_of_workers(tmp_path, layout, handling, hands, looks):
    trees = {}
    for name, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        out = tmp_path / name
        size = {"sequences": 2, "frames": 3, "cameras": 1}
        summary = synthesize(
            SynthesizeSettings(
                out, layout, **size, seed=seed, handling=handling, hands=hands, looks=looks, workers=workers
            )
        )
        assert summary.photos == 6 and summary.sequences == 2 and str(out) in str(summary)
        trees[name] = digest(out)
    assert trees["one"] == trees["two"]
    different = {name for name in trees["one"] if trees["other"].get(name) != trees["one"][name]}
    assert {n for n in trees["one"] if n.endswith((".jpg", ".npz")) and "models" not in n} <= different
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_mixed_recordings_are_those_of_lifting_and_of_gestures_by_turns(tmp_path):
    photos = {}
    for handling in ("lift", "gestures", "mixed"):
        out = tmp_path / handling
        synthesize(SynthesizeSettings(out, sequences=2, frames=2, cameras=1, handling=handling, workers=1))
        folders = sorted({path.parent for path in out.rglob("color_*.jpg")})
        photos[handling] = [digest(folder) for folder in folders]
    assert [len(found) for found in photos.values()] == [2, 2, 2]
    assert photos["mixed"] == [photos["lift"][0], photos["gestures"][1]]
    assert photos["lift"][1] != photos["gestures"][1]


@pytest.mark.parametrize(("layout", "hands", "photos"), [("dexycb", 2, "color_*.jpg"), ("ho3d-v3", 1, "**/rgb/*.jpg")])
def test_wide_looks_change_every_photo_and_nothing_else(tmp_path, layout, hands, photos):
    trees = {}
    for looks in ("plain", "wide"):
        out = tmp_path / looks
        size = {"sequences": 2, "frames": 3, "cameras": 2, "hands": hands, "workers": 1}
        synthesize(SynthesizeSettings(out, layout, **size, seed=4, looks=looks))
        trees[looks] = digest(out)
    plain, wide = trees.values()
    changed = {name for name in plain if plain[name] != wide[name]}
    assert plain.keys() == wide.keys()
    assert changed == {"synthetic.json"} | {str(p.relative_to(tmp_path / "wide")) for p in out.rglob(photos)}
    assert len(changed) == 13
    assert "looks" not in json.loads((tmp_path / "plain" / "synthetic.json").read_text())
    assert json.loads((out / "synthetic.json").read_text())["looks"] == "wide"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layout": "coco"}, "layout"),
        ({"cameras": 0}, "cameras"),
        ({"cameras": 9}, "cameras"),
        ({"layout": "ho3d-v3", "cameras": 6}, "cameras"),
        ({"frames": 0}, "frames"),
        ({"sequences": 0}, "sequences"),
        ({"seed": -1}, "seed"),
        ({"workers": 0}, "workers"),
        ({"layout": "ho3d-v2", "motion": Path("x.npz")}, "right hands"),
        ({"motion": Path("missing.npz")}, "missing.npz"),
        ({"handling": "juggle"}, "lift, gestures"),
        ({"handling": "gestures", "motion": Path("x.npz")}, "without --motion"),
        ({"handling": "gestures", "layout": "ho3d-v3"}, "one object per sequence"),
        ({"looks": "odd"}, "looks: expected one of plain, wide"),
        ({"hands": 3}, "hands: expected 1 or 2"),
        ({"hands": 2, "layout": "ho3d-v3"}, "hands: 2 is for --layout dexycb only"),
    ],
)
def test_bad_settings_are_one_clear_line_and_leave_nothing(tmp_path, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        synthesize(SynthesizeSettings(**{"out": tmp_path / "out", "workers": 1, **changes}))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_never_lost(tmp_path):
    out = tmp_path / "data"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    small = {"sequences": 1, "frames": 1, "cameras": 1, "workers": 1}
    with pytest.raises(InputError, match="not empty"):
        synthesize(SynthesizeSettings(out, **small))
    with pytest.raises(InputError, match="no synthetic dataset"):
        synthesize(SynthesizeSettings(out, overwrite=True, **small))
    assert [p.name for p in out.iterdir()] == ["precious.txt"]
    (out / "precious.txt").unlink()
    synthesize(SynthesizeSettings(out, **small))  # an empty folder is no obstacle
    (out / "stale.txt").write_text("old")
    synthesize(SynthesizeSettings(out, overwrite=True, **small))
    assert (out / "synthetic.json").is_file() and not (out / "stale.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_nothing_is_left_when_a_recording_fails(tmp_path, monkeypatch):
    def broken(*_args, **_settings):
        raise OSError("disk full")

    monkeypatch.setattr("h2onet.data.synthetic.dexycb.write_recording", broken)
    with pytest.raises(OSError, match="disk full"):
        synthesize(SynthesizeSettings(tmp_path / "out", sequences=1, frames=1, cameras=1, workers=1))
    assert list(tmp_path.iterdir()) == []


def test_workers_load_blas_for_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    tasks = [partial(os.getenv, name) for name in THREAD_VARIABLES]
    assert list(_results(tasks, workers=2)) == ["1"] * len(THREAD_VARIABLES)
    assert dict(os.environ) == before


def test_a_worker_that_dies_is_said_in_one_line():
    with pytest.raises(InputError, match="workers: one of 2 ended before its work was done"):
        list(_results([partial(os._exit, 1)] * 4, workers=2))


def test_a_script_without_guard_is_told_what_to_do(tmp_path):
    out = f"Path({str(tmp_path / 'out')!r})"
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom h2onet.data.synthesize import SynthesizeSettings, synthesize\n"
        f"synthesize(SynthesizeSettings({out}, sequences=2, frames=1, cameras=1, workers=2))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1 and 'put what it runs below `if __name__ == "__main__":`' in done.stderr
    assert done.stderr.splitlines()[-1].startswith("h2onet.errors.InputError: workers: one of 2 ended")
    assert not (tmp_path / "out").exists()


def test_workers_end_with_a_killed_parent(tmp_path):
    settings = f"SynthesizeSettings(Path({str(tmp_path / 'out')!r}), sequences=20, frames=50, cameras=1, workers=2)"
    lines = ("from pathlib import Path", "from h2onet.data.synthesize import SynthesizeSettings, synthesize")
    code = "\n".join([*lines, "if __name__ == '__main__':", f"    synthesize({settings})"])
    (tmp_path / "run.py").write_text(code)
    parent = psutil.Popen([sys.executable, tmp_path / "run.py"])
    try:
        deadline = time.monotonic() + 120
        # Its tracker of shared memory is a child, too; it ends by itself.
        while len(workers := [child for child in parent.children() if "spawn_main" in str(child.cmdline())]) < 2:
            assert parent.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)  # they have started, or the end of their pipe ends them anyway
    finally:
        parent.kill()
        parent.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]


@pytest.mark.parametrize("photos", [0, 1])  # while the workers load, and while they draw
def test_ctrl_c_ends_it_at_once_without_a_word_or_a_trace(tmp_path, photos):
    out, h2o = tmp_path / "out", "from h2onet.cli import main; main()"
    options = ["--layout", "dexycb", "--sequences", "20", "--frames", "50", "--workers", "2"]
    command = [sys.executable, "-c", h2o, "synthesize", str(out), *options]
    parent = psutil.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while len(parent.children()) < 3 or len(list(tmp_path.rglob("color_*.jpg"))) < photos:  # two and their tracker
            assert parent.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        workers = parent.children()
    finally:
        os.killpg(parent.pid, signal.SIGINT)  # what a terminal does: the run and its workers all get it
        _, err = parent.communicate(timeout=60)
    assert parent.returncode == 130 and "Traceback" not in err, err
    assert not psutil.wait_procs(workers, timeout=60)[1] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [3, 8, 20, 100])
def test_small_choices_of_sequences_populate_every_split(count):
    chosen = choose_sequences(count)
    assert len(chosen) == len({(c.subject, c.name) for c in chosen}) == count
    for setup in ("s0", "s1", "s3"):
        for split in ("train", "val", "test"):
            assert any(in_split(setup, split, c.subject, 0, c.position) for c in chosen), (setup, split)
    if count >= 8:
        assert 0.35 < np.mean([c.side == "left" for c in chosen]) < 0.65
        assert len({c.subject for c in chosen}) >= min(count, 8) and len({c.grasped for c in chosen}) >= 8
    assert len(choose_sequences(5000)) == len(all_choices()) == 1000


def test_three_cameras_populate_the_views_of_s2():
    assert set(choose_cameras(3)) >= {6, 7} and min(choose_cameras(3)) < 6
    assert choose_cameras(8) == tuple(range(8))


def test_photos_look_like_photos(tmp_path):
    root = tmp_path / "out"
    synthesize(SynthesizeSettings(root, sequences=2, frames=4, cameras=1, workers=1))
    photos = [cv2.imread(str(p)) for p in sorted(root.glob("20*/20*/*/color_*.jpg"))]
    assert all(p.shape == (480, 640, 3) for p in photos)
    for photo in photos:
        assert 25 < photo.mean() < 230 and photo.std() > 12  # neither black nor white nor flat
        assert cv2.Laplacian(photo, cv2.CV_32F).std() > 3  # edges and grain
