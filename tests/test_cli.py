"""The command-line contract, held against the real entry point: options, exit codes, streams, files, environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cli_trees as trees
import pytest
import raw_trees as raw
import typer
import zarr
from h2onet import cli
from h2onet.cli_model import CLIPS_PANEL, PREDICTIONS_PANEL, VISIBILITY_PANEL
from h2onet.hand.standin.arrays import write_mano_pickles

h2o, h2o_process, untouched = trees.h2o, trees.h2o_process, trees.untouched

LABELS = ["thumb", "index", "middle", "ring", "little", "palm", "global"]
CONTRACT = """
synthesize OUT --layout [--sequences --frames --cameras --seed]
prepare-labels --dataset [--root] --split [--setup] [--annotations] [--mano] --out [--objects] [--renderer] [--workers
    --scheduler] [--json] [--limit] [--overwrite]
build-clips --labels --out [--workers --scheduler]
train PRESET --clips [--val-clips] --out [--init] [--resume] [--set] [--device]
evaluate [--checkpoint] [--clips] --out [--hierarchy] [--ho3d-json] [--dexycb-txt] [--predictions] [--ground-truth]
    [--dataset]
predict --checkpoint [--images] [--video] [--boxes] [--detector] --out
export --checkpoint --out
doctor [--dataset] [--root] [--mano]
demo
"""
"""Brackets: may be left out (--root and --mano have their environment variables, evaluate has two forms)."""
COMMANDS = {line.split()[0]: line for line in re.sub(r"\n +", " ", CONTRACT).strip().splitlines()}


@pytest.fixture(scope="module")
def synthesized(tmp_path_factory) -> tuple[Path, "trees.Done"]:
    """A synthetic DexYCB tree and what the command said: three recordings, so that every split of s0 has frames."""
    root = tmp_path_factory.mktemp("synthesized") / "dexycb"
    done = h2o_process(
        *("synthesize", root, "--layout", "dexycb", "--sequences", 3, "--frames", 3, "--cameras", 1, "--workers", 1)
    )
    return root, done


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory) -> Path:
    """A hand-written DexYCB tree: one right recording of one camera, 4 frames, the second without a hand."""
    return raw.write_dexycb(tmp_path_factory.mktemp("raw") / "dexycb")


@pytest.fixture(scope="module")
def ho3d(tmp_path_factory) -> dict[str, Path]:
    return {version: raw.write_ho3d(tmp_path_factory.mktemp("raw") / version, version) for version in ("v2", "v3")}


@pytest.fixture(scope="module")
def mano(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mano")
    write_mano_pickles(folder)
    return folder


def label(out: Path, dataset: str, root: Path, *more: object, split: str = "train", **environment: object):
    options = ("--dataset", dataset, "--root", root, "--split", split, "--out", out, "--workers", 1)
    return h2o("prepare-labels", *options, *more, **environment)


def json_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# -- options ------------------------------------------------------------------------------------------------------


def test_every_command_of_the_contract_is_there():
    assert set(COMMANDS) <= set(typer.main.get_command(cli.app).commands)
    done = h2o("--help")
    assert done.code == 0 and done.err == "" and all(name in done.out for name in COMMANDS)


def test_help_gives_whole_sentences_and_titles_and_imports_no_rich():
    for words, page in (((), h2o().out), (("--help",), h2o("--help").out), (("labels",), h2o("labels").out)):
        group = typer.main.get_command(cli.app)
        group = group.commands["labels"] if "labels" in words else group
        text = " ".join(page.split())
        for name, command in group.commands.items():
            assert f"{name} {command.help.strip().splitlines()[0]}" in text
    page = h2o("evaluate", "--help").out
    titles = ["Options:", *(f"{title}:" for title in (CLIPS_PANEL, PREDICTIONS_PANEL, VISIBILITY_PANEL))]
    assert [line for line in page.splitlines() if line in titles] == titles
    assert h2o().code == h2o("labels").code == 2  # no command is wrong usage, and its answer the page
    script = "import sys\nfrom h2onet.cli import main\ntry: main()\nfinally: print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_options_of_the_contract(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    line = COMMANDS[name]
    done = h2o(name, "--help")
    assert done.code == 0 and done.err == ""
    printed = set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", done.out))
    assert set(re.findall(r"--[a-z0-9-]+", line)) <= printed
    required = set(re.findall(r"--[a-z0-9-]+", re.sub(r"\[[^]]*\]", "", line)))
    found = {p.opts[0] for p in typer.main.get_command(cli.app).commands[name].params if p.required}
    if name == "predict":  # asked for by the command itself, which says where a network can come from
        assert "--checkpoint: no network given" in h2o(name, "--out", "never").error
        required -= {"--checkpoint"}
    assert {option for option in found if option.startswith("--")} == required
    arguments = {option.upper() for option in found if not option.startswith("--")}
    assert arguments == set(re.findall(r"\b[A-Z]+\b", line))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), "nonsense"),
        (("prepare-labels", "--bogus"), "--bogus"),
        (("prepare-labels",), "'--dataset'"),
        (("build-clips", "--labels", "l.zarr"), "'--out'"),
        (("prepare-labels", "--workers", "two"), "--workers"),
        (("synthesize", "somewhere", "--layout", "dexycb", "--cameras", "9"), "--cameras"),
        (("train",), "preset"),
        (("evaluate", "--out", "somewhere"), "--checkpoint FILE --clips"),
        (("evaluate", "--out", "somewhere", "--predictions", "p.json"), "--ground-truth"),
        (("doctor", "--root", "somewhere"), "--dataset"),
        (("demo", "extra"), "extra"),
    ],
)
def test_wrong_usage_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in h2o(*arguments).error
    assert not list(tmp_path.iterdir())


def test_the_installed_command_says_the_same():
    done = h2o_process("prepare-labels", "--dataset", "dexycb", "--bogus")
    assert done.error == h2o("prepare-labels", "--dataset", "dexycb", "--bogus").error


# -- from end to end, in processes --------------------------------------------------------------------------------


def test_a_reader_that_has_gone_is_no_error():
    """As of `h2o ... | head`: the exit code of the signal, as programs in C have it, and nothing said."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [Path(sys.executable).with_name("h2o"), "train", "--keys"], stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_synthesized_tree_goes_all_the_way(synthesized, tmp_path):
    root, made = synthesized
    assert made.code == 0 and "9 photos" in made.out and (root / "mano" / "MANO_RIGHT.pkl").is_file()
    labels, clips, files = tmp_path / "labels.zarr", tmp_path / "clips.zarr", tmp_path / "json"
    common = ("--dataset", "dexycb", "--root", root, "--split", "train", "--mano", root / "mano", "--workers", 1)
    with untouched(root):
        done = h2o_process("prepare-labels", *common, "--out", labels, "--json", files, cwd=tmp_path)
        assert done.code == 0, done.err
        cut = h2o_process("build-clips", "--labels", labels, "--out", clips, "--workers", 1, cwd=tmp_path)
        assert cut.code == 0, cut.err
    assert not (tmp_path / "failures.jsonl").exists()
    index = zarr.open_group(labels, mode="r")["index"]
    frames = index["frame"].shape[0]
    # Results on stdout and nothing else there; progress and log lines on stderr.
    assert done.out.startswith(f"{labels}: {frames} frames, {frames} labelled, 0 failed\n")
    assert cut.out.startswith(f"{frames} frames of ")
    for each in (done, cut):
        assert "frame/s" in each.err and "frame/s" not in each.out and "Traceback" not in each.err
    keys = [entry["key"] for entry in index.attrs["sequences"]]
    expected = [f"{keys[s]}/occ_{f:06d}.json" for s, f in zip(index["sequence_id"][:], index["frame"][:], strict=True)]
    assert json_files(files) == sorted(expected)
    assert h2o("clips", "info", clips).code == 0 and h2o("clips", "verify", clips).out == "no problems found\n"


