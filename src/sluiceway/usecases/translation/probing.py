"""What the layers of a translator are asked: which kind of token comes next in the translation.

Layers that write are asked after the tokens that are written so far. Layers that read are asked at the source token
that is as far along as those: sentences are put into another order, but not at random.

Shapes: B pairs, S source tokens, T target tokens, V vocabulary, N questions.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.data.texts import MARK, kind_of_piece
from sluiceway.usecases.base import Batch, Begin, Encoding, Probe, Questions
from sluiceway.usecases.translation.encoding import END, PADDING, tokenizer_of
from sluiceway.usecases.translation.translator import translator

if TYPE_CHECKING:
    from torch import Tensor, nn

Places = npt.NDArray[np.int64]

_PLACES = 8
"""Places of a translation that are asked about, at most."""
_LAST = MARK + 1
"""The kind of END."""


def ask(batch: Batch, encoding: Encoding) -> Questions:
    """Ask at some places of each translation, evenly chosen, for the kind of the token after."""
    item, position = _places(batch)
    following = batch["target"].numpy()[:, 1:]  # [B, T]
    return Questions(item, _kinds(encoding)[following[item, position]], position)


def work(model: "nn.Module", batch: Batch, begin: Begin) -> "Tensor":
    """Read the sources, and write what is given of the translations."""
    network = translator(model)
    source, target = batch["source"].long(), batch["target"].long()  # [B, S], [B, T + 1]
    item, position = _places(batch)
    lengths = [(side != PADDING).sum(1).cpu().numpy() for side in (source, target[:, 1:])]  # [B] each
    along = position / np.maximum(1, lengths[1] - 1)[item]
    begin(source, np.round(along * (lengths[0] - 1)[item]).astype(np.int64))
    memory = network.read(source)
    begin(target[:, :-1], position)
    return network.write(target[:, :-1], memory)


def _places(batch: Batch) -> tuple[Places, Places]:
    """Return pairs, and places of their targets after which something comes: [N] each."""
    lengths = (batch["target"].cpu().numpy()[:, 1:] != PADDING).sum(1)
    chosen = [np.unique(np.linspace(0, length - 1, min(_PLACES, length)).astype(np.int64)) for length in lengths]
    item = np.repeat(np.arange(len(chosen)), [len(each) for each in chosen])
    return item, np.concatenate(chosen)


def _kinds(encoding: Encoding) -> Places:
    """Sort the vocabulary, END by itself: [V]."""
    tokenizer = tokenizer_of(encoding)
    kinds = [kind_of_piece(tokenizer.id_to_token(number) or "") for number in range(encoding["vocabulary"])]
    kinds[END] = _LAST
    return np.array(kinds, np.int64)


PROBE = Probe(
    "which kind of token comes next in the translation (the beginning of a word, the inside of one, a number, a mark, "
    "the end); layers that read are asked at the source token that is as far along",
    ask,
    work,
)
