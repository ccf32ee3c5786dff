"""How sounds may lie in a raw folder: a folder per class, or a list of files with their targets."""

from collections.abc import Iterator
from pathlib import Path

from sluiceway.data.table import Example, TargetKind
from sluiceway.usecases.speech.params import SpeechData
from sluiceway.usecases.targets.listing import Kind, read_listed

SOUNDS = Kind(
    "sound",
    frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}),
    foreign=frozenset({".m4a", ".aac", ".wma", ".amr", ".mp4", ".webm"}),
    convert="to .flac or .wav, for example with ffmpeg",
)


def read(raw: Path, data: SpeechData, target: TargetKind) -> Iterator[Example]:
    """List sounds by class folder or list. The id is the path: ``yes/0012.wav``, or ``train/yes/0012.wav``.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    return read_listed(raw, data, target, SOUNDS)