# -- what the stores hold -----------------------------------------------------------------------------------------


def test_plain_zarr_reads_the_index_of_the_contract(dexycb, mano, tmp_path):
    assert label(tmp_path / "l.zarr", "dexycb", dexycb, "--mano", mano, "--json", tmp_path / "json").code == 0
    index = zarr.open_group(tmp_path / "l.zarr", mode="r")["index"]
    expected = {
        "sequence_id": ("int32", ()),
        "frame": ("int32", ()),
        "occluded": ("uint8", (7,)),
        "visible_vertices": ("int32", (6,)),
        "visible_fraction": ("float32", (6,)),
        "cause": ("uint8", (6,)),
        "joint_visible": ("uint8", (21,)),
    }
    assert {n: (str(index[n].dtype), index[n].shape[1:]) for n in expected} == expected
    assert index["frame"][:].tolist() == [0, 2, 3] and index.attrs["skipped"] == {"pose_m is all 0": 1}
    assert (index["occluded"][:] <= 1).all() and (index["joint_visible"][:] <= 1).all()
    stored = [f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}/occ_{number:06d}.json" for number in (0, 2, 3)]
    assert json_files(tmp_path / "json") == stored
    for row, name in enumerate(stored):
        content = json.loads((tmp_path / "json" / name).read_text())
        assert list(content) == LABELS and list(content.values()) == index["occluded"][row].tolist()


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_ho3d_stores_and_their_files(ho3d, version, tmp_path):
    options = ("--mano", "standin", "--json", tmp_path / "json")
    with untouched(ho3d[version]):
        done = label(tmp_path / "l.zarr", f"ho3d-{version}", ho3d[version], *options)
        assert done.code == 0 and ": 4 frames, 4 labelled, 0 failed" in done.out
        test = label(tmp_path / "t.zarr", f"ho3d-{version}", ho3d[version], *options[:2], split="test")
        assert test.code == 0 and ": 2 frames, 0 labelled, 0 failed" in test.out
    held_out = sorted((ho3d[version] / "train.txt").read_text().split())[::20]
    rest = set((ho3d[version] / "train.txt").read_text().split()) - set(held_out)
    assert json_files(tmp_path / "json") == sorted("{}/occ/{}.json".format(*name.split("/")) for name in rest)


