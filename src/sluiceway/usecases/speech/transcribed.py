"""How sounds and what is said in them may lie in a raw folder.

As lists: ``metadata.csv`` beside the sounds (Hugging Face's audiofolder); as LibriSpeech: ``<id>.flac`` beside
``<speaker>-<chapter>.trans.txt`` with a line ``<id> TEXT`` for each; as Common Voice: ``clips/`` and ``validated.tsv``,
or ``train.tsv``, ``dev.tsv`` and ``test.tsv``, with ``path``, ``sentence`` and ``client_id``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sluiceway.data.sources import split_folders
from sluiceway.data.table import Example, SplitName, TargetKind
from sluiceway.errors import UnknownLayout
from sluiceway.usecases.speech.layouts import SOUNDS
from sluiceway.usecases.speech.params import TranscribedData
from sluiceway.usecases.targets.listing import (
    LISTS,
    Row,
    column_of,
    examples_of,
    file_at,
    files_of,
    read_listed,
    read_table,
)

_TRANSCRIPTS = ".trans.txt"
_ALL = "validated.tsv"
_SIDES: dict[str, SplitName] = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}
_CLIPS = "clips"


def read(raw: Path, data: TranscribedData, target: TargetKind) -> Iterator[Example]:
    """List sounds with their texts. The id is the path.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    sounds, lists = files_of(raw, SOUNDS, target, LISTS | {_ALL, *_SIDES})
    texts = sorted(path for path in raw.rglob(f"*{_TRANSCRIPTS}") if not path.name.startswith("."))
    tables = [path for path in lists if path.suffix == ".tsv"]
    if texts:
        return _librispeech(raw, sounds, texts)
    if tables:
        return _common_voice(raw, tables, data)
    return read_listed(raw, data, target, SOUNDS)


def _librispeech(raw: Path, sounds: Sequence[Path], texts: Sequence[Path]) -> Iterator[Example]:
    """The group is the speaker; folders such as ``train-clean-100``, ``dev-clean`` and ``test-other`` are sides."""
    beside = {(path.parent, path.stem): path for path in sounds}
    rows = []
    for path in texts:
        for number, line in enumerate(_lines(path), start=1):
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            if (path.parent, name) not in beside:
                raise UnknownLayout(
                    f"line {number} of {path} names {name}, and there is no sound of that name beside it",
                    hint=f"expected {name}.flac, or .wav, in {path.parent}",
                )
            below = beside[path.parent, name].relative_to(raw).as_posix()
            rows.append(Row(below, text, name.partition("-")[0]))
    short = {path: raw / path.relative_to(raw).parts[0].partition("-")[0] / path.name for path in sounds}
    known = split_folders(raw, short.values())
    for example in examples_of(raw, sounds, rows, SOUNDS):
        yield replace(example, split=known.get(example.id.partition("/")[0].partition("-")[0]))


def _common_voice(raw: Path, tables: Sequence[Path], data: TranscribedData) -> Iterator[Example]:
    """The group is who speaks. Clips that stand in no table are those that nobody has validated, and are left out."""
    sides = [path for path in tables if path.name in _SIDES]
    split = {_SIDES[path.name] for path in sides} >= {"train", "test"}
    chosen = sides if split else [path for path in tables if path.name == _ALL]
    if not chosen:
        found = ", ".join(path.name for path in tables)
        raise UnknownLayout(
            f"{raw} has {found}, and neither {_ALL} nor both train.tsv and test.tsv",
            hint=f"nearest: give {_ALL} with the columns path, sentence and client_id, beside {_CLIPS}/",
        )
    found_rows: dict[str, Example] = {}
    for path in chosen:
        table = read_table(path, "\t", quotes=False)
        name, text = (
            column_of(path, table.columns, ["path"]),
            column_of(path, table.columns, [data.label or "sentence"]),
        )
        speaker = data.group_column or ("client_id" if "client_id" in table.columns else None)
        folder = path.parent / _CLIPS if (path.parent / _CLIPS).is_dir() else path.parent
        for line, row in table.rows:
            if not row[name] or row[text] is None:
                raise UnknownLayout(f"line {line} of {path} lacks {name} or {text}", hint="mend the table")
            below = file_at(raw, folder, row[name], path, SOUNDS)
            if below in found_rows:
                raise UnknownLayout(f"line {line} of {path} names {row[name]} again", hint="mend the table")
            side = _SIDES[path.name] if split else None
            group = (row[speaker] or None) if speaker else None
            found_rows[below] = Example(id=below, source=below, target=row[text], group=group, split=side)
    yield from (found_rows[name] for name in sorted(found_rows))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UnknownLayout(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
