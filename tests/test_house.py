"""The house keeps its shape: packages match folders, rooms import only downward, some libraries stay in one room."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"data", "evaluation", "hand", "inference", "labeling", "network", "pipeline", "training"}
# Each room and whom it may import. Rooms inside a room stand below it; their table follows.
MAY_IMPORT = {
    "pipeline": {"labeling", "data", "hand"},
    "training": {"evaluation", "network", "data", "hand"},
    "evaluation": {"network", "data", "hand"},
    "inference": {"network", "data", "hand"},
    "labeling": {"data", "hand"},
    "data": {"hand"},
    "network": {"hand"},
    "hand": set(),
}
# Inner room -> the neighbours in the same room (files or inner rooms) that it may import.
MAY_IMPORT_INSIDE = {
    "data/readers": {"frame", "photos"},
    "data/stores": {"photos"},
    "data/loading": {"stores"},
    "data/synthetic": {"annotations", "frame", "photos", "readers"},
    "data/synthetic/motion": {"choice", "scene"},
    "data/synthetic/scene": set(),
    "evaluation/scoring": {"metrics"},
    "evaluation/page": {"metrics", "scoring"},
    "evaluation/ho3d": {"frames_npz", "metrics", "page", "protocol", "scoring"},
    "hand/standin": {"array_record", "parts"},
    "inference/detection": set(),
    "pipeline/exports": {"labels"},
    "pipeline/labels": {"label_sheet", "made_from"},
    "pipeline/labels/page": set(),
    "pipeline/view": {"made_from"},
    "network/checkpoints": {"backbone", "h2onet", "prediction", "tables"},
}
# What a folder may hold: files and inner rooms, and the imports between them.
ROOMS_AND_ARROWS = {"data": (12, 20), "evaluation": (12, 26)}
# library -> the only places that may import it (a room, or a file for the narrower ones)
ONLY_IN = {
    "dask": ("pipeline/",),
    "distributed": ("pipeline/",),
    "zarr": ("data/",),
    "torch": (
        "network/",
        "training/",
        "evaluation/",
        "inference/",
        "hand/mano.py",
        "data/loading/dataset.py",
        "data/loading/batches.py",
        "doctor.py",
    ),
    "numba": ("jit.py",),
    "smplx": ("hand/mano.py",),
    "ai_edge_litert": ("inference/detection/networks.py",),
    "pyrender": ("labeling/egl.py",),
    "OpenGL": ("labeling/egl.py",),
    "av": ("pipeline/exports/video.py", "inference/"),
    "rerun": ("pipeline/view/recording.py",),
    "typer": (
        "cli.py",
        "cli_help.py",
        "cli_model.py",
        "cli_options.py",
        "cli_predict.py",
        "cli_stores.py",
        "cli_view.py",
    ),
}
SOURCES = sorted(p for room in ROOMS for p in (ROOT / room).glob("**/*.py")) + sorted(ROOT.glob("*.py"))


def imports(path: Path) -> list[tuple[str, ...]]:
    """Every imported module of a file as a tuple of names, relative imports resolved to ('h2onet', room, ...)."""
    package = ("h2onet", *path.relative_to(ROOT).parts[:-1])
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = tuple(node.module.split(".")) if node.module else ()
            found += [(*base, *module, alias.name) for alias in node.names]
    return found


def test_package_list_matches_folders():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = [p.parent.relative_to(ROOT).parts for room in ROOMS for p in (ROOT / room).rglob("__init__.py")]
    assert set(listed) == {".".join(("h2onet", *parts)) for parts in inits} | {"h2onet"}
    assert {name.split(".")[1] for name in listed if name != "h2onet"} == ROOMS
    assert {"/".join(parts) for parts in inits if len(parts) > 1} == set(MAY_IMPORT_INSIDE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downward_only(path: Path):
    room = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        if name[0] != "h2onet" or len(name) < 2 or name[1] not in ROOMS or room not in ROOMS:
            continue
        assert name[1] == room or name[1] in MAY_IMPORT[room], f"{path.name} of {room}/ imports {'.'.join(name)}"


def module_path(name: tuple[str, ...]) -> Path | None:
    """The file, relative to the root, that an imported name of the package comes from."""
    for length in range(len(name), 1, -1):
        path = Path(*name[1:length]).with_suffix(".py")
        if (ROOT / path).is_file():
            return path
    return None


def arrows(folder: str) -> dict[str, set[str]]:
    """Whom each file or inner room of a folder imports among its neighbours there."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.name == "__init__.py":
            continue
        here = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
        neighbours = found.setdefault(here, set())
        for name in imports(path):
            target = module_path(name) if name[0] == "h2onet" else None
            if target is not None and target.is_relative_to(folder):
                neighbours.add(target.relative_to(folder).parts[0].removesuffix(".py"))
        neighbours.discard(here)
    return found


FOLDERS = sorted(ROOMS | set(MAY_IMPORT_INSIDE))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circle_inside_a_room(folder: str):
    TopologicalSorter(arrows(folder)).prepare()  # CycleError names the circle


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT_INSIDE))
def test_inner_rooms_import_downward_only(folder: str):
    room, _, inner = folder.rpartition("/")
    assert arrows(room)[inner] <= MAY_IMPORT_INSIDE[folder]


@pytest.mark.parametrize("folder", sorted(ROOMS_AND_ARROWS))
def test_a_folder_stays_small_enough_to_see(folder: str):
    rooms, most = ROOMS_AND_ARROWS[folder]
    drawn = arrows(folder)
    assert len(drawn) <= rooms and sum(len(targets) for targets in drawn.values()) <= most


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_stay_in_their_room(path: Path):
    here = str(path.relative_to(ROOT))
    for name in imports(path):
        allowed = ONLY_IN.get(name[0])
        assert allowed is None or here.startswith(allowed), f"{here} imports {name[0]}, which belongs in {allowed}"


@pytest.mark.parametrize(
    "path",
    sorted(p for room in ROOMS for p in (ROOT / room).rglob("__init__.py")),
    ids=lambda p: str(p.parent.relative_to(ROOT)),
)
def test_init_files_hold_one_docstring(path: Path):
    body = ast.parse(path.read_text()).body
    assert len(body) == 1 and ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_open_with_a_docstring_and_stay_short(path: Path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} says nothing about what it owns"
    assert len(text.splitlines()) <= 320, f"{path} is longer than 320 lines: split it by idea"


def test_workers_start_without_torch():
    """Loading it takes longer than labelling a short sequence, and 130 MB in every process."""
    started = (
        "h2onet.pipeline.label_sequence, h2onet.pipeline.cut_hands, h2onet.data.synthesize, h2onet.data.annotations"
    )
    commands = "h2onet.cli, h2onet.pipeline.prepare_labels, h2onet.pipeline.build_clips, h2onet.pipeline.export_clips"
    code = f"import sys; import {started}, {commands}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_commands_start_without_what_only_some_of_their_runs_need():
    """Dask where tasks stay in the process, torch where doctor finds no driver of a GPU, NumPy for the help text."""
    for modules, unwanted in (
        ("h2onet.pipeline.prepare_labels, h2onet.pipeline.build_clips", {"dask", "distributed"}),
        ("h2onet.doctor", {"torch", "numpy"}),
        ("h2onet.cli", {"numpy"}),
    ):
        code = f"import sys; import {modules}; sys.exit(not {unwanted}.isdisjoint(sys.modules))"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0, modules
