"""DexYCB's YAML: plain data as PyYAML reads it; references, depth, sizes and tags beyond it are refused."""

import datetime

import pytest
import yaml
from h2onet.data.readers import yaml_files
from h2onet.data.readers.yaml_files import read_yaml
from h2onet.errors import InputError

PLAIN = """\
serials: ['836212060125', "839512060362"]
num_frames: 72
ycb_ids:
- 2
- 5
color: {fx: 613.1, fy: 1.5e+3, ppx: -4, ppy: .5}
octal: 017
nothing: ~
day: 2020-07-09
yes_: yes
text: !!str 7
number: !!float 3
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "meta.yml"


def test_plain_data_is_what_pyyaml_makes_of_it(path):
    path.write_text(PLAIN + "t: !!python/tuple [1, 2]\n")
    found = read_yaml(path)
    assert found.pop("t") == (1, 2) and found == yaml.safe_load(PLAIN)
    assert found["day"] == datetime.date(2020, 7, 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: 1", "reference 'x'"),
        ("a: *x", "reference 'x'"),
        ("<<: {a: 1}", "merge"),
        ("a: !!python/object:os.system {}", "python/object"),
        ("a: !!set {b}", "set"),
        ("a: !!binary aaaa", "binary"),
        ('a: !!int ""', "not the plain YAML"),
        ("a: !!timestamp x", "not the plain YAML"),
        ("a: !!bool x", "not the plain YAML"),
        ("a: 2020-99-99", "month"),
        ("a: " + "[" * yaml_files._DEEPEST + "]" * yaml_files._DEEPEST, "nested more than"),
        ("- " * (yaml_files._DEEPEST + 1) + "x", "nested more than"),
        ("a: " + "x" * (yaml_files._LONGEST + 1), "letters"),
        ("a:\n" + "- 1\n" * yaml_files._MOST_EVENTS, "kB|entries"),
        ("[" + "1," * yaml_files._MOST_EVENTS + "]", "entries"),
        ("a: 1\na: 2", "twice"),
        ("? [1]\n: 2", "not the plain YAML"),
        ("a: 1\n---\nb: 2", "one document"),
        ("a: [", "not the plain YAML"),
        ("x" * (yaml_files.LARGEST + 1), "kB"),
        ("- 1", "expected a mapping"),
        ("", "expected a mapping"),
    ],
)
def test_what_is_refused(path, text, said):
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 400 + len(str(path))
    assert str(caught.value).isprintable()
