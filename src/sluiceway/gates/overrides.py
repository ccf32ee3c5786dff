"""The ledger of overrides: who let which data through a closed gate, when, why, and past which checks.

One line of JSON each, appended and never changed, in a file that git keeps: an override is reviewed like code. It holds
for one pipeline, one gate and one digest; other data is judged anew.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from sluiceway.errors import ConfigError
from sluiceway.gates.verdict import Override, Verdict


def overridden(verdict: Verdict, ledger: Path) -> Verdict:
    """Return the verdict with the newest override that was recorded for its subject, if there is one.

    Raises:
        ConfigError: a line of the ledger cannot be read.
    """
    found = [override for owner, gate, override in _read(ledger) if (owner, gate) == (verdict.pipeline, verdict.gate)]
    fitting = [override for override in found if override.subject == verdict.subject]
    return verdict.model_copy(update={"override": fitting[-1]}) if fitting else verdict


def record(verdict: Verdict, ledger: Path, *, who: str, when: str, why: str) -> Override:
    """Append an override of every check that closes this gate.

    Args:
        verdict: of the closed gate.
        ledger: the file; it is made if it is not there.
        who: a person.
        when: UTC time, ISO 8601.
        why: the reason, in words.
    """
    checks = tuple(check.name for check in verdict.closed_by)
    override = Override(who=who, when=when, why=why, checks=checks, subject=verdict.subject)
    entry = {"pipeline": verdict.pipeline, "gate": verdict.gate, **override.model_dump(mode="json")}
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a+b") as file:
        file.seek(0)
        known = file.read()
        ending = b"" if not known or known.endswith(b"\n") else b"\n"  # an editor may have left it out
        file.write(ending + json.dumps(entry, ensure_ascii=False).encode() + b"\n")
    return override


def _read(ledger: Path) -> Iterator[tuple[str, str, Override]]:
    if not ledger.exists():
        return
    try:
        lines = ledger.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{ledger} is not UTF-8: {error.reason}", hint="restore the file with git") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield entry.pop("pipeline"), entry.pop("gate"), Override(**entry)
        except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
            raise ConfigError(
                f"{ledger} line {number} is no override: {_short(error)}", hint="restore the file with git"
            ) from None


def _short(error: Exception) -> str:
    return str(error).splitlines()[0]
