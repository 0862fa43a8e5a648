"""What the tests of several rooms share: the reference folder, and one thread for torch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, for comparisons bit by bit and for a shared machine."""
    import torch  # here, because most tests need no torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
