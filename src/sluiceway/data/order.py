"""The order of examples, as integer arithmetic.

Training reads one endless stream of positions 0, 1, 2, ... Position ``p`` belongs to epoch ``p // n`` and names one
example of that epoch's permutation of ``n``. Step ``s`` takes the positions ``s*G .. (s+1)*G`` whoever trains, so the
global batch is a function of (seed, step) alone: not of workers, micro-batches, loader processes or restarts. To go
on after a crash one number is needed: the step.

The permutation is a Feistel network over the smallest even-width power of two that holds ``n``, walked along its cycles
until it lands inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). It needs no memory and
no random generator whose stream could change with a library's version.

Shapes: B positions of a batch, K draws per example.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]

_WORD = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUND_KEYS = tuple(np.uint64(turn * int(_GOLDEN) & _WORD) for turn in range(1, 7))


def _mix(words: _Words) -> _Words:
    """SplitMix64's finalizer (Steele, Lea and Flood, 2014): each bit of the input changes half of the output's."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def mix(*numbers: int) -> int:
    """Hash integers into one of 63 bits: a seed for something that draws its own numbers."""
    state = np.zeros(1, np.uint64)
    for number in numbers:
        state = _mix(state * np.uint64(3) + _GOLDEN + np.uint64(number & _WORD))
    return int(state[0] >> np.uint64(1))


def permute(positions: Ints, n: int, key: int | Ints) -> Ints:
    """Send positions within an epoch to examples, one to one.

    Args:
        positions: [B], each in ``0 .. n-1``.
        n: number of examples.
        key: which permutation; one for all, or one per position.

    Returns:
        [B], each in ``0 .. n-1``.
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.broadcast_to(np.asarray(key, np.int64).astype(np.uint64), positions.shape)
    result = positions.astype(np.uint64)
    outside = np.ones(len(positions), bool)
    while outside.any():
        left, right = result[outside] >> half, result[outside] & mask
        for round_key in _ROUND_KEYS:
            left, right = right, left ^ (_mix(right + (keys[outside] + round_key)) & mask)
        result[outside] = (left << half) | right
        outside = result >= np.uint64(n)
    return result.astype(np.int64)


def positions_of(step: int, global_batch: int, *, rank: int = 0, world: int = 1, micro: int = 0, of: int = 1) -> Ints:
    """Return the stream positions that one worker reads for one micro-batch of a step.

    Args:
        step: optimizer step, from 0.
        global_batch: examples per step, all workers together; a multiple of ``world * of``.
        rank: this worker.
        world: number of workers.
        micro: which micro-batch of the step.
        of: micro-batches per step.

    Returns:
        [global_batch / (world * of)]
    """
    share = global_batch // (world * of)
    start = step * global_batch + (rank * of + micro) * share
    return np.arange(start, start + share, dtype=np.int64)


def examples_at(positions: Ints, n: int, seed: int) -> tuple[Ints, Ints]:
    """Return the (example, epoch) of each stream position: [B] and [B]."""
    epochs, within = np.divmod(positions, n)
    keys = np.empty_like(positions)
    for epoch in np.unique(epochs):
        keys[epochs == epoch] = mix(seed, int(epoch))
    return permute(within, n, keys), epochs


class Nearby:
    """An order that mixes the examples of a few shards at a time: for data that a host cannot keep whole.

    In each epoch the shards come in another order, in groups of ``reach``, and examples are permuted within their
    group. So a group and the next one are all that is needed near. As in :func:`examples_at`, the order is a function
    of counters: whoever trains, and wherever shards lie, the global batches are the same.

    Args:
        starts: first example of each shard, and their number behind the last: [S + 1].
        reach: shards of a group.
        seed: of the order.
    """

    def __init__(self, starts: Ints, reach: int, seed: int) -> None:
        self._starts = starts
        self._reach = reach
        self._seed = seed
        self._known: tuple[int, Ints, Ints] | None = None

    def __call__(self, positions: Ints) -> tuple[Ints, Ints]:
        """Return the (example, epoch) of each stream position: [B] and [B]."""
        epochs, within = np.divmod(positions, self._starts[-1])
        examples = np.empty_like(positions)
        for epoch in np.unique(epochs):
            examples[epochs == epoch] = self._of_epoch(int(epoch), within[epochs == epoch])
        return examples, epochs

    def _of_epoch(self, epoch: int, within: Ints) -> Ints:
        shards, begins = self._shards(epoch)
        groups = np.append(begins[: -1 : self._reach], begins[-1])
        owners = np.searchsorted(groups, within, side="right") - 1
        examples = np.empty_like(within)
        for group in np.unique(owners):
            mine, low = owners == group, groups[group]
            key = mix(self._seed, epoch, 1 + int(group))
            places = low + permute(within[mine] - low, int(groups[group + 1] - low), key)
            turns = np.searchsorted(begins, places, side="right") - 1
            examples[mine] = self._starts[shards[turns]] + places - begins[turns]
        return examples

    def _shards(self, epoch: int) -> tuple[Ints, Ints]:
        """Return the shards in the order of an epoch, and where each begins in it: [S] and [S + 1]."""
        known = self._known  # others may ask of another epoch meanwhile
        if known is None or known[0] != epoch:
            count = len(self._starts) - 1
            shards = permute(np.arange(count, dtype=np.int64), count, mix(self._seed, epoch, 0))
            sizes = np.diff(self._starts)[shards]
            known = self._known = epoch, shards, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return known[1:]


def keys_at(positions: Ints, seed: int) -> npt.NDArray[np.int32]:
    """Return what the draws of a network at each stream position are made from: [B], any 32 bits."""
    words = _mix(np.uint64(mix(seed, 0xC4A2CE)) + positions.astype(np.uint64) * _GOLDEN)
    return (words >> np.uint64(32)).astype(np.uint32).view(np.int32)


def draws(examples: Ints, epochs: Ints, seed: int, count: int) -> npt.NDArray[np.float32]:
    """Return uniform numbers in [0, 1) that depend on (seed, epoch, example) alone: augmentation's dice.

    Returns:
        [B, K] with K = ``count``.
    """
    base = np.uint64(mix(seed, 0x0D1CE))
    state = _mix(base + examples.astype(np.uint64) * _GOLDEN) + epochs.astype(np.uint64)
    counters = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    words = _mix(_mix(state)[:, None] + counters[None, :])
    return ((words >> np.uint64(40)).astype(np.float64) / float(1 << 24)).astype(np.float32)
