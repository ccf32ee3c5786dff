"""How sounds may lie in a raw folder: a folder per class, or a list of files with their classes."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sluiceway.data.sources import files_below, split_folders
from sluiceway.data.table import Example, SplitName
from sluiceway.errors import UnknownLayout, nearest
from sluiceway.usecases.speech_classification.params import SpeechData

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})
LAYOUTS = (
    "a folder per class with sounds in it, data/raw/<pipeline>/<class>/<sound>.wav, or metadata.csv with the columns "
    "file_name and label beside the sounds; below train/, validation/ and test/ where the data is split already"
)
LIST = "metadata.csv"
"""Name of the list (the convention of Hugging Face's audiofolder)."""
_FILE = "file_name"
_LABELS = ("label", "transcription")
_FOREIGN = frozenset({".m4a", ".aac", ".wma", ".amr", ".mp4", ".webm"})
"""Sounds that must be converted first."""
_PACKED = frozenset({".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz"})


def read(raw: Path, data: SpeechData) -> Iterator[Example]:
    """List sounds by class. The id is the path: ``yes/0012.wav``, or ``train/yes/0012.wav`` in split folders.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    files = files_below(raw, SUFFIXES | {".csv"})
    sounds = [path for path in files if path.suffix.lower() in SUFFIXES]
    lists = [path for path in files if path.name == LIST]
    if not sounds:
        raise _no_sounds(raw)
    sides = split_folders(raw, sounds)
    if lists:
        yield from _listed(raw, sounds, lists, sides, data)
        return
    for option in ("label", "speaker"):
        if getattr(data, option) is not None:
            raise UnknownLayout(
                f"data.{option} names a column of {LIST}, and there is no {LIST} below {raw}",
                hint=f"take data.{option} out, or give the list; expected {LAYOUTS}",
            )
    yield from _in_folders(raw, sounds, sides)


def _in_folders(raw: Path, sounds: Sequence[Path], sides: dict[str, SplitName]) -> Iterator[Example]:
    loose = [path.name for path in sounds if path.parent == raw]
    if loose:
        raise UnknownLayout(
            f"{len(loose)} sounds lie in {raw} itself, so their class is not known: {loose[0]} ...",
            hint=f"nearest: a {LIST} beside them that says the class of each; expected {LAYOUTS}",
        )
    for path in sounds:
        below = path.relative_to(raw)
        *folders, _ = below.parts
        if sides and len(folders) < 2:
            raise UnknownLayout(
                f"{path} lies in a split folder but in no class folder",
                hint=f"nearest: {folders[0]}/{LIST} that says the class of each; expected {LAYOUTS}",
            )
        name = below.as_posix()
        split, target = (sides[folders[0]], folders[1]) if sides else (None, folders[0])
        yield Example(id=name, source=name, target=target, split=split)


def _listed(
    raw: Path, sounds: Sequence[Path], lists: Sequence[Path], sides: dict[str, SplitName], data: SpeechData
) -> Iterator[Example]:
    """List what the lists name: each file below its list's folder. Every sound must be named, and only once."""
    known = {path.relative_to(raw).as_posix() for path in sounds}
    named: Counter[str] = Counter()
    rows = []
    for path in lists:
        folder = path.parent.relative_to(raw)
        for row, target, speaker in _rows(path, data):
            name = (folder / row).as_posix()
            if name not in known:
                raise UnknownLayout(
                    f"{path} names {row}, which is no sound below {path.parent}", hint=_near(name, known)
                )
            named[name] += 1
            rows.append((name, target, speaker))
    twice = sorted(name for name, count in named.items() if count > 1)
    left = sorted(known - named.keys())
    for some, what in (
        (twice, "are listed more than once"),
        (left, f"stand in no {LIST}, so their class is not known"),
    ):
        if some:
            raise UnknownLayout(f"{len(some)} sounds below {raw} {what}: {some[0]} ...", hint="mend the list")
    for name, target, speaker in sorted(rows):
        split = sides.get(Path(name).parts[0])
        yield Example(id=name, source=name, target=target, group=speaker or None, split=split)


def _rows(path: Path, data: SpeechData) -> Iterator[tuple[str, str, str]]:
    """Yield file name, class and speaker (empty: none is asked for) of each line of a list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UnknownLayout(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    table = csv.DictReader(lines)
    columns = list(table.fieldnames or [])
    file_name = _column(path, columns, [_FILE])
    label = _column(path, columns, [data.label] if data.label else _LABELS)
    speaker = _column(path, columns, [data.speaker]) if data.speaker else None
    for row in table:
        if not row[file_name] or not row[label]:
            raise UnknownLayout(f"line {table.line_num} of {path} lacks {file_name} or {label}", hint="mend the list")
        yield row[file_name], row[label], (row[speaker] or "") if speaker else ""


def _column(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
    """Return the first wanted column that is there."""
    found = next((name for name in wanted if name in columns), None)
    if found is None:
        raise UnknownLayout(
            f"{path} has no column {' or '.join(wanted)}: found {', '.join(columns) or 'nothing'}",
            hint=f"{nearest(wanted[0], columns)} `data.label` in the pipeline's parameters names another column"
            if wanted[0] != _FILE
            else f"{nearest(_FILE, columns)} expected {LAYOUTS}",
        )
    return found


def _near(name: str, known: set[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"paths in {LIST} begin at its own folder"


def _no_sounds(raw: Path) -> UnknownLayout:
    kinds = Counter(path.suffix.lower() or "no suffix" for path in raw.rglob("*") if path.is_file())
    found = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(3))
    if foreign := sorted(_FOREIGN & kinds.keys()):
        near = f"nearest: convert {', '.join(foreign)} to .flac or .wav, for example with ffmpeg; "
    elif packed := sorted(_PACKED & kinds.keys()):
        near = f"nearest: unpack {', '.join(packed)}; "
    else:
        near = ""
    return UnknownLayout(f"no sounds below {raw}: found {found}", hint=f"{near}expected {LAYOUTS}")
