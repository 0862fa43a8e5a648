"""Keys of camera sequences and the folders that they name: "SUBJECT/SEQ/SERIAL" lies in "SUBJECT__SEQ__SERIAL".

A key comes out of a dataset, a list or a store, and becomes a path: it is checked before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...errors import InputError, brief
from ...untrusted import check_key

_LONGEST = 200  # a file name has at most 255 bytes, and a temporary one is 38 longer


def folder_name(key: str) -> str:
    """The folder name of a sequence key: "SUBJECT/SEQ/SERIAL" -> "SUBJECT__SEQ__SERIAL"."""
    return key.replace("/", "__")


def keys_fault(keys: Iterable[object]) -> str | None:
    """What keeps keys from naming one folder each; None for good ones."""
    folders: dict[str, str] = {}
    for given in keys:
        try:
            key = check_key(given, "sequence")
        except ValueError as error:
            return str(error)
        folder = folder_name(key)
        if len(folder) > _LONGEST:
            return f"sequence {brief(key)} has {len(folder)} letters, expected at most {_LONGEST}"
        if folder in folders:
            same = "is there twice" if folders[folder] == key else f"and {folders[folder]} are both named {folder}"
            return f"sequence {key} {same}"
        folders[folder] = key
    return None


def check_keys(where: str | Path, keys: Iterable[object]) -> None:
    """InputError, opening with `where`, for keys that name no folder of their own in a store."""
    fault = keys_fault(keys)
    if fault is not None:
        raise InputError(f"{where}: {fault}; rename that sequence in the dataset or its annotation file")
