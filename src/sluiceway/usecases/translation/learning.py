"""Shards to a model: the network and its losses.

Shapes: B pairs, S source tokens, T target tokens, V vocabulary, K entries of the lexicon per token,
n target tokens that count.
"""

from typing import TYPE_CHECKING

import numpy as np

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.translation.encoding import END, PADDING
from sluiceway.usecases.translation.params import TransformerParams, TranslationObjective
from sluiceway.usecases.translation.translator import translator

if TYPE_CHECKING:
    from torch import Tensor, nn

LN2 = float(np.log(2))
_TOGETHER = 16
"""Pairs of about one length that pass through the network together: padding is computed like anything else."""


def build(params: TransformerParams | HuggingFaceParams, encoding: Encoding) -> "nn.Module":
    """Make the network that training begins with."""
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import pairs

        return pairs.build(params, vocabulary=encoding["vocabulary"], longest=encoding["longest"] + 1, end=END)
    from sluiceway.models.seq2seq import Seq2Seq

    return Seq2Seq(
        vocabulary=encoding["vocabulary"],
        longest=encoding["longest"] + 1,
        channels=params.channels,
        encoder_layers=params.encoder_layers,
        decoder_layers=params.decoder_layers,
        heads=params.heads,
        dropout=params.dropout,
        lexicon=lexicon_of(encoding) if params.lexicon and encoding["lexicon"] else None,
        beam=params.beam,
        length_penalty=params.length_penalty,
    )


def lexicon_of(encoding: Encoding) -> tuple["Tensor", "Tensor"]:
    """Return what each token may become, and with what chance: [V, K] each; PADDING, with none, fills the rest."""
    import torch

    becomes, chances = encoding["lexicon"]["becomes"], encoding["lexicon"]["chances"]
    width = max(1, *map(len, becomes))
    numbers = torch.full((len(becomes), width), PADDING, dtype=torch.long)
    shares = torch.zeros(len(becomes), width)
    for token, (options, known) in enumerate(zip(becomes, chances, strict=True)):
        numbers[token, : len(options)] = torch.tensor(options, dtype=torch.long)
        shares[token, : len(known)] = torch.tensor(known)
    return numbers, shares


def losses(model: "nn.Module", batch: Batch, objective: TranslationObjective) -> dict[str, "Tensor"]:
    """Return smoothed cross entropy in nats per token, and what is behind it in bits per byte, per pair [B]."""
    smoothed, bits, tokens = costs(model, batch, objective.label_smoothing)
    return {"loss": smoothed / tokens, "bits_per_byte": bits / batch["bytes"].clamp(min=1)}


def costs(model: "nn.Module", batch: Batch, smoothing: float = 0.0) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Return what the target of each pair costs: smoothed nats, bits, and its tokens: [B] each.

    Pairs are independent of each other, so those of about one length pass together: no figure changes.
    """
    import torch

    from sluiceway.models import chance

    source, target = batch["source"].long(), batch["target"].long()  # [B, S], [B, T + 1]
    lengths = (source != PADDING).sum(1) + (target != PADDING).sum(1)
    order = lengths.argsort(stable=True)
    parts = []
    for start in range(0, len(order), _TOGETHER):
        rows = order[start : start + _TOGETHER]
        with chance.among(rows):
            parts.append(_costs(model, source[rows], target[rows], smoothing))
    back = order.argsort()
    smoothed, bits, tokens = (torch.cat(part)[back] for part in zip(*parts, strict=True))
    return smoothed, bits, tokens


def _costs(
    model: "nn.Module", source: "Tensor", target: "Tensor", smoothing: float
) -> tuple["Tensor", "Tensor", "Tensor"]:
    network = translator(model)
    source = source[:, : int((source != PADDING).sum(1).max())]
    target = target[:, : int((target != PADDING).sum(1).max())]
    given, following = target[:, :-1], target[:, 1:]
    wanted = following != PADDING  # [B, T]
    memory = network.read(source)
    logits = network.logits(network.write(given, memory), memory, wanted)  # [n, V]
    chances = logits.float().log_softmax(-1)
    nats = -chances.gather(1, following[wanted][:, None])[:, 0]  # [n]
    owner = wanted.nonzero()[:, 0]
    plain = nats.new_zeros(len(source)).index_add(0, owner, nats)
    even = nats.new_zeros(len(source)).index_add(0, owner, -chances.mean(-1)) if smoothing else 0.0
    return (1 - smoothing) * plain + smoothing * even, plain / LN2, wanted.sum(1).clamp(min=1)
