"""Accounts of the team's server and what they may do, asked of the running server itself, as its admin."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.errors import TrackingError, UsageError, unknown

READER, WRITER, ADMIN = "reader", "writer", "admin"
ROLES: Mapping[str, Mapping[str, str]] = {
    READER: {},
    WRITER: {"workspace": "USE", "experiment": "EDIT", "registered_model": "EDIT"},
}
"""By name, what a role may do to all of a kind. Reading needs none: it comes with an account."""
WORKSPACE = "default"

_USERS, _ROLES = "/api/2.0/mlflow/users", "/api/3.0/mlflow/roles"


@dataclass(frozen=True)
class Person:
    """An account."""

    name: str
    role: str
    """``admin``, ``reader``, or the roles that MLflow names."""


def people() -> list[Person]:
    """Return all accounts.

    Raises:
        UsageError: no server is named.
        TrackingError: the server cannot be reached or refuses.
    """
    found = _ask("GET", f"{_USERS}/list")["users"]
    return sorted((_person(each) for each in found), key=lambda person: person.name)


def add(name: str, password: str, role: str) -> None:
    """Make an account.

    Raises:
        UnknownName: there is no such role.
        UsageError: no server is named.
        TrackingError: the server cannot be reached or refuses.
    """
    _check(role)
    _ask("POST", f"{_USERS}/create", {"username": name, "password": password})
    set_role(name, role)


def set_role(name: str, role: str) -> None:
    """Give an account this role and no other.

    Raises:
        UnknownName: there is no such role.
        UsageError: no server is named.
        TrackingError: the server cannot be reached or refuses.
    """
    _check(role)
    _ask("PATCH", f"{_USERS}/update-admin", {"username": name, "is_admin": role == ADMIN})
    for each in _ask("GET", "/api/3.0/mlflow/users/roles/list", {"username": name})["roles"]:
        if each["name"] in ROLES:
            _ask("DELETE", f"{_ROLES}/unassign", {"username": name, "role_id": each["id"]})
    if ROLES.get(role):
        _ask("POST", f"{_ROLES}/assign", {"username": name, "role_id": _role(role)})


def set_password(name: str, password: str) -> None:
    """Give an account another password.

    Raises:
        UsageError: no server is named.
        TrackingError: the server cannot be reached or refuses.
    """
    _ask("PATCH", f"{_USERS}/update-password", {"username": name, "password": password})


def remove(name: str) -> None:
    """Remove an account. What it logged stays.

    Raises:
        UsageError: no server is named.
        TrackingError: the server cannot be reached or refuses.
    """
    _ask("DELETE", f"{_USERS}/delete", {"username": name})


def _check(role: str) -> None:
    if role not in {*ROLES, ADMIN}:
        raise unknown("role", role, {*ROLES, ADMIN})


def _person(found: Mapping[str, Any]) -> Person:
    names = sorted(str(each["name"]) for each in found["roles"] if not str(each["name"]).startswith("__user_"))
    return Person(str(found["username"]), ADMIN if found["is_admin"] else ", ".join(names) or READER)


def _role(name: str) -> int:
    """Return the number of a role, which is made, or given what it lacks."""
    known = _ask("GET", f"{_ROLES}/list", {"workspace": WORKSPACE})["roles"]
    found = next((each for each in known if each["name"] == name), None)
    if found is None:
        found = _ask("POST", f"{_ROLES}/create", {"name": name, "workspace": WORKSPACE})["role"]
    number, rights = int(found["id"]), found.get("permissions") or []
    for kind, permission in ROLES[name].items():
        if not _has(rights, kind, permission):
            right = {"resource_type": kind, "resource_pattern": "*", "permission": permission}
            _ask("POST", f"{_ROLES}/permissions/add", {"role_id": number, **right})
    return number


def _has(rights: Sequence[Mapping[str, Any]], kind: str, permission: str) -> bool:
    return any(
        (each["resource_type"], each["resource_pattern"], each["permission"]) == (kind, "*", permission)
        for each in rights
    )


_ADMIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD must be those of an admin"
_KINDS = (
    (r"failed with exception|Max retries", "does not answer", "is it up? `sluiceway doctor` looks"),
    (r"error code 401|not authenticated", "does not take this name and password", _ADMIN),
    (r"error code 403|PERMISSION_DENIED|Permission denied", "does not let this account do so", _ADMIN),
)
_HINTS = {
    "RESOURCE_ALREADY_EXISTS": "`sluiceway server user password NAME` and `role NAME ROLE` change the account there is",
    "RESOURCE_DOES_NOT_EXIST": "`sluiceway server user list` shows the accounts",
}


def _refusal(what: str, code: str, said: str) -> TrackingError:
    """Say why the server did not do something; what its database says stays out: it holds hashes of passwords."""
    for pattern, why, hint in _KINDS:
        if re.search(pattern, said):
            return TrackingError(f"the server {why} ({what})", hint=hint)
    reason = re.split(r"\bError: \(|\[SQL|\[parameters", " ".join(said.split()), maxsplit=1)[0]
    reason = reason.removeprefix(f"{code}: ").strip()[:300]
    return TrackingError(f"the server refused {what}: {reason}", hint=_HINTS.get(code, ""))


def _ask(method: str, endpoint: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request_safe

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        raise UsageError(
            "MLFLOW_TRACKING_URI names no server",
            hint="export it, with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of an admin",
        )
    creds = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    sent = {"params": body} if method == "GET" else {"json": body}
    try:
        response = http_request_safe(  # type: ignore[no-untyped-call]
            creds, endpoint, method, max_retries=2, **(sent if body else {})
        )
    except MlflowException as error:
        raise _refusal(endpoint.partition("/mlflow/")[2], str(error.error_code), str(error)) from None
    found: dict[str, Any] = response.json() if response.content.strip() else {}
    return found
