"""DexYCB's YAML: small files of plain data with the one tag `!!python/tuple`; anything else a file asks for is refused.

A YAML file is built here from the parser's events, one by one, and each is checked before anything is made of it:
PyYAML's own composer descends as deep as a file says, and follows its references.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ...errors import InputError, brief, one_line

LARGEST = 64 * 2**10
"""Bytes of a file. DexYCB's largest, a set of extrinsics, has 4 kB."""
_DEEPEST, _MOST_EVENTS, _LONGEST = 8, 20_000, 500
_TUPLE = "tag:yaml.org,2002:python/tuple"
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp")}
# libyaml's safe loader where PyYAML was built with it: ten times faster over a thousand meta files.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. InputError when it is missing, damaged, too large, or asks for more than plain data.

    Lists, mappings with text as keys, tuples, text, numbers, truth values and dates are plain data.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 10} kB")
        content = _build(data)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; is the dataset complete?") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = one_line(error, 160)
        raise InputError(f"{path}: not the plain YAML that was expected ({reason}); copy the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping, found {type(content).__name__}; copy the file again")
    return content


def _build(data: bytes) -> Any:
    """The content of the one document in `data`, from its events. ValueError and YAMLError for what is not plain."""
    loader = _Loader(data)
    opened: list[tuple[str, list[Any]]] = [("document", [])]
    try:
        for _ in range(_MOST_EVENTS):
            event = loader.get_event()
            if isinstance(event, yaml.StreamEndEvent):
                return _document(opened[0][1])
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                raise ValueError(f"the reference {brief(event.anchor)}")  # an alias, or what one could name
            if isinstance(event, yaml.CollectionStartEvent):
                if len(opened) > _DEEPEST:
                    raise ValueError(f"nested more than {_DEEPEST} deep")
                opened.append((_kind(event), []))
            elif isinstance(event, yaml.CollectionEndEvent):
                kind, values = opened.pop()
                opened[-1][1].append(_closed(kind, values))
            elif isinstance(event, yaml.ScalarEvent):
                opened[-1][1].append(_scalar(loader, event))
    finally:
        loader.dispose()
    raise ValueError(f"more than {_MOST_EVENTS} entries")


def _document(values: list[Any]) -> Any:
    if len(values) > 1:
        raise ValueError("more than one document")
    return values[0] if values else None


def _kind(event: Any) -> str:
    kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "list"
    if event.tag == _TUPLE and kind == "list":
        return "tuple"
    if event.tag not in (None, "!", f"tag:yaml.org,2002:{'map' if kind == 'mapping' else 'seq'}"):
        raise ValueError(f"the tag {brief(event.tag)}")
    return kind


def _closed(kind: str, values: list[Any]) -> Any:
    if kind != "mapping":
        return tuple(values) if kind == "tuple" else values
    content: dict[Any, Any] = {}
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, str | int | float) or key in content:
            raise ValueError(f"the key {brief(key)} {'twice in one mapping' if key in content else 'of a mapping'}")
        content[key] = value
    return content


def _scalar(loader: Any, event: yaml.ScalarEvent) -> Any:
    """Text, a number, a truth value, nothing or a date, by YAML 1.1's rules as PyYAML's safe loader has them."""
    if len(event.value) > _LONGEST:
        raise ValueError(f"the value {brief(event.value)} of {len(event.value)} letters")
    tag = event.tag
    if tag in (None, "!"):
        tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag not in _PLAIN:
        raise ValueError(f"the tag {brief(tag)}")
    return loader.construct_object(yaml.ScalarNode(tag, event.value))


def field(content: dict[str, Any], path: Path, *names: str) -> Any:
    """A nested field. InputError naming file and field when it is missing."""
    value: Any = content
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise InputError(f"{path}: field {'.'.join(names)} is missing; copy the file again")
        value = value[name]
    return value
