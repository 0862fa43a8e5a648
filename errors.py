"""The one error that every room raises for bad input; the command line prints it as one line and exits with 2."""


class InputError(ValueError):
    """Bad input: one line that names the file, the field, what was expected and found, and the next step."""


def brief(value: object, length: int = 60) -> str:
    """A value of a file for an error line: one short line without control characters."""
    text = repr(value[:length] if isinstance(value, str | bytes | list | tuple) else value)
    return text if len(text) <= length else text[: length - 3] + "..."
