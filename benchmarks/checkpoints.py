"""What saving costs a training: the stall of each checkpoint, written at once and written beside training.

A GPT of about 50 million parameters takes real AdamW steps, with checkpoints in between. The stall is what a step
waits for; the interval is longer than the writing, as it should be.

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


def train(saver: Saver, saves: int) -> tuple[list[float], float, int]:
    """Train, save now and then, and take two more steps while a checkpoint is written, or as many as it takes.

    Returns:
        Seconds that each checkpoint stalled, median seconds of a step, bytes of a checkpoint.
    """
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(0, 8000, (1, 64))
    stalls, steps, size = [], [], 0
    for number in range(1, saves + 1):
        taken = 0
        while taken < 2 or saver.busy:
            at = time.monotonic()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
            optimizer.step()
            steps.append(time.monotonic() - at)
            taken += 1
        at = time.monotonic()
        tensors = snapshot(model, optimizer)
        saver.save(Checkpoint(number, saver.hold(tensors), {"best": vars(Best())}))
        stalls.append(time.monotonic() - at)
        size = size_of(tensors)
    saver.wait()
    saver.close()
    return stalls, statistics.median(steps), size


def measure(saves: int, folder: Path) -> str:
    """Train twice - written at once, and beside training - and return a table."""
    rows, size = [], 0
    for name, beside in (("at once", False), ("beside training", True)):
        places = Places(folder / name.replace(" ", "-"))
        places.folder.mkdir()
        saver = Saver(places, every=None, most=0, beside=beside)
        stalls, step, size = train(saver, saves)
        rows.append((name, statistics.median(stalls[1:]), max(stalls[1:]), saver.seconds / saver.saves, step))
    parameters = sum(parameter.numel() for parameter in network().parameters())
    return "\n".join(
        [
            "# Checkpoints",
            "",
            f"{parameters / 1e6:.0f} million parameters with AdamW, {size / 1e6:.0f} MB a checkpoint, "
            f"{saves} checkpoints, on {os.cpu_count()} cores of {platform.machine()} with a load of "
            f"{os.getloadavg()[0]:.0f}. The first checkpoint, for which memory is taken, is left out.",
            "",
            "| written | median stall, s | longest, s | writing one, s | a step, s |",
            "|---|---|---|---|---|",
            *(f"| {name} | {a:.3f} | {b:.3f} | {c:.2f} | {d:.2f} |" for name, a, b, c, d in rows),
            "",
            f"The stall is {rows[0][1] / rows[1][1]:.1f} times shorter beside training.",
            "",
        ]
    )


def main() -> None:
    """Measure, print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = measure(options.saves, Path(folder))
    print(table)
    if options.write:
        RESULTS.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
