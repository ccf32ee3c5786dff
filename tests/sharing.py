"""A worker of a network whose parameters are shared out, without Ray: trains, saves in parts, and takes up.

    python tests/sharing.py RANK WORLD MEETING-FILE FOLDER STEPS

It takes up the newest checkpoint of the folder, takes so many steps, commits its part, and rank 0 writes what all of it
looks like when it is gathered to ``whole-<step>-<world>.safetensors``. Without a step it only takes up and gathers. The
weights are written both ways: gathered, and by all in parts.
"""

import sys
import threading
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from sluiceway.training import snapshots
from sluiceway.training.checkpoints import Checkpoint, Cut, newest, read, write_tensors
from sluiceway.training.parts import commit_part, write_whole
from sluiceway.training.strategies import shard


class Network(nn.Module):
    """Rows that do not divide by the workers, a vector, a single row and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(6, 7), nn.Linear(7, 5), nn.Linear(5, 1)])
        self.register_buffer("scale", torch.ones(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map [B, 6] to [B, 1]."""
        for block in self.blocks:
            inputs = torch.tanh(block(inputs))
        return inputs


def main(rank: int, world: int, meeting: str, folder: Path, steps: int) -> None:
    """Work as one of the workers."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    torch.manual_seed(0)
    model = Network()
    shard(model, init_device_mesh("cpu", (world,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    found = newest(folder)[0] if rank == 0 else None
    step = torch.tensor([found.step if found else 0])
    dist.broadcast(step, 0)
    at = int(step)
    if at:
        snapshots.take_up(model, optimizer, read(folder, at).tensors)
    for number in range(at, at + steps):
        generator = torch.Generator().manual_seed(number)
        inputs = torch.randn(12, 6, generator=generator)[rank * 12 // world : (rank + 1) * 12 // world]
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
    at += steps
    if steps:
        tensors, rows = snapshots.share(model, optimizer, first=rank == 0)
        held = {name: tensor.clone() for name, tensor in tensors.items()}
        cut = Cut(rank, world, rows, 1)
        commit_part(folder, Checkpoint(at, held, {}, cut), cut, threading.Event())
    whole, gathered = snapshots.whole(model, optimizer), snapshots.weights(model)
    mine, rows = snapshots.share_of_weights(model, first=rank == 0)
    write_whole(folder / f"weights-{world}.safetensors", mine, Cut(rank, world, rows, 1), threading.Event())
    if rank == 0:
        write_tensors(folder / f"gathered-{world}.safetensors", gathered)
        save_file(whole, folder / f"whole-{at}-{world}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
