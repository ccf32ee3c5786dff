"""Where work is done: in this process, or on all cores of this machine. ``launch/mapping.py`` has the cluster.

An engine is a function ``(work, chunks) -> results``: results come in the order of the chunks, and only so many chunks
are drawn ahead as keep the engine busy, so that any number of chunks fits into memory.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

from sluiceway.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task], Result]
Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]

PATIENCE = 1.0
"""Seconds of work that are done here before other processes are thought of."""
_WORTH = 5.0
"""Seconds of work for which processes are worth their start: they import what the work needs, for about two seconds."""
_PEEK = 64
"""Chunks that are drawn to see how much work is left."""
_AHEAD = 3
"""Chunks per process that are drawn ahead."""
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def inline(work: Work[Task, Result], chunks: Iterable[Task]) -> Iterator[Result]:
    """Work in this process."""
    for chunk in chunks:
        yield work(chunk)


def all_cores(work: Work[Task, Result], chunks: Iterable[Task]) -> Iterator[Result]:
    """Work in this process, and go over to one process per core when there is enough to do."""
    source = iter(chunks)
    spent = last = 0.0
    for chunk in source:
        began = time.perf_counter()
        yield work(chunk)
        last = time.perf_counter() - began
        spent += last
        if spent > PATIENCE:
            break
    peeked = list(islice(source, _PEEK))
    if len(peeked) < _PEEK and len(peeked) * last < _WORTH:
        yield from inline(work, peeked)
    else:
        yield from processes(cores())(work, chain(peeked, source))


def processes(number: int) -> Mapper:
    """Make an engine of some processes; it works in this one when there is but one, or when the work cannot travel."""

    def run(work: Work[Task, Result], chunks: Iterable[Task]) -> Iterator[Result]:
        packed = _packed(work)
        if packed is None or number < 2:
            yield from inline(work, chunks)
            return
        with _pool(number, packed) as pool:
            waiting: deque[Future[Result]] = deque()
            for chunk in chunks:
                with _death_told():
                    waiting.append(pool.submit(_work_on, chunk))
                if len(waiting) > number * _AHEAD:
                    with _death_told():
                        result = waiting.popleft().result()
                    yield result
            while waiting:
                with _death_told():
                    result = waiting.popleft().result()
                yield result

    return run


def cores() -> int:
    """Return the number of cores that this process may use: a container may have fewer than its machine."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, _CPU_QUOTA.read_text(encoding="ascii").split())  # "max 100000" where there is none
    except (OSError, ValueError):
        return number
    return max(1, min(number, round(quota / period)))


def _packed(work: Work[Task, Result]) -> bytes | None:
    try:
        packed = pickle.dumps(work)
        pickle.loads(packed)  # noqa: S301  what was packed the line before
    except (pickle.PicklingError, AttributeError, TypeError, ImportError):
        return None  # a lambda, or a function within a function: a use case of the user's own
    return packed


@contextmanager
def _pool(number: int, packed: bytes) -> Iterator[ProcessPoolExecutor]:
    """Start processes that do one kind of work, and end them whatever happens.

    They are spawned, not forked: threads of Arrow's and Polars' do not survive a fork.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(number, context, initializer=_begin, initargs=(packed,))
    try:
        with _one_thread_each():
            yield pool
    except BaseException:
        # Shutting down alone would wait for the chunks at hand.
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Have processes that start now use one thread each for their arithmetic: there is one of them per core already."""
    kept = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update({name: value or "1" for name, value in kept.items()})
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def _death_told() -> Iterator[None]:
    """Say what a broken pool means: it may show when a chunk is handed in as well as when its result is asked for."""
    try:
        yield
    except BrokenProcessPool:
        raise DataError(
            "a process that looked at examples was killed, or could not start",
            hint="was memory full? the stage begins where it was when it is run again",
        ) from None


def _no_work(chunk: Any) -> Any:
    raise RuntimeError("a process was given a chunk before its work")


_work: Callable[[Any], Any] = _no_work


def _begin(packed: bytes) -> None:
    """Make this process ready to work: it ends with its parent, and leaves Ctrl-C to it."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = pickle.loads(packed)  # noqa: S301  packed by the parent


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work_on(chunk: Task) -> Any:
    return _work(chunk)
