"""Bounds of torch.save files: what torch itself would believe is refused, what training writes is read."""

import zipfile
from pathlib import Path

import pytest
import torch
from h2onet.errors import InputError
from h2onet.network.checkpoints import torch_files
from h2onet.network.checkpoints.official import read_tensors
from h2onet.network.checkpoints.torch_files import load_plain

FORMS = pytest.mark.parametrize("zipped", [True, False])


@FORMS
def test_what_training_writes_is_read(tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Linear(3, 3)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = {
        "o": optimiser.state_dict(),
        "rng": torch.get_rng_state(),
        "part": torch.arange(6.0)[1:3],
        "n": [1, "a", b"b"],
    }
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = load_plain(tmp_path / "a.pt")
    assert found["part"].tolist() == [1.0, 2.0] and found["n"] == [1, "a", b"b"]
    assert found["o"]["param_groups"] == state["o"]["param_groups"]


@FORMS
def test_a_tensor_has_its_own_numbers(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.ones(1).expand(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"a\.pth.*shape \(2,\) with fewer numbers"):
        read_tensors(tmp_path / "a.pth")


def test_parts_of_a_zip_are_stored_as_they_are(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match=r"b\.pth.*compressed"):
        read_tensors(tmp_path / "b.pth")


def test_files_above_the_bound_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    monkeypatch.setattr(torch_files, "LARGEST", 100)
    with pytest.raises(InputError, match=r"a\.pth.*expected at most"):
        read_tensors(tmp_path / "a.pth")
