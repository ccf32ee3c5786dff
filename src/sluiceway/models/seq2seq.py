"""An encoder-decoder transformer (Vaswani et al., 2017), pre-norm, with a lexicon beside its output.

The parts are those of :mod:`sluiceway.models.gpt`; rotary positions also turn the attention from target to source, which
so begins near the diagonal. One table of embeddings serves source, target and output (Press and Wolf, 2017).

A lexicon says which tokens a source token may become. The decoder attends to the source once more, and what the
attended tokens may become is added, as a logarithm, to the logits (Arthur, Neubig and Nakamura, 2016). Rare words,
names above all, need not be learned by gradient then: of few sentences, they hardly could be.

Shapes: B sentences, S source tokens, T target tokens, C channels, A attention heads, D = C / A, V vocabulary, K entries
of the lexicon per token, n target tokens of all sentences. Token 0 is padding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models.gpt import rotary, rotate

_LEAST = 1e-4
"""Chance of a token that the lexicon does not offer, before the network has its say."""


@dataclass
class Memory:
    """What the decoder knows while it writes: of the source, and of what it has written."""

    states: Tensor
    """Of the source: [B, S, C]."""
    mask: Tensor
    """Which source tokens there are: [B, S]."""
    source: Tensor
    """Their numbers: [B, S]."""
    crossed: list[tuple[Tensor, Tensor]]
    """Keys and values of the source for each layer: [B, A, S, D]."""
    written: list[tuple[Tensor, Tensor] | None]
    """Keys and values of the target so far, for each layer: [B, A, T, D]."""

    def take(self, rows: Tensor) -> "Memory":
        """Return the memory of some sentences, in this order; one may be taken more than once."""
        return Memory(
            self.states[rows],
            self.mask[rows],
            self.source[rows],
            [(key[rows], value[rows]) for key, value in self.crossed],
            [None if pair is None else (pair[0][rows], pair[1][rows]) for pair in self.written],
        )

    @property
    def length(self) -> int:
        """Target tokens that are written."""
        return 0 if self.written[0] is None else self.written[0][0].shape[2]


class Attention(nn.Module):
    """Attention of some tokens to others, or to themselves: [B, T, C], [B, S, C] -> [B, T, C]."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.norm = nn.RMSNorm(channels // heads, elementwise_affine=False)

    def keys_of(self, states: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, A, S, D] of what is attended to."""
        batch, length, channels = states.shape
        both = self.key_value(states).view(batch, length, 2, self.heads, channels // self.heads)
        key, value = both.permute(2, 0, 3, 1, 4)
        return rotate(self.norm(key), cos, sin), value

    def forward(
        self, hidden: Tensor, memory: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        """Let each token look at what it may see."""
        batch, length, channels = hidden.shape
        query = self.query(hidden).view(batch, length, self.heads, channels // self.heads).transpose(1, 2)
        query = rotate(self.norm(query), cos, sin)
        mixed = F.scaled_dot_product_attention(query, *memory, attn_mask=mask, is_causal=causal)  # [B, A, T, D]
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, channels))
        return result


class Layer(nn.Module):
    """Attention to itself, to the source where there is one, and a perceptron, each beside a shortcut."""

    def __init__(self, channels: int, heads: int, dropout: float, *, crossing: bool) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.attention = Attention(channels, heads)
        self.crossing = Attention(channels, heads) if crossing else None
        self.up = nn.Linear(channels, 4 * channels, bias=False)
        self.down = nn.Linear(4 * channels, channels, bias=False)
        self.dropout = dropout

    def perceive(self, hidden: Tensor) -> Tensor:
        """Add what the perceptron makes of each token."""
        return hidden + self.drop(self.down(F.relu(self.up(self.norm(hidden))).square()))

    def drop(self, branch: Tensor) -> Tensor:
        """Drop a share of a branch in training."""
        return F.dropout(branch, self.dropout, self.training) if self.dropout else branch

    def initialise(self) -> None:
        """Draw the weights; a layer begins as its shortcut."""
        for linear in (each for each in self.modules() if isinstance(each, nn.Linear)):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        for last in (self.attention.out, self.down, *([self.crossing.out] if self.crossing else [])):
            nn.init.zeros_(last.weight)


class Lexicon(nn.Module):
    """Offers each next token what the source tokens may become.

    Args:
        channels: C.
        longest: most tokens of a sentence.
        becomes: what each token may become: [V, K].
        chances: of each of these: [V, K].
    """

    becomes: Tensor
    chances: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, channels: int, longest: int, becomes: Tensor, chances: Tensor) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.trust = nn.Parameter(torch.tensor(1.0))
        cos, sin = rotary(longest, channels)
        for name, table in {"becomes": becomes, "chances": chances, "cos": cos, "sin": sin}.items():
            self.register_buffer(name, table, persistent=False)

    def look(self, hidden: Tensor, memory: "Memory", first: int) -> Tensor:
        """Return which source token each next token comes from: chances [B, T, S].

        Args:
            hidden: after each token: [B, T, C].
            memory: of the same sentences.
            first: position of the first token.
        """
        source, span = memory.states.shape[1], slice(first, first + hidden.shape[1])
        key = _turned(self.norm(self.key(memory.states)), self.cos[:source], self.sin[:source])
        query = _turned(self.norm(self.query(hidden)), self.cos[span], self.sin[span])
        cosine = query @ key.transpose(1, 2) / key.shape[-1]
        return (self.sharpness * cosine).masked_fill(~memory.mask[:, None], -torch.inf).softmax(-1)

    def forward(self, hidden: Tensor, memory: "Memory", wanted: Tensor, first: int) -> Tensor:
        """Return what is added to the logits [n, V] of the tokens after those that are wanted [B, T]."""
        owner = wanted.nonzero()[:, 0]  # [n]
        where = self.look(hidden, memory, first)[wanted]  # [n, S]
        chances = where[:, :, None] * self.chances[memory.source][owner]  # [n, S, K]
        offered = hidden.new_zeros(len(owner), len(self.becomes))
        offered = offered.scatter_add(1, self.becomes[memory.source][owner].flatten(1), chances.flatten(1))
        return self.trust * (offered + _LEAST).log()


def _turned(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotate(vectors[:, None], cos, sin)[:, 0]


class Seq2Seq(nn.Module):
    """Predicts each next token of a translation.

    Args:
        vocabulary: V, of both languages together.
        longest: most tokens of a sentence.
        channels: C.
        encoder_layers: number of layers that read the source.
        decoder_layers: number of layers that write the target.
        heads: A; twice their number must divide C.
        dropout: share of each branch that is dropped in training.
        lexicon: what a token may become, with its chance: [V, K] each; None: there is no lexicon.
        beam: translations that are followed at a time, where nothing else is said.
        length_penalty: how far longer translations are preferred, where nothing else is said.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        *,
        vocabulary: int,
        longest: int,
        channels: int,
        encoder_layers: int,
        decoder_layers: int,
        heads: int,
        dropout: float,
        lexicon: tuple[Tensor, Tensor] | None = None,
        beam: int = 4,
        length_penalty: float = 1.0,
    ) -> None:
        super().__init__()
        self.beam = beam
        self.length_penalty = length_penalty
        self.embedding = nn.Embedding(vocabulary, channels)
        self.encoder = nn.ModuleList(Layer(channels, heads, dropout, crossing=False) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(Layer(channels, heads, dropout, crossing=True) for _ in range(decoder_layers))
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        cos, sin = rotary(longest, channels // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.lexicon = Lexicon(channels, longest, *lexicon) if lexicon else None
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        for layer in (*self.encoder, *self.decoder):
            assert isinstance(layer, Layer)  # noqa: S101
            layer.initialise()

    def read(self, source: Tensor) -> Memory:
        """Read source sentences [B, S]."""
        mask = source != 0
        seen = mask[:, None, None]
        cos, sin = self.cos[: source.shape[1]], self.sin[: source.shape[1]]
        hidden = self._embed(source)
        for layer in self.encoder:
            normed = layer.norm(hidden)
            keys = layer.attention.keys_of(normed, cos, sin)
            hidden = layer.perceive(hidden + layer.drop(layer.attention(normed, keys, cos, sin, seen, False)))
        states = self.norm(hidden)
        crossed = [layer.crossing.keys_of(states, cos, sin) for layer in self.decoder]  # type: ignore[union-attr]
        return Memory(states, mask, source, crossed, [None] * len(self.decoder))

    def write(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Return the hidden state [B, T, C] after each token, behind those that the memory has; it then has them too.

        Args:
            tokens: [B, T]; of more than one, none may be written before.
            memory: of the same sentences.
        """
        before = memory.length
        span = slice(before, before + tokens.shape[1])
        cos, sin = self.cos[span], self.sin[span]
        seen = memory.mask[:, None, None]
        hidden = self._embed(tokens)
        for number, layer in enumerate(self.decoder):
            normed = layer.norm(hidden)
            keys = layer.attention.keys_of(normed, cos, sin)
            written = memory.written[number]
            if written is not None:
                keys = (torch.cat((written[0], keys[0]), 2), torch.cat((written[1], keys[1]), 2))
            memory.written[number] = keys
            causal = tokens.shape[1] > 1
            hidden = hidden + layer.drop(layer.attention(normed, keys, cos, sin, None, causal))
            crossed = layer.crossing(layer.norm(hidden), memory.crossed[number], cos, sin, seen, False)
            hidden = layer.perceive(hidden + layer.drop(crossed))
        normed_out: Tensor = self.norm(hidden)
        return normed_out

    def logits(self, hidden: Tensor, memory: Memory, wanted: Tensor, first: int = 0) -> Tensor:
        """Return the logits [n, V] of the tokens after some.

        Args:
            hidden: after each token: [B, T, C].
            memory: of the same sentences.
            wanted: after which tokens: [B, T], n in all.
            first: position of the first token.
        """
        logits = F.linear(hidden[wanted], self.embedding.weight)
        return logits if self.lexicon is None else logits + self.lexicon(hidden, memory, wanted, first)

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(tokens)
        return embedded * self.embedding.embedding_dim**0.5
