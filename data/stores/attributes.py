"""What a store says about itself: the attributes of its Zarr groups, and whether they fit what a program expects.

Local and remote stores have the same attributes: `schema`, `schema_version`, `token` and `settings` at the top; those
of sequences and of the index are the classes here. Whatever is read is checked here, by type and bounds; attributes
that are not listed are nobody's business.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import zarr
from msgspec import UNSET, Meta, Struct, UnsetType

from ...errors import InputError, brief
from ...untrusted import read_json
from .keys import keys_fault

ABSENT = "does not exist or is no Zarr store"
BY_COPY = "copy the store again, or build it anew with --overwrite"

_LARGEST_ROW = 10**5
Count = Annotated[int, Meta(ge=0, le=10**9)]
Bytes = Annotated[int, Meta(ge=0, le=2**50)]
Text = Annotated[str, Meta(max_length=4096, pattern=r"\A[^\x00-\x1f]*\Z")]
Attempt = Annotated[str, Meta(pattern=r"\Aattempt-[0-9a-f]{32}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Kind = Annotated[str, Meta(pattern=r"\A(\|[biu]1|<[iu][248]|<f[248])\Z")]
Shape = Annotated[list[Annotated[int, Meta(ge=0, le=10**9)]], Meta(max_length=4)]
Image = Annotated[str, Meta(pattern=r"\A(?!/)(?!.*\.\.)[\w./-]*\{sequence\}[\w./-]*\{frame:0[1-9]d\}\.\w+\Z")]


Relative = Annotated[str, Meta(max_length=1000, pattern=r"\A(?![/~])(?!(.*/)?\.\.(/|\Z))[^\x00-\x1f\\]+\Z")]
Pixels = Annotated[int, Meta(ge=1, le=2**15)]


class Past(Struct):
    """How far back past frames lie in a dataset that is none of the known ones (`loading.windows.Window`)."""

    past: Annotated[list[Annotated[int, Meta(ge=1, le=10**6)]], Meta(max_length=2)]
    jitter: Annotated[list[Annotated[float, Meta(ge=0, le=10**6)]], Meta(max_length=2)]


class FailureRow(Struct):
    """A row of failures.jsonl as a sequence keeps it."""

    path: str
    reason: str


class Entry(Struct):
    """A sequence in an index."""

    key: Text
    frames: Count
    sha256: Sha256
    attempt: Attempt | UnsetType = UNSET


class Column(Struct):
    """A column of a clip index."""

    dtype: Kind
    shape: Shape
    sha256: Sha256


class HandFile(Struct):
    """The hand model that labels were made with."""

    source: Text
    sha256: Sha256


class StoreAttributes(Struct):
    """Of the store itself."""

    schema: Text
    schema_version: Count
    token: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    settings: dict[str, Any]


class _Sequence(Struct, kw_only=True):
    key: Text
    n_frames: Count
    fields: list[tuple[Text, Kind, Shape]]
    sha256: Sha256
    state: Literal["complete"]


class SequenceAttributes(_Sequence, kw_only=True):
    """Of any finished sequence in a folder; an object store adds the attempt."""

    blobs: list[Text] | UnsetType = UNSET
    failures: list[FailureRow] | UnsetType = UNSET


class ClipSequence(_Sequence, kw_only=True):
    """Of a finished sequence of clips."""

    blobs: tuple[Literal["jpeg"]]
    nbytes: Bytes
    failures: list[FailureRow]


class LabelSequence(_Sequence, kw_only=True):
    """Of a finished sequence of labels, as a labelling run leaves it."""

    blobs: tuple[()]
    listed: Count
    labelled: Count
    skipped: dict[str, Count]
    failures: list[FailureRow]
    missing_objects: dict[str, Count]
    frames_without_objects: Count
    rendered_masks: Count
    mask_iou: Annotated[float, Meta(ge=0, le=1)] | None
    mask_channel_pixels: tuple[Count, Count, Count] | None
    joints_off: tuple[Count, Annotated[float, Meta(ge=0, le=1)]] | UnsetType = UNSET
    photos: list[tuple[Relative, Pixels, Pixels]] | UnsetType = UNSET


class _Index(Struct, kw_only=True):
    sequences: list[Entry]
    frames: Count
    state: Literal["complete"]
    setup: Text | UnsetType | None = UNSET
    root: Text | UnsetType = UNSET
    image: Image | UnsetType = UNSET
    rules: dict[str, Count] | UnsetType | None = UNSET
    mano: dict[Literal["left", "right"], HandFile] | UnsetType | None = UNSET
    renderer: Text | UnsetType = UNSET
    failures: Count | UnsetType = UNSET
    suffixes: list[Text] | UnsetType = UNSET
    window: Past | UnsetType = UNSET
    origins: dict[Text, dict[Literal["recording", "subject", "camera"], Text]] | UnsetType = UNSET
    object_names: list[Text] | UnsetType = UNSET


class LabelIndex(_Index, kw_only=True):
    """Of the index of a labels.zarr."""

    dataset: Text | UnsetType = UNSET
    split: Text | UnsetType = UNSET
    labels: list[Text]
    made_from: Sha256
    photo: tuple[Pixels, Pixels] | UnsetType = UNSET
    labelled: Count | UnsetType = UNSET
    skipped: dict[str, Count] | UnsetType = UNSET
    missing_objects: dict[str, Count] | UnsetType = UNSET
    frames_without_objects: Count | UnsetType = UNSET
    mask_iou_median: Annotated[float, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    warnings: list[str] | UnsetType = UNSET
    lost_sequences: list[Text] | UnsetType = UNSET
    whole_chunks: bool | UnsetType = UNSET
    mano_path: Text | UnsetType = UNSET
    mask: Text | UnsetType = UNSET
    causes: list[Text] | UnsetType = UNSET
    objects: Text | UnsetType | None = UNSET


class ClipIndexAttributes(_Index, kw_only=True):
    """Of the index of a clips.zarr."""

    dataset: Text
    split: Text
    max_scale: Annotated[float, Meta(ge=1, le=100)]
    columns: dict[str, Column]
    codec: Text | UnsetType = UNSET
    labels: Text | UnsetType = UNSET
    labels_sha256: Sha256 | UnsetType = UNSET
    margin: Annotated[float, Meta(ge=1, le=1000)] | UnsetType = UNSET
    unfinished: list[Text] | UnsetType = UNSET


def group_attributes(folder: Path) -> dict[str, Any] | None:
    """Attributes of a Zarr v3 group, None when there is none; InputError when its zarr.json is damaged.

    Read as plain JSON: opening 8000 groups through Zarr takes seconds.
    """
    file = folder / "zarr.json"
    try:
        group = read_json(file, nan=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return attributes_of(group, file)


def attributes_of(group: object, where: str | Path) -> dict[str, Any]:
    """The attributes in what a group's zarr.json holds; InputError where it is no group's."""
    if not isinstance(group, dict) or group.get("node_type") != "group" or group.get("zarr_format") != 3:
        raise InputError(f"{where}: describes no Zarr v3 group; copy it again, or delete its folder and run again")
    attrs = group.get("attributes", {})
    if not isinstance(attrs, dict):
        raise InputError(f"{where}: attributes are {brief(attrs)}, expected an object; copy it again")
    return attrs


def find_faults(attrs: Mapping[str, Any], kind: type[Struct], required: Collection[str] = ()) -> list[str]:
    """What is wrong with attributes, one line for each that is: missing, of the wrong type or out of bounds.

    `required` are those that must be there although `kind` would do without.
    """
    found = []
    for field in () if _fits(attrs, kind, required) else _fields(kind):
        if field.name not in attrs:
            if field.required or field.name in required:
                found.append(f"attribute {field.name} is missing")
            continue
        value = attrs[field.name]
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            found.append(f"attribute {field.name} is {brief(value)}: {str(error)[:1].lower()}{str(error)[1:]}")
    if found:
        return found
    return _index_faults(attrs) if issubclass(kind, _Index) else _field_faults(attrs.get("fields", []))


def _fits(attrs: Mapping[str, Any], kind: type[Struct], required: Collection[str]) -> bool:
    """Whether attributes are good as a whole: much faster than one by one, and there are thousands of sequences."""
    try:
        msgspec.convert(attrs, kind)
    except msgspec.ValidationError:
        return False
    return all(name in attrs for name in required)


@lru_cache
def _fields(kind: type[Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _field_faults(fields: list[Any]) -> list[str]:
    names = [name for name, _, _ in fields]
    if len(set(names)) < len(names) or any(math.prod(shape) > _LARGEST_ROW for _, _, shape in fields):
        return [f"attribute fields is {brief(fields)}: a name comes twice, or a field is too large"]
    return []


def _index_faults(attrs: Mapping[str, Any]) -> list[str]:
    fault = keys_fault(entry["key"] for entry in attrs["sequences"])
    frames = sum(entry["frames"] for entry in attrs["sequences"])
    found = [f"attribute sequences: {fault}"] if fault else []
    if frames != attrs["frames"]:
        found.append(f"attribute frames is {attrs['frames']}, those of sequences are {frames}")
    return found


def check(where: str | Path, attrs: Mapping[str, Any], kind: type[Struct], required: Collection[str] = ()) -> None:
    """InputError, opening with `where`, that names what `find_faults` finds."""
    faults = find_faults(attrs, kind, required)
    if faults:
        more = f" (and {len(faults) - 1} more)" if faults[1:] else ""
        raise InputError(f"{where}: {faults[0]}{more}; {BY_COPY}")


def write_empty_store(folder: Path, settings: Mapping[str, Any], schema: str, version: int) -> None:
    """Write the groups of a store without sequences, with a new random token, into an existing folder."""
    group = zarr.open_group(folder, mode="a", zarr_format=3)
    write_sequences_group(folder)
    token = uuid.uuid4().hex
    group.update_attributes({"schema": schema, "schema_version": version, "token": token, "settings": dict(settings)})


def write_sequences_group(folder: Path) -> None:
    """Write the group that holds the sequences of a store, where it is not there or damaged."""
    group = folder / "sequences"
    group.mkdir(exist_ok=True)
    try:
        if group_attributes(group) is not None:
            return
    except InputError:
        (group / "zarr.json").unlink()
    zarr.open_group(group, mode="a", zarr_format=3)


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
        raise InputError(f"{where}: schema is {brief(found)}, expected {schema!r}; give another path")
    if version is None:
        return
    check(where, attrs, StoreAttributes)
    stored = attrs["schema_version"]
    if stored == version:
        return
    newer = stored > version
    advice = "update h2onet" if newer else "build it again with --overwrite"
    age = "newer" if newer else "older"
    raise InputError(f"{where}: schema_version is {stored}, {age} than this program's {version} ({schema}); {advice}")


def check_settings(where: str | Path, attrs: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """InputError naming the first setting that differs from those a store was made with."""
    stored = attrs["settings"]
    for name in [*settings, *(name for name in stored if name not in settings)]:
        if stored.get(name) != settings.get(name):
            raise InputError(
                f"{where}: made with {brief(name)[1:-1]}={brief(stored.get(name))}, now {name}="
                f"{brief(settings.get(name))}; use the same setting to resume, --overwrite to start anew, or another"
                " --out"
            )
