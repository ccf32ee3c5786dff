"""What a checkpoint of shared parameters takes, and what weights do: gathered on rank 0, and in parts.

Two workers on CPUs share out the parameters of a GPT by FSDP2, with AdamW, and save as training does. Memory is what
the process takes at its highest beyond what it took before it saved, the copy that is written beside training included.
Weights in parts are put together into one file, and it is compared with the file of those that were gathered.

    python benchmarks/parts.py            # prints
    python benchmarks/parts.py --write    # and writes benchmarks/results/parts.md
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "parts.md"
WORLD = 2
WHAT = ("checkpoint", "weights")


def worker(rank: int, folder: Path, what: str, parts: bool, saves: int) -> None:
    """Train a little, save, and leave what it took."""
    import psutil
    import torch
    from torch import distributed as dist
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh

    from sluiceway.models.gpt import GPT
    from sluiceway.training import snapshots
    from sluiceway.training.checkpoints import Checkpoint, Cut, commit, sha256, size_of, write_tensors
    from sluiceway.training.parts import commit_part, write_whole
    from sluiceway.training.stored import Rows
    from sluiceway.training.strategies import shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    torch.manual_seed(0)
    model = GPT(vocabulary=8000, context=64, channels=576, layers=11, heads=8, dropout=0.0)
    shard(model, init_device_mesh("cpu", (WORLD,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(0, 8000, (1, 64))
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    weights = what == "weights"
    written = folder / "weights.safetensors"

    def taken() -> tuple[Mapping[str, torch.Tensor], Rows]:
        if parts:
            mine = snapshots.share_of_weights if weights else partial(snapshots.share, optimizer=optimizer)
            return mine(model, first=rank == 0)
        return snapshots.weights(model) if weights else snapshots.whole(model, optimizer), {}

    def write(step: int, tensors: Mapping[str, torch.Tensor], rows: Rows) -> None:
        cut = Cut(rank, WORLD, rows, step)
        match weights, parts:
            case True, True:
                write_whole(written, tensors, cut, threading.Event())
            case True, False if rank == 0:
                write_tensors(written, tensors)
            case False, True:
                commit_part(folder / "checkpoints", Checkpoint(step, tensors, {}, cut), cut, threading.Event())
            case False, False if rank == 0:
                commit(folder / "checkpoints", Checkpoint(step, tensors, {}))

    before, highest = psutil.Process().memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    stalls, writing, size = [], [], 0
    room: dict[str, torch.Tensor] = {}
    for step in range(1, saves + 1):
        dist.barrier()
        at = time.monotonic()
        tensors, rows = taken()
        room = {name: room.get(name, torch.empty_like(tensor)).copy_(tensor) for name, tensor in tensors.items()}
        stalls.append(time.monotonic() - at)
        del tensors
        at = time.monotonic()
        write(step, room, rows)
        dist.barrier()
        writing.append(time.monotonic() - at)
        size = size_of(room)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    said = {"before": before, "took": peak - before, "known": peak > highest, "stall": max(stalls[1:]), "size": size}
    digest = sha256(written) if weights and rank == 0 else ""
    document = {**said, "writing": min(writing), "digest": digest}
    (folder / f"rank-{rank}.json").write_text(json.dumps(document), encoding="utf-8")
    dist.destroy_process_group()


def measure(what: str, parts: bool, saves: int) -> list[dict[str, Any]]:
    """Start the workers and return what each of them took."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--folder", name, "--saves", str(saves), "--what", what]
        command += ["--parts"] if parts else []
        workers = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(WORLD)]
        if max(each.wait() for each in workers):
            raise SystemExit("a worker failed")
        paths = [Path(name) / f"rank-{rank}.json" for rank in range(WORLD)]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def table(saves: int) -> str:
    """Measure both ways."""
    rows = []
    digests = set()
    for what, (name, parts) in product(WHAT, (("gathered on rank 0", False), ("in parts", True))):
        for rank, said in enumerate(measure(what, parts, saves)):
            digests |= {said["digest"]} - {""}
            rows.append(
                f"| {what}, {name} | {rank} | {said['before'] / 1e6:.0f} | {said['took'] / 1e6:.0f} | "
                f"{said['size'] / 1e6:.0f} | {said['stall']:.2f} | {said['writing']:.2f} |"
            )
    if len(digests) > 1:
        raise SystemExit("the weights differ")
    return "\n".join(
        [
            "# Checkpoints and weights of shared parameters",
            "",
            f"A GPT of 48 million parameters with AdamW, shared out over {WORLD} workers of one thread each, on "
            f"{os.cpu_count()} cores of {platform.machine()} with a load of {os.getloadavg()[0]:.0f}; "
            f"{saves} of each.",
            "",
            "| saved | rank | MB before | MB more at the highest | MB written | stall, s | writing one, s |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Memory that a process has and does not use is taken first, so less may show than is copied. The files of "
            "weights had the same SHA-256.",
            "",
        ]
    )


def main() -> None:
    """Measure, print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--what", choices=WHAT)
    parser.add_argument("--parts", action="store_true")
    options = parser.parse_args()
    if options.rank is not None:
        worker(options.rank, options.folder, options.what, options.parts, options.saves)
        return
    text = table(options.saves)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
