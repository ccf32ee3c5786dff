"""What shards cost to check, to read through a cache, and to fetch beside training.

The store is a server on loopback that sends no faster than it is told, in a process of its own; the steps are real ones
of a small network.

    python benchmarks/shards.py            # prints
    python benchmarks/shards.py --write    # and writes benchmarks/results/shards.md
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from sluiceway.data.ahead import Ahead
from sluiceway.data.cache import LIMIT, Cache
from sluiceway.data.loader import Share, TrainingStream
from sluiceway.data.order import Nearby, examples_at
from sluiceway.data.seals import FOLDER
from sluiceway.data.shards import STORE, ShardedSplit, write_manifest, write_shards
from sluiceway.data.store import File, Store

RESULTS = Path(__file__).parent / "results" / "shards.md"
BATCH, MIXED = 256, 2
MB = 1_000_000


def items(count: int) -> Iterator[dict[str, np.ndarray]]:
    """Make images of 32 x 32 x 3 bytes, with a class and a row."""
    random = np.random.default_rng(0)
    for row in range(count):
        image = random.integers(0, 256, (3, 32, 32), dtype=np.uint8)
        yield {"image": image, "target": np.asarray(row % 10, np.int64), "row": np.asarray(row, np.int64)}


def write(folder: Path, shards: int, shard_bytes: int, store: Store | None = None) -> Path:
    """Write a training split of so many shards."""
    count = shards * (shard_bytes // (3 * 32 * 32 + 16))
    train = write_shards(items(count), folder, "train", shard_bytes, store)
    write_manifest(folder, {"train": train, "validation": [], "test": []}, {}, store)
    return folder


def serve(folder: Path, rate: float) -> None:
    """Serve a folder by HTTP on loopback, so many bytes a second for each connection; the port is the first line."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = (folder / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            began = time.monotonic()
            for start in range(0, len(content), 1 << 18):
                self.wfile.write(content[start : start + (1 << 18)])
                time.sleep(max(0.0, began + (start + (1 << 18)) / rate - time.monotonic()))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def seconds(work: Callable[[], object]) -> float:
    """Time one call, in processor time: a busy machine makes no difference."""
    began = time.process_time()
    work()
    return time.process_time() - began


def checking(folder: Path) -> list[str]:
    """Read all items once: hashed, sealed by another process of the host, and open already."""
    split = ShardedSplit(folder, "train")
    turns = [examples_at(np.arange(low, low + BATCH), len(split), 0)[0] for low in range(0, len(split) - BATCH, BATCH)]
    taken = sum(path.stat().st_size for path in folder.glob("*.npy"))

    def epoch(of: ShardedSplit) -> None:
        for turn in turns:
            of.fetch(turn)

    again = ShardedSplit(folder, "train")
    epoch(again)  # of the page cache
    for seal in Path(os.environ[FOLDER]).glob("seals-*/*"):
        seal.unlink()
    first = seconds(lambda: epoch(split))
    sealed = seconds(lambda: epoch(ShardedSplit(folder, "train")))
    known = seconds(lambda: epoch(split))
    rows = (("first on the host", first), ("sealed", sealed), ("open already", known))
    return [
        f"Reading {taken / MB:.0f} MB in {len(split.starts) - 1} shards once, in batches of {BATCH} over all of them, "
        "in processor time:",
        "",
        "| shards | epoch, s | a batch, ms |",
        "|---|---|---|",
        *(f"| {name} | {taken_s:.2f} | {1000 * taken_s / len(turns):.2f} |" for name, taken_s in rows),
        "",
        f"Hashing costs {1000 * (first - sealed) / (taken / MB / 1000):,.0f} ms a GB, once on a host.",
        "",
    ]


def gathering(local: Path, index: Path) -> list[str]:
    """Gather batches of some shards that are in the cache, and of mapped ones."""
    rows = []
    for shards in (1, 4, 16):
        figures = []
        for folder in (local, index):
            split = ShardedSplit(folder, "train")
            random = np.random.default_rng(0)
            turns = [random.integers(0, split.starts[min(shards, len(split.starts) - 1)], BATCH) for _ in range(200)]
            for turn in turns[:20]:
                split.fetch(turn)
            figures.append(
                statistics.median(seconds(lambda turn=turn, split=split: split.fetch(turn)) for turn in turns)
            )
        rows.append(f"| {shards} | {1000 * figures[0]:.2f} | {1000 * figures[1]:.2f} |")
    return [
        f"Gathering a batch of {BATCH} from so many shards of three files each, median ms of processor time:",
        "",
        "| shards | mapped for good | through the cache |",
        "|---|---|---|",
        *rows,
        "",
    ]


