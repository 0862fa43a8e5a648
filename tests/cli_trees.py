"""Runs the `h2o` command for tests, tells what a folder holds; imported by name (pytest's `pythonpath`)."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from h2onet import cli

VARIABLES = ("DEX_YCB_DIR", "HO3D_DIR", "MANO_DIR", "H2O_DETECTOR")


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an exit with code 2; asserts that there is exactly one and that nothing was printed."""
        lines = self.err.splitlines()
        told = [line for line in lines if line.startswith("h2o: ")]
        assert self.code == 2 and self.out == "" and len(told) == 1, self
        # Log lines may stand before it. What may not: anything after it, or a traceback anywhere.
        assert lines[-1] == told[0] and "Traceback" not in self.err, self
        return told[0]


def h2o(*arguments: object, **environment: object) -> Done:
    """The command in this process (no start-up cost), with only the given h2onet variables in the environment."""
    logger, out, err = logging.getLogger("h2onet"), io.StringIO(), io.StringIO()
    level = logger.level
    with (
        mock.patch.object(sys, "argv", ["h2o", *map(str, arguments)]),
        mock.patch.dict(os.environ, {name: str(value) for name, value in environment.items()}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in VARIABLES:
            if name not in environment:
                os.environ.pop(name, None)
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code
        finally:
            logger.setLevel(level)
    assert isinstance(code, int), f"exit with {code!r}"
    return Done(code, out.getvalue(), err.getvalue())


def h2o_process(*arguments: object, cwd: Path | None = None) -> Done:
    """The installed command in a process of its own."""
    program = Path(sys.executable).with_name("h2o")
    assert program.exists(), f"{program} is missing: the package is not installed here"
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=cwd, timeout=240
    )
    return Done(done.returncode, done.stdout, done.stderr)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder with size and time of change, to be compared later."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else -1, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@contextlib.contextmanager
def untouched(*folders: Path) -> Iterator[None]:
    """Asserts that what happens inside writes, changes and removes nothing in these folders."""
    before = [contents(folder) for folder in folders]
    yield
    assert [contents(folder) for folder in folders] == before


class Touch:
    """Pickles as a command that makes a file when Python's own unpickler reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def prepare(store: Path, root: Path, dataset: str = "dexycb", *, split: str = "train", mano: object = "standin"):
    options = ("--dataset", dataset, "--root", root, "--split", split, "--mano", mano, "--workers", 1)
    return ("prepare-labels", *options, "--out", store)


def refused(out: Path, *arguments: object) -> str:
    """The one line of a command that must be refused and leave nothing in `out`."""
    error = h2o(*arguments).error
    assert not out.exists(), f"written: {sorted(out.rglob('*'))}"
    assert len(error) > 20
    return error
