"""The store of the server's files: what a backup lists and copies there, and a look at it before the server starts."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sluiceway.errors import TrackingError
from sluiceway.server.settings import Stores

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

PROBE = "sluiceway-probe"
"""What is written to a bucket and removed again, to see whether it can be written."""
_KEYS = "are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY those of the store, and may they write there?"
_UP = "is it up, and is MLFLOW_S3_ENDPOINT_URL its address?"
_AWAY = {"ConnectionError", "HTTPClientError", "TimeoutError", "gaierror"}
"""Classes of boto, urllib3 and Python that stand for: nothing answers. MLflow at times keeps their text alone."""
_CODES = {
    "NoSuchBucket": "it has no such bucket",
    "404": "it has no such bucket",
    "AccessDenied": "these keys may not write there",
    "403": "these keys may not write there",
    "InvalidAccessKeyId": "it does not know the key",
    "SignatureDoesNotMatch": "the secret key is another",
}


class StoreAway(TrackingError):
    """Nothing answers where the files are kept; it may be back in a moment."""


@contextmanager
def repository(stores: Stores) -> "Iterator[ArtifactRepository]":
    """Open the store through MLflow, without its bars.

    Raises:
        StoreAway: nothing answers there.
        TrackingError: it refuses.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR as BAR
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    before = BAR.get_raw()  # type: ignore[no-untyped-call]
    BAR.set(False)  # type: ignore[no-untyped-call]
    try:
        yield get_artifact_repository(stores.artifacts)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise refusal(stores, error) from error
    finally:
        BAR.unset() if before is None else BAR.set(before)  # type: ignore[no-untyped-call]


def walk(there: "ArtifactRepository", folder: str | None = None) -> Iterator[str]:
    """Yield the paths of all files, folder by folder."""
    for each in there.list_artifacts(folder):
        if each.is_dir:
            yield from walk(there, each.path)
        else:
            yield each.path


def look(stores: Stores) -> None:
    """Write to the store, as the server will: a folder, or a bucket. Other stores are not looked at.

    Raises:
        StoreAway: nothing answers there.
        TrackingError: it refuses, or cannot be written.
    """
    scheme = urlsplit(stores.artifacts).scheme
    if scheme == "s3":
        _write_to_bucket(stores)
    elif scheme in ("", "file"):
        _write_to_folder(Path(unquote(urlsplit(stores.artifacts).path)))


def refusal(stores: Stores, error: BaseException) -> TrackingError:
    """Build the error for what the store, or the way to it, raised."""
    chain = list(_chain(error))
    kinds = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if kinds & _AWAY or re.search("Could not connect|Connect timeout|Read timeout", str(error)):
        return StoreAway(f"{stores.artifacts} could not be reached{_at()}: {_words(error)}", hint=_UP)
    code = next(filter(None, map(_code, chain)), "")
    if code in _CODES:
        hint = "docs/server.md says how to make one" if "bucket" in _CODES[code] else _KEYS
        return TrackingError(f"{stores.artifacts} refused: {_CODES[code]}{_at()}", hint=hint)
    return TrackingError(
        f"{stores.artifacts} refused: {_words(error)}",
        hint="is the bucket there, and are MLFLOW_S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY right?",
    )


def _write_to_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise TrackingError(
            f"{folder} cannot be written: {error.strerror}",
            hint="MLFLOW_ARTIFACTS_DESTINATION names a folder that the server's user may write, or s3://bucket/folder",
        ) from None


def _write_to_bucket(stores: Stores) -> None:
    """Write as MLflow does, but give up within a quarter of a minute."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    style = {"addressing_style": os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")}
    patience = Config(
        signature_version="s3v4", s3=style, connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}
    )
    insecure = os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("1", "true")
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None
    owner = os.environ.get("MLFLOW_S3_EXPECTED_BUCKET_OWNER")
    bucket, folder = urlsplit(stores.artifacts).netloc, urlsplit(stores.artifacts).path.strip("/")
    where = {"Bucket": bucket, "Key": f"{folder}/{PROBE}".lstrip("/")}
    where |= {"ExpectedBucketOwner": owner} if owner else {}
    try:
        client = boto3.client("s3", config=patience, endpoint_url=endpoint, verify=False if insecure else None)
        client.put_object(**where, Body=b"", **json.loads(os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}"))
        with suppress(ClientError):  # who may write need not be allowed to remove
            client.delete_object(**where)
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        raise refusal(stores, error) from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    """Return the code of S3's answer."""
    found: Any = getattr(error, "response", None)
    return str(found.get("Error", {}).get("Code", "")) if isinstance(found, dict) else ""


def _at() -> str:
    endpoint = urlsplit(os.environ.get("MLFLOW_S3_ENDPOINT_URL", ""))
    return f" (at {endpoint.scheme}://{endpoint.netloc.rpartition('@')[2]})" if endpoint.netloc else ""


def _words(error: BaseException) -> str:
    """Return what was raised, without the account of addresses in it."""
    return re.sub(r"(?<=//)[^/\s@]*@", "", " ".join(str(error).split()))[:500]
