"""Secrets of a job: environment variables, from a file that only its owner may read or from whoever started the job.

Beside them, what its description sets in clear.
"""

import os
import stat
from pathlib import Path

from sluiceway.errors import ConfigError
from sluiceway.launch.jobs import Job


def load_secrets(root: Path, job: Job) -> None:
    """Put what the job sets and the secrets of its file into the environment, and make sure that all are there.

    Raises:
        ConfigError: one is missing, or others may read the file.
    """
    os.environ.update(secrets_of(root, job))


def secrets_of(root: Path, job: Job) -> dict[str, str]:
    """Return what the job and its file add to the environment, and make sure that all secrets are there.

    Raises:
        ConfigError: one is missing, others may read the file, or a line of it is none.
    """
    added: dict[str, str] = {}
    if job.env_file:
        path = root / job.env_file
        if not path.exists():
            raise ConfigError(f"{path} does not exist", hint="write NAME=value lines there, and chmod 600 it")
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{path} can be read by others than its owner", hint=f"chmod 600 {path}")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            key, found, value = line.strip().partition("=")
            if not line.strip() or key.startswith("#"):
                continue
            if not found:  # the line itself is not said: it may be a secret
                raise ConfigError(f"line {number} of {path} is not NAME=value", hint="a comment begins with #")
            added.setdefault(key.removeprefix("export ").strip(), value.strip().strip("'\""))
    known = added | os.environ
    missing = [each for each in job.secrets if not known.get(each)]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the environment",
            hint="export it, or write it to the file that the job's `env_file` names",
        )
    return {name: value for name, value in (job.env | added).items() if name not in os.environ}
