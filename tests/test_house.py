"""The house keeps its shape: packages match folders, rooms import only downward, some libraries stay in one room."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"data", "evaluation", "hand", "inference", "labeling", "network", "pipeline", "training"}
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
# library -> the only places that may import it (a room, or a file for the narrower ones)
ONLY_IN = {
    "dask": ("pipeline/",),
    "distributed": ("pipeline/",),
    "zarr": ("data/",),
    "pyrender": ("labeling/gl.py",),
    "OpenGL": ("labeling/gl.py",),
    "typer": ("cli.py", "cli_options.py", "cli_model.py"),
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
    folders = {f"h2onet.{p.parent.name}" for p in ROOT.glob("*/__init__.py")} | {"h2onet"}
    assert set(listed) == folders
    assert {name.removeprefix("h2onet.") for name in listed} - {"h2onet"} == ROOMS


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downward_only(path: Path):
    room = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        if name[0] != "h2onet" or len(name) < 2 or name[1] not in ROOMS or room not in ROOMS:
            continue
        assert name[1] == room or name[1] in MAY_IMPORT[room], f"{path.name} of {room}/ imports {'.'.join(name)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_stay_in_their_room(path: Path):
    here = str(path.relative_to(ROOT))
    for name in imports(path):
        allowed = ONLY_IN.get(name[0])
        assert allowed is None or here.startswith(allowed), f"{here} imports {name[0]}, which belongs in {allowed}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/__init__.py")), ids=lambda p: p.parent.name)
def test_init_files_hold_one_docstring(path: Path):
    body = ast.parse(path.read_text()).body
    if path.parent.name == "tests":
        pytest.skip("tests are no package")
    assert len(body) == 1 and ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_open_with_a_docstring_and_stay_short(path: Path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} says nothing about what it owns"
    assert len(text.splitlines()) <= 320, f"{path} is longer than 320 lines: split it by idea"