def annotate(out: Path, root: Path, split: str, mano: object, *more: str):
    fixed = ("annotations", "--dataset", "dexycb", "--root", root)
    return h2o(*fixed, "--split", split, "--mano", mano, "--out", out, *more)


def test_annotations_are_those_of_the_synthesizer(synthesized, tmp_path):
    root, _ = synthesized
    for split in ("train", "test"):
        out = tmp_path / f"{split}.json"
        done = annotate(out, root, split, root / "mano")
        count = len(json.loads(out.read_text())["annotations"])
        assert done.code == 0 and done.out == f"{count} annotations written to {out}\n"
        assert out.read_bytes() == (root / "annotations" / f"DEX_YCB_s0_{split}_data.json").read_bytes()


def test_annotations_replace_nothing_unasked_and_list_what_failed(dexycb, tmp_path):
    root, out = shutil.copytree(dexycb, tmp_path / "dexycb"), tmp_path / "out" / "a.json"
    command = (out, root, "train", "standin")
    assert annotate(*command).code == 0
    before = out.read_bytes()
    assert "--overwrite" in annotate(*command).error and out.read_bytes() == before
    name = f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}/labels_000002.npz"
    (root / name).write_bytes(b"no zip")
    done = annotate(*command, "--overwrite")
    assert done.code == 1 and done.out.startswith("2 annotations written")
    assert done.err.splitlines()[-1] == f"1 failed; listed in {out.parent / 'failures.jsonl'}"
    assert json.loads((out.parent / "failures.jsonl").read_text())["file"] == name


# -- environment and the hand -------------------------------------------------------------------------------------


def test_folders_come_from_the_environment(dexycb, ho3d, mano, tmp_path):
    for number, (dataset, name, root) in enumerate(
        [("dexycb", "DEX_YCB_DIR", dexycb), ("ho3d-v2", "HO3D_DIR", ho3d["v2"]), ("ho3d-v3", "HO3D_DIR", ho3d["v3"])]
    ):
        command = ("prepare-labels", "--dataset", dataset, "--split", "train", "--workers", 1, "--limit", 2)
        out = tmp_path / f"{number}.zarr"
        assert f"set {name}" in h2o(*command, "--out", out, MANO_DIR=mano).error and not out.exists()
        assert h2o(*command, "--out", out, **{name: root, "MANO_DIR": mano}).code == 0
        attrs = zarr.open_group(out, mode="r")["index"].attrs
        assert attrs["root"] == str(root) and attrs["mano"]["right"]["source"] == str(mano / "MANO_RIGHT.pkl")
    # What is said on the command line wins.
    environment = {"DEX_YCB_DIR": tmp_path / "nowhere", "MANO_DIR": tmp_path / "nowhere"}
    assert label(tmp_path / "said.zarr", "dexycb", dexycb, "--mano", mano, **environment).code == 0


def test_the_standin_hand_is_used_only_by_name(dexycb, tmp_path):
    for command in (
        ("prepare-labels", "--dataset", "dexycb", "--root", dexycb, "--split", "train", "--out", tmp_path / "l.zarr"),
        ("annotations", "--dataset", "dexycb", "--root", dexycb, "--split", "train", "--out", tmp_path / "a.json"),
    ):
        error = h2o(*command).error
        assert "MANO_DIR" in error and "--mano standin" in error and "https://mano.is.tue.mpg.de" in error
    assert not list(tmp_path.iterdir())
    assert label(tmp_path / "l.zarr", "dexycb", dexycb, "--mano", "standin").code == 0
    assert zarr.open_group(tmp_path / "l.zarr", mode="r")["index"].attrs["mano"]["right"]["source"] == "standin"


def test_doctor_looks_only_and_tells_by_its_exit_code(dexycb, mano, tmp_path):
    with untouched(dexycb, mano):
        done = h2o("doctor", "--dataset", "dexycb", "--root", dexycb, "--mano", mano)
        assert done.code == 0 and "MANO left hand" in done.out and "1 of 10 subjects" in done.out
        broken = h2o("doctor", "--dataset", "dexycb", "--root", dexycb, MANO_DIR=tmp_path)
        assert broken.code == 1 and "missing MANO right hand" in " ".join(broken.out.split())


