"""Reading what torch.save wrote, within bounds: the pickle in it is walked through before torch sees the file.

`torch.load(weights_only=True)` runs no code of a file, but believes its sizes: a tensor may claim to repeat one number
without end, a zip may inflate, and a pickle may keep any unpickler busy for ever.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...hand.pickle_records import Record, Refused, check_scale
from ...hand.pickles import Machine

LARGEST = 4 * 2**30
"""Bytes of a file; the full network has 120 MB, with the optimiser's state three times that."""
_LARGEST_PICKLE = 2**24
_LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of storages; the numbers follow


def load_plain(path: Path) -> Any:
    """The content of a torch.save file on the CPU: plain containers, numbers, text and tensors with their own data.

    Nothing of the file is run. Raises ValueError and whatever torch raises for a file that is damaged, hostile, or out
    of bounds.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size >> 20} MB, expected at most {LARGEST >> 20}")
    try:
        if zipfile.is_zipfile(path):
            _check_zip(path, size)
        else:
            with path.open("rb") as file:
                for _ in range(_LEGACY_PICKLES):
                    check_scale(_Walker().run(file))
    except Refused as refusal:
        raise ValueError(str(refusal)) from None
    content = torch.load(path, map_location="cpu", weights_only=True)
    _check_tensors(content)
    return content


def _check_zip(path: Path, size: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its parts are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its parts claim more bytes than the file has")
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _LARGEST_PICKLE:
            raise ValueError(f"expected one data.pkl of at most {_LARGEST_PICKLE >> 20} MB, found {len(pickles)}")
        check_scale(_Walker().run(archive.read(pickles[0])))


def _check_tensors(value: Any) -> None:
    if isinstance(value, Tensor):
        if value.is_sparse or value.is_quantized or value.layout != torch.strided:
            raise ValueError(f"a tensor of layout {value.layout}, expected plain ones")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"a tensor of shape {tuple(value.shape)} with fewer numbers than that")
    elif isinstance(value, dict):
        for item in value.values():
            _check_tensors(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _check_tensors(item)


class _Walker(Machine):
    """Walks through a pickle of torch.save; names are only noted, because torch refuses those that it does not know."""

    def _global(self, argument: str) -> None:
        self.stack.append(Record("name", label=argument.replace(" ", ".")))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(f"{module} {name}" if isinstance(name, str) and isinstance(module, str) else "?")

    def _binpersid(self) -> None:
        self.stack.append(Record("storage", (self._pop(),)))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        ordered = isinstance(function, Record) and function.label == "collections.OrderedDict" and arguments == ()
        self.stack.append({} if ordered else Record("made", (function, arguments)))

    _newobj = _reduce

    def _build(self) -> None:
        state, target = self._pop(), self.stack[-1]
        self.stack[-1] = target if isinstance(target, dict) else Record("built", (target, state))
