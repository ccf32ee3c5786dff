"""What this machine has for networks to compute on, and what it looks like when that is not enough."""

import gc


def visible_gpus() -> tuple[int, bool]:
    """Return how many GPUs this machine has, and whether they compute in bfloat16."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return count, bool(count and torch.cuda.is_bf16_supported())


def is_shortage(error: Exception) -> bool:
    """Whether an error is that of memory that does not suffice, a GPU's or the machine's."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free_memory() -> None:
    """Give back what nobody needs any more, after an error and its frames are gone."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
