"""How stores are spoken to: by protocol, as the environment says, with errors that let nobody in."""

import logging
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sluiceway.errors import DataError
from sluiceway.redaction import address, addresses_in

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PROTOCOLS: Mapping[str, str] = {
    "file": "",
    "memory": "",
    "http": "fsspec[http]",
    "https": "fsspec[http]",
    "s3": "sluiceway[s3]",
    "gs": "sluiceway[gcs]",
    "az": "sluiceway[azure]",
    "abfs": "sluiceway[azure]",
}
"""What can be fetched, and the package that brings it."""
_AZURE = "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY"
_KEYS: Mapping[str, str] = {
    "s3": "AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or a profile",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": _AZURE,
    "abfs": _AZURE,
}
"""The variables by which a store lets somebody in."""
_PATIENCE = 60.0
"""Seconds a fetch by HTTP may take."""
URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def is_uri(text: str) -> bool:
    """Whether a text names something by protocol, such as ``s3://`` or ``https://``."""
    return URI.match(text) is not None


def keys_of(protocol: str) -> str:
    """Return the environment's variables by which a store lets somebody in; of others nothing."""
    return _KEYS.get(protocol, "")


def locks_out(error: Exception) -> bool:
    """Whether a store says that somebody has no right, or no key that is one: asking again is of no use.

    Only the library of S3 raises ``PermissionError`` for it. Azure's has a status, or a class of errors where there is
    no answer yet; Google's has a status for 401, and a plain ``OSError`` for 403.
    """
    status = next((getattr(error, name) for name in ("status", "status_code", "code") if hasattr(error, name)), None)
    return (
        isinstance(error, PermissionError)
        or status in (401, 403)
        or any(kind.__name__ == "ClientAuthenticationError" for kind in type(error).__mro__)
        or (isinstance(error, OSError) and error.errno is None and str(error).startswith("Forbidden: "))
    )


def words(error: Exception, uri: str = "") -> str:
    """Say what went wrong, without the URI, which may let somebody in."""
    status = getattr(error, "status", None)
    if status:
        return f"status {status}"
    said = (str(error).replace(uri, address(uri)) if uri else str(error)).splitlines()
    told = addresses_in(said[0]) if said else ""
    return f"{type(error).__name__}{': ' if told else ''}{told[:120]}"


def file_system(protocol: str) -> "AbstractFileSystem":
    """Return how a protocol is spoken.

    Raises:
        DataError: the package for it is not installed, or the environment does not say enough.
    """
    return _file_system(protocol, os.getpid())


@lru_cache(maxsize=16)
def _file_system(protocol: str, _process: int) -> "AbstractFileSystem":
    """Make one for each process: connections and their thread do not outlive a fork."""
    options: dict[str, Any] = {}
    try:
        import fsspec

        if protocol in ("http", "https"):
            import aiohttp

            options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=_PATIENCE)}}
        if protocol in ("gs", "gcs"):
            _quiet_google()
        kind = fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{protocol}:// cannot be fetched: {error}",
            hint=f"pip install '{PROTOCOLS.get(protocol, 'the package that speaks it')}'",
        ) from None
    try:
        system: AbstractFileSystem = kind(**options)
    except Exception as error:  # noqa: BLE001  each store's library has errors of its own
        raise DataError(
            f"{protocol}:// cannot be opened: {words(error)}",
            hint=f"set its settings in the environment: {keys_of(protocol) or 'those that its library reads'}",
        ) from None
    return system


def _quiet_google() -> None:
    """Keep to plain buckets, unless the environment says otherwise, and to errors that are raised.

    For other kinds of buckets the library asks about each one, needs a right of its own for that, and warns without it.
    It also logs a stack for each request that failed.
    """
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
