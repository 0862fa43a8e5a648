"""Dask's side of `cluster`: local worker processes that nobody else can reach, or the workers of a running scheduler.

Imported only where tasks leave this process: loading Dask takes longer than labelling a short sequence.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dask import config as dask_config
from distributed import (
    Client,
    Nanny,
    Scheduler,
    SpecCluster,
    Worker,
    WorkerPlugin,
)
from distributed.core import rpc
from distributed.security import Security

from .. import interrupts
from ..cores import THREAD_VARIABLES, environment_kept
from ..errors import InputError, one_line

log = logging.getLogger(__name__)

RETRIES = 3
_ANSWER_S = 20.0
_DASHBOARD = "127.0.0.1:8787"  # Dask takes another port where this one is in use


class PrivateScheduler(Scheduler):
    """A scheduler without HTTP server: Dask's has one even without dashboard, and it asks nobody for credentials."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Open no port."""


class PrivateWorker(Worker):
    """A worker without HTTP server, as `PrivateScheduler`."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Open no port."""


class OneThread(WorkerPlugin):
    """Keeps OpenCV of a worker to one thread; Dask runs it again on workers that restart.

    Torch and BLAS follow the variables that Dask's nanny (and `local`) set before a worker starts.
    """

    name = "h2onet-one-thread"

    def setup(self, worker: Any) -> None:
        """Called by Dask once in every worker process."""
        import cv2

        cv2.setNumThreads(1)


@contextmanager
def silenced() -> Iterator[None]:
    """Dask's loggers say nothing in this process: what its users should know, this module says.

    `LocalCluster(silence_logs=...)` does not reach them: `distributed` sets levels, of some of its modules too, when
    it is imported. After an error they stay silent.
    """
    loggers = [logging.getLogger(name) for name in ("distributed", *logging.root.manager.loggerDict)]
    before = [(logger, logger.level) for logger in loggers if logger.name.split(".")[0] == "distributed"]
    for logger, _ in before:
        logger.setLevel(logging.CRITICAL)
    yield
    # Not after an error: the client of a lost scheduler goes on trying, and complaining, in a thread of its own.
    for logger, level in before:
        logger.setLevel(level)


@contextmanager
def remote(address: str) -> Iterator[Client]:
    """The workers of a scheduler that runs already; TLS as Dask's own configuration (distributed.comm.tls) says."""
    _check_answers(address)
    client = Client(address, timeout=f"{_ANSWER_S:g}s", set_as_default=False)
    if address.startswith("tcp://"):
        log.warning(
            "--scheduler %s: not encrypted, and whoever reaches it can run code as its user; in a network that you"
            " share use tls:// (docs/pipeline.md)",
            address,
        )
    try:
        _await_workers(client, address)
        client.register_plugin(OneThread())
        yield client
    finally:
        client.close(timeout=5)


def _check_answers(address: str) -> None:
    """InputError where no scheduler answers at `address` within 20 s.

    Asked before a client is made, which would wait for ever for a scheduler that accepts it and says nothing.
    """

    async def ask() -> None:
        async with asyncio.timeout(_ANSWER_S):
            connection = Security().get_connection_args("client")
            async with rpc(address, connection_args=connection, timeout=_ANSWER_S) as scheduler:
                await scheduler.identity()

    try:
        asyncio.run(ask())
    except (OSError, ValueError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split()) or f"nothing is said for {_ANSWER_S:g} s"
        advice = "start one with `dask scheduler` and workers with `dask worker ADDRESS --nthreads 1`, or use --workers"
        if address.startswith("tls://"):
            advice = "is Dask configured for its certificates (distributed.comm.tls; docs/pipeline.md)?"
        raise InputError(f"--scheduler {address}: no Dask scheduler answers ({reason}); {advice}") from None


def _await_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=20)
    except TimeoutError:
        raise InputError(
            f"--scheduler {address}: answers, but has no workers; start some with `dask worker {address} --nthreads 1`"
        ) from None


@contextmanager
def local(count: int, dashboard: bool = False) -> Iterator[Client]:
    """A scheduler and workers that only this process can talk to: TLS credentials are made for them and never written.

    Without them every user of this machine could run functions in the workers and here. The dashboard is a page to look
    at, for everybody on this machine; it runs nothing.
    """
    # Spawned: OpenGL and thread pools do not survive a fork. Python's fork server would start two in two thirds of the
    # time, but loads what lies in the current folder instead of what the caller loaded, and is then the caller's too.
    # These variables must be set before NumPy loads there.
    variables = {
        **dict.fromkeys((*THREAD_VARIABLES, "MALLOC_ARENA_MAX"), "1"),
        "DASK_LOGGING__DISTRIBUTED": "critical",  # the level that `distributed` takes when a worker imports it
    }
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.pre-spawn-environ": variables,
        # Dask's own watching takes its share of two busy cores (benchmarks/labels.py: x1.65 with it, x1.76 without).
        "distributed.worker.profile.enabled": False,
        "distributed.scheduler.work-stealing": False,
        "distributed.admin.system-monitor.interval": "5s",
        "distributed.admin.low-level-log-length": 0,
        "distributed.scheduler.allowed-failures": RETRIES,
        # Dask drops workers that take longer than this to restart (15 s by default); under load ours do.
        "distributed.deploy.lost-worker-timeout": "1 day",
    }
    # Dask's nannies, which live here, set what their workers are to inherit in this process's environment and leave it
    # so: whatever it did next, training say, would find its threads pinned to one.
    with dask_config.set(settings), environment_kept(), ExitStack() as stack:
        os.environ.update(variables)  # to the nannies what the shell says counts more than a setting
        with interrupts.held():
            security = Security.temporary()
            here = {"protocol": "tls://", "host": "127.0.0.1", "security": security}
            kind = Scheduler if dashboard else PrivateScheduler
            shown = {"dashboard": dashboard, **({"dashboard_address": _DASHBOARD} if dashboard else {})}
            worker = {**here, "nthreads": 1, "memory_limit": 0, "worker_class": PrivateWorker}
            try:
                cluster = SpecCluster(
                    workers={number: {"cls": Nanny, "options": worker} for number in range(count)},
                    scheduler={"cls": kind, "options": {**here, "port": 0, **shown}},
                    security=security,
                )
            except RuntimeError as error:
                raise InputError(
                    f"workers: Dask cannot start {count} here ({one_line(error, 160)}), as said above; use"
                    " fewer, or workers=1, which needs no other process"
                ) from None
            stack.callback(cluster.close, timeout=10)
            client = Client(cluster, security=security, set_as_default=False)
            stack.callback(client.close, timeout=5)
            client.register_plugin(OneThread())
        server = getattr(cluster.scheduler, "http_server", None)
        if server is not None:
            log.info("dashboard: http://127.0.0.1:%d/status", server.port)
        try:
            yield client
        finally:
            with interrupts.put_off():  # Dask would wait ten seconds for an end that was begun
                stack.close()
