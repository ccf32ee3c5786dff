"""Texts that are targets: whether what is said of held-out contents is said in training too.

Contents may differ where texts do not: another voice that reads the same sentence. A model may then know the sentence,
and not have heard it.

Shapes: M sampled examples with a long enough text.
"""

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, Offender, finding
from sluiceway.checks.near_copies import alike_signatures
from sluiceway.data.measuring.minhash import signature
from sluiceway.gates.verdict import Severity

_GRAM = 5
"""Characters of the parts by which texts are compared."""
_SHORT = 25
"""Characters below which a text is said by many, and nothing is given away by it."""
_LEAST = 30
"""Long texts below which nothing is said."""


def texts_across_splits(material: Material) -> Iterator[Finding]:
    """Ask whether a held-out text is, nearly, a training text."""
    import polars as pl

    if material.target != "text" or material.limits.groups_in_turn:
        return  # what comes next in a group has come before in others
    texts = material.sampled.filter(pl.col("target").str.len_chars() >= _SHORT)
    if texts.height < _LEAST or texts["split"].n_unique() < 2:
        return
    said = texts["target"].to_list()
    pairs = alike_signatures(np.stack([signature(_parts(text)) for text in said]), np.arange(len(said)))
    ids, training = texts["id"].to_list(), (texts["split"] == "train").to_numpy()
    found: dict[int, Offender] = {}
    for one, other, alike in zip(pairs.one.tolist(), pairs.other.tolist(), pairs.alike.tolist(), strict=True):
        if training[one] != training[other]:
            held, known = (other, one) if training[one] else (one, other)
            if held not in found or found[held].score < alike:
                detail = f"{alike:.2f} alike: {said[held][:60]!r}"
                found[held] = Offender(ids[held], detail, other=ids[known], score=round(alike, 6))
    total, limit = int((~training).sum()), material.limits.max_leaked
    share = len(found) / max(1, total)
    yield finding(
        "texts_across_splits",
        f"{len(found):,} of {total:,} longer texts that are held out ({share:.2%}) are nearly training texts; "
        f"{limit:.2%} may be",
        passed=share <= limit,
        severity=Severity.warn,
        figure=round(share, 6),
        limit=limit,
        offenders=list(found.values()),
    )


def _parts(text: str) -> npt.NDArray[np.uint64]:
    grams = {text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)}
    return np.array(sorted(zlib.crc32(gram.encode()) for gram in grams), np.uint64)
