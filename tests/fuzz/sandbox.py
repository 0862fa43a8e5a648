"""A process in which a reader meets a mutated file: bounded, watched, and replaced when it dies.

What counts as a fault: an exception that is not the product's own refusal, a refusal of more than one short line, more
than 10 s of CPU, more than 500 MB above the process before, a death of the process, and a write outside the case's
folder or a program or connection that was started.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

CPU_SECONDS = 10
BYTES = 500 * 2**20
WARM_SECONDS = 120  # of CPU, for the first reading of a target: where nothing is compiled yet that takes a while
WAIT_SECONDS = 150
LONGEST_LINE = 1000
STARTING = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
)
WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
Reader = Callable[[Path], str | None]


@dataclass(frozen=True)
class Outcome:
    """What came of a case: kind "accepted", "refused", "row" (of failures) or "fault"; text is the line, or the fault.

    Also its CPU seconds and the bytes that it took above the process before.
    """

    kind: str
    text: str = ""
    seconds: float = 0.0
    bytes: int = 0


class Sandbox:
    """The process and its folder; started on first use, and again after a death."""

    def __init__(
        self,
        folder: Path,
        targets: str = "fuzz.targets",
        cpu_seconds: int = CPU_SECONDS,
        warm_seconds: int = WARM_SECONDS,
    ) -> None:
        """`targets` is the module whose TARGETS are read, by name: the process imports it itself."""
        self.folder, self.targets = folder, targets
        self.cpu_seconds, self.warm_seconds = cpu_seconds, warm_seconds
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._warm: set[str] = set()

    def run(self, target: str, name: str, data: bytes) -> Outcome:
        """Read the target's file `name` with other content, in its folder; everything is put back afterwards."""
        if self._process is None or not self._process.is_alive():
            self._start()
        path = self.folder / target / name
        good = path.read_bytes()
        try:
            if target not in self._warm:  # imports and compilation are no case's cost
                self._ask(target, self.warm_seconds)
                self._warm.add(target)
            path.write_bytes(data)
            return self._ask(target, self.cpu_seconds)
        finally:
            path.write_bytes(good)

    def _ask(self, target: str, cpu_seconds: int) -> Outcome:
        assert self._pipe is not None and self._process is not None
        try:
            self._pipe.send((target, cpu_seconds))
            if self._pipe.poll(WAIT_SECONDS):
                return self._pipe.recv()
            self.close()
            return Outcome("fault", f"no answer in {WAIT_SECONDS} s")
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self._process.join()
            code = self._process.exitcode
            late = code == -signal.SIGXCPU
            return Outcome("fault", f"more than {cpu_seconds} s of CPU" if late else f"the process ended with {code}")

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.folder, self.targets), daemon=True)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None


def _serve(pipe: Connection, folder: Path, targets: str) -> None:
    """The process: answers (name of a target, seconds of CPU it may take) with an Outcome until the pipe closes."""
    readers = importlib.import_module(targets).TARGETS
    tempfile.tempdir = str(folder / "temporary")
    os.environ["XDG_CACHE_HOME"] = str(folder / "temporary" / "cache")
    os.makedirs(tempfile.tempdir, exist_ok=True)
    quiet = open(os.devnull, "w")  # noqa: SIM115
    os.dup2(quiet.fileno(), 1)
    os.dup2(quiet.fileno(), 2)
    watch = _Watch()
    sys.addaudithook(watch)
    with contextlib.suppress(EOFError):
        while True:
            target, cpu_seconds = pipe.recv()
            pipe.send(_run(readers[target].read, folder / target, watch, cpu_seconds))


def _run(read: Reader, folder: Path, watch: _Watch, cpu_seconds: int) -> Outcome:
    before, used, seconds = _bytes("VmRSS"), _bytes("VmData"), time.process_time()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM starts again from here
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + cpu_seconds + 2, hard))
    resource.setrlimit(resource.RLIMIT_DATA, (used + 4 * BYTES, resource.RLIM_INFINITY))
    with watch.guard(folder) as outside:
        kind, text = _outcome(read, folder)
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    seconds, most = time.process_time() - seconds, max(0, _bytes("VmHWM") - before)
    if outside:
        kind, text = "fault", f"outside its folder: {outside[0]}"
    elif seconds > cpu_seconds:
        kind, text = "fault", f"{seconds:.1f} s of CPU"
    elif most > BYTES:
        kind, text = "fault", f"{most / 2**20:.0f} MB"
    return Outcome(kind, text, seconds, most)


def _outcome(read: Reader, folder: Path) -> tuple[str, str]:
    from h2onet.errors import InputError

    try:
        return read(folder) or "accepted", ""
    except InputError as error:
        return check_line(str(error))
    except BaseException:  # noqa: BLE001 whatever a reader may raise is what is looked for
        return "fault", traceback.format_exc()[-3000:]


def check_line(text: str) -> tuple[str, str]:
    """A refusal is one short printable line; anything else is a fault."""
    if len(text) > LONGEST_LINE or not text.isprintable() or len(text) < 10:
        return "fault", f"not one short line: {text[:LONGEST_LINE]!r}"
    return "refused", text


def _bytes(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


class _Watch:
    """An audit hook that notes what a case writes outside its folder, starts or connects to."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.found: list[str] = []

    @contextlib.contextmanager
    def guard(self, folder: Path) -> Iterator[list[str]]:
        """The list that fills while the guard is on."""
        self.found = []
        self.folder = os.path.realpath(folder)
        try:
            yield self.found
        finally:
            self.folder = None

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.folder is None:
            return
        if event.startswith(STARTING):
            self.found.append(f"{event} {arguments!r:.200}")
        elif event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not isinstance(path, int):
                self._note(event, path, mode)
        elif event.startswith(WRITING):
            if event != "os.truncate" and arguments[-1] >= 0:
                return  # relative to a folder that is open already
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike):
                    self._note(event, path, None)

    def _note(self, event: str, path: str | bytes | os.PathLike, mode: str | None) -> None:
        folder, self.folder = self.folder, None  # realpath opens nothing, but hooks must not call themselves
        assert folder is not None
        try:
            place = os.path.realpath(os.fsdecode(path))
            own = (folder, tempfile.gettempdir(), "/dev/", "/proc/")
            if not place.startswith(own) and "__pycache__" not in place and "/numba" not in place:
                self.found.append(f"{event} {place:.200} {mode}")
        finally:
            self.folder = folder
