"""A small network of each kind of use case, with a batch for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sluiceway.usecases import find
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.saved import LoadedModel
from sluiceway.usecases.translation import encoding as translation
from sluiceway.usecases.translation.params import PairEncoding
from support import loaded

Made = tuple[str, str, dict[str, Any], Encoding, Batch]
"""Use case, target, model section, encoding, batch."""


def classes() -> Made:
    encoding = {"classes": ["a", "b", "c"], "mean": [0.5], "std": [0.2], "size": 8, "channels": 1}
    batch = {"image": torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8), "target": torch.tensor([0, 1, 2] * 2)}
    return "image", "class", {"name": "residual", "stem": 8, "widths": [8], "depths": [1]}, encoding, batch


def labels() -> Made:
    _, _, model, encoding, batch = classes()
    flags = torch.randint(0, 2, (6, 3), dtype=torch.uint8)
    return "image", "classes", model, encoding | {"labels": ["a", "b", "c"]}, {**batch, "target": flags}


def numbers() -> Made:
    _, _, model, encoding, batch = classes()
    target = torch.arange(6.0)
    both = {**batch, "target": target, "standard": (target - 2) / 3}
    return "image", "number", model, encoding | {"middle": 2.0, "spread": 3.0}, both


def transcripts() -> Made:
    encoding = {"characters": list("abc"), "bands": 16, "frames": 40, "mean": [0.5] * 16, "std": [0.2] * 16}
    batch = {
        "levels": torch.randint(0, 256, (5, 16, 40), dtype=torch.uint8),
        "frames": torch.tensor([40, 30, 35, 24, 40], dtype=torch.int32),
        "text": torch.randint(2, 5, (5, 10), dtype=torch.int16),
        "length": torch.full((5,), 4, dtype=torch.int32),
    }
    model = {"name": "conformer", "channels": 16, "layers": 1, "heads": 2, "kernel": 3}
    return "speech", "text", model, encoding | {"beam": 3, "counts": {}, "order": 0}, batch


def windows() -> Made:
    encoding = {"vocabulary": 20, "context": 8, "end": 0}
    count = torch.full((5,), 12, dtype=torch.int32)
    batch = {
        "tokens": torch.randint(1, 20, (5, 9), dtype=torch.int16),
        "scored": torch.ones(5, 8, dtype=torch.uint8),
        "bytes": count,
        "words": count,
    }
    return "text_generation", "none", {"name": "gpt", "channels": 16, "layers": 1, "heads": 2}, encoding, batch


def pairs() -> Made:
    some = [(f"In the year {n} the king sang.", f"En el año {n} el rey canta.") for n in range(30)]
    examples = loaded([f"{one}\x1f{other}".encode() for one, other in some])
    encoding = translation.fit(examples, PairEncoding(vocabulary=300, longest=60, entries=8))
    items = list(translation.encode(examples, encoding, "test"))[:4]
    batch = {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in items[0].arrays}
    model = {"name": "transformer", "channels": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
    return "translation", "text", model, encoding, batch


def histories() -> Made:
    encoding = {"items": [str(n) for n in range(12)], "counts": [3] * 12, "context": 6, "exclude_seen": True}
    history = torch.randint(1, 13, (5, 6), dtype=torch.int32)
    batch = {"history": history, "seen": history, "next": torch.randint(0, 2, (5, 6), dtype=torch.int32)}
    return "recommendation", "text", {"name": "sasrec", "channels": 16, "layers": 1, "heads": 2}, encoding, batch


def frames() -> Made:
    encoding = {"mean": [0.5] * 3, "std": [0.2] * 3, "width": 64, "height": 64, "top": 0.0, "bottom": 0.0}
    batch = {
        "image": torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8),
        "target": torch.zeros(4),
        "drive": torch.zeros(4, dtype=torch.int32),
    }
    model = {"name": "pilotnet", "channels": [4], "kernels": [5], "strides": [4], "hidden": [8]}
    return "driving", "number", model, encoding | {"steering_std": 0.3}, batch


MADE = (classes, labels, numbers, transcripts, windows, pairs, histories, frames)


def made(make: Callable[[], Made], **options: object) -> tuple[LoadedModel, Batch]:
    """Build the network of one kind of use case with random weights, and with options of its model section."""
    torch.manual_seed(0)
    name, target, section, encoding, batch = make()
    section |= options
    usecase = find(name, Path(), target)
    params = usecase.params.model_validate({"usecase": name, "target": target, "model": section})
    model = usecase.build(params.model, encoding).eval()
    for each in model.parameters():
        nn.init.normal_(each, std=0.2)  # answers that begin at zero would all be the same
    return LoadedModel(usecase, model, encoding, params.model), batch
