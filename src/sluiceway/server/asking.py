"""Questions to the running server, as its admin; what it refuses is told in our words.

Never in MLflow's: those of an account that exists already quote the SQL, and in it the hash of the new password.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sluiceway.errors import SluicewayError, TrackingError, UsageError
from sluiceway.redaction import origin

if TYPE_CHECKING:
    from requests import Response

USERS_API, ROLES_API = "/api/2.0/mlflow/users", "/api/3.0/mlflow/roles"
_ACCOUNT = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


def ask(method: str, endpoint: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Ask the server at ``MLFLOW_TRACKING_URI``.

    Args:
        method: of HTTP.
        endpoint: path of MLflow's.
        body: JSON, or the parameters of a GET. ``username`` is the account that it is about.

    Returns:
        The answer; empty where the server says nothing.

    Raises:
        UsageError: no server is named; the account is there already, is not there, or is one's own.
        TrackingError: the server cannot be reached, does not let us in, or fails.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.rest_utils import http_request

    creds = _credentials()
    sent = {"params": body} if method == "GET" else {"json": body}
    try:
        response = http_request(  # type: ignore[no-untyped-call]
            creds, endpoint, method, max_retries=2, raise_on_status=False, **(sent if body else {})
        )
    except MlflowException as error:
        raise _silent(creds.host, str(error)) from None
    if response.status_code != 200:
        raise _refusal(response, endpoint, str((body or {}).get("username", "")))
    if not response.content.strip():
        return {}
    try:
        found: dict[str, Any] = response.json()
    except ValueError:
        raise _stranger(creds.host) from None
    return found


def myself() -> tuple[str, str]:
    """Return name and password of the account that questions are asked with; empty where there is none.

    Raises:
        UsageError: no server is named.
    """
    creds = _credentials()
    return creds.username or "", creds.password or ""


def not_admin() -> TrackingError:
    """Build the error for who asks what is the admin's."""
    return TrackingError(
        f"{_me()} may not do this: accounts are the admin's",
        hint=f"set {_ACCOUNT} to those of an account that is admin",
    )


def _credentials() -> Any:
    from mlflow.utils.credentials import get_default_host_creds

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        raise UsageError("MLFLOW_TRACKING_URI names no server", hint=f"export it, with {_ACCOUNT} of an admin")
    return get_default_host_creds(uri)  # type: ignore[no-untyped-call]


def _silent(uri: str, said: str) -> TrackingError:
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return TrackingError(
            f"nobody whom this machine trusts vouches for the certificate of {origin(uri)}",
            hint="MLFLOW_TRACKING_SERVER_CERT_PATH names a file with the certificate of who does",
        )
    return TrackingError(
        f"no answer from {origin(uri)}", hint="is the server up, and is MLFLOW_TRACKING_URI its address?"
    )


def _refusal(response: "Response", endpoint: str, name: str) -> SluicewayError:
    status, code = response.status_code, _code(response)
    if status == 401:
        return TrackingError(f"the server does not know {_me()} with this password", hint=f"set {_ACCOUNT}")
    if status == 403 and "Invalid Host" in response.text:
        return TrackingError(
            f"the server does not go by the name {origin(response.url)}",
            hint="start it with this name: sluiceway server start --name",
        )
    if status == 403:
        return not_admin()
    if code == "RESOURCE_ALREADY_EXISTS" and name:
        other = f"`sluiceway server user password {name}` and `sluiceway server user role {name} ROLE` change it"
        return UsageError(f"there is an account {name!r} already", hint=other)
    if code == "RESOURCE_DOES_NOT_EXIST" and name:
        return UsageError(f"there is no account {name!r}", hint="`sluiceway server user list` shows all")
    if endpoint == f"{USERS_API}/delete" and code == "BAD_REQUEST":
        return own(name, "removes")
    if status == 404:
        return _stranger(response.url)
    said = f"{status}{f' ({code})' if code else ''}"
    return TrackingError(f"the server answered {said} to {endpoint.partition('/mlflow/')[2]}", hint="its log says why")


def own(name: str, does: str) -> UsageError:
    """Build the error for an admin who would leave the server without himself."""
    return UsageError(
        f"{name!r} is the account that this is asked with: no admin {does} himself",
        hint="let another admin do it; `sluiceway server user add NAME --role admin` makes one",
    )


def _stranger(url: str) -> TrackingError:
    return TrackingError(
        f"what answers at {origin(url)} is no MLflow with accounts",
        hint="is MLFLOW_TRACKING_URI its address? `sluiceway server start` has accounts, `sluiceway ui` has none",
    )


def _code(response: "Response") -> str:
    try:
        found = response.json()
    except ValueError:
        return ""
    return str(found.get("error_code", "")) if isinstance(found, dict) else ""


def _me() -> str:
    name, _ = myself()
    return repr(name) if name else "who gives no name"
