"""Networks that foretell the next of a row: of tokens, or of items.

Shapes: B rows, T places, V vocabulary, I items with 0 for none, n places asked after.
"""

import torch
from torch import Tensor

from sluiceway.models.huggingface.borrowed import Borrowed, Taken, take
from sluiceway.models.huggingface.configuration import Fact, Task
from sluiceway.models.huggingface.params import HuggingFaceParams

_TRIED = 8
"""Places of the example that a new network is tried with."""


class TokenNetwork(Borrowed):
    """Predicts the next token: tokens [B, T] -> logits [B, T, V].

    Args:
        taken: the network.
        context: most places it can look back on.
    """

    def __init__(self, taken: Taken, context: int) -> None:
        super().__init__(taken)
        self.begin(torch.zeros(1, min(context, _TRIED), dtype=torch.long))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of each next token."""
        logits: Tensor = self.network(input_ids=tokens).logits
        return logits

    def check(self, answer: Tensor, *example: Tensor) -> None:
        """Refuse a network that sees what it is to foretell."""
        tokens = example[0].clone()
        tokens[:, -1] = 1
        again = self(tokens)
        if not torch.allclose(again[:, :-1], answer[:, :-1], rtol=1e-4, atol=1e-4):
            raise TypeError("a place's answer depends on places after it, so that it sees what it is to foretell")


class ItemNetwork(TokenNetwork):
    """Scores every item as the next one: histories [B, T] -> logits [B, T, I + 1]."""

    def forward(self, tokens: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the logits of each next item; that of 0 is minus infinity.

        Args:
            tokens: numbers of items [B, T]; a history is padded behind its end, where no attention looks.
            asked: after which items the next one is wanted [B, T], n in all; default: after every one.

        Returns:
            [n, I + 1], or [B, T, I + 1].
        """
        logits = super().forward(tokens)
        found = logits if asked is None else logits[asked]
        never = torch.arange(found.shape[-1], device=found.device) == 0
        return found.masked_fill(never, -torch.inf)


def build(params: HuggingFaceParams, *, vocabulary: int, context: int, end: int) -> TokenNetwork:
    """Make a language model.

    Args:
        params: which one.
        vocabulary: V.
        context: T.
        end: number of the token that stands between passages.

    Raises:
        ConfigError: it cannot be built, or not for these tokens.
    """
    task = _task("rows of tokens with the next one each", vocabulary, context, end, "encode makes {} tokens")
    return TokenNetwork(take(params, task), context)


def build_for_items(params: HuggingFaceParams, *, items: int, context: int) -> ItemNetwork:
    """Make a sequential recommender.

    Args:
        params: which one.
        items: I. Items are numbered from 1; 0 stands behind a history's end, and is never the next item.
        context: T.

    Raises:
        ConfigError: it cannot be built, or not for these items.
    """
    task = _task("histories of items with the next one each", items + 1, context, 0, "there are {} items, and none")
    return ItemNetwork(take(params, task), context)


def _task(what: str, vocabulary: int, context: int, end: int, words: str) -> Task:
    return Task(
        what=what,
        auto="AutoModelForCausalLM",
        facts={
            "vocab_size": Fact(vocabulary, words.format(vocabulary)),
            "max_position_embeddings": Fact(context, f"encode.context is {context}", at_least=True),
            "is_decoder": Fact(True, "the next of a row is foretold, so nothing may look ahead", anew=True),
            "use_cache": Fact(False, "training has no use for a cache", anew=True),
            "bos_token_id": Fact(end, f"token {end} stands between passages", anew=True),
            "eos_token_id": Fact(end, f"token {end} stands between passages", anew=True),
            "pad_token_id": Fact(None, "rows are padded where no attention looks", anew=True),
        },
        trains_head=False,
    )
