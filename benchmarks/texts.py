"""Texts with a class: which kind of book a verse is of, by a transformer from random weights and by TF-IDF.

    python benchmarks/texts.py             # prints; some minutes
    python benchmarks/texts.py --write     # and writes benchmarks/results/texts.md

The verses of the King James Bible in four kinds of books; whole books are on one side of the split, so nobody is asked
about a book that was learned from. A pipeline of its own in a fresh clone, through all seven stages. A score has its
95 % interval by bootstrap over books; *ahead by* is the paired difference on the same verses.
"""

import argparse
import json
import os
from pathlib import Path

from ruamel.yaml import YAML

from sluiceway.data.languages import language_met
from sluiceway.data.samples import english_spanish, verses
from spine import ROOT, clone_of, machine, origin, table
from usecases import measured

RESULTS = ROOT / "benchmarks" / "results" / "texts.md"
NAME = "books"
KINDS = {
    "narrative": (*range(1, 18), *range(40, 45)),
    "poetry": (*range(18, 23), 25),
    "prophecy": (23, 24, *range(26, 40), 66),
    "letter": range(45, 66),
}
"""Kinds of books by their numbers. A prophet also tells, a narrator sings: of single verses many labels look wrong."""
PARAMS = """\
usecase: text
target: class
data:
  group_column: book
  language: en
  split: {validation: 0.1, test: 0.25, seed: SALT}
encode: {vocabulary: 3000, longest: 64}
model: {name: encoder, channels: 96, layers: 2, heads: 4, dropout: 0.2}
objective: {hidden: 0.1}
gates: {data: {max_label_errors: 0.15}, cost: {}, model: {}}
train: {epochs: EPOCHS, global_batch: 64, lr: 0.002}
evaluate: {}
register: {}
"""


def lay_out(raw: Path, most: int) -> None:
    """Write ``verses.jsonl``: the first verses of each book, with its name and kind. What stands twice is told once.

    Args:
        raw: the raw folder.
        most: verses of a book.
    """
    books = raw.parent / f"{raw.name}-books"
    verses.lay_out(books)
    kind_of = {number: kind for kind, numbers in KINDS.items() for number in numbers}
    raw.mkdir(parents=True, exist_ok=True)
    told: set[str] = set()
    with (raw / "verses.jsonl").open("w", encoding="utf-8") as file:
        for path in sorted(books.iterdir()):
            lines = [*filter(str.strip, path.read_text(encoding="utf-8").splitlines())][:most]
            for line in [each for each in lines if each not in told]:
                told.add(line)
                row = {"text": line, "label": kind_of[int(path.name[:2])], "book": path.stem}
                file.write(json.dumps(row) + "\n")
            path.unlink()
    books.rmdir()


def add_pipeline(root: Path, salt: int, epochs: int) -> None:
    """Put the pipeline into a project."""
    folder, path = root / "pipelines" / NAME, root / "params.yaml"
    folder.mkdir()
    (folder / "params.yaml").write_text(
        PARAMS.replace("SALT", str(salt)).replace("EPOCHS", str(epochs)), encoding="utf-8"
    )
    expected = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "words", "min_value": 1}}
    suite = {"name": NAME, "expectations": [{**expected, "severity": "critical"}]}
    (folder / "expectations.json").write_text(json.dumps(suite), encoding="utf-8")
    yaml = YAML()
    document = yaml.load(path)
    document["pipelines"][NAME] = {"code": "src/sluiceway/usecases/text"}
    yaml.dump(document, path)


def languages(folder: Path) -> list[str]:
    """Ask of each verse of the Bible in English and in Spanish whether it is in either language."""
    english_spanish.lay_out(folder)
    said = {
        ending: [line for path in sorted(folder.glob(f"*.{ending}")) for line in path.read_text("utf-8").splitlines()]
        for ending in ("en", "es")
    }
    rows = []
    for language, lines in said.items():
        for wanted in said:
            met = sum(language_met(line, wanted) != "" for line in lines)
            rows.append([language, wanted, f"{len(lines):,}", f"{met:,}", f"{met / len(lines):.1%}"])
    head = ["verses in", "`data.language`", "how many", "set aside", "share"]
    return ["## Another language, by its little words", "", *table(head, rows), ""]


def main() -> None:
    """Run, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--verses", type=int, default=150, help="of each book")
    parser.add_argument("--salt", type=int, default=239, help="of the split")
    parser.add_argument("--epochs", type=int, default=6)
    chosen = parser.parse_args()
    commit = origin(ROOT)
    with clone_of(ROOT) as clone:
        add_pipeline(clone.root, chosen.salt, chosen.epochs)
        lay_out(clone.root / "data" / "raw" / NAME, chosen.verses)
        lines = [*measured(clone, NAME), *languages(clone.root / "data" / "raw" / "languages")]
    about = (
        f"Up to {chosen.verses} verses of each book. Commit {commit}, {machine()}, with a load of "
        f"{os.getloadavg()[1]:.0f} and nice {os.nice(0)}."
    )
    head = ["# Texts with a class, measured", "", *(__doc__ or "").strip().splitlines()[5:], ""]
    text = "\n".join([*head, *lines[:2], f"{lines[2]} {about}", *lines[3:]])
    print(text, flush=True)
    if chosen.write:
        RESULTS.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
