"""Names, JSON and values out of files that other people made: what passes, and one short line for the rest."""

from pathlib import Path

import numpy as np
import pytest
from h2onet import untrusted
from h2onet.errors import InputError, brief, one_line
from h2onet.untrusted import check_key, check_name, fault, parse_json, read_json


@pytest.mark.parametrize("name", ["ABF10", "003_cracker_box", "20200709-subject-01", "a.b+c", "x" * 100])
def test_plain_names(name):
    assert check_name(name, "objName") == name and check_key(name, "key", 1) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\n", "a\0", "a b", "-x", "é", "x" * 101, 5, None, b"a", ["a"]],
)
def test_what_is_no_plain_name(name):
    with pytest.raises(ValueError, match=r"objName is .* expected a name") as caught:
        check_name(name, "objName")
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


def test_keys_are_names_joined_by_slashes():
    assert check_key("S1/R1/cam0", "key", 3) == "S1/R1/cam0" == check_key("S1/R1/cam0", "key")
    for key in ("a/../b", "/a/b", "a//b", "a/b", "a/b/", "a/b/c/d", "a" * 900, 3, None):
        with pytest.raises(ValueError, match="key is"):
            check_key(key, "key", 3)


VALUES = ("a\nb\x1b[31m" * 900, "x" * 5000, b"\0" * 5000, [1] * 999, {"a": "b" * 999}, 10**5000, np.zeros((9, 9)), None)


@pytest.mark.parametrize("place", range(len(VALUES)))
def test_values_in_messages_are_one_short_line(place):
    value = VALUES[place]
    assert len(brief(value)) <= 60 and brief(value).isprintable()
    text = fault(ValueError(value if isinstance(value, str) else brief(value)))
    assert len(text) <= 300 and text.isprintable()


def test_texts_in_messages_are_one_line():
    assert one_line("a\r\n b\x07\u2028c") == "a b? c" and one_line("x" * 400) == "x" * 297 + "..."
    assert fault(KeyError("x")) == "KeyError: 'x'" and fault(OSError(2, "gone")) == "[Errno 2] gone"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1, "a": 2}', "'a' comes twice"),
        (b"[" * (untrusted.DEEPEST_JSON + 1) + b"]" * (untrusted.DEEPEST_JSON + 1), "nested more than"),
        (b"1" * (untrusted._MOST_DIGITS + 1), "digits"),
        (b"1e999", "too large"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'"\\ud800"', "half a character"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"\xff", "not UTF-8"),
        (b'"a\0"', "control character"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b'"' + b'\\"' * 50_000, "Unterminated"),
        (b" " * 101, "smaller JSON file"),
    ],
)
def test_json_that_is_refused(data, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_json(data, "boxes.json", 100 if data.isspace() else untrusted.LARGEST_JSON)
    assert str(caught.value).startswith("boxes.json: ") and len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_json_that_is_read(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, -2.5e3, "[[[[\\"", "\\u00e9", true, null]}')
    assert read_json(path) == {"a": [1, -2500.0, '[[[["', "é", True, None]}
    assert np.isnan(parse_json(b"NaN", "x", nan=True))
    deep = b"[" * untrusted.DEEPEST_JSON + b"]" * untrusted.DEEPEST_JSON
    assert parse_json(deep, "x")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
