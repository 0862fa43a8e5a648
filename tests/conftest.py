"""What the tests of several rooms share: the reference folder, one thread for torch, and what makes the suite quick."""

import contextlib
import importlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read when NumPy and torch load, here and in processes that tests start: with another number of threads, which is
# otherwise looked for by timing, scores have other last digits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
# Files of half a minute and more.
LONG = (
    "fuzz/test_fuzz.py",
    "training/test_torchrun.py",
    "pipeline/test_prepare_crashes.py",
    "training/test_resume.py",
    "inference/test_predict.py",
    "tests/test_demo.py",
    "tests/test_tutorial.py",
)

BUILT: dict[tuple[bytes, bytes], Any] = {}  # hierarchies by the bytes of vertices and faces


def pytest_configure(config: pytest.Config) -> None:
    """Let the workers of pytest-xdist compile different thirds, and find the others' in numba's cache.

    On a fresh clone they take a quarter of a minute each; a worker waits for a third that another one is at.
    """
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        from h2onet.locks import locked

        first = int(worker.removeprefix("gw")) % len(COMPILED)
        for room, compiled in (*COMPILED.items(), *COMPILED.items())[first : first + len(COMPILED)]:
            # What fails here fails in the tests of that room, which say more.
            with locked(Path(__file__).parent / room), contextlib.suppress(Exception):
                compiled()


def _compile_scenes() -> None:
    """What draws synthetic photos is compiled when it is first used."""
    from h2onet.data.synthesize import SynthesizeSettings, synthesize

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        synthesize(SynthesizeSettings(Path(folder) / "tree", sequences=1, frames=2, cameras=1, workers=1))


def _compile_all(module: str) -> None:
    """What a module and those that it imports have for numba, which compiles a function when it is first called."""
    importlib.import_module(module)
    from h2onet.jit import Compiled

    for name, loaded in list(sys.modules.items()):
        if name.startswith("h2onet."):
            for each in [value for value in vars(loaded).values() if isinstance(value, Compiled)]:
                each.made()


COMPILED = {  # by the room of tests whose folder is the lock
    "labeling": lambda: _compile_all("h2onet.labeling.label"),
    "hand": lambda: _compile_all("h2onet.hand.fit_kernels"),
    "data": _compile_scenes,
}


@pytest.fixture(scope="session", autouse=True)
def no_fsync() -> Iterator[None]:
    """Write without waiting for the disk: no test cuts the power, and a killed process loses nothing that it wrote.

    Stores are hundreds of files, each forced to disk. What is forced, and when, is tested in test_durable.py; processes
    that tests start wait for the disk as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a closed file as well
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files come first: no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip by name where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"reference data folder {SHARED.name}/ is not beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The authors' outputs (labels, network outputs, HO3D scores)."""
    return shared / "golden"


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """Decimate each mesh once: it takes two seconds, and nearly every network here is over the stand-in's."""
    module = sys.modules.get("h2onet.network.h2onet")  # not imported here: many files need no torch
    if module is None:
        yield
        return
    build = module.build_hierarchy

    def once(vertices: np.ndarray, faces: np.ndarray) -> Any:
        key = (vertices.tobytes(), faces.tobytes())
        if key not in BUILT:
            BUILT[key] = build(vertices, faces)
        return BUILT[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_hierarchy", once)
        yield


@pytest.fixture(scope="session")
def two_hand_trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three synthetic recordings with one hand and with two, made once for all workers of a run: only to be read."""
    from h2onet.data.synthesize import SynthesizeSettings, synthesize
    from h2onet.locks import locked

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "two-hands"
    folder.mkdir(exist_ok=True)
    trees = {hands: folder / str(hands) for hands in (1, 2)}
    with locked(folder):
        for hands, out in trees.items():
            if not out.exists():  # a tree appears whole
                synthesize(SynthesizeSettings(out, sequences=3, frames=14, cameras=2, seed=4, hands=hands, workers=1))
    return trees[1], trees[2]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, for comparisons bit by bit and for a shared machine."""
    import torch  # here, because most tests need no torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
