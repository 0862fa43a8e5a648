"""Compiled code finds a folder, or is compiled anew with one warning: read-only containers run every command."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from h2onet import jit
from numba import config
from numba.core.dispatcher import Dispatcher

CODE = (
    "import numpy; from h2onet.hand.rotations import matrix_from_axis_angle as turn; turn(numpy.ones(3));"
    "import numba; print(numba.config.CACHE_DIR)"
)


@pytest.fixture(autouse=True)
def forget():
    jit._cached.cache_clear()
    yield
    jit._cached.cache_clear()


def test_a_folder_that_others_may_write_is_no_cache(tmp_path: Path):
    assert jit._private(tmp_path / "new") and (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)  # what lies in a cache is run: someone else's file would be someone else's code
    assert not jit._private(tmp_path / "open")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert not jit._private(tmp_path / "link")
    (tmp_path / "file").write_text("")
    assert not jit._private(tmp_path / "file")


def test_folders_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert jit._cached() and config.CACHE_DIR == ""  # the package can be written: numba's own choice
    jit._cached.cache_clear()
    monkeypatch.setattr(jit, "_PACKAGE", tmp_path / "not there")
    assert jit._cached() and str(tmp_path / "cache" / "h2onet" / "numba") == config.CACHE_DIR
    jit._cached.cache_clear()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    assert jit._cached() and str(tmp_path / "mine") == config.CACHE_DIR
    jit._cached.cache_clear()
    monkeypatch.setattr(jit, "_private", lambda folder: False)
    assert not jit._cached() and not jit._cached()
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "NUMBA_CACHE_DIR" in caplog.text


def test_package_and_home_read_only(tmp_path: Path):
    """As in `docker run --user --read-only`: the package and the home are mounted read-only, only TMPDIR is not."""
    package = Path(jit.__file__).parent
    if not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("mounting needs unshare(1) and the rights to use it")
    (tmp_path / "home").mkdir()
    script = (
        f"mount --bind {package} {package} && mount -o remount,ro,bind {package} && "
        f"mount --bind {tmp_path}/home {tmp_path}/home && mount -o remount,ro,bind {tmp_path}/home && "
        f'exec "{sys.executable}" -c "$CODE"'
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    }
    environment |= {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path),
        "CODE": CODE,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / f"h2onet-numba-{os.getuid()}") and "numba" not in done.stderr


@pytest.mark.parametrize("module", ["pipeline.prepare_labels", "pipeline.build_clips", "data.datasets", "doctor"])
def test_numba_is_not_loaded_before_something_compiled_is_called(module: str):
    code = f"import sys, h2onet.{module}; assert not {{'numba', 'scipy', 'trimesh'}} & {{*sys.modules}}, sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@jit.njit(inline="always")
def _twice(x):
    return 2 * x


@jit.njit()
def _four_times(x):
    return _twice(_twice(x))


@jit.njit(f"float64({jit.readonly('float64', 1)})")
def eight_times_the_first(values):
    """Its docstring."""
    return 2 * _four_times(values[0])


def test_a_function_is_made_with_what_it_calls_at_its_first_call():
    imported = eight_times_the_first  # as another module may have it
    assert isinstance(imported, jit.Compiled) and imported.__doc__ == "Its docstring."
    values = np.array([1.5, 2.0])
    values.flags.writeable = False
    assert imported(values) == 12.0
    assert all(isinstance(globals()[name], Dispatcher) for name in ("_twice", "_four_times", "eight_times_the_first"))
    assert imported(values=values) == 12.0
    assert imported(values) == eight_times_the_first(values) == 12.0


def test_other_types_than_those_of_the_signature_are_refused():
    for wrong in (np.ones(2, np.float32), np.ones((2, 2)), np.ones(4)[::2], [1.0]):
        with pytest.raises(TypeError):
            eight_times_the_first(wrong)


def test_threads_make_a_function_once(monkeypatch: pytest.MonkeyPatch):
    import numba

    decorated, found, begin = [], [], threading.Barrier(4)
    plain = numba.njit

    def counted(*arguments, **options):
        decorated.append(arguments)
        return plain(*arguments, **options)

    monkeypatch.setattr(numba, "njit", counted)
    function = jit.Compiled(lambda x: x + 1, "int64(int64)", {})

    def call() -> None:
        begin.wait(timeout=60)
        found.append(function(1))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decorated) == 1 and found == [2] * 4


def test_a_process_forked_while_a_thread_compiles_does_not_wait_for_ever():
    code = """
import os, sys, threading, numpy
from h2onet.hand.rotations import matrix_from_axis_angle
thread = threading.Thread(target=matrix_from_axis_angle, args=(numpy.ones(3),))
thread.start()
while "numba" not in sys.modules:
    pass
if os.fork() == 0:
    matrix_from_axis_angle(numpy.ones(3))
    os._exit(0)
assert os.wait()[1] == 0
thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
