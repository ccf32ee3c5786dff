"""MovieLens 100K: who rated which film, and when; the films; the people.

The data is GroupLens' and under its own terms (https://files.grouplens.org/datasets/movielens/ml-100k-README.txt):
for research, not to be passed on, no commercial use without permission, to be acknowledged in publications: Harper
and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015. So it is fetched by whoever wants
it, and is no part of this repository.
"""

from pathlib import Path

from sluiceway.data.samples.fetch import members_of_wheel

_WHEEL = ("recbole==1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
_MEMBER = "recbole/dataset_example/ml-100k/ml-100k"
_PARTS = ("inter", "item", "user")


def lay_out(raw: Path) -> None:
    """Write the three tables as they are."""
    raw.mkdir(parents=True, exist_ok=True)
    contents = members_of_wheel(*_WHEEL, [f"{_MEMBER}.{part}" for part in _PARTS])
    for part, content in zip(_PARTS, contents, strict=True):
        (raw / f"ml-100k.{part}").write_bytes(content)
