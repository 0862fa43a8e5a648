"""What stands at the top of the repository is true: versions of files, the citation, the paths that are named."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import cli_trees as trees
import h2onet
import pytest
import yaml
from h2onet.data import labels
from h2onet.data.stores import clips
from h2onet.evaluation import protocol
from h2onet.labeling.occlusion import RULES
from h2onet.network.checkpoints import own

ROOT = Path(__file__).resolve().parents[1]
PAPERS = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


def test_one_version_everywhere():
    assert h2onet.__version__ == importlib.metadata.version("h2onet")
    done = trees.h2o("--version")
    assert done.code == 0 and done.out == f"h2onet {h2onet.__version__}\n"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == h2onet.__version__
    assert f"## {h2onet.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_versions_of_files_are_those_of_the_code():
    text = (ROOT / "CHANGELOG.md").read_text()
    said = {
        row[0]: int(row[-1]) for row in re.findall(r"^\| (\S.*?) \| .*?(?:`(\S+)` )?\| (\d+) \|$", text, re.MULTILINE)
    }
    assert said == {
        "labels.zarr": labels.SCHEMA_VERSION,
        "clips.zarr": clips.SCHEMA_VERSION,
        "checkpoint folder": own.FORMAT_VERSION,
        "evaluation": protocol.VERSION,
    }
    for name in (labels.SCHEMA, clips.SCHEMA, own.FORMAT):
        assert f"`{name}`" in text
    [rules] = re.findall(r"versions of their own \((.*?)\)", text, re.DOTALL)
    assert dict(re.findall(r"`(\w+)` (\d+)", rules)) == {name: str(number) for name, number in RULES.items()}


def test_the_citation_is_the_readme_s():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    readme = (ROOT / "README.md").read_text()
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    assert f"{{{authors}}}" in readme and f"{{{cited['start']}--{cited['end']}}}" in readme
    assert cited["title"] in re.sub(r"[{}]", "", readme) and f"{{{cited['year']}}}" in readme


@pytest.mark.parametrize("name", PAPERS)
def test_named_paths_exist(name):
    """`room/file.py`, also with a function behind it, in backticks; capitals stand for a name of your own."""
    text = (ROOT / name).read_text()
    for path in re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|toml|md|sh|txt))`", text):
        if not re.search(r"[A-Z]{3,}(?!\w*\.md)", path) and "/" in path:
            assert (ROOT / path).is_file() or not (ROOT / path.split("/")[0]).is_dir(), f"{name}: {path}"


def test_the_names_that_additions_touch_are_there():
    """CONTRIBUTING says which names of which file an addition changes: a file, then names in backticks."""
    text = (
        (ROOT / "CONTRIBUTING.md").read_text().split("## How to add ...")[1].split("## What a change has to prove")[0]
    )
    said = re.findall(r"`((?:\w+/)*\w+\.py)`: (.*?)(?=`(?:\w+/)*\w+\.py`|\n\d\.|\n\n)", text, re.DOTALL)
    assert len(said) > 12
    for path, words in said:
        source = (ROOT / path).read_text() if (ROOT / path).is_file() else ""
        for name in re.findall(r"`(_?[A-Za-z][A-Za-z_]+)`", words):
            assert not source or name in source, f"{path}: {name}"


def test_every_page_is_in_the_site():
    nav = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(nav) == pages and len(nav) == len(pages), "mkdocs.yml: nav lists every page of docs/ once"


def test_the_reference_names_modules_that_are_there():
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for module in re.findall(r"^::: h2onet\.(\S+)", page.read_text(), re.MULTILINE):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), f"{page.name}: {module}"


def test_extras_pins_and_type_marker():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    needed = [requirement for each in lists for requirement in each]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in needed} - {"h2onet"}
    assert names <= pinned, f"constraints.txt lacks {sorted(names - pinned)}"
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["h2onet"] and (ROOT / "py.typed").is_file()
