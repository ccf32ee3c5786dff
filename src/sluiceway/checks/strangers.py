"""Strangers: contents unlike all others, such as a photograph among letters or another language.

Three eyes, of which each use case has some: the features, the fingerprint, and how badly a model of the other contents
fits (or how well: what repeats itself surprises too little). A content that one of them sees far outside is a stranger.
A single one is named; more than a share of them closes the gate. A class of which most are strangers is none: its
examples look different because they are another class.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, Offender, finding
from sluiceway.checks.outliers import FEW
from sluiceway.checks.remoteness import remoteness
from sluiceway.data.fences import Floats, plain_fences
from sluiceway.gates.verdict import Severity

_LEAST = 20
"""Examples below which nobody can be called a stranger."""
_BEYOND = 1e-6
"""Probability of a content beyond a fence: contents vary in more ways than one number, so the fences stand far out."""
_FAR = 2.0
"""Nothing is strange that is not so many times as far from the others as most."""
_CROWD = 0.06
"""Of more, where there are no classes to tell, it is not clear whether they are strangers or a kind of their own."""
_OWN_KIND = 0.5
"""A class of which more than this share are strangers is a kind of its own."""


@dataclass(frozen=True, slots=True)
class _View:
    """What one eye sees."""

    rows: npt.NDArray[np.int64]
    """Rows in the example table: [M]."""
    figures: Floats
    """[M]; NaN where nothing is known."""
    distance: bool
    """Whether figures are distances: then little is not strange, and as much as most times ``_FAR`` is not."""
    detail: str


def strangers(material: Material) -> Iterable[Finding]:
    """Look for contents unlike all others."""
    views = list(_views(material))
    if not views:
        return
    odd: dict[int, tuple[float, str]] = {}  # by row: how far out, and why
    for view in views:
        for row, score, detail in _outside(view):
            if score > odd.get(row, (0.0, ""))[0]:
                odd[row] = (score, detail)
    table = material.sampled
    rows = table["row"].to_list()
    kinds = table["target"].to_list() if material.target == "class" else [None] * len(table)
    own = _own_kinds(rows, kinds, odd)
    offenders = [
        Offender(name, odd[row][1], score=odd[row][0])
        for row, name, kind in zip(rows, table["id"], kinds, strict=True)
        if row in odd and kind not in own
    ]
    share = len(offenders) / len(table)
    limit = material.limits.max_strangers
    yield finding(
        "strangers",
        f"{len(offenders):,} of {len(table):,} examples ({100 * share:.2g} %) have contents unlike all others; at most "
        f"{100 * limit:g} % may",
        passed=share <= limit or (len(offenders) <= FEW and limit > 0),
        figure=round(share, 6),
        limit=limit,
        severity=Severity.warn if material.target != "class" and share > _CROWD else Severity.close,
        offenders=offenders,
    )


def _own_kinds(rows: Sequence[int], kinds: Sequence[str | None], odd: Container[int]) -> set[str]:
    """Return the classes of which most examples look strange."""
    sizes = Counter(kinds)
    strange = Counter(kind for row, kind in zip(rows, kinds, strict=True) if row in odd)
    return {kind for kind, count in strange.items() if kind is not None and count > _OWN_KIND * sizes[kind]}


def _views(material: Material) -> Iterator[_View]:
    sketches, answers = material.sketches, material.answers
    detail = "{ratio:.1f} times as far from the others as most"
    for vectors in (sketches.features, sketches.fingerprints):
        if vectors is not None and len(vectors) >= _LEAST:
            yield _View(sketches.rows, remoteness(vectors), distance=True, detail=detail)
    if answers is not None and answers.surprise is not None and len(answers) >= _LEAST:
        detail = "surprise {figure:.2f}; the middle half lies between {half[0]:.2f} and {half[1]:.2f}"
        yield _View(answers.rows, answers.surprise, distance=False, detail=detail)


def _outside(view: _View) -> Iterator[tuple[int, float, str]]:
    """Yield row, score and detail of what lies outside the fences."""
    known = view.figures[np.isfinite(view.figures)]
    if len(known) < _LEAST:
        return
    found = plain_fences(known, _BEYOND)
    middle = float(np.median(known))
    high = max(found.high, _FAR * middle) if view.distance else found.high
    above = view.figures > high
    below = (view.figures < found.low) & (not view.distance)
    for at in np.flatnonzero(above | below):
        figure = float(view.figures[at])
        span = (high if above[at] else found.low) - middle
        detail = view.detail.format(figure=figure, ratio=figure / max(middle, 1e-12), half=found.quartiles)
        yield int(view.rows[at]), (figure - middle) / span if span else 1.0, detail
