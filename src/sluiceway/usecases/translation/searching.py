"""The likeliest translation, token by token: beam search.

Shapes: B sentences, W beam, R rows of sentences and their beams, V vocabulary, T tokens written.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.usecases.translation.encoding import END, PADDING

if TYPE_CHECKING:
    from torch import Tensor

    from sluiceway.usecases.translation.translator import Memory, Translator

_TOGETHER = 64
"""Sentences of about one length that are translated together."""


@dataclass(frozen=True, slots=True)
class Found:
    """A translation."""

    tokens: tuple[int, ...]
    """Without END."""
    score: float
    """Logarithm of its probability, END included, divided by the penalty of its length."""


def penalty(length: int, strength: float) -> float:
    """Return what the logarithm of a probability is divided by: with a strength of 1 the tokens, END among them.

    The gentler penalty of Wu et al. (2016) is not enough for a small network: it may find nothing at all the likeliest
    translation of a long sentence.
    """
    return float(length**strength)


def translate(
    model: "Translator", source: "Tensor", *, beam: int, length_penalty: float, longest: int | None = None
) -> list[Found]:
    """Translate sentences.

    Args:
        model: in evaluation mode.
        source: numbers of tokens [B, S], padded.
        beam: W: translations that are followed at a time; 1 takes the likeliest token each time. With as many as there
            are translations, the result is the best of all.
        length_penalty: how far longer translations are preferred.
        longest: most tokens of a translation; default: half as many again as the source has, and ten.

    Returns:
        The best of each sentence. One that comes to no end within ``longest`` tokens is cut there.
    """
    import torch

    lengths = (source != PADDING).sum(1)
    order = lengths.argsort(stable=True)
    found: list[Found] = []
    most = model.longest - 1
    for start in range(0, len(order), _TOGETHER):
        rows = order[start : start + _TOGETHER]
        width = int(lengths[rows].max())
        limit = min(most, longest if longest is not None else width + width // 2 + 10)
        found += _search(model, source[rows, :width], beam, length_penalty, limit)
    back = torch.argsort(order).tolist()
    return [found[place] for place in back]


def _search(model: "Translator", source: "Tensor", beam: int, strength: float, longest: int) -> list[Found]:
    import torch

    count = len(source)
    finished: list[list[Found]] = [[] for _ in range(count)]
    # Each row is one beginning of one sentence; rows of a sentence stand together, the likeliest first.
    owner = torch.arange(count, device=source.device)
    written = torch.full((count, 1), END, device=source.device)
    total = torch.zeros(count, device=source.device)
    memory = model.read(source)
    for length in range(1, longest + 1):
        chances = _next(model, written, memory)  # [R, V]
        scores = total[:, None] + chances
        rows, tokens, total, owner = _best(scores, owner, beam)
        ended = tokens == END
        done = (each[ended].tolist() for each in (rows, owner, total))
        for row, sentence, score in zip(*done, strict=True):
            said = tuple(written[row, 1:].tolist())
            finished[sentence].append(Found(said, score / penalty(length, strength)))
        going = ~ended & ~_hopeless(finished, owner, total, penalty(longest, strength), beam)
        rows, tokens, total, owner = rows[going], tokens[going], total[going], owner[going]
        if not len(rows):
            break
        written = torch.cat((written[rows], tokens[:, None]), 1)
        memory = memory.take(rows)
    for row, sentence in enumerate(owner.tolist()):
        if not finished[sentence]:  # none came to an end: the likeliest beginning, which stands first
            score = float(total[row]) / penalty(longest, strength)
            finished[sentence] = [Found(tuple(written[row, 1:].tolist()), score)]
    return [max(each, key=lambda one: one.score) for each in finished]


def _next(model: "Translator", written: "Tensor", memory: "Memory") -> "Tensor":
    """Return the logarithm of each next token's probability: [R, V]; padding is never one."""
    import torch

    first = written.shape[1] - 1
    hidden = model.write(written[:, -1:], memory)
    everywhere = torch.ones(len(written), 1, dtype=torch.bool, device=written.device)
    logits = model.logits(hidden, memory, everywhere, first).float()
    logits[:, PADDING] = -torch.inf
    return logits.log_softmax(-1)


def _best(scores: "Tensor", owner: "Tensor", beam: int) -> tuple["Tensor", "Tensor", "Tensor", "Tensor"]:
    """Return row, token, score and sentence of the best continuations of each sentence, the best first.

    Twice as many as the beam are taken, so that as many go on as it is wide even when the others end.
    """
    import torch

    vocabulary = scores.shape[1]
    few, tokens = scores.topk(min(2 * beam, vocabulary), 1)  # no sentence needs more of one row
    rows = torch.arange(len(scores), device=scores.device)[:, None].expand_as(few).flatten()
    few, tokens = few.flatten(), tokens.flatten()
    sentence = owner[rows]
    order = torch.argsort(few, descending=True, stable=True)
    order = order[torch.argsort(sentence[order], stable=True)]
    rows, tokens, few, sentence = rows[order], tokens[order], few[order], sentence[order]
    # Of each sentence: the ends among the best W, and the best W of those that go on.
    ended = tokens == END
    place = _place(sentence)
    going = torch.where(ended, 0, 1)
    before = going.cumsum(0) - going
    first = torch.searchsorted(sentence, sentence)
    rank = before - before[first]
    keep = torch.where(ended, place < beam, rank < beam) & torch.isfinite(few)
    return rows[keep], tokens[keep], few[keep], sentence[keep]


def _place(sentence: "Tensor") -> "Tensor":
    """Return the place of each row among those of its sentence."""
    import torch

    return torch.arange(len(sentence), device=sentence.device) - torch.searchsorted(sentence, sentence)


def _hopeless(finished: list[list[Found]], owner: "Tensor", total: "Tensor", most: float, beam: int) -> "Tensor":
    """Return which beginnings come too late, as W translations are finished, or can no longer come to be the best."""
    import torch

    scores = [max((one.score for one in each), default=-torch.inf) for each in finished]
    best = torch.tensor(scores, device=total.device)
    enough = torch.tensor([len(each) >= beam for each in finished], device=owner.device)
    # A probability only falls, and is divided by at most the penalty of the longest.
    return enough[owner] | (total / most <= best[owner])
