"""DexYCB's YAML: plain data and the one tag it uses, `!!python/tuple`; anything else a file asks for is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ...errors import InputError

# libyaml's safe loader where PyYAML was built with it: ten times faster over a thousand meta files.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """The safe loader that also knows tuples (`yaml.safe_load` refuses DexYCB's extrinsics)."""


def _tuple(loader: Any, node: yaml.Node) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. InputError when it is missing, damaged, or asks for anything but plain data."""
    try:
        with path.open("rb") as file:
            # A subclass of the safe loader: no code of the file can run.
            content = yaml.load(file, Loader=_Loader)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; is the dataset complete?") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not the plain YAML that was expected ({reason}); copy the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping, found {type(content).__name__}; copy the file again")
    return content


def field(content: dict[str, Any], path: Path, *names: str) -> Any:
    """A nested field. InputError naming file and field when it is missing."""
    value: Any = content
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise InputError(f"{path}: field {'.'.join(names)} is missing; copy the file again")
        value = value[name]
    return value
