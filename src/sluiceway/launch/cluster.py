"""The connection to a Ray cluster: a private one on this machine, or the one that ``RAY_ADDRESS`` names."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sluiceway.errors import Preempted

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else a thread that outlives a cluster starts one of its own, and Ray ends the program when that one is gone.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Some seconds and a process less at start-up, measured with the pinned versions.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    # A head that dies with its driver has nobody to hand over to.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # How soon a loss is noticed, in seconds and milliseconds; docs/training.md says what each is worth. Those of Train
    # go to its controller wherever it runs, those of health checks are read by the head node when it starts.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "3",
}
_ADDRESS = "RAY_ADDRESS"
_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""Asks Ray whether a node of ours is about to be taken away. On this machine alone nobody would say so."""
_OURS = "SLUICEWAY_PREEMPTION_WATCHER"
"""What we set it to: a process without a cluster hands its environment on to one that has a cluster."""


def settle() -> None:
    """Set what Ray reads from the environment, where the user has not; call it before Ray is imported."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
    if os.environ.get(_WATCHER) == os.environ.get(_OURS):  # neither is set, or both by us or by the process above
        os.environ[_WATCHER] = os.environ[_OURS] = "1" if _ADDRESS in os.environ else "0"


@contextmanager
def connected(**options: Any) -> Iterator[bool]:
    """Connect to the cluster, quietly, and let go of it at the end, unless it was connected before.

    Ray takes SIGTERM for itself, and would keep it after it is shut down; here it stays with whoever had it.

    Args:
        **options: More of ``ray.init``.

    Yields:
        Whether the cluster is this machine alone, started for the occasion.

    Raises:
        Preempted: SIGTERM came while Ray was starting.
    """
    settle()
    import ray

    if ray.is_initialized():
        yield False
        return
    # Without an explicit address Ray would join whatever cluster it finds on this machine.
    address = os.environ.get(_ADDRESS, "local")
    with _sigterm_kept(), _children_deaf():
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    try:
        yield address == "local"
    finally:
        ray.shutdown()


@contextmanager
def _children_deaf() -> Iterator[None]:
    """Let processes that are started meanwhile, and theirs, hear neither SIGTERM nor SIGHUP.

    Slurm, systemd, a terminal that closes and ``kill -- -GROUP`` tell every process. Whoever has begun this one decides
    what is to be done: a cluster that left at once could save nothing any more. It ends with its driver, by SIGKILL.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # Ray's answer to SIGTERM, with exit codes of its own
        raise Preempted("told to leave while Ray was starting", hint="run the same command again") from None
    finally:
        signal.signal(signal.SIGTERM, handler)
