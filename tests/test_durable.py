"""Writing whole or not at all: files and folders, full disks, attempts that were swept or came second."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from h2onet import durable
from h2onet.durable import DiskFull, writing_file
from h2onet.errors import InputError


def write(target: Path, text: str, **options) -> None:
    """Replace a folder by one with a single file."""
    with durable.building(target) as temporary:
        (temporary / "f.txt").write_text(text)
        durable.replace(temporary, target, **options)


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "deep" / "f.json"
    with writing_file(target) as file:
        file.write(b"one")
    with pytest.raises(RuntimeError), writing_file(target) as file:
        file.write(b"two")
        raise RuntimeError
    assert target.read_bytes() == b"one" and [p.name for p in target.parent.iterdir()] == ["f.json"]


def test_json_is_strict_and_ends_its_line(tmp_path):
    durable.write_json(tmp_path / "f.json", {"a": [1.5, "\u00e4"]})
    assert json.loads((tmp_path / "f.json").read_text()) == {"a": [1.5, "\u00e4"]}
    assert (tmp_path / "f.json").read_text().endswith("}\n")
    with pytest.raises(ValueError, match="JSON compliant"):
        durable.write_json(tmp_path / "f.json", {"a": float("nan")})
    assert json.loads((tmp_path / "f.json").read_text())["a"][0] == 1.5


@pytest.fixture
def steps(monkeypatch) -> list[tuple[str, Path]]:
    """What is forced to disk and what gets another name, in order: ("force" or "name", the path or the new name)."""
    found, named = [], {name: getattr(os, name) for name in ("rename", "replace")}
    monkeypatch.setattr(os, "fsync", lambda file: found.append(("force", Path(os.readlink(f"/proc/self/fd/{file}")))))
    for name, call in named.items():
        monkeypatch.setattr(os, name, lambda a, b, call=call: (found.append(("name", Path(b))), call(a, b)))
    return found


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_before_it_is_done(tmp_path, steps):
    with writing_file(tmp_path / "f.txt") as file:
        file.write(b"one")
    [(_, temporary), *rest] = steps
    assert temporary.parent == tmp_path and temporary.name.startswith(durable.TEMPORARY)
    assert rest == [("name", tmp_path / "f.txt"), ("force", tmp_path)]


@pytest.mark.parametrize("way", [durable.publish, durable.replace])
def test_a_folder_is_on_disk_with_all_it_holds_before_it_has_its_name(tmp_path, steps, way):
    names = ("a.txt", "inner/b.txt", "inner/most/c.txt")
    with durable.building(tmp_path / "folder") as temporary:
        for name in names:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(name)
        way(temporary, tmp_path / "folder")
    place = steps.index(("name", tmp_path / "folder"))
    forced = [path for _, path in steps[:place]]
    assert {*forced} == {temporary / name for name in (*names, "inner", "inner/most", ".")}
    assert all(forced.index(path) < forced.index(path.parent) for path in forced if path != temporary)
    assert steps[place + 1 :] == [("force", tmp_path)]


def test_of_two_attempts_the_first_counts(tmp_path):
    target = tmp_path / "folder"
    with durable.building(target) as first, durable.building(target) as second:
        (first / "f.txt").write_text("first")
        (second / "f.txt").write_text("second")
        assert durable.publish(first, target) and not durable.publish(second, target)
    assert (target / "f.txt").read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("sync", [True, False])
def test_a_folder_is_replaced_and_nothing_stays_beside_it(tmp_path, sync):
    target = tmp_path / "folder"
    for text in ("one", "two"):
        write(target, text, sync=sync)
        assert [p.name for p in tmp_path.iterdir()] == ["folder"]
        assert [(p.name, p.read_text()) for p in target.iterdir()] == [("f.txt", text)]


def test_a_swept_attempt_is_not_published(tmp_path):
    target = tmp_path / "folder"
    with pytest.raises(InputError, match="another run removed"), durable.building(target) as temporary:
        assert durable.sweep(tmp_path) == 1
        temporary.mkdir()  # the attempt goes on writing
        durable.publish(temporary, target)
    assert list(tmp_path.iterdir()) == []


def test_what_lies_there_is_replaced_unless_it_is_whole(tmp_path):
    for name, make in (("folder", lambda path: (path / "rows").mkdir(parents=True)), ("file", Path.touch)):
        target = tmp_path / name
        make(target)
        with durable.building(target) as temporary:
            (temporary / "f.txt").write_text("mine")
            assert durable.publish(temporary, target, lambda: False)
        assert [path.name for path in target.iterdir()] == ["f.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


def test_a_sweep_that_spares_the_living_takes_what_the_dead_left(tmp_path):
    make = """
        import os, sys
        from pathlib import Path
        from h2onet import durable
        with durable.building(Path(sys.argv[1]) / "dead") as temporary:
            os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(make), str(tmp_path)], check=True)
    (tmp_path / ".tmp-mine").mkdir()  # of another program
    with durable.building(tmp_path / "alive") as temporary:
        assert durable.sweep(tmp_path, spare_living=True) == 1
        assert {path.name for path in tmp_path.iterdir()} == {temporary.name, ".tmp-mine"}
        assert durable.sweep(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-mine"]


def link(tmp_path: Path, there: bool) -> tuple[Path, Path]:
    """A link and what it points to, on a path of its own."""
    place, target = tmp_path / "disk" / "target", tmp_path / "link"
    place.parent.mkdir()
    if there:
        write(place, "old")
    target.symlink_to(place)
    return target, place


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path, there, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr(durable, "exchange", lambda first, second: False)
    target, place = link(tmp_path, there)
    write(target, "new")
    assert target.readlink() == place and [(p.name, p.read_text()) for p in place.iterdir()] == [("f.txt", "new")]
    assert [p.name for p in place.parent.iterdir()] == ["target"]
    assert [p.name for p in tmp_path.glob("*ink*")] == ["link"]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "f")
    for text in ("one", "two"):
        durable.write_text(tmp_path / "link", text)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "f").read_text() == "two"
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["f"]


_FULL = """
    import resource, sys
    from pathlib import Path
    from h2onet import durable
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    target = Path(sys.argv[1])
    def folder():
        with durable.building(target / "folder") as temporary:
            (temporary / "large").write_bytes(bytes(30_000))
            durable.publish(temporary, target / "folder")
    for write in (folder, lambda: durable.write_text(target / "file", "x" * 30_000)):
        try:
            write()
        except durable.DiskFull as error:
            print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    run = [sys.executable, "-c", textwrap.dedent(_FULL), str(tmp_path)]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 2 and all("what was finished is kept" in line for line in lines)
    assert str(tmp_path / "folder") in lines[0] and str(tmp_path / "file") in lines[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_really_full_disk(tmp_path):
    place = tmp_path / "tmpfs"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let its root mount a tmpfs")
    try:
        write(place / "small", "small")
        with pytest.raises(DiskFull, match="No space left"):
            write(place / "large", "x" * 300_000)
        assert [p.name for p in place.iterdir()] == ["small"]
    finally:
        subprocess.run(["umount", str(place)], check=True)
