"""Near copies: contents that are the same but for what does not matter, such as compression, noise or a changed word.

On both sides of the split they let a model be tested on what it has learned by heart; on one side they count twice.
Exact copies have checks of their own. Signatures decide where there are any: they compare parts one by one, while
vectors only sum them up. Otherwise fingerprints do, or else features.

Of one group in the order of time, such as the frames of a drive, neighbours are alike by nature: they are no copies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, Offender, count_rows, finding
from sluiceway.checks.near_copies import Pairs, alike_signatures, alike_vectors
from sluiceway.checks.neighbours import Places
from sluiceway.data.sketches import Sketches
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

_FEW = 2
"""So many examples close no gate, however few there are in all: unless the limit is 0."""


def near_copies(material: Material) -> Iterable[Finding]:
    """Look for near copies between held-out and training examples, and inside the sides."""
    sketches, table = material.sketches, material.sampled
    if len(table) < 2:
        return
    splits = table["split"].to_numpy()
    same = np.unique(table["checksum"].to_numpy().astype(str), return_inverse=True)[1].reshape(-1)
    pairs = _find(sketches, splits, same)
    if pairs is None:
        return
    pairs = _without_neighbours(pairs, table)
    ids = table["id"].to_list()
    everything = count_rows(material.scan())
    yield _across(material, pairs, splits, ids, everything)
    yield _inside(material, pairs, splits, ids, everything)


def _find(sketches: Sketches, splits: npt.NDArray[np.object_], same: Places) -> Pairs | None:
    """Find near copies among the first of all exact copies on a side."""
    sides = np.unique(splits.astype(str), return_inverse=True)[1].reshape(-1)
    _, first = np.unique(same * (sides.max() + 1) + sides, return_index=True)
    first = np.sort(first)
    vectors = sketches.features if sketches.fingerprints is None else sketches.fingerprints
    if sketches.signatures is not None:
        pairs = alike_signatures(sketches.signatures[first], same[first])
    elif vectors is not None:
        pairs = alike_vectors(vectors[first], same[first])
    else:
        return None
    return Pairs(first[pairs.one], first[pairs.other], pairs.alike)


def _without_neighbours(pairs: Pairs, table: "pl.DataFrame") -> Pairs:
    """Leave out pairs of one group, on one side, that both have a time: a series resembles itself."""
    import polars as pl

    timed = pl.col("group").is_not_null() & pl.col("time").is_not_null()
    series = table.select(pl.when(timed).then(pl.struct("group", "split").rank("dense")).otherwise(0))
    number = series.to_series().to_numpy()
    kept = (number[pairs.one] != number[pairs.other]) | (number[pairs.one] == 0)
    return Pairs(pairs.one[kept], pairs.other[kept], pairs.alike[kept])


@dataclass(frozen=True, slots=True)
class _Copied:
    """Examples that copy another one."""

    places: Places
    """Of the examples: [n], each once."""
    originals: Places
    """What each is most like: [n]."""
    alike: npt.NDArray[np.float32]
    counts: Places
    """How many it is like: [n]."""


def _copied(copies: Places, originals: Places, alike: npt.NDArray[np.float32]) -> _Copied:
    order = np.lexsort((originals, -alike, copies))
    places, starts, counts = np.unique(copies[order], return_index=True, return_counts=True)
    return _Copied(places, originals[order][starts], alike[order][starts], counts)


def _across(
    material: Material, pairs: Pairs, splits: npt.NDArray[np.object_], ids: list[str], everything: int
) -> Finding:
    learned = splits == "train"
    one, other = learned[pairs.one], learned[pairs.other]
    mixed = one != other
    held = np.where(one, pairs.other, pairs.one)[mixed]
    known = np.where(one, pairs.one, pairs.other)[mixed]
    return _judged(
        "near_copies_across_splits",
        "of the held-out examples have a near copy among the training examples",
        _copied(held, known, pairs.alike[mixed]),
        of=int(np.count_nonzero(~learned)),
        limit=material.limits.max_leaked,
        severity=Severity.close,
        ids=ids,
        everything=everything,
    )


def _inside(
    material: Material, pairs: Pairs, splits: npt.NDArray[np.object_], ids: list[str], everything: int
) -> Finding:
    together = splits[pairs.one] == splits[pairs.other]
    return _judged(
        "near_copies_inside_splits",
        "of the examples are near copies of an earlier one on the same side",
        _copied(pairs.other[together], pairs.one[together], pairs.alike[together]),
        of=len(ids),
        limit=material.limits.max_duplicates,
        severity=Severity.warn,
        ids=ids,
        everything=everything,
    )


def _judged(
    name: str,
    what: str,
    copied: _Copied,
    *,
    of: int,
    limit: float,
    severity: Severity,
    ids: list[str],
    everything: int,
) -> Finding:
    found = len(copied.places)
    estimate = whole_count(copied.counts, len(ids) / everything)
    share = min(1.0, estimate / of) if of else 0.0
    sampled = "" if len(ids) == everything else f", as a sample of {len(ids):,} of {everything:,} lets expect"
    return finding(
        name,
        f"{100 * share:.2g} % {what} ({found:,} of {of:,} compared{sampled}); at most {100 * limit:g} % may",
        passed=share <= limit or (found <= _FEW and limit > 0),
        figure=round(share, 6),
        limit=limit,
        severity=severity,
        offenders=[
            Offender(ids[place], f"{alike:.2f} alike", ids[original], float(alike))
            for place, original, alike in zip(copied.places, copied.originals, copied.alike, strict=True)
        ],
    )


def whole_count(counts: Places, share: float) -> float:
    """Estimate how many of the sampled examples have a copy anywhere, from the copies in the sample.

    A copy of a sampled example is in the sample as often as any example is. Those seen with one copy stand for others
    whose copy was not drawn (the jackknife of sampling without replacement: Burnham and Overton, 1978).

    Args:
        counts: copies in the sample of each example that has any.
        share: of all examples that are in the sample.
    """
    return float(len(counts) + np.count_nonzero(counts == 1) * (1 - share) / share)
