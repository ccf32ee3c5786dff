"""A registered model's requests and answers.

Shapes: T = context, I items with 0 for none.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.usecases.base import Encoding
from sluiceway.usecases.recommendation.layouts import interaction_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from interactions: each is the history of somebody new."""
    return [{"history": interaction_of(payload).item} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Recommend items after a history, given as the items' names in the order of time, with commas between them.

    Items that are not known are left out. Who has chosen nothing that is known gets what most choose.
    """
    import torch

    numbers = {item: number for number, item in enumerate(encoding["items"], start=1)}
    answers = []
    with torch.inference_mode():
        for row in rows:
            named = [name.strip() for name in str(row["history"]).split(",")]
            known = [numbers[name] for name in named if name in numbers]
            chances = _chances(model, encoding, known)  # [I + 1]
            if encoding["exclude_seen"]:
                chances[known] = 0.0
            best = chances.argsort(descending=True, stable=True)[: int(params["top"])]
            chosen = [int(number) for number in best if chances[number] > 0]
            answers.append(
                {
                    "items": ",".join(encoding["items"][number - 1] for number in chosen),
                    "titles": " | ".join(encoding["titles"][number - 1] for number in chosen),
                    "scores": ",".join(f"{float(chances[number]):.6f}" for number in chosen),
                    "known": len(known),
                }
            )
    return answers


def _chances(model: "nn.Module", encoding: Encoding, known: list[int]) -> "Tensor":
    """Return the probability of each item as the next one [I + 1]; that of nothing is 0."""
    import torch

    if not known:
        counts = torch.tensor([0, *encoding["counts"]], dtype=torch.float)
        return counts / counts.sum()
    logits = model(torch.tensor([known[-encoding["context"] :]]))[0, -1]
    chances: Tensor = logits.softmax(0)
    return chances
