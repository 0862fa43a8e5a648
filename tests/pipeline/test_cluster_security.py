"""Who may talk to workers: nobody but the run for local ones, holders of a certificate for tls:// schedulers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed.security import Security
from h2onet.errors import InputError
from h2onet.pipeline import cluster, dask_workers
from h2onet.pipeline.cluster import check_cluster, connect
from h2onet.pipeline.tasks import run_tasks

NOBODY = 65534

# Everything is imported before the process becomes another user: that one may not read this installation.
INTRUDER = """
import os, sys
from distributed import Client
from distributed.security import Security
import distributed.comm.tcp, distributed.protocol, ssl
if os.getuid() == 0:
    os.setgid({nobody}); os.setuid({nobody})
for address in sys.argv[1:]:
    for security in (None, Security.temporary()):
        given = address if security else address.replace("tls://", "tcp://")
        try:
            client = Client(given, timeout="4s", set_as_default=False, security=security)
            print("IN", client.submit(os.getuid).result(timeout=10))
        except (OSError, ValueError) as error:
            print("refused", os.getuid(), type(error).__name__)
os._exit(0)
"""


def results_of(client: Any, count: int = 6) -> dict[int, Any]:
    # A function made inside a function travels whole: workers cannot import test modules.
    return dict(run_tasks(client, lambda task: task * task, list(range(count)), label="x", frames_of=lambda _: 1))


@pytest.fixture(scope="module")
def local():
    with connect(workers=2) as client:
        yield client


def listening() -> list[tuple[str, int]]:
    """Address and port of every TCP socket on which this process or a child of it listens."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [each.laddr for process in family for each in process.net_connections("tcp") if each.status == "LISTEN"]
    return [(address.ip, address.port) for address in found]


def test_local_workers_refuse_everybody_else(local):
    info = local.scheduler_info()
    addresses = [info["address"], *info["workers"], *(worker["nanny"] for worker in info["workers"].values())]
    assert len(addresses) == 5 and all(address.startswith("tls://127.0.0.1:") for address in addresses)
    script = INTRUDER.format(nobody=NOBODY)
    done = subprocess.run([sys.executable, "-c", script, *addresses], capture_output=True, text=True, timeout=200)
    said = done.stdout.splitlines()
    uid = NOBODY if os.getuid() == 0 else os.getuid()
    assert len(said) == 10 and all(line.startswith(f"refused {uid} ") for line in said), (said, done.stderr[-2000:])
    assert results_of(local) == {n: n * n for n in range(6)}


def test_no_port_speaks_http_or_listens_beyond_this_machine(local):
    ports = listening()
    assert len(ports) >= 5 and {ip for ip, _ in ports} == {"127.0.0.1"}
    for _, port in ports:
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, str]:
    """Dask's settings for a certificate of our own, and its files."""
    folder, made = tmp_path_factory.mktemp("tls"), Security.temporary()
    settings = {"distributed.comm.tls.ca-file": made.tls_ca_file}
    for role in ("client", "scheduler", "worker"):
        settings |= {
            f"distributed.comm.tls.{role}.{kind}": getattr(made, f"tls_{role}_{kind}") for kind in ("cert", "key")
        }
    for name, text in settings.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in settings}


