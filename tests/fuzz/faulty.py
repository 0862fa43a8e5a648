"""Readers with one fault each, which the sandbox must notice; kept apart from the product's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
from fuzz.targets import Target
from h2onet.errors import InputError


def _raise(folder: Path) -> None:
    raise KeyError("x")


def _refuse(text: str):
    def read(folder: Path) -> None:
        raise InputError(text)

    return read


def _write_outside(folder: Path) -> None:
    (folder.parent / "outside").write_text("x")


def _make_outside(folder: Path) -> None:
    (folder.parent / "folder").mkdir()


def _start(folder: Path) -> None:
    subprocess.run(["true"], check=True)


def _end(folder: Path) -> None:
    os._exit(7)


def _never_end(folder: Path) -> None:
    while True:
        pass


def _take_memory(folder: Path) -> None:
    np.ones(600 * 2**20, np.uint8)


TARGETS = {
    name: Target(lambda folder: None, (), read)
    for name, read in {
        "good": _refuse("a line of its own"),
        "raises": _raise,
        "refuses-in-two-lines": _refuse("one line\nanother"),
        "refuses-at-length": _refuse("x" * 5000),
        "writes-outside": _write_outside,
        "makes-a-folder-outside": _make_outside,
        "starts-a-program": _start,
        "ends-the-process": _end,
        "never-ends": _never_end,
        "takes-memory": _take_memory,
    }.items()
}
