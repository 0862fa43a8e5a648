"""What a store says about itself: the attributes of its Zarr group, and whether they fit what a program expects.

Local and remote stores have the same attributes: `schema`, `schema_version`, `token` and `settings`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from ...errors import InputError

ABSENT = "does not exist or is no Zarr store"


def group_attributes(folder: Path) -> dict[str, Any] | None:
    """Attributes of a Zarr v3 group, None when there is none.

    Read as plain JSON: opening 8000 groups through Zarr takes seconds.
    """
    try:
        text = (folder / "zarr.json").read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return json.loads(text).get("attributes", {})
    except json.JSONDecodeError as error:
        raise InputError(
            f"{folder / 'zarr.json'}: not readable JSON ({error}); delete {folder.name} and run again"
        ) from None


def write_empty_store(folder: Path, settings: Mapping[str, Any], schema: str, version: int) -> None:
    """Write the groups of a store without sequences, with a new random token, into an existing folder."""
    group = zarr.open_group(folder, mode="a", zarr_format=3)
    (folder / "sequences").mkdir()
    zarr.open_group(folder / "sequences", mode="w", zarr_format=3)
    token = uuid.uuid4().hex
    group.attrs.update({"schema": schema, "schema_version": version, "token": token, "settings": dict(settings)})


def check_attributes(
    where: str | Path, attrs: Mapping[str, Any] | None, schema: str, version: int | None, absent: str = ABSENT
) -> None:
    """InputError unless `attrs` are those of a store of this schema and version (None: any version).

    `where` is the store's path or URL; `absent` says what is wrong there when there are no attributes.
    """
    if attrs is None:
        raise InputError(f"{where}: {absent}; expected a {schema} store: check the path")
    found = attrs.get("schema")
    if found != schema:
        raise InputError(f"{where}: schema is {found!r}, expected {schema!r}; give another path")
    stored = attrs.get("schema_version")
    if version is None or stored == version:
        return
    newer = isinstance(stored, int) and stored > version
    advice = "update h2onet" if newer else "build it again with --overwrite"
    age = "newer" if newer else "older"
    raise InputError(f"{where}: schema_version is {stored}, {age} than this program's {version} ({schema}); {advice}")


def check_settings(where: str | Path, attrs: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """InputError naming the first setting that differs from those a store was made with."""
    stored = attrs.get("settings", {})
    for name in [*settings, *(name for name in stored if name not in settings)]:
        if stored.get(name) != settings.get(name):
            raise InputError(
                f"{where}: made with {name}={stored.get(name)!r}, now {name}={settings.get(name)!r};"
                " use the same setting to resume, --overwrite to start anew, or another --out"
            )
