"""Text from a model, token by token.

Shapes: V vocabulary.
"""

from typing import TYPE_CHECKING, Any

from sluiceway.usecases.base import Encoding, device_of
from sluiceway.usecases.text_generation.tokens import tokenizer_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def generate(
    model: "nn.Module", encoding: Encoding, prompt: str, *, tokens: int, temperature: float, top_p: float, seed: int
) -> list[int]:
    """Sample a continuation from the smallest set of tokens that holds ``top_p`` of the probability.

    Nucleus sampling: Holtzman et al., 2020. A temperature of 0 takes the likeliest token each time.

    Returns:
        The new tokens, without the prompt; shorter than ``tokens`` when the passage ends.
    """
    import torch

    dice, place = torch.Generator().manual_seed(seed), device_of(model)
    stream = [encoding["end"], *tokenizer_of(encoding).encode(prompt, add_special_tokens=False).ids]
    first = len(stream)
    with torch.inference_mode():
        for _ in range(tokens):
            given = torch.tensor([stream[-encoding["context"] :]], device=place)
            logits = model(given)[0, -1].cpu()  # [V]
            token = int(logits.argmax()) if temperature <= 0 else _draw(logits / temperature, top_p, dice)
            if token == encoding["end"]:
                break
            stream.append(token)
    return stream[first:]


def _draw(logits: "Tensor", top_p: float, dice: Any) -> int:
    import torch

    probabilities, order = logits.softmax(0).sort(descending=True)
    outside = probabilities.cumsum(0) - probabilities >= top_p
    outside[0] = False
    return int(order[torch.multinomial(probabilities.masked_fill(outside, 0.0), 1, generator=dice)])
