"""What a synthetic dataset's layouts have in common: a plan of independent recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

STAGES = ("entry", "reach", "hold")
"""Which part of a performance a short recording shows, see `performance.staged_performance`."""


@dataclass(frozen=True)
class Plan:
    """tasks: one picklable call per recording, each returns its number of photos; finish: what can only be written
    after all of them."""

    tasks: list[Callable[[], int]]
    finish: Callable[[], None]
