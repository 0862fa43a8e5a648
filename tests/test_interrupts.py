"""Ctrl-C beside other processes: put off in the main thread, kept from workers, and quiet where it ends them."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from h2onet import interrupts

WORKER = """
import os, signal, subprocess, sys
from h2onet import interrupts
with interrupts.held():
    worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(worker.pid, worker.stdout.readline().strip(), flush=True)
sys.stdin.readline()
print(worker.stdout.read().strip(), worker.wait())
"""
WAITS = "import sys, time; print('loading', flush=True); time.sleep(1); print('loaded', flush=True)"
GOES = WAITS + "; from h2onet import interrupts; interrupts.exit_on_interrupt(); print('not reached', flush=True)"


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_put_off_interrupts_at_the_end_of_the_block(interruptible) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.put_off(), interrupts.put_off():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append("whole")
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupts.put_off():
        pass


def test_put_off_keeps_who_ignores_it_and_the_error_of_the_block(interruptible) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.put_off():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with pytest.raises(ValueError, match="own"), interrupts.put_off():
        raise ValueError("own")


def test_put_off_in_another_thread_changes_nothing(interruptible) -> None:
    seen = []

    def block() -> None:
        with interrupts.put_off():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize(("script", "end"), [(WAITS, "loaded 0"), (GOES, "loaded 130")])
def test_what_is_started_in_held_hears_of_an_interrupt_only_when_it_wants_to(script, end) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    worker, word = process.stdout.readline().split()
    assert word == "loading"
    os.kill(int(worker), signal.SIGINT)
    out, err = process.communicate("go\n", timeout=60)
    assert (out.strip().replace("\n", " "), err) == (end, "")