def trained(index: Path, steps: int, *, ahead: bool) -> tuple[float, int, float]:
    """Train on a stream.

    Returns:
        Seconds of all; files that the loop found missing and waited for, and seconds of that, without the first step.
    """
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    split = ShardedSplit(index, "train")
    stream = TrainingStream(
        split,
        seed=0,
        global_batch=BATCH,
        accumulate=1,
        share=Share(0, 1),
        draws_per_item=0,
        span=lambda: (0, steps),
        shuffle_shards=MIXED,
    )
    network = nn.Sequential(nn.Conv2d(3, 24, 3, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2), nn.ReLU(), nn.Flatten())
    network.append(nn.Linear(32 * 49, 10))
    optimizer = torch.optim.AdamW(network.parameters())
    enter, fetch = Ahead.__enter__, Cache._fetch
    waits: list[float] = []

    def timed(cache: Cache, file: File) -> None:
        at = time.perf_counter()
        fetch(cache, file)
        if threading.current_thread() is threading.main_thread():
            waits.append(time.perf_counter() - at)

    Cache._fetch = timed  # type: ignore[method-assign]
    if not ahead:
        Ahead.__enter__ = lambda self: self  # type: ignore[method-assign]
    try:
        began = time.perf_counter()
        for step, batch in enumerate(stream):
            if step == 0:
                waits.clear()
            loss = nn.functional.cross_entropy(network(batch["image"].float() / 255), batch["target"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - began, len(waits), sum(waits)
    finally:
        Ahead.__enter__, Cache._fetch = enter, fetch  # type: ignore[method-assign]


def beside(tmp: Path, place: Path, index: Path, rate: float) -> list[str]:
    """Train on shards of a slow server, with a cache that holds a part of them, and look ahead or not."""
    shards = len(ShardedSplit(index, "train").starts) - 1
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(place), "--rate", str(rate)], stdout=subprocess.PIPE, text=True
    )
    rows = []
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        steps = len(ShardedSplit(index, "train")) // BATCH
        for name, how, where in (
            ("mapped for good", False, ""),
            ("fetched when needed", False, url),
            ("fetched ahead", True, url),
        ):
            if where:
                (index / STORE).write_text(json.dumps({"url": where}), encoding="utf-8")
            os.environ[FOLDER] = str(tmp / f"host-{name.split()[-1]}")
            folder = index if where else tmp / "here"
            whole, files, waited = trained(folder, steps, ahead=how)
            rows.append(f"| {name} | {whole:.1f} | {files} | {waited:.2f} |")
    finally:
        server.kill()
        server.wait()
    size = sum(path.stat().st_size for path in place.glob("*/*.npy"))
    return [
        f"Training one epoch of {steps} steps on {size / MB:.0f} MB in {shards} shards, {MIXED} mixed with each other, "
        f"from a server that sends {rate / MB:.0f} MB/s for each connection, with a cache of "
        f"{float(os.environ[LIMIT]) * 1000:.0f} MB:",
        "",
        "| shards | all, s | files waited for | waiting, s |",
        "|---|---|---|---|",
        *rows,
        "",
        "The first step, for which everybody waits, is in the whole and not in the waiting.",
        "",
    ]


def orders(split: ShardedSplit) -> list[str]:
    """Time the order of a batch, mixed over all shards and over a few."""
    at = [np.arange(low, low + BATCH) for low in range(0, len(split) - BATCH, BATCH)]
    nearby = Nearby(split.starts, MIXED, 0)
    whole = statistics.median(seconds(lambda turn=turn: examples_at(turn, len(split), 0)) for turn in at)
    few = statistics.median(seconds(lambda turn=turn: nearby(turn)) for turn in at)
    return [f"The order of a batch takes {1e6 * whole:.0f} us, and {1e6 * few:.0f} us where few shards are mixed.", ""]


def measure(tmp: Path, shards: int, shard_bytes: int, rate: float) -> str:
    """Measure all of it."""
    os.environ[FOLDER] = str(tmp / "host")
    local = write(tmp / "here", shards, shard_bytes)
    store = Store(str(tmp / "store"))
    index = write(tmp / "index", shards, shard_bytes, store)
    lines = checking(local)
    os.environ[LIMIT] = str(2 * shards * shard_bytes / 1e9)
    lines += gathering(local, index)
    lines += orders(ShardedSplit(local, "train"))
    os.environ[LIMIT] = str(6 * shard_bytes / 1e9)
    lines += beside(tmp, tmp / "store", index, rate)
    machine = f"On {os.cpu_count()} cores of {platform.machine()} with a load of {os.getloadavg()[0]:.0f}."
    return "\n".join(["# Shards", "", machine, "", *lines])


def main() -> None:
    """Measure, print the tables, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--shard-bytes", type=int, default=2 * MB)
    parser.add_argument("--rate", type=float, default=20 * MB)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.rate)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = measure(Path(folder), options.shards, options.shard_bytes, options.rate)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
