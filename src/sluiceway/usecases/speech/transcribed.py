"""How sounds and what is said in them may lie in a raw folder.

As lists: ``metadata.csv`` beside the sounds (Hugging Face's audiofolder), or another table. As LibriSpeech:
``<id>.flac`` beside ``<speaker>-<chapter>.trans.txt`` with a line ``<id> TEXT`` for each. As Common Voice: ``clips/``
with ``validated.tsv``, or ``train.tsv``, ``dev.tsv`` and ``test.tsv``, with ``path``, ``sentence`` and ``client_id``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sluiceway.data.folders import below, files_below
from sluiceway.data.lists import open_list
from sluiceway.data.sides import side_of, split_folders
from sluiceway.data.table import Example, TargetKind
from sluiceway.errors import UnknownLayout
from sluiceway.usecases.speech.layouts import SOUNDS
from sluiceway.usecases.speech.params import TranscribedData
from sluiceway.usecases.targets.finding import Files
from sluiceway.usecases.targets.listing import read_listed, read_lists

_TRANSCRIPTS = ".trans.txt"
_ALL = "validated.tsv"
_SIDES = frozenset({"train.tsv", "dev.tsv", "test.tsv"})
_CLIPS = "clips"


def read(raw: Path, data: TranscribedData, target: TargetKind) -> Iterator[Example]:
    """List sounds with their texts. The id is the path.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    every = files_below(raw, None)
    sounds = [path for path in every if path.suffix.lower() in SOUNDS.suffixes]
    texts = [path for path in every if path.name.endswith(_TRANSCRIPTS)]
    if sounds and texts:
        return _librispeech(raw, sounds, texts)
    if sounds and data.list_ is None and any(path.parent.name == _CLIPS for path in sounds):
        tables = [path for path in every if path.suffix == ".tsv" and (path.parent / _CLIPS).is_dir()]
        if tables:
            return _common_voice(raw, sounds, tables, data, target)
    return read_listed(raw, data, target, SOUNDS)


def _librispeech(raw: Path, sounds: Sequence[Path], texts: Sequence[Path]) -> Iterator[Example]:
    """The group is the speaker; folders such as ``train-clean-100``, ``dev-clean`` and ``test-other`` are sides."""
    beside = {(path.parent, path.stem): below(raw, path) for path in sounds}
    tops = {path: path.relative_to(raw).parts[0].partition("-")[0] for path in sounds}
    sides = split_folders(raw, (f"{top}/{path.name}" for path, top in tops.items()))
    named: set[str] = set()
    for path in texts:
        for number, line in enumerate(_lines(path), start=1):
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            place = (path.parent / name).relative_to(raw).as_posix()
            source = beside.get((path.parent, name), place)
            named.add(source)
            said = text.strip() or None
            fault = None if said else f"no_target: line {number} of {path.relative_to(raw)} has no text"
            side = sides.get(source.partition("/")[0].partition("-")[0])
            yield Example(source, source, said, name.partition("-")[0], side, fault=fault)
    for source in sorted(set(beside.values()) - named):
        yield Example(source, source, fault=f"not_listed: no {_TRANSCRIPTS} says what is said in it")


def _common_voice(
    raw: Path, sounds: Sequence[Path], tables: Sequence[Path], data: TranscribedData, target: TargetKind
) -> Iterator[Example]:
    """The group is who speaks. Clips that stand in no table are those that nobody has validated, and are left out."""
    sides = [path for path in tables if path.name in _SIDES]
    whole = {side_of(path.stem) for path in sides} >= {"train", "test"}
    chosen = sides if whole else [path for path in tables if path.name == _ALL]
    if not chosen:
        found = ", ".join(path.name for path in tables)
        raise UnknownLayout(
            f"{raw} has {found}, and neither {_ALL} nor both train.tsv and test.tsv",
            hint=f"nearest: give {_ALL} with the columns path, sentence and client_id, beside {_CLIPS}/",
        )
    known = Files.of(below(raw, path) for path in sounds)
    lists = [open_list(path, raw) for path in chosen]
    return read_lists(raw, known, lists, data.model_copy(update={"unlisted": "ignore"}), target, SOUNDS)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UnknownLayout(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
