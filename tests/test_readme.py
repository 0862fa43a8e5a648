"""What README, docs and presets tell people to type is what the command line takes; links and pictures are there."""

import contextlib
import io
import re
import runpy
import shlex
import shutil
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cli_trees as trees
import pytest
import raw_trees as raw
import typer
from h2onet import cli
from h2onet.data.frame import DATASETS
from h2onet.data.readers.dexycb_splits import SUBJECTS
from h2onet.data.synthetic.choice import choose_sequences

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PRESETS = sorted((ROOT / "training" / "presets").glob("*.toml"))
VALUES = {
    "--dataset": DATASETS,
    "--layout": DATASETS,
    "--split": ("train", "val", "test"),
    "--setup": ("s0", "s1", "s2", "s3"),
}


class Line(NamedTuple):
    """A command as it stands in a file, without comment; `whole` if nothing of it is left out or a placeholder."""

    where: str
    text: str
    whole: bool


def code_lines(text: str) -> Iterator[str]:
    """Lines of fenced and indented code, continued lines joined."""
    fenced, pending = False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            pending += line.strip()
            if pending.endswith("\\"):
                pending = pending[:-1] + " "
                continue
            yield pending
            pending = ""


def lines_of(path: Path) -> Iterator[Line]:
    """Every `h2o` command of a file: in code, in backticks, after "Command:" in a preset."""
    text, where = path.read_text(), path.relative_to(ROOT).as_posix()
    if path.suffix == ".toml":
        found, inline = re.findall(r"^# Command: +(h2o .*)$", text, re.MULTILINE), []
    else:
        inline = re.findall(r"`(h2o [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " "))
        found = [*(line for line in code_lines(text) if line.startswith("h2o ")), *inline]
    for line in found:
        # What follows a # or a gap of three spaces is said about the command.
        said = re.split(r"\s#|\s{3,}", line)[0].strip()
        yield Line(
            where, said, path.suffix == ".toml" or (line not in inline and not re.search(r"[\[\]|]|\.\.\.", said))
        )


LINES = [line for path in [*PAGES, *PRESETS] for line in lines_of(path)]


def commands_of(words: list[str]) -> list[tuple[Any, list[str]]]:
    """The command objects that the words name (`info|verify` names two), and the words after the name."""
    node, name, rest = typer.main.get_command(cli.app), words[1], words[2:]
    if name.startswith("--"):
        assert name in {"--help", *(option for parameter in node.params for option in parameter.opts)}
        return []
    if name in ("clips", "labels", "table") and rest:
        node, name, rest = node.commands[name], rest[0], rest[1:]
    unknown = set(name.split("|")) - set(node.commands)
    assert not unknown, f"no such command: {unknown}"
    return [(node.commands[each], rest) for each in name.split("|")]


def test_something_was_found():
    """The checks below say nothing when nothing is read."""
    whole = [line.text.split()[1] for line in LINES if line.whole]
    assert len(whole) > 25 and {"prepare-labels", "build-clips", "train", "evaluate", "synthesize"} <= set(whole)
    assert {line.where for line in LINES} > {"README.md", "docs/pipeline.md", "docs/clips.md"}


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.where}: {line.text}"[:90])
def test_commands_are_those_of_the_command_line(line, monkeypatch):
    for name in trees.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for command, rest in commands_of(line.text.replace("$split", "train").split()):
        known = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"(?<![\w-])--[a-z0-9][\w-]*", " ".join(rest)):
            assert option in known, f"{line.where}: {line.text}: no option {option}"
        if line.whole:
            words = shlex.split(line.text.replace("$split", "train"))
            words = words[words.index(command.name) + 1 :]
            context = command.make_context(command.name, list(words))  # raises where something is missing or odd
            assert not context.args or "--set" in words
            for option, allowed in VALUES.items():
                values = [words[i + 1] for i, word in enumerate(words) if word == option]
                assert set(values) <= set(allowed), f"{line.where}: {line.text}"


