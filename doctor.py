"""`h2o doctor`: what is installed, what a dataset root or a MANO folder lacks, and what to do about it.

Looks only: nothing is written, no file's code is run. What takes long to load is loaded where it is needed.
"""

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .cli_options import dataset_root
from .cores import granted_cores
from .doctor_report import Finding, Report
from .errors import InputError

PACKAGES = ("torch", "numpy", "numba", "smplx", "dask", "zarr", "opencv-python-headless", "trimesh", "pyrender")
OPTIONAL = {
    "PyTurboJPEG": "lossless JPEG crops",
    "onnxruntime": "ONNX inference",
    "s3fs": "stores on S3",
    "ai-edge-litert": "hands detected in a quarter of the time",
}
DEBIAN_GL = "apt-get install libegl1 libgl1 libgl1-mesa-dri libxrender1"
DEXYCB_SUBJECTS = 10
SEQUENCES_PER_SUBJECT = 100


def examine(dataset: str | None = None, root: Path | None = None, mano: str | None = None) -> Report:
    """Findings about the installation and, where named, a dataset's folder and a MANO folder."""
    findings = [*installation()]
    if mano or dataset:
        findings += [*hand_model(mano)]
    if dataset:
        folder = dataset_root(dataset, root)
        findings += [*_dataset(dataset, folder, mano)]
    elif root is not None:
        from .data.frame import DATASETS

        raise InputError(f"--root: say which dataset {root} holds with --dataset {'|'.join(DATASETS)}")
    return Report(tuple(findings))


def _dataset(dataset: str, root: Path, mano: str | None) -> Iterator[Finding]:
    """What the folder of a dataset lacks."""
    if dataset == "dexycb":
        yield from dexycb(root)
    elif dataset.startswith("ho3d"):
        yield from ho3d(root, dataset)
    elif dataset == "table":
        from .doctor_table import examine_table

        yield from examine_table(root, mano)
    else:
        yield Finding("note", f"{dataset}: read by an installed package, which this program cannot look through")


def installation() -> Iterator[Finding]:
    """This program, Python, packages, accelerator, OpenGL."""
    with ThreadPoolExecutor(1) as beside:
        drawing = beside.submit(opengl)  # it takes longer than all the rest
        yield Finding("ok", f"h2onet {installed('h2onet')}")
        yield from _packages()
        yield hand_detector(os.environ.get("H2O_DETECTOR"))
        yield _gpu()
        yield drawing.result()


def _packages() -> Iterator[Finding]:
    yield Finding(
        "ok", f"Python {platform.python_version()}, {granted_cores()} of {os.cpu_count()} cores, {platform.machine()}"
    )
    for name in PACKAGES:
        version = installed(name) or (installed("opencv-python") if name.startswith("opencv") else None)
        yield Finding("ok", f"{name} {version}") if version else Finding("missing", name, f"pip install {name}")
    for name, use in OPTIONAL.items():
        version = installed(name)
        yield (
            Finding("ok", f"{name} {version}")
            if version
            else Finding("note", f"{name} is not installed ({use})", f"pip install {name}")
        )


def hand_detector(path: str | None) -> Finding:
    """Whether the file that H2O_DETECTOR names holds the detector's models, and where they are to be had."""
    from .inference.detection.model_files import WHERE, read_models

    if not path:
        return Finding(
            "note",
            "no hand detector: h2o predict needs boxes, or a hand that fills the picture",
            f"{WHERE}; then set H2O_DETECTOR, or pass --detector",
        )
    try:
        names = read_models(Path(path)).names
    except InputError as error:
        return Finding("note", "H2O_DETECTOR: no hand detector", str(error))
    return Finding("ok", f"hand detector: {path} ({', '.join(names)})")


def _gpu() -> Finding:
    names = gpus()
    return Finding("ok", "GPU: " + ", ".join(names)) if names else Finding("note", "no GPU: training runs on the CPU")


