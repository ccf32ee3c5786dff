"""Every error that Sluiceway raises for a person to read.

    SluicewayError                  exit code 1
    ├── UsageError                  exit code 2: the command line or the place it was run in
    │   ├── UnknownName             a pipeline, use case or model that does not exist
    │   └── NotAProject             no params.yaml here
    ├── ConfigError                 params.yaml, or a file beside it, says something impossible
    ├── DataError                   data that cannot be read at all
    │   ├── NoRawData               the raw folder is missing or empty
    │   ├── UnknownLayout           files are there, but not in a layout that the use case reads
    │   └── CorruptShard            a shard is not what its manifest says
    ├── FetchError                  a sample data set could not be fetched
    ├── MissingPackage              an optional package is not installed
    ├── GateClosed                  a gate refused; carries the reason
    ├── TrainingError               training cannot go on
    │   ├── LoaderLost              a process that reads batches was killed
    │   ├── NoRoom                  a cluster has no place for the workers
    │   ├── NotFinite               the loss became NaN or infinite
    │   └── OutOfMemory             a batch does not fit
    ├── DiskFull                    there is no room for what must be written
    ├── Preempted                   exit code 75: told to leave; the same command goes on
    ├── LaunchError                 a job cannot be started, found or ended where it runs
    ├── ModelError                  a model folder is incomplete or altered
    ├── RequestError                a served model was asked what it cannot answer
    ├── TrackingError               the tracking server or its store refused
    └── Busy                        another process works on the same pipeline

A message says what, where and what was found; ``hint`` says what to do next.
"""

import errno
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class SluicewayError(Exception):
    """Base of all errors of this package."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments do not survive the default pickling, and errors travel from Ray workers.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[SluicewayError], message: str, hint: str) -> SluicewayError:
    return kind(message, hint=hint)


class UsageError(SluicewayError):
    """The command cannot mean what was typed."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not among the known ones."""


class NotAProject(UsageError):
    """The current folder has no params.yaml."""


class ConfigError(SluicewayError):
    """A parameter file is wrong; the message lists every fault."""


class DataError(SluicewayError):
    """Data that cannot be read at all."""


class NoRawData(DataError):
    """The raw folder is missing or empty."""


class UnknownLayout(DataError):
    """Files are there, but not laid out in a way the use case reads."""


class CorruptShard(DataError):
    """A shard's bytes are not those its manifest names."""


class FetchError(SluicewayError):
    """A sample data set could not be fetched."""


class MissingPackage(SluicewayError):
    """An optional package is needed and not installed."""


class GateClosed(SluicewayError):
    """A gate refused to let the pipeline go on."""


class TrainingError(SluicewayError):
    """Training cannot go on."""


class LoaderLost(TrainingError):
    """A process that reads batches ahead was killed."""


class NoRoom(TrainingError):
    """A cluster has no place for the least number of workers."""


class NotFinite(TrainingError):
    """The loss became NaN or infinite."""


class DiskFull(SluicewayError):
    """There is no room for what must be written."""


class OutOfMemory(TrainingError):
    """A batch does not fit into memory."""


class Preempted(SluicewayError):
    """Somebody asked for the machine. The work is saved, and the same command goes on where it ended.

    The exit code is ``EX_TEMPFAIL`` of ``sysexits.h``: try again later. Schedulers can requeue on it.
    """

    exit_code = 75


class LaunchError(SluicewayError):
    """A job cannot be started, found or ended where it is to run."""


class ModelError(SluicewayError):
    """A model folder is incomplete or was altered."""


class RequestError(SluicewayError):
    """A served model was asked what it cannot answer: another column, another type, a file that cannot be read."""


class TrackingError(SluicewayError):
    """The tracking store refused, or does not know what was asked for."""


class Busy(SluicewayError):
    """Another process is working on the same pipeline."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known name, or the list of known names."""
    choices = sorted(known)
    return meant(name, choices) or f"known: {', '.join(choices) or 'none'}"


def meant(name: object, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known name, or nothing where none is close."""
    close = get_close_matches(str(name), sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def unknown(what: str, name: str, known: Iterable[str], otherwise: str = "") -> UnknownName:
    """Build the error for a name that is not among the known ones.

    Args:
        what: kind of thing.
        name: as it was given.
        known: names there are, or of very many the nearest.
        otherwise: what else there is to do.
    """
    choices = sorted(known)
    hint, listed = nearest(name, choices), f"known: {', '.join(choices) or 'none'}"
    if hint == listed:
        hint = f"one of {', '.join(choices) or 'none'}" if choices or not otherwise else ""
    elif len(choices) > 1:
        hint = f"{hint} ({listed})"
    return UnknownName(f"unknown {what} {name!r}", hint="; ".join(filter(None, (hint, otherwise))))


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room_for(what: str, where: Path, needed: int | None = None) -> Iterator[None]:
    """Turn the failure to write for want of room into an error that says how much is wanted, and where.

    Args:
        what: is written.
        where: the folder it is written to.
        needed: bytes, where they are known.

    Raises:
        DiskFull: instead of what Python, numpy and safetensors raise.
    """
    try:
        yield
    except Exception as error:
        if not says_full(error):
            raise
        raise disk_full(what, where, needed) from error


def disk_full(what: str, where: Path, needed: int | None = None) -> DiskFull:
    """Build the error for a disk that has no room."""
    there = next(folder for folder in (where, *where.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    wanted = f"{needed:,} bytes" if needed is not None else "more room"
    return DiskFull(
        f"no room for {what}: it takes {wanted}, and {where} has {free:,} bytes left for it",
        hint="free some room there (`dvc gc` frees the cache; quotas count too) and run the same command again",
    )


def says_full(error: Exception) -> bool:
    """Whether an error is that of a full disk; numpy's and safetensors' carry no number but in their words."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    codes = "|".join(map(str, _FULL))
    return bool(re.search(rf"os error ({codes})\b|\d+ requested and \d+ written", str(error)))
