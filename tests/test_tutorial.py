"""docs/tutorial.md, every command in its order, on a smaller sample: what it says is printed is printed."""

import re
import shlex
from pathlib import Path

import cli_trees as trees
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
SMALLER = {
    "--sequences 12 --frames 12 --cameras 2": "--sequences 3 --frames 4 --cameras 1",
    "epochs=4 milestones=[3]": "epochs=1 milestones=[] width=0.125 batch_size=4 pictures=1 tensorboard=false",
}
ONE_WORKER = ("synthesize", "prepare-labels", "build-clips")


def steps() -> list[tuple[list[str], list[str]]]:
    """The commands of every shell block, loops over splits written out, and the lines that the page shows after it."""
    found = []
    for block, shown in re.findall(
        r"```sh\n(.*?)```\n(?:```text\n(.*?)```)?", PAGE.read_text().replace("\\\n", " "), re.DOTALL
    ):
        while loop := re.search(r"for split in ([a-z ]+); do\n(.*?)done\n", block, re.DOTALL):
            lines = [loop[2].replace("$split", split) for split in loop[1].split()]
            block = block.replace(loop[0], "".join(lines))
        found.append(([line.strip() for line in block.splitlines()], shown.splitlines()))
    return found


def without_numbers(line: str) -> str:
    """A line to compare: numbers, and the `...` that stands for one on the page, as N; single spaces."""
    return " ".join(re.sub(r"\d+([.,]\d+)*|\.\.\.", "N", line).split())


@pytest.mark.parametrize("old", SMALLER)
def test_the_page_has_what_is_made_smaller_here(old):
    assert PAGE.read_text().count(old) == 1


def test_the_tutorial_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(steps()) >= 6
    for commands, shown in steps():
        printed = set()
        for command in commands:
            for old, new in SMALLER.items():
                command = command.replace(old, new)
            words = shlex.split(command)[1:]
            done = trees.h2o(*words, *(("--workers", "1") if words[0] in ONE_WORKER else ()))
            assert done.code == 0, done
            printed |= {without_numbers(line) for line in (done.out + done.err).replace("\r", "\n").splitlines()}
        missing = [line for line in shown if without_numbers(line) not in printed]
        assert not missing, f"after {commands[0]}: {missing}"
    for name in re.findall(r"`(runs/tutorial/[\w/.-]+)`", PAGE.read_text()):
        assert (tmp_path / name).exists(), name