def gpus() -> list[str]:
    """The GPUs that torch sees, by name. It is loaded, which takes seconds, only where it could see one."""
    if installed("torch") is None or not _may_see_gpus():
        return []
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _may_see_gpus() -> bool:
    """Whether there is what torch reaches GPUs through: the library of NVIDIA's driver, or the device of AMD's."""
    if any(os.path.exists(device) for device in ("/dev/kfd", "/dev/dxg")):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def installed(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def opengl() -> Finding:
    """Whether pyrender can draw off-screen, tried in a process of its own because a bad driver may take it down."""
    code = "from h2onet.labeling.egl import open_offscreen; open_offscreen(256, 256)[1].delete()"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return Finding("note", "no OpenGL (no answer after 120 s); --renderer cpu needs none", DEBIAN_GL)
    if tried.returncode == 0:
        return Finding("ok", "OpenGL through EGL (--renderer pyrender)")
    reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return Finding("note", f"no OpenGL ({reason}); --renderer cpu needs none", DEBIAN_GL)


def hand_model(mano: str | None) -> Iterator[Finding]:
    """Whether both hands' files are there and readable."""
    if not mano:
        yield Finding("missing", "MANO: no folder given", "register at https://mano.is.tue.mpg.de, set MANO_DIR")
        return
    from .hand.arrays import load_arrays

    for side in ("right", "left"):
        try:
            arrays = load_arrays(mano, side)
        except InputError as error:
            yield Finding("missing", f"MANO {side} hand", str(error))
        else:
            yield Finding("ok", f"MANO {side} hand: {arrays.source} (sha256 {arrays.sha256[:12]})")


def present(path: Path, advice: str, *, needed: bool = True) -> Finding:
    """A finding about one file or folder."""
    if path.exists():
        return Finding("ok", str(path))
    return Finding("missing" if needed else "note", f"{path} is not there", advice)


def dexycb(root: Path) -> Iterator[Finding]:
    """Subjects, sequences, calibration and object models of a DexYCB tree."""
    source = "download from https://dex-ycb.github.io and unpack every archive into this one folder"
    if not root.is_dir():
        yield Finding("missing", f"DexYCB root {root}", source)
        return
    subjects = sorted(p for p in root.glob("20*-subject-*") if p.is_dir())
    for subject in subjects:
        sequences = [p for p in subject.iterdir() if (p / "meta.yml").exists()]
        complete = len(sequences) == SEQUENCES_PER_SUBJECT
        note = "" if complete else "splits follow the official list, so a part works and gives that part of each split"
        yield Finding("ok" if complete else "note", f"{subject.name}: {len(sequences)} sequences", note)
    if not subjects:
        yield Finding("missing", f"{root}: no folder named like 20200709-subject-01", source)
    elif len(subjects) < DEXYCB_SUBJECTS:
        yield Finding("note", f"{len(subjects)} of {DEXYCB_SUBJECTS} subjects", "splits lose what is not there")
    yield present(root / "calibration" / "intrinsics", "calibration.tar.gz of the download")
    yield present(root / "models", "models.tar.gz of the download; the depth rule needs the object meshes")


def count_files(folder: str, kind: str, listed: int, absent: list[str], needed: bool) -> Finding:
    """How many of the listed files of one kind are there."""
    what = f"{folder}: {listed - len(absent)} of {listed} {kind} files"
    first = f"first one missing: {absent[0]}" if absent else ""
    return Finding("ok" if not absent else "missing" if needed else "note", what, first)


def absent_masks(dataset: str, root: Path) -> Iterator[str]:
    """The masks of training frames that lie neither with their sequence nor in the archive's own folder."""
    from .data.datasets import list_sequences
    from .data.readers.ho3d_masks import mask_files

    for split in ("train", "val"):
        for sequence in list_sequences(dataset, root, split):
            files = mask_files(sequence)
            yield from (files.path(number) for number in sequence.numbers.tolist() if number not in files.files)


def ho3d(root: Path, dataset: str) -> Iterator[Finding]:
    """Lists, sequences, masks and released ground truth of a HO3D tree."""
    from .data.frame import PHOTO_SUFFIX

    source = "download from https://www.tugraz.at/index.php?id=40231 and unpack into this folder"
    if not root.is_dir():
        yield Finding("missing", f"HO3D root {root}", source)
        return
    for name, folder in (("train.txt", "train"), ("evaluation.txt", "evaluation")):
        yield present(root / name, source)
        if not (root / name).is_file():
            continue
        lines = [line.strip() for line in (root / name).read_text("utf-8-sig").splitlines() if line.strip()]
        photo = PHOTO_SUFFIX[dataset]
        for kind, endings, needed in (("rgb", (photo, "jpg", "png"), True), ("meta", ("pkl",), True)):
            paths = [f"{folder}/{line.replace('/', f'/{kind}/')}" for line in lines]
            absent = [f"{p}.{endings[0]}" for p in paths if not any((root / f"{p}.{end}").exists() for end in endings)]
            yield count_files(folder, kind, len(lines), absent, needed)
        if folder == "train":
            yield count_files(folder, "seg", len(lines), list(absent_masks(dataset, root)), needed=False)
    truth = "released in November 2024 by HO3D's authors; needed to score evaluation frames locally"
    yield present(root / "evaluation_xyz.json", truth, needed=False)
    yield present(root / "evaluation_verts.json", truth, needed=False)
    yield present(root / "models", "YCB models; the depth rule needs the object meshes", needed=False)
