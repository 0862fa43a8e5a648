"""The one error that every room raises for bad input; the command line prints it as one line and exits with 2."""


class InputError(ValueError):
    """Bad input: one line that names the file, the field, what was expected and found, and the next step."""
