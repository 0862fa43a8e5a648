"""The allocator setting: accepted here, and it keeps pages (in a process of its own: it cannot be taken back)."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
from h2onet.network.allocator import keep_freed_memory
kept = {keep} and keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(b'x') * 64_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_kept():
    outcomes = [
        subprocess.run([sys.executable, "-c", SCRIPT.format(keep=keep)], capture_output=True, text=True, check=True)
        for keep in (True, False)
    ]
    (kept, few), (_, many) = (map(int, outcome.stdout.split()) for outcome in outcomes)
    assert kept == 1
    assert few < many / 10  # 64 MB is over the size up to which glibc learns to keep blocks by itself
