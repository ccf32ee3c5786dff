"""Networks that turn one row of tokens into another.

Shapes: B pairs, S source tokens, T target tokens, V vocabulary, n target tokens that count.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sluiceway.models.huggingface.borrowed import Borrowed, Taken, take
from sluiceway.models.huggingface.configuration import Fact, Task
from sluiceway.models.huggingface.params import HuggingFaceParams

if TYPE_CHECKING:
    from transformers import Cache

_TRIED = 4
"""Tokens of the example that a new network is tried with."""


@dataclass(slots=True)
class Read:
    """What the decoder knows while it writes: of the source, and of what it has written."""

    states: Tensor
    """Of the source: [B, S, C]."""
    mask: Tensor
    """Which source tokens there are: [B, S]."""
    cache: "Cache | None" = None
    """Keys and values of the source and of the target so far."""

    def take(self, rows: Tensor) -> "Read":
        """Return what is known of some sentences, in this order; one may be taken more than once. This is used up."""
        if self.cache is not None:
            self.cache.batch_select_indices(rows)
        return Read(self.states[rows], self.mask[rows], self.cache)


class PairNetwork(Borrowed):
    """Translates: source tokens [B, S] and target tokens [B, T] -> logits [B, T, V] of the token after each.

    Args:
        taken: the network.
        longest: most tokens of a row.
        end: number of the token that a target begins and ends with. Padding is 0.
        beam: translations that are followed at a time, where nothing else is said.
        length_penalty: how far longer translations are preferred, where nothing else is said.
    """

    def __init__(self, taken: Taken, *, longest: int, end: int, beam: int, length_penalty: float) -> None:
        super().__init__(taken)
        self.longest = longest
        self.beam = beam
        self.length_penalty = length_penalty
        tried = torch.full((1, min(longest, _TRIED)), end)
        self.begin(tried, tried)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of the token after each target token."""
        return self.write(target, self.read(source))

    def read(self, source: Tensor) -> Read:
        """Read source sentences [B, S]."""
        mask = source != 0
        states = self.network.get_encoder()(input_ids=source, attention_mask=mask.long()).last_hidden_state
        return Read(states, mask)

    def write(self, tokens: Tensor, memory: Read) -> Tensor:
        """Return the logits [B, T, V] after each token, behind those that the memory has; it then has them too.

        Args:
            tokens: [B, T].
            memory: of the same sentences.
        """
        from transformers.modeling_outputs import BaseModelOutput

        answered = self.network(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory.states),
            attention_mask=memory.mask.long(),
            decoder_input_ids=tokens,
            past_key_values=memory.cache,
            use_cache=not torch.is_grad_enabled(),  # training writes all at once
        )
        memory.cache = answered.past_key_values
        logits: Tensor = answered.logits
        return logits

    def logits(self, written: Tensor, memory: Read, wanted: Tensor, first: int = 0) -> Tensor:
        """Return the logits [n, V] of the tokens after those that are wanted [B, T]: they are written already."""
        return written[wanted]


def build(
    params: HuggingFaceParams, *, vocabulary: int, longest: int, end: int, beam: int = 4, length_penalty: float = 1.0
) -> PairNetwork:
    """Make a network for pairs of texts.

    Args:
        params: which one.
        vocabulary: V.
        longest: most tokens of a row, what it begins and ends with included.
        end: number of the token that a target begins and ends with, and a source ends with. Padding is 0.
        beam: translations that are followed at a time.
        length_penalty: how far longer translations are preferred.

    Raises:
        ConfigError: it cannot be built, or not for these tokens.
    """
    bounds = f"token {end} begins and ends a text"
    task = Task(
        what="pairs of rows of tokens",
        auto="AutoModelForSeq2SeqLM",
        facts={
            "vocab_size": Fact(vocabulary, f"encode makes {vocabulary} tokens"),
            "max_position_embeddings": Fact(longest, f"texts have up to {longest} tokens", at_least=True),
            "pad_token_id": Fact(0, "token 0 is padding", anew=True),
            "bos_token_id": Fact(end, bounds, anew=True),
            "eos_token_id": Fact(end, bounds, anew=True),
            "decoder_start_token_id": Fact(end, bounds, anew=True),
            "forced_eos_token_id": Fact(end, bounds, anew=True),
        },
        trains_head=False,
    )
    return PairNetwork(take(params, task), longest=longest, end=end, beam=beam, length_penalty=length_penalty)