@pytest.mark.parametrize("line", [each for each in LINES if each.text.startswith(("h2o train ", "h2o train-all "))])
def test_presets_in_commands_exist(line):
    name = line.text.split()[2]
    if name.startswith("--"):  # asks about recipes, runs none
        return
    chains = {stage.stem.rsplit("-", 1)[0] for stage in PRESETS}
    known = {stage.stem for stage in PRESETS} if line.text.startswith("h2o train ") else chains
    assert name in known or name in ("PRESET", "CHAIN", "mine.toml")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_say_how_they_are_run(path):
    [line] = lines_of(path)
    assert line.text.split()[:3] == ["h2o", "train", path.stem] and tomllib.loads(path.read_text())


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_pictures_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        assert other.is_file(), f"{path.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{path.name}: {target}"


def with_neighbours(program: Path) -> str:
    """A program's text, and that of the files beside it that it imports from: one of them may hold its options."""
    text = program.read_text()
    beside = (program.with_name(f"{name}.py") for name in re.findall(r"^from (\w+) import", text, re.MULTILINE))
    return text + "".join(path.read_text() for path in beside if path.is_file())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_programs_and_targets_in_pages_exist(path):
    text = path.read_text()
    for program, options in re.findall(r"python ((?:benchmarks|examples|hand|tests)/\S+?\.py)([^`\n]*)", text):
        assert (ROOT / program).is_file(), f"{path.name}: {program}"
        source = with_neighbours(ROOT / program)
        for option in re.findall(r"(?<![\w-])--[a-z0-9][\w-]*", options):
            assert f'"{option}"' in source, f"{path.name}: {program} {option}"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets, f"{path.name}: make {target}"


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = [(page.parent / name).resolve() for name in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())]
        waiting += [link for link in links if link not in reached and link.is_file()]
    assert set(PAGES) == reached & set(PAGES)


def test_the_readme_s_table_names_every_command():
    table = (ROOT / "README.md").read_text().split("## The commands")[1].split("## ")[0]
    commands = typer.main.get_command(cli.app).commands
    assert set(re.findall(r"`h2o ([\w-]+)", table)) == set(commands)
    for group in ("clips", "labels"):
        line = next(line for line in table.splitlines() if f"h2o {group}" in line)
        assert set(re.findall(rf"`(?:h2o {group} )?(\w+)`", line)) == set(commands[group].commands)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_lines_are_short_enough_for_a_window(path):
    """Prose; rows of tables, pictures and code cannot always be broken."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "  |", "![", "    "))]
    assert not long, f"{path.name}: {len(long)} lines have more than 120 characters, the first: {long[0]}"


def test_the_labels_and_clips_of_the_readme_are_made(tmp_path, monkeypatch):
    """The README's loop over splits, run as it stands on a tree of three recordings, one for each split."""
    recordings = {(SUBJECTS[choice.subject], choice.name): choice.side for choice in choose_sequences(3)}
    root = raw.write_dexycb(tmp_path / "DEX_YCB", recordings, frames=3)
    text = (ROOT / "README.md").read_text()
    [block] = [b for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "export DEX_YCB_DIR" in b]
    [loop] = re.findall(r"for split in ([a-z ]+); do\n(.*?)done", block, re.DOTALL)
    splits, body = loop[0].split(), [line.strip() for line in loop[1].splitlines()]
    rest = [
        line for line in block.split("done", 1)[1].splitlines() if re.match("h2o (prepare-labels|build-clips)", line)
    ]
    commands = [line.replace("$split", split) for split in splits for line in body] + rest
    assert len(commands) == 6
    monkeypatch.chdir(tmp_path)
    for command in commands:
        words = [*shlex.split(command)[1:], "--workers", "1"]
        done = trees.h2o(*words, DEX_YCB_DIR=root, MANO_DIR="standin")
        assert done.code == 0, done
    for split in ("train", "val", "test"):
        assert trees.h2o("clips", "verify", f"runs/{split}/clips.zarr").code == 0
    run_the_python_of_the_readme(text)


def run_the_python_of_the_readme(text: str) -> None:
    """Its block on the stores just made, with a small network in the place of the one that would have been trained."""
    [block] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [checkpoint] = re.findall(r'load_checkpoint\("(.*?)"\)', block)
    with tarfile.open(ROOT / "tests" / "fixtures" / "state-0.1.0.tar.xz") as bundle:
        bundle.extractall("state", filter="data")
    shutil.copytree("state/checkpoint", checkpoint)
    Path("readme.py").write_text(block)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path("readme.py")
    assert said.getvalue().splitlines()[-1] == "torch.Size([1, 778, 3]) torch.Size([1, 21, 3])"
