"""The one error that every room raises for bad input, and how values and texts out of a file get into its line.

The command line prints it as one line and exits with 2.
"""

import reprlib


class InputError(ValueError):
    """Bad input: one line that names the file, the field, what was expected and found, and the next step."""


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 60, 60, 60


def brief(value: object, length: int = 60) -> str:
    """A value of a file for an error line: one short line without control characters."""
    try:
        text = _SHORT.repr(value[:length] if isinstance(value, bytes) else value)
    except (ValueError, RecursionError):  # a number with more digits than Python prints
        text = f"a large {type(value).__name__}"
    return one_line(text, length)


def one_line(text: object, length: int = 300) -> str:
    """Text that quotes a file, such as the message of a parser: one line without control characters, cut."""
    line = " ".join(str(text)[: 4 * length].split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return line if len(line) <= length else line[: length - 3] + "..."
