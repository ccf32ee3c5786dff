"""Small versions of the built-in pipelines: real data, cut down, and a training of seconds."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from projects import ROOT, Project, make_project, suite
from sluiceway.errors import FetchError

sys.path.insert(0, str(ROOT / "benchmarks"))

UNIQUE = (("expect_column_values_to_be_unique", {"column": "id"}),)


@dataclass(frozen=True)
class Small:
    """A pipeline whose stages take seconds."""

    usecase: str
    """Its folder below ``usecases``."""
    lay_out: Callable[[Path], None]
    """Write the raw data."""
    options: str
    """Parameters, without the sections that all share."""
    bar: str
    """What the champion must reach, which every network does."""
    data_gate: str = "min_examples: 10"
    """Its limits."""
    contract: tuple[tuple[str, dict[str, object]], ...] = field(default=UNIQUE)


_COMMON = """\
gates:
  data: {DATA_GATE}
  cost: {probe_steps: 5}
  model: {beat_baselines: false, BAR}
train: {epochs: 1, global_batch: 20, lr: 0.003}
register: {}
"""


def sounds(raw: Path) -> None:
    """Lay out 40 syllables in each tone."""
    from sluiceway.data.samples import tones

    whole = raw.with_name("all")
    tones.lay_out(whole)
    for folder in sorted(whole.iterdir()):
        for path in sorted(folder.iterdir())[:40]:
            (raw / folder.name).mkdir(parents=True, exist_ok=True)
            path.rename(raw / folder.name / path.name)
    shutil.rmtree(whole)


def ratings(raw: Path) -> None:
    """Lay out the ratings of a hundred people."""
    from sluiceway.data.samples import movielens

    movielens.lay_out(raw)
    path = next(raw.glob("*.inter"))
    head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(head + "".join(line for line in lines if int(line.split("\t")[0]) <= 100), encoding="utf-8")


def drives(raw: Path) -> None:
    """Record eight short drives."""
    from sluiceway.data.samples import track

    for seed in range(1, 9):
        track.lay_out_drive(raw / f"drive_{seed:03d}", seed, 30)


def verses(raw: Path) -> None:
    """Lay out the first 20 verses of each book, in English and Spanish."""
    from sluiceway.data.samples import english_spanish

    english_spanish.lay_out(raw)
    for path in raw.iterdir():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:20]), encoding="utf-8")


def dialogues(raw: Path) -> None:
    """Lay out the first three sounds of each level."""
    from sluiceway.data.samples import fillets

    fillets.lay_out(raw)
    path = raw / "metadata.csv"
    head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    seen: Counter[str] = Counter()
    kept = []
    for line in lines:
        name, _, _ = line.partition(",")
        seen[level := name.partition("/")[0]] += 1
        if seen[level] <= 3:
            kept.append(line)
        else:
            (raw / name).unlink()
    path.write_text("".join([head, *kept]), encoding="utf-8")


def books(raw: Path) -> None:
    """Lay out the first 20 verses of each book, with the kind of the book."""
    from texts import lay_out

    lay_out(raw, 20)


SMALL = {
    "books": Small(
        "text",
        books,
        "usecase: text\ntarget: class\n"
        "data: {group_column: book, language: en, split: {validation: 0.2, test: 0.3, seed: 157}}\n"
        "encode: {vocabulary: 600, longest: 40}\nmodel: {name: encoder, channels: 16, layers: 1, heads: 2}\n"
        "objective: {}\nevaluate: {resamples: 200}\n",
        "minimum: {accuracy: 0.05}",
        "min_examples: 10, max_label_errors: 0.15",  # a prophet also tells, and a narrator also sings
    ),
    "tones": Small(
        "speech",
        sounds,
        "usecase: speech\ntarget: class\ndata: {group: '/([^/]+)\\.ogg$', split: {validation: 0.2, test: 0.25}}\n"
        "encode: {rate: 8000, seconds: 0.5, bands: 24, high: 4000}\n"
        "model: {name: conv, stem: 8, widths: [8, 16], depths: [1, 1]}\nobjective: {}\nevaluate: {resamples: 200}\n",
        "minimum: {accuracy: 0.05}",
    ),
    "movielens": Small(
        "recommendation",
        ratings,
        "usecase: recommendation\ntarget: text\ndata: {lowest_rating: 1, highest_rating: 5}\nencode: {context: 20}\n"
        "model: {name: sasrec, channels: 16, layers: 1, heads: 2}\nobjective: {}\nevaluate: {resamples: 200}\n",
        "minimum: {hit_rate_10: 0.0}",
    ),
    "track": Small(
        "driving",
        drives,
        "usecase: driving\ntarget: number\ndata: {split: {validation: 0.2, test: 0.3}}\n"
        "encode: {height: 42, width: 48}\n"
        "model: {name: pilotnet, channels: [8, 8], kernels: [5, 5], strides: [2, 2], hidden: [10]}\nobjective: {}\n"
        "evaluate: {resamples: 200, closed_loop: {world: none}}\n",
        "maximum: {steering_mae: 100}",
    ),
    "english-spanish": Small(
        "translation",
        verses,
        "usecase: translation\ntarget: text\n"
        "data: {source: en, target: es, group: '^([^#]+)#', split: {validation: 0.2, test: 0.2}}\n"
        "encode: {vocabulary: 500, longest: 64}\n"
        "model: {name: transformer, channels: 16, encoder_layers: 1, decoder_layers: 1, heads: 2, beam: 1}\n"
        "objective: {}\nevaluate: {resamples: 200}\n",
        "minimum: {chrf: 0}",
        "min_examples: 10, max_quarantined: 0.05",
    ),
    "fillets": Small(
        "speech",
        dialogues,
        "usecase: speech\ntarget: text\n"
        "data: {group: '^([^/]+)/', split: {validation: 0.2, test: 0.2}, longest: 10, fastest: 22, slowest: 0.5}\n"
        "encode: {rate: 8000, seconds: 10, bands: 24, high: 4000, beam: 1}\n"
        "model: {name: conformer, channels: 16, layers: 1, heads: 2, kernel: 7}\nobjective: {}\n"
        "evaluate: {resamples: 200}\n",
        "maximum: {cer: 100}",
        "min_examples: 10, max_quarantined: 0.03",
    ),
}


def make_small(root: Path, name: str) -> Project:
    """Make a project with one small pipeline; the test is skipped where its data cannot be fetched."""
    small = SMALL[name]
    params = small.options + _COMMON.replace("BAR", small.bar).replace("DATA_GATE", small.data_gate)
    project = make_project(root, {name: (small.usecase, params, suite(*small.contract))})
    or_skip(lambda: small.lay_out(root / "data" / "raw" / name))
    return project


def or_skip(lay_out: Callable[[], None]) -> None:
    """Lay data out; the test is skipped where it cannot be fetched."""
    try:
        lay_out()
    except FetchError as error:
        pytest.skip(f"the data cannot be fetched here: {error}")
