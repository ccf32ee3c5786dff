"""A model to its scores: the test split is translated, and compared with the references.

Shapes: B pairs, N test pairs.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Batch, Encoding, Metric, Outcomes
from sluiceway.usecases.translation.encoding import tokenizer_of
from sluiceway.usecases.translation.learning import costs
from sluiceway.usecases.translation.overlap import bleu, chrf, counts_of, signature
from sluiceway.usecases.translation.searching import translate
from sluiceway.usecases.translation.translator import translator

if TYPE_CHECKING:
    from torch import nn


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Translate, and tell what the references cost: see :func:`outcomes_of`."""
    tokenizer, writer = tokenizer_of(encoding), translator(model)
    found = translate(writer, batch["source"].long(), beam=writer.beam, length_penalty=writer.length_penalty)
    said = tokenizer.decode_batch([list(each.tokens) for each in found])
    source, wanted = (
        tokenizer.decode_batch([[number for number in row if number] for row in batch[side].tolist()])
        for side in ("source", "target")
    )
    _, bits, _ = costs(model, batch)
    source, wanted, said = ([text.strip() for text in side] for side in (source, wanted, said))
    return outcomes_of(source, wanted, said, bits.double().cpu().numpy(), batch["bytes"].cpu().numpy())


def outcomes_of(
    source: Sequence[str],
    wanted: Sequence[str],
    said: Sequence[str],
    bits: npt.NDArray[np.float64] | None = None,
    sizes: npt.NDArray[np.int64] | None = None,
) -> Outcomes:
    """Compare translations with references.

    Args:
        source: what was to be translated: N.
        wanted: references: N.
        said: translations: N.
        bits: what each reference costs: [N]; None of a learner that gives no probabilities.
        sizes: bytes of each reference: [N].

    Returns:
        ``source``, ``reference`` and ``translation`` as text; ``bits`` and ``bytes``; and counts of n-grams as in
        :mod:`sluiceway.usecases.translation.overlap`: [N] each.
    """
    unknown = np.full(len(said), np.nan)
    return {
        "source": np.array(source, object),
        "reference": np.array(wanted, object),
        "translation": np.array(said, object),
        "bits": unknown if bits is None else bits,
        "bytes": np.array([len(text.encode()) for text in wanted]) if sizes is None else sizes,
        **counts_of(said, wanted),
    }


def bits_per_byte(outcomes: Outcomes) -> float:
    """Mean cost of a byte of the references; NaN of a learner that gives no probabilities."""
    return float(outcomes["bits"].sum() / max(1, outcomes["bytes"].sum()))


METRICS = (
    Metric("chrf", "chrF", higher_is_better=True, compute=chrf, signature=partial(signature, "chrf")),
    Metric("bleu", "BLEU", higher_is_better=True, compute=bleu, signature=partial(signature, "bleu")),
    Metric("bits_per_byte", "Bits per byte of the reference", higher_is_better=False, compute=bits_per_byte),
)
