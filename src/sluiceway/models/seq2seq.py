"""An encoder-decoder transformer (Vaswani et al., 2017), pre-norm, with a lexicon beside its output.

Built as :mod:`sluiceway.models.gpt` is; rotary positions also turn the attention from target to source, so that it
knows how far apart two tokens stand. One table of embeddings serves source, target and output (Press and Wolf, 2017).

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

Keys = tuple[Tensor, Tensor]
"""Keys and values of what is attended to: [B, A, S, D] each."""

_LEAST = 1e-4
"""Chance of a token that the lexicon does not offer, before the network has its say."""


@dataclass
class Memory:
    """What the decoder knows while it writes: of the source, and of what it has written."""

    looked: Tensor | None
    """By what the lexicon finds source tokens: [B, S, C]; None where there is none."""
    mask: Tensor
    """Which source tokens there are: [B, S]."""
    source: Tensor
    """Their numbers: [B, S]."""
    crossed: list[Keys]
    """Keys and values of the source for each layer: [B, A, S, D]."""
    written: list[Keys | None]
    """Keys and values of the target so far, for each layer: [B, A, T, D]."""

    def take(self, rows: Tensor) -> "Memory":
        """Return the memory of some sentences, in this order; one may be taken more than once."""
        return Memory(
            None if self.looked is None else self.looked[rows],
            self.mask[rows],
            self.source[rows],
            [(key[rows], value[rows]) for key, value in self.crossed],
            [None if pair is None else (pair[0][rows], pair[1][rows]) for pair in self.written],
        )

    @property
    def length(self) -> int:
        """Target tokens that are written."""
        first = self.written[0]
        return 0 if first is None else first[0].shape[2]


class Attention(nn.Module):
    """Attention of some tokens to others, or to themselves: [B, T, C], [B, S, C] -> [B, T, C]."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.norm = nn.RMSNorm(channels // heads, elementwise_affine=False)

    def keys_of(self, states: Tensor, cos: Tensor, sin: Tensor) -> Keys:
        """Return keys and values [B, A, S, D] of what is attended to."""
        batch, length, channels = states.shape
        both = self.key_value(states).view(batch, length, 2, self.heads, channels // self.heads)
        key, value = both.permute(2, 0, 3, 1, 4)
        return rotate(self.norm(key), cos, sin), value

    def forward(
        self, hidden: Tensor, memory: Keys, cos: Tensor, sin: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        """Let each token look at what it may see."""
        batch, length, channels = hidden.shape
        query = self.query(hidden).view(batch, length, self.heads, channels // self.heads).transpose(1, 2)
        query = rotate(self.norm(query), cos, sin)
        mixed = F.scaled_dot_product_attention(query, *memory, attn_mask=mask, is_causal=causal)  # [B, A, T, D]
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, channels))
        return result


class Perceptron(nn.Module):
    """Two layers for each token by itself: [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.Linear(channels, 4 * channels, bias=False)
        self.down = nn.Linear(4 * channels, channels, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what each token becomes."""
        result: Tensor = self.down(F.relu(self.up(hidden)).square())
        return result


class EncoderLayer(nn.Module):
    """Attention of the source to itself and a perceptron, each beside a shortcut: [B, S, C] -> [B, S, C]."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.attention = Attention(channels, heads)
        self.perceptron = Perceptron(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, seen: Tensor) -> Tensor:
        """Read a little further."""
        normed = self.norm(hidden)
        keys = self.attention.keys_of(normed, cos, sin)
        hidden = hidden + self.dropout(self.attention(normed, keys, cos, sin, seen, False))
        result: Tensor = hidden + self.dropout(self.perceptron(self.norm(hidden)))
        return result


class DecoderLayer(nn.Module):
    """Attention of the target to itself and to the source, and a perceptron, each beside a shortcut."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.attention = Attention(channels, heads)
        self.crossing = Attention(channels, heads)
        self.perceptron = Perceptron(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Tensor, cos: Tensor, sin: Tensor, written: Keys | None, crossed: Keys, seen: Tensor
    ) -> tuple[Tensor, Keys]:
        """Write a little further: return the target's states [B, T, C], and keys and values of all that is written."""
        normed = self.norm(hidden)
        key, value = self.attention.keys_of(normed, cos, sin)
        if written is not None:
            key, value = torch.cat((written[0], key), 2), torch.cat((written[1], value), 2)
        causal = hidden.shape[1] > 1  # a single token may see all that is before it
        hidden = hidden + self.dropout(self.attention(normed, (key, value), cos, sin, None, causal))
        hidden = hidden + self.dropout(self.crossing(self.norm(hidden), crossed, cos, sin, seen, False))
        return hidden + self.dropout(self.perceptron(self.norm(hidden))), (key, value)


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

    def keys_of(self, states: Tensor) -> Tensor:
        """Return by what source tokens are found: [B, S, C]."""
        length = states.shape[1]
        return _turned(self.norm(self.key(states)), self.cos[:length], self.sin[:length])

    def look(self, hidden: Tensor, memory: "Memory", first: int) -> Tensor:
        """Return which source token each next token comes from: chances [B, T, S].

        Args:
            hidden: after each token: [B, T, C].
            memory: of the same sentences.
            first: position of the first token.
        """
        assert memory.looked is not None  # noqa: S101
        span = slice(first, first + hidden.shape[1])
        query = _turned(self.norm(self.query(hidden)), self.cos[span], self.sin[span])
        cosine = query @ memory.looked.transpose(1, 2) / query.shape[-1]
        scores: Tensor = self.sharpness * cosine
        chances: Tensor = scores.masked_fill(~memory.mask[:, None], -torch.inf).softmax(-1)
        return chances

    def forward(self, hidden: Tensor, memory: "Memory", wanted: Tensor, first: int) -> Tensor:
        """Return what is added to the logits [n, V] of the tokens after those that are wanted [B, T]."""
        owner = wanted.nonzero()[:, 0]  # [n]
        where = self.look(hidden, memory, first)[wanted]  # [n, S]
        chances = where[:, :, None] * self.chances[memory.source][owner]  # [n, S, K]
        offered = hidden.new_zeros(len(owner), len(self.becomes))
        offered = offered.scatter_add(1, self.becomes[memory.source][owner].flatten(1), chances.flatten(1))
        added: Tensor = self.trust * (offered + _LEAST).log()
        return added


def _turned(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotate(vectors[:, None], cos, sin)[:, 0]


def initialise(network: nn.Module, embedding: nn.Embedding) -> None:
    """Draw the weights of a network of these layers; a layer begins as its shortcut."""
    nn.init.normal_(embedding.weight, std=0.02)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    for module in network.modules():
        if isinstance(module, Attention | Perceptron):
            nn.init.zeros_((module.out if isinstance(module, Attention) else module.down).weight)


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
        self.longest = longest
        self.beam = beam
        self.length_penalty = length_penalty
        self.embedding = nn.Embedding(vocabulary, channels)
        self.encoder = nn.ModuleList(EncoderLayer(channels, heads, dropout) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(channels, heads, dropout) for _ in range(decoder_layers))
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        cos, sin = rotary(longest, channels // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.lexicon = Lexicon(channels, longest, *lexicon) if lexicon else None
        initialise(self, self.embedding)

    def read(self, source: Tensor) -> Memory:
        """Read source sentences [B, S]."""
        mask = source != 0
        cos, sin = self.cos[: source.shape[1]], self.sin[: source.shape[1]]
        hidden = self._embed(source)
        for layer in self.encoder:
            hidden = layer(hidden, cos, sin, mask[:, None, None])
        states = self.norm(hidden)
        crossings = [layer.crossing for layer in self.decoder if isinstance(layer, DecoderLayer)]
        crossed = [crossing.keys_of(states, cos, sin) for crossing in crossings]
        looked = None if self.lexicon is None else self.lexicon.keys_of(states)
        return Memory(looked, mask, source, crossed, [None] * len(crossed))

    def write(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Return the hidden state [B, T, C] after each token, behind those that the memory has; it then has them too.

        Args:
            tokens: [B, T]; of more than one, none may be written before.
            memory: of the same sentences.
        """
        span = slice(memory.length, memory.length + tokens.shape[1])
        cos, sin, seen = self.cos[span], self.sin[span], memory.mask[:, None, None]
        hidden = self._embed(tokens)
        for number, layer in enumerate(self.decoder):
            before, crossed = memory.written[number], memory.crossed[number]
            hidden, memory.written[number] = layer(hidden, cos, sin, before, crossed, seen)
        normed: Tensor = self.norm(hidden)
        return normed

    def logits(self, hidden: Tensor, memory: Memory, wanted: Tensor, first: int = 0) -> Tensor:
        """Return the logits [n, V] of the tokens after some.

        Args:
            hidden: after each token: [B, T, C].
            memory: of the same sentences.
            wanted: after which tokens: [B, T], n in all.
            first: position of the first token.
        """
        logits = F.linear(hidden[wanted], self.embedding.weight)
        if self.lexicon is None:
            return logits
        offered: Tensor = self.lexicon(hidden, memory, wanted, first)
        return logits + offered

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(tokens)
        scaled: Tensor = embedded * self.embedding.embedding_dim**0.5
        return scaled
