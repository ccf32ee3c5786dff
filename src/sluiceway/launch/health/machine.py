"""This machine: room on disk and in shared memory, and the GPUs that PyTorch sees."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sluiceway.data.places import STATE, home
from sluiceway.launch.health.base import Seen, run

GIB = 1 << 30
_LITTLE, _LEAST = 10 * GIB, GIB
"""Bytes below which room for checkpoints is told, and is a fault."""
_SHARED = GIB
"""Bytes of shared memory below which it is told: containers come with 64 MiB."""


def disk(root: Path) -> Iterator[Seen]:
    """Tell how much room the state folder has, and whether it can be written to."""
    state = home(root.absolute()) / STATE
    there = state if state.exists() else state.parent
    free = shutil.disk_usage(there).free
    found = f"{free / GIB:.1f} GiB free in {state}"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        yield Seen("disk", "fault", f"{state} cannot be written to: {error.strerror}", "whose folder is it? `ls -ld`")
        return
    way_out = "`dvc gc --workspace` frees the cache, `make clean` checkpoints"
    state_of = "fault" if free < _LEAST else "warning" if free < _LITTLE else "ok"
    yield Seen("disk", state_of, found, way_out * (state_of != "ok"))  # type: ignore[arg-type]


def shared_memory(path: Path = Path("/dev/shm")) -> Iterator[Seen]:  # noqa: S108
    """Tell how much shared memory there is, through which Ray's workers and loader processes pass data."""
    if not path.exists():
        yield Seen("shared memory", "left out", "this system has none")
        return
    free = shutil.disk_usage(path).free
    little = free < _SHARED
    way_out = "in a container: `docker run --shm-size=8g`; else Ray uses the disk, which is slow" * little
    yield Seen("shared memory", "warning" if little else "ok", f"{free / GIB:.1f} GiB free in {path}", way_out)


_TORCH = """
import json, torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
names = [torch.cuda.get_device_name(each) for each in range(count)]
print(json.dumps([torch.__version__, torch.version.cuda, names]))
"""


def gpus(seconds: float, wanted: int = 0, devices: Path = Path("/dev")) -> Iterator[Seen]:
    """Tell which GPUs PyTorch sees, and whether there are some that it does not.

    Args:
        seconds: that PyTorch may take.
        wanted: GPUs that a job of this machine asks for.
        devices: where the system shows them.
    """
    there = len(list(devices.glob("nvidia[0-9]*")))
    said = run(sys.executable, "-c", _TORCH, seconds=seconds)
    if said.code:
        last = said.output.splitlines()[-1:]
        yield Seen("GPUs", "fault", f"PyTorch cannot be imported: {' '.join(last)}", "`pip install torch` anew")
        return
    version, cuda, names = json.loads(said.output.splitlines()[-1])
    if len(names) < wanted:
        found = f"PyTorch {version} sees {len(names)} GPUs, and a job of infra/jobs.yaml asks for {wanted}"
        yield Seen("GPUs", "fault", found, "`nvidia-smi` says what the driver sees; or lower resources.gpus")
    elif there and not names and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        why = "is built for CPUs" if cuda is None else f"is built for CUDA {cuda}, newer than the driver?"
        found = f"{there} GPUs are there, and PyTorch {version} sees none: it {why}"
        yield Seen("GPUs", "fault", found, "install PyTorch for your CUDA, or update the driver")
    else:
        yield Seen("GPUs", "ok", f"{', '.join(names) or 'none: training runs on CPUs'}, by PyTorch {version}")
