"""Networks that answer texts.

Shapes: B texts, T tokens, V vocabulary, K outputs.
"""

import torch
from torch import Tensor

from sluiceway.models.huggingface.borrowed import Borrowed, Taken, take
from sluiceway.models.huggingface.configuration import Fact, Task
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.models.text_encoder import furthest


class TextNetwork(Borrowed):
    """Answers texts: tokens [B, T], numbers from 1 on and 0 for none, -> outputs [B, K].

    Args:
        taken: the network.
        longest: most tokens of a text.
        padding: what the network calls no token, numbered from 0 on.
    """

    def __init__(self, taken: Taken, longest: int, padding: int) -> None:
        super().__init__(taken)
        self.padding = padding
        self.begin(torch.ones(1, longest, dtype=torch.long))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs, such as logits."""
        tokens = tokens.long()
        tokens = tokens[:, : furthest(tokens)]
        there = tokens > 0
        numbers = (tokens - 1).masked_fill(~there, self.padding)
        logits: Tensor = self.network(input_ids=numbers, attention_mask=there.long()).logits
        return logits

    def check(self, answer: Tensor, *example: Tensor) -> None:
        """Refuse a network that answers tokens, or sees padding."""
        if answer.ndim != 2:
            raise TypeError(f"it answers with shape {list(answer.shape)}, and not with a row of outputs for each")
        tokens = example[0]
        longer = tokens.clone()
        longer[:, max(1, tokens.shape[1] // 2) :] = 0
        beside_another = self(torch.cat([longer, tokens]))[:1]
        if not torch.allclose(beside_another, self(longer), rtol=1e-3, atol=1e-4):
            raise TypeError("its answer depends on the padding behind a text, so on the texts beside it")


def build(
    params: HuggingFaceParams, *, vocabulary: int, longest: int, padding: int, end: int, outputs: int
) -> TextNetwork:
    """Make a network for texts.

    Args:
        params: which one.
        vocabulary: V.
        longest: most tokens of a text.
        padding: number of what is no token.
        end: number of the token that a text ends with.
        outputs: K.

    Raises:
        ConfigError: it cannot be built, or not for these tokens.
    """
    # Some number positions from behind the number of the padding; a network that is made anew has room for that.
    places = longest if params.pretrained else longest + padding + 1
    task = Task(
        what="texts with a row of outputs each",
        auto="AutoModelForSequenceClassification",
        facts={
            "vocab_size": Fact(vocabulary, f"encode makes {vocabulary} tokens"),
            "max_position_embeddings": Fact(places, f"encode.longest is {longest}", at_least=True),
            "pad_token_id": Fact(padding, f"token {padding} is padding", anew=True),
            "bos_token_id": Fact(end, f"token {end} ends a text", anew=True),
            "eos_token_id": Fact(end, f"token {end} ends a text", anew=True),
            "num_labels": Fact(outputs, f"the target has {outputs} outputs", anew=True),
            "use_cache": Fact(False, "training has no use for a cache", anew=True),
        },
    )
    return TextNetwork(take(params, task), longest, padding)
