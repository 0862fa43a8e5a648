"""What files say that other people made: names that become paths, JSON, faults for failures.jsonl.

Every room asks here before it believes a name, a value or a structure out of a file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .errors import InputError, brief, one_line

LARGEST_JSON = 16 * 2**20
DEEPEST_JSON = 32
_MOST_DIGITS = 400  # a float has at most 309 before the point
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


# -- names and values -----------------------------------------------------------------------------------------------


def check_name(value: object, name: str) -> str:
    """A name that a file gives, as a part of a path may hold it: ValueError for anything that is no plain name."""
    if not is_name(value):
        raise ValueError(f"{name} is {brief(value)}, expected a name of letters, digits, dots, dashes, at most 100")
    return str(value)


def is_name(value: object) -> bool:
    """Whether a value is such a name."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_key(value: object, name: str, parts: int | None = None) -> str:
    """Plain names joined by "/", such as a camera sequence's key; ValueError for anything else.

    `parts`: how many names it must have (None: one to eight).
    """
    names = value.split("/") if isinstance(value, str) and len(value) <= 800 else []
    fits = 0 < len(names) <= 8 if parts is None else len(names) == parts
    if not fits or not all(_NAME.fullmatch(each) for each in names):
        wanted = "names" if parts is None else f"{parts} name{'s' if parts > 1 else ''}"
        raise ValueError(f"{name} is {brief(value)}, expected {wanted} of letters, digits, dots, dashes, joined by /")
    return str(value)


def check_relative(value: object, name: str) -> str:
    """A path of a file that stays below the folder it is relative to; ValueError for any other."""
    text = value if isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable() else "/"
    if text.startswith(("/", "~")) or "\\" in text or ".." in text.split("/"):
        raise ValueError(f"{name} is {brief(value)}, expected a path with forward slashes that stays below its folder")
    return text


def fault(error: Exception) -> str:
    """Why a file could not be read, in one line, for a `Failure`."""
    text = one_line(error) or type(error).__name__
    known = isinstance(error, ValueError | OSError)
    return text if known else one_line(f"{type(error).__name__}: {text}")


# -- JSON -----------------------------------------------------------------------------------------------------------


def read_json(path: Path, largest: int = LARGEST_JSON, *, nan: bool = False) -> Any:
    """The content of a JSON file, checked as `parse_json` does. InputError naming the file; OSError as `open` does."""
    with path.open("rb") as file:
        data = file.read(largest + 1)
    return parse_json(data, str(path), largest, nan=nan)


def parse_json(data: bytes, source: str, largest: int = LARGEST_JSON, *, nan: bool = False) -> Any:
    """The content of JSON bytes from `source` (a path or URL), checked before and while it is parsed.

    UTF-8, a byte order mark is skipped. InputError for more than `largest` bytes, deep nesting, numbers of hundreds of
    digits, a name that an object has twice, half characters, and NaN or infinity unless `nan`.
    """
    if len(data) > largest:
        raise InputError(f"{source}: has more than {largest} bytes, expected a smaller JSON file; is it the right one?")
    try:
        text = data.decode("utf-8-sig")
        content = json.loads(
            text,
            object_pairs_hook=_object_once,
            parse_int=_short_int,
            parse_float=float if nan else _finite,
            parse_constant=None if nan else _refuse_constant,
        )
        if isinstance(content, dict | list):
            _check_nesting(content)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair is no character
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: not UTF-8 text (byte {error.start}); save the JSON as UTF-8") from None
    except UnicodeEncodeError:
        raise InputError(f"{source}: holds half a character (a lone surrogate); write the JSON again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not the JSON that was expected ({one_line(error, 160)}); write it again") from None
    return content


def _check_nesting(value: Any, left: int = DEEPEST_JSON - 1) -> None:
    """ValueError where a list or object holds more than `left` in each other; the parser stops near a thousand."""
    if left < 0:
        raise ValueError(f"nested more than {DEEPEST_JSON} deep")
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            _check_nesting(each, left - 1)


def _object_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the name {brief(twice)} comes twice in one object")
    return content


def _short_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {brief(digits)} is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