@contextmanager
def tls_cluster(folder: Path, certificates: dict[str, str], host: str, prefix: tuple[str, ...] = ()) -> Iterator[str]:
    """The address of `dask scheduler --protocol tls` with one worker, started by `prefix` as on another host."""
    variables = {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): path for name, path in certificates.items()
    }
    common: dict[str, Any] = {"env": os.environ | variables, "cwd": folder, "stderr": subprocess.DEVNULL}
    dask_command, file = [sys.executable, "-m", "dask"], folder / "scheduler.json"
    listen = ["--protocol", "tls", "--host", host, "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    processes = [subprocess.Popen([*dask_command, "scheduler", *listen], **common)]
    try:
        deadline = time.monotonic() + 90
        while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:  # made first, filled later
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        worker = [*dask_command, "worker", address, "--nthreads", "1", "--no-dashboard"]
        processes.append(subprocess.Popen([*prefix, *worker], **common))
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait(30)


def test_a_tls_scheduler_works_with_dasks_own_configuration(tmp_path, certificates):
    with tls_cluster(tmp_path, certificates, "127.0.0.1") as address:
        assert address.startswith("tls://")
        with dask.config.set(certificates), connect(scheduler=address) as client:
            assert results_of(client) == {n: n * n for n in range(6)}
        with pytest.raises(InputError, match=r"distributed\.comm\.tls") as caught:
            check_cluster(None, address)
        assert "\n" not in str(caught.value)


def run_ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0


@pytest.fixture
def other_host() -> Iterator[tuple[str, tuple[str, ...]]]:
    """A network namespace as a second host: the address of this one as seen from there, and how to run there."""
    name, here, there = f"h2o{os.getpid() % 10000}", f"h2oa{os.getpid() % 10000}", f"h2ob{os.getpid() % 10000}"
    if not shutil.which("ip") or not run_ip("netns", "add", name):
        pytest.skip("a network namespace needs ip(8) and the rights to use it")
    try:
        made = (
            run_ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            and run_ip("addr", "add", "10.203.77.1/30", "dev", here)
            and run_ip("link", "set", here, "up")
            and run_ip("-n", name, "addr", "add", "10.203.77.2/30", "dev", there)
            and run_ip("-n", name, "link", "set", there, "up")
            and run_ip("-n", name, "link", "set", "lo", "up")
        )
        if not made:
            pytest.skip("a pair of virtual network interfaces cannot be made here")
        yield "10.203.77.1", ("ip", "netns", "exec", name)
    finally:
        run_ip("netns", "del", name)


def test_workers_on_another_host(tmp_path, certificates, other_host):
    address, prefix = other_host
    with (
        tls_cluster(tmp_path, certificates, address, prefix) as scheduler,
        dask.config.set(certificates),
        connect(scheduler=scheduler) as client,
    ):
        workers = client.scheduler_info()["workers"]
        assert [worker["host"] for worker in workers.values()] == ["10.203.77.2"]
        assert results_of(client) == {n: n * n for n in range(6)}


def test_an_open_scheduler_is_warned_about_once(tmp_path, caplog):
    from distributed import LocalCluster

    options: dict[str, Any] = {"threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(n_workers=1, protocol="tcp://", **options) as made, connect(scheduler=made.scheduler_address):
        pass
    warnings = [record.message for record in caplog.records if record.name == dask_workers.__name__]
    assert len(warnings) == 1 and "tls://" in warnings[0] and "not encrypted" in warnings[0]


def test_a_scheduler_that_says_nothing_is_one_line(monkeypatch):
    monkeypatch.setattr(dask_workers, "_ANSWER_S", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        with pytest.raises(InputError, match="nothing is said for 1 s") as caught:
            check_cluster(None, f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "\n" not in str(caught.value)


def test_a_dashboard_is_asked_for_and_stays_on_this_machine(monkeypatch, caplog):
    caplog.set_level("INFO", dask_workers.__name__)
    monkeypatch.setattr(cluster, "find_spec", lambda name: name)  # without bokeh Dask serves a page that says so
    with connect(workers=2, dashboard=True) as client:
        [address] = [record.args[0] for record in caplog.records if record.message.startswith("dashboard: http://127")]
        assert {ip for ip, _ in listening()} == {"127.0.0.1"}
        with urllib.request.urlopen(f"http://127.0.0.1:{address}/status", timeout=20) as page:
            assert page.status == 200
        assert results_of(client) == {n: n * n for n in range(6)}


@pytest.mark.parametrize(
    ("workers", "scheduler", "bokeh", "said"),
    [
        (2, None, False, "h2onet.dashboard"),
        (1, None, True, "--workers 2"),
        (None, "tcp://127.0.0.1:9", True, "its own"),
    ],
)
def test_what_can_have_no_dashboard(workers, scheduler, bokeh, said, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: name if bokeh else None)
    with pytest.raises(InputError, match=said):
        check_cluster(workers, scheduler, dashboard=True)
