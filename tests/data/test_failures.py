"""failures.jsonl: one file for all outputs of a folder, also when several runs write it at once."""

import json
import subprocess
import sys
import textwrap

from h2onet.data.failures import FILE, failures_file, write_failures
from h2onet.data.frame import Failure


def rows(folder):
    path = folder / FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_rewrites_its_own_rows_only(tmp_path):
    write_failures(tmp_path / "a.zarr", [Failure("x/1.jpg", "one"), Failure("x/2.jpg", "two")])
    write_failures(tmp_path / "b.zarr", [Failure("x/1.jpg", "three")])
    write_failures(tmp_path / "a.zarr", [Failure("x/2.jpg", "still")])
    assert rows(tmp_path) == [
        {"store": "b.zarr", "file": "x/1.jpg", "reason": "three"},
        {"store": "a.zarr", "file": "x/2.jpg", "reason": "still"},
    ]
    write_failures(tmp_path / "b.zarr", [])
    assert [row["store"] for row in rows(tmp_path)] == ["a.zarr"]
    write_failures(tmp_path / "a.zarr", [])
    assert list(tmp_path.iterdir()) == []


def test_lines_that_are_not_ours_stay_and_do_not_stop_a_long_run(tmp_path):
    (tmp_path / FILE).write_text('not JSON\n[1, 2]\n\n{"name": "of another command"}\n')
    write_failures(tmp_path / "a.zarr", [Failure("x", "y")])
    write_failures(tmp_path / "a.zarr", [])
    assert (tmp_path / FILE).read_text() == 'not JSON\n[1, 2]\n{"name": "of another command"}\n'


def test_it_lies_beside_a_store_and_inside_a_remote_one(tmp_path):
    assert failures_file(tmp_path / "a.zarr") == str(tmp_path / FILE)
    assert failures_file("s3://bucket/a.zarr/") == f"s3://bucket/a.zarr/{FILE}"


_WRITER = """
    import sys
    from pathlib import Path
    from h2onet.data.failures import write_failures
    from h2onet.data.frame import Failure
    for i in range(60):
        out = Path(sys.argv[1]) / f"{sys.argv[2]}-{i}.zarr"
        write_failures(out, [Failure("1.jpg", "bad"), Failure("2.jpg", "bad")])
"""


def test_runs_at_the_same_time_keep_each_others_rows(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(_WRITER), str(tmp_path)]
    runs = [subprocess.Popen([*command, name]) for name in ("train", "test", "val")]
    assert [run.wait(120) for run in runs] == [0, 0, 0]
    assert len({(row["store"], row["file"]) for row in rows(tmp_path)}) == len(rows(tmp_path)) == 3 * 60 * 2
