"""The measuring pass on a Ray cluster: an engine (``data/measuring/engines.py``) under Ray Data.

Every machine must see the raw data under the same path, and have this package and the use case's module installed.
"""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

from sluiceway.launch.cluster import connected, settle

Task = TypeVar("Task")
Result = TypeVar("Result")

_PER_CORE = 8
"""Chunks per core of the cluster that go out together: enough to hide the start of a wave."""
_LEAST, _MOST = 32, 512
_COLUMN = "packed"


def ray_map(work: Callable[[Task], Result], chunks: Iterable[Task]) -> Iterator[Result]:
    """Work on a cluster, in waves, so that any number of chunks fits into memory; results keep the chunks' order.

    The cluster is the one that ``RAY_ADDRESS`` names, or that this process is connected to already.

    Raises:
        SluicewayError: which the work raised.
    """
    settle()
    import ray
    from ray import cloudpickle

    _quiet()
    with connected():
        pack: Callable[[object], bytes] = cloudpickle.dumps  # functions without an importable name travel too
        packed = ray.put(pack(work))
        wave = min(_MOST, max(_LEAST, _PER_CORE * _cores()))
        source = iter(chunks)
        while drawn := list(islice(source, wave)):
            yield from _wave(packed, drawn)


def _cores() -> int:
    import ray

    resources: Callable[[], dict[str, float]] = ray.cluster_resources
    return int(resources().get("CPU", 1))


def _wave(packed: Any, chunks: list[Any]) -> Iterator[Any]:
    """Work on some chunks, each a block of a data set."""
    import ray

    def work_on(batch: dict[str, Any]) -> dict[str, list[bytes]]:
        work = pickle.loads(ray.get(packed))  # noqa: S301  packed by the driver
        return {_COLUMN: [_answer(work, pickle.loads(each)) for each in batch[_COLUMN]]}  # noqa: S301

    rows = [{_COLUMN: pickle.dumps(chunk)} for chunk in chunks]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    # Closed here: the traceback of a failure holds the rows, and Ray Data would go on until it is let go.
    answers: Any = iter(data.map_batches(work_on, batch_size=1, num_cpus=1).iter_rows())
    with closing(answers):
        for row in answers:
            failed, result = pickle.loads(row[_COLUMN])  # noqa: S301  packed by our own workers
            if failed:
                raise result
            yield result


def _answer(work: Callable[[Any], Any], chunk: Any) -> bytes:
    """Pack what became of a chunk, a failure too: Ray would bury it below its own and try again."""
    try:
        return pickle.dumps((False, work(chunk)))
    except Exception as error:  # noqa: BLE001  the driver raises it
        return pickle.dumps((True, error))


def _quiet() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
