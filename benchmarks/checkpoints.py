"""What saving costs a training: the stall of each checkpoint, written at once and written beside training.

A GPT of about 50 million parameters takes real AdamW steps; each third one is followed by a checkpoint. The stall is
what the step waits for.

    python benchmarks/checkpoints.py            # prints
    python benchmarks/checkpoints.py --write    # and writes benchmarks/results/checkpoints.md
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from sluiceway.models.gpt import GPT
from sluiceway.training.checkpoints import Checkpoint, size_of
from sluiceway.training.job import Places
from sluiceway.training.recorder import Best
from sluiceway.training.saver import Saver

RESULTS = Path(__file__).parent / "results" / "checkpoints.md"
EVERY = 3
"""Steps between two checkpoints."""


def network() -> nn.Module:
    """Build about 50 million parameters."""
    return GPT(vocabulary=8000, context=64, channels=576, layers=11, heads=8, dropout=0.0)


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Name the tensors of a checkpoint, as ``Learner.snapshot`` does."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for parameter, state in optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{key}": value for key, value in state.items()}
    return tensors


def train(model: nn.Module, saver: Saver | None, steps: int) -> tuple[list[float], float, int]:
    """Return the seconds that each checkpoint stalled, the seconds of all, and the bytes of one."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(0, 8000, (1, 64))
    stalls, size, began = [], 0, time.monotonic()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        if saver and step % EVERY == 0:
            at = time.monotonic()
            tensors = snapshot(model, optimizer)
            size = size_of(tensors)
            saver.save(Checkpoint(step, saver.hold(tensors), {"best": vars(Best())}))
            stalls.append(time.monotonic() - at)
    seconds = time.monotonic() - began
    if saver:
        saver.close()
        saver.check()
    return stalls, seconds, size


def measure(steps: int, folder: Path) -> str:
    """Train three times - without checkpoints, written at once, written beside - and return a table."""
    rows, bits, size = [], set(), 0
    for name, beside in (("none", None), ("at once", False), ("beside training", True)):
        torch.manual_seed(1)
        model = network()
        places = Places(folder / name.replace(" ", "-"))
        saver = None if beside is None else Saver(places, every=None, most=0, beside=beside)
        stalls, seconds, found = train(model, saver, steps)
        size = max(size, found)
        bits.add(sum(float(parameter.detach().double().sum()) for parameter in model.parameters()))
        median = statistics.median(stalls[1:]) if stalls else 0.0
        worst = max(stalls[1:], default=0.0)
        rows.append((name, median, worst, seconds / steps, saver.seconds / saver.saves if saver else 0.0))
    assert len(bits) == 1, "saving changed the weights"
    parameters = sum(parameter.numel() for parameter in network().parameters())
    ratio = rows[1][1] / rows[2][1]
    return "\n".join(
        [
            "# Checkpoints",
            "",
            f"{parameters / 1e6:.0f} million parameters with AdamW, {size / 1e6:.0f} MB a checkpoint, one every "
            f"{EVERY} steps, {steps} steps, on {os.cpu_count()} cores of {platform.machine()}, load "
            f"{os.getloadavg()[0]:.1f}. The first checkpoint, which takes its memory, is left out.",
            "",
            "| written | median stall, s | longest, s | seconds per step, saving included | writing one, s |",
            "|---|---|---|---|---|",
            *(f"| {name} | {a:.3f} | {b:.3f} | {c:.2f} | {d:.2f} |" for name, a, b, c, d in rows),
            "",
            f"The stall is {ratio:.1f} times shorter beside training; the weights are the same bits in all three.",
            "",
        ]
    )


def main() -> None:
    """Measure, print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = measure(options.steps, Path(folder))
    print(table)
    if options.write:
        RESULTS.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
