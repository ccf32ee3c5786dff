"""Nearest neighbours by Euclidean distance, exact for thousands of vectors and nearly so for hundreds of thousands.

Many vectors are shared out to cells around centroids, about as many as the square root of their number, and a vector's
neighbours are sought in the cells nearest to its own (an inverted file: Jegou et al., 2011). Memory is bounded, and the
same vectors give the same neighbours.

Shapes: M vectors, F features, K neighbours, Q asked vectors of a block, C candidates.
"""

import numpy as np
import numpy.typing as npt

from sluiceway.data.sketches import Vector

Places = npt.NDArray[np.int64]

EXACT = 20_000
"""Up to so many vectors, each is compared with each."""
PROBES = 16
"""Cells that are searched."""
_CELLS = 1 << 24
"""Numbers of one block of distances."""
_SAMPLE = 20_000
_ROUNDS = 5


def nearest(vectors: Vector, k: int, *, exact: int = EXACT, probes: int = PROBES) -> tuple[Vector, Places]:
    """Find the nearest neighbours of each vector among the others.

    Args:
        vectors: [M, F].
        k: neighbours of each; fewer are given where there are fewer others.
        exact: number of vectors up to which each is compared with each.
        probes: cells that are searched when there are more.

    Returns:
        Distances [M, K], nearest first, and the neighbours' places in ``vectors`` [M, K]. A search in cells may find
        fewer than K: the rest are infinitely far, at -1.
    """
    k = max(0, min(k, len(vectors) - 1))
    if not k:
        return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
    centred = np.ascontiguousarray(vectors - vectors[:: max(1, len(vectors) // _SAMPLE)].mean(0), np.float32)
    everything = np.arange(len(vectors))
    distances = np.full((len(vectors), k), np.inf, np.float32)
    places = np.full((len(vectors), k), -1, np.int64)
    if len(vectors) <= exact:
        _search(centred, everything, everything, distances, places)
        return distances, places
    centroids, cells = _cells(centred)
    order = np.argsort(cells, kind="stable")
    edges = np.searchsorted(cells[order], np.arange(len(centroids) + 1))
    members = [order[edges[at] : edges[at + 1]] for at in range(len(centroids))]
    for cell, near in enumerate(np.argsort(_squares(centroids, centroids), axis=1, kind="stable")[:, :probes]):
        if len(members[cell]):
            candidates = np.sort(np.concatenate([members[other] for other in near]))
            _search(centred, members[cell], candidates, distances, places)
    return distances, places


def _search(vectors: Vector, asked: Places, candidates: Places, distances: Vector, places: Places) -> None:
    """Fill the rows of the asked vectors with their nearest candidates."""
    k = min(distances.shape[1], len(candidates) - 1)
    if k < 1:
        return
    pool = vectors[candidates]
    step = max(1, _CELLS // len(candidates))
    for start in range(0, len(asked), step):
        rows = asked[start : start + step]
        squares = _squares(vectors[rows], pool)  # [Q, C]
        squares[np.arange(len(rows)), np.searchsorted(candidates, rows)] = np.inf  # nobody is its own neighbour
        found = np.argpartition(squares, k - 1, axis=1)[:, :k]
        exact = _differences(vectors[rows], pool, found)
        ranks = np.lexsort((found, exact), axis=1)
        distances[rows, :k] = np.take_along_axis(exact, ranks, 1)
        places[rows, :k] = candidates[np.take_along_axis(found, ranks, 1)]


def _squares(one: Vector, other: Vector) -> Vector:
    """Return squared distances [Q, C] by a matrix product; of near copies only roughly."""
    squares = one @ other.T
    squares *= -2
    squares += np.einsum("qf,qf->q", one, one)[:, None]
    squares += np.einsum("cf,cf->c", other, other)
    return squares


def _differences(one: Vector, pool: Vector, found: npt.NDArray[np.intp]) -> Vector:
    """Return the distances [Q, K] without the cancellation of :func:`_squares`."""
    distances = np.empty(found.shape, np.float32)
    step = max(1, _CELLS // (found.shape[1] * pool.shape[1]))
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        gaps = pool[found[part]] - one[part, None, :]
        distances[part] = np.sqrt(np.einsum("qkf,qkf->qk", gaps, gaps))
    return distances


def _cells(vectors: Vector) -> tuple[Vector, Places]:
    """Return centroids [cells, F], by a few rounds of Lloyd on a sample, and the cell of each vector [M]."""
    rng = np.random.default_rng(0)
    sample = vectors[np.sort(rng.choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False))]
    centroids = sample[rng.choice(len(sample), min(len(sample), round(len(vectors) ** 0.5)), replace=False)].copy()
    for _ in range(_ROUNDS):
        cells = _nearest_centroid(sample, centroids)
        order = np.argsort(cells, kind="stable")
        used, starts = np.unique(cells[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        centroids[used] = sums / np.diff(np.append(starts, len(order)))[:, None]
    return centroids, _nearest_centroid(vectors, centroids)


def _nearest_centroid(vectors: Vector, centroids: Vector) -> Places:
    step = max(1, _CELLS // len(centroids))
    blocks = [_squares(vectors[start : start + step], centroids).argmin(1) for start in range(0, len(vectors), step)]
    return np.concatenate(blocks).astype(np.int64)
