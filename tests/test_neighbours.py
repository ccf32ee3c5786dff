"""Nearest neighbours, against scikit-learn, and how many of them the search in cells finds."""

import numpy as np
import pytest

from sluiceway.checks.neighbours import nearest


def clustered(rng, count, features=24):
    """Vectors around many middles, as contents are."""
    middles = rng.normal(0, 1, (60, features))
    return (middles[rng.integers(60, size=count)] + rng.normal(0, 0.5, (count, features))).astype(np.float32)


def reference(vectors, k):
    from sklearn.neighbors import NearestNeighbors

    distances, places = NearestNeighbors(n_neighbors=k + 1).fit(vectors).kneighbors(vectors)
    return distances[:, 1:], places[:, 1:]


@pytest.mark.parametrize(("count", "k"), [(2, 1), (3, 5), (30, 10), (700, 20)])
def test_few_vectors_are_searched_exactly(rng, count, k):
    vectors = clustered(rng, count)
    distances, places = nearest(vectors, k)
    expected, where = reference(vectors, min(k, count - 1))
    np.testing.assert_allclose(distances, expected, rtol=1e-4)
    np.testing.assert_array_equal(places, where)


@pytest.mark.parametrize("count", [0, 1])
def test_who_is_alone_has_no_neighbours(count):
    distances, places = nearest(np.zeros((count, 3), np.float32), 5)
    assert distances.shape == places.shape == (count, 0)


def test_copies_are_at_distance_zero_wherever_they_lie(rng):
    """Squared distances from a matrix product would leave a rest far from the origin."""
    vectors = clustered(rng, 200) + 1_000
    distances, places = nearest(np.concatenate([vectors, vectors]), 1)
    assert (distances == 0).all()
    np.testing.assert_array_equal(places[:, 0], np.roll(np.arange(400), 200))


def test_nobody_is_its_own_neighbour(rng):
    vectors = np.repeat(clustered(rng, 20), 10, axis=0)
    for exact in (1_000, 50):
        _, places = nearest(vectors, 30, exact=exact)
        assert not (places == np.arange(200)[:, None]).any()


@pytest.mark.parametrize("k", [1, 10])
def test_cells_find_nearly_all_neighbours(rng, k):
    vectors = clustered(rng, 6_000)
    _, places = nearest(vectors, k, exact=100)
    _, where = reference(vectors, k)
    found = [len(set(one) & set(other)) / k for one, other in zip(places.tolist(), where.tolist(), strict=True)]
    assert np.mean(found) > 0.95


def test_cells_miss_without_enough_probes(rng):
    """The recall above is no accident: vectors without clusters have neighbours in many cells."""
    vectors = rng.normal(size=(6_000, 24)).astype(np.float32)
    _, where = reference(vectors, 10)

    def recall(probes):
        _, places = nearest(vectors, 10, exact=100, probes=probes)
        return np.mean(
            [len(set(one) & set(other)) / 10 for one, other in zip(places.tolist(), where.tolist(), strict=True)]
        )

    assert recall(1) < 0.5 * recall(16)
    assert recall(64) > 0.9


def test_the_same_vectors_give_the_same_neighbours(rng):
    vectors = clustered(rng, 3_000)
    for one, other in zip(nearest(vectors, 5, exact=100), nearest(vectors.copy(), 5, exact=100), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_cell_lacks_is_infinitely_far(rng):
    far = [clustered(rng, 200) + 100 * side for side in range(3)]
    distances, places = nearest(np.concatenate([*far, clustered(rng, 3) - 500]), 40, exact=10, probes=1)
    np.testing.assert_array_equal(places == -1, np.isinf(distances))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