def test_stderr_is_progress_and_our_own_words(dexycb, tmp_path):
    options = ("--dataset", "dexycb", "--root", dexycb, "--split", "train", "--mano", "standin", "--workers", 2)
    done = h2o_process("prepare-labels", *options, "--out", tmp_path / "labels.zarr")
    assert done.code == 0, done
    bar = re.compile(r"labels: +\d+%\|.*frame/?s?.*\]")
    others = [line for line in re.split(r"[\r\n]+", done.err) if line and not bar.match(line)]
    assert bar.search(done.err) and all(re.match(r"(INFO|WARNING) h2onet\.", line) for line in others), others


# -- failures and resuming ----------------------------------------------------------------------------------------


def test_a_corrupt_frame_is_listed_and_repaired(dexycb, tmp_path):
    root, out = shutil.copytree(dexycb, tmp_path / "dexycb"), tmp_path / "out" / "l.zarr"
    name = f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}/labels_000002.npz"
    (root / name).write_bytes((root / name).read_bytes()[:300])
    with untouched(root):
        done = label(out, "dexycb", root, "--mano", "standin")
    assert done.code == 1 and "2 frames, 2 labelled, 1 failed" in done.out
    assert done.err.splitlines()[-1] == f"1 failed; listed in {out.parent / 'failures.jsonl'}"
    [row] = [json.loads(line) for line in (out.parent / "failures.jsonl").read_text().splitlines()]
    assert row["store"] == "l.zarr" and row["file"] == name and row["reason"]
    shutil.copy(dexycb / name, root / name)
    done = label(out, "dexycb", root, "--mano", "standin")
    assert done.code == 0 and "3 frames, 3 labelled, 0 failed" in done.out
    assert not (out.parent / "failures.jsonl").exists()


def test_a_corrupt_photo_is_listed_by_build_clips(dexycb, tmp_path):
    root = shutil.copytree(dexycb, tmp_path / "dexycb")
    labels, clips = tmp_path / "out" / "labels.zarr", tmp_path / "out" / "clips.zarr"
    assert label(labels, "dexycb", root, "--mano", "standin").code == 0
    photo = f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}/color_000003.jpg"
    (root / photo).write_bytes(b"no photo")
    done = h2o("build-clips", "--labels", labels, "--out", clips, "--workers", 1)
    assert done.code == 1 and done.out.startswith("2 frames of 1 camera sequences")
    [row] = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert row["store"] == "clips.zarr" and row["file"].endswith(photo) and row["reason"]
    shutil.copy(dexycb / photo, root / photo)
    assert h2o("build-clips", "--labels", labels, "--out", clips, "--workers", 1).code == 0
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_the_same_command_again_does_nothing_and_another_is_refused(dexycb, tmp_path):
    labels, clips = tmp_path / "labels.zarr", tmp_path / "clips.zarr"
    cut = ("build-clips", "--labels", labels, "--out", clips, "--workers", 1)
    assert label(labels, "dexycb", dexycb, "--mano", "standin").code == 0 and h2o(*cut).code == 0
    files = {store: {n: c for n, c in trees.contents(store).items() if n != ".lock"} for store in (labels, clips)}
    times = (labels, "dexycb", dexycb, "--mano", "standin")
    assert "0 sequences in" in label(*times).out and "(0 sequences cut now" in h2o(*cut).out
    changed = {n for n, c in trees.contents(labels).items() if n != ".lock" and files[labels].get(n) != c}
    assert not changed
    pictures = {n: c for n, c in files[clips].items() if n.startswith("sequences/")}
    assert {n: c for n, c in trees.contents(clips).items() if n.startswith("sequences/")} == pictures
    assert "limit=None, now limit=2" in label(*times, "--limit", 2).error
    assert label(*times, "--limit", 2, "--overwrite").code == 0
    assert zarr.open_group(labels, mode="r")["index"]["frame"].shape[0] == 1  # of two listed frames one has no hand
    assert "labels_sha256" in h2o(*cut).error


def test_damage_to_clips_is_named(dexycb, tmp_path):
    labels, clips = tmp_path / "labels.zarr", tmp_path / "clips.zarr"
    label(labels, "dexycb", dexycb, "--mano", "standin")
    h2o("build-clips", "--labels", labels, "--out", clips, "--workers", 1)
    largest = max((p for p in (clips / "sequences").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 255
    largest.write_bytes(content)
    done = h2o("clips", "verify", clips)
    assert done.code == 1 and f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}" in done.out and "1 problems" in done.out
