"""Accounts of the team's server and what they may do, asked of the running server itself, as its admin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.errors import UsageError, unknown
from sluiceway.server.asking import ROLES_API, USERS_API, ask, myself, not_admin, own
from sluiceway.server.settings import SHORTEST

READER, WRITER, ADMIN = "reader", "writer", "admin"
ROLES: Mapping[str, Mapping[str, str]] = {
    READER: {},
    WRITER: {"workspace": "USE", "experiment": "EDIT", "registered_model": "EDIT"},
}
"""By name, what a role may do to all of a kind. Reading needs none: it comes with an account."""
WORKSPACE = "default"


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
        TrackingError: the server cannot be reached, fails, or does not take us for an admin.
    """
    found = ask("GET", f"{USERS_API}/list")["users"]
    # MLflow shows the list to every writer, who may be asked for a review.
    if not ask("GET", f"{USERS_API}/current")["user"]["is_admin"]:
        raise not_admin()
    return sorted((_person(each) for each in found), key=lambda person: person.name)


def add(name: str, password: str, role: str) -> None:
    """Make an account.

    Raises:
        UnknownName: there is no such role.
        UsageError: no server is named; there is such an account already; the password is too short.
        TrackingError: the server cannot be reached, fails, or does not take us for an admin.
    """
    _check(role)
    _check_password(password)
    if not name.strip():
        raise UsageError("an account needs a name", hint="sluiceway server user add ada --role writer")
    ask("POST", f"{USERS_API}/create", {"username": name, "password": password})
    set_role(name, role)


def set_role(name: str, role: str) -> None:
    """Give an account this role and no other.

    Raises:
        UnknownName: there is no such role.
        UsageError: no server is named; there is no such account, or it is one's own.
        TrackingError: the server cannot be reached, fails, or does not take us for an admin.
    """
    _check(role)
    if role != ADMIN and name == myself()[0]:
        raise own(name, "takes rights from")
    ask("PATCH", f"{USERS_API}/update-admin", {"username": name, "is_admin": role == ADMIN})
    for each in ask("GET", "/api/3.0/mlflow/users/roles/list", {"username": name})["roles"]:
        if each["name"] in ROLES:
            ask("DELETE", f"{ROLES_API}/unassign", {"username": name, "role_id": each["id"]})
    if ROLES.get(role):
        ask("POST", f"{ROLES_API}/assign", {"username": name, "role_id": _role(role)})


def set_password(name: str, password: str) -> None:
    """Give an account another password.

    Raises:
        UsageError: no server is named; there is no such account; the password is too short, or the same.
        TrackingError: the server cannot be reached, fails, or does not take us for an admin.
    """
    _check_password(password)
    me, mine = myself()
    if name == me and password == mine:
        raise UsageError(f"this is the password that {name!r} has already", hint="give another one")
    # Who changes his own is asked for the one that he has.
    known = {"current_password": mine} if name == me else {}
    ask("PATCH", f"{USERS_API}/update-password", {"username": name, "password": password, **known})


def remove(name: str) -> None:
    """Remove an account. What it logged stays.

    Raises:
        UsageError: no server is named; there is no such account, or it is one's own.
        TrackingError: the server cannot be reached, fails, or does not take us for an admin.
    """
    ask("DELETE", f"{USERS_API}/delete", {"username": name})


def _check_password(password: str) -> None:
    if len(password) < SHORTEST:
        raise UsageError(f"the password has {len(password)} characters", hint=f"at least {SHORTEST} are needed")


def _check(role: str) -> None:
    if role not in {*ROLES, ADMIN}:
        raise unknown("role", role, {*ROLES, ADMIN})


def _person(found: Mapping[str, Any]) -> Person:
    names = sorted(str(each["name"]) for each in found["roles"] if not str(each["name"]).startswith("__user_"))
    return Person(str(found["username"]), ADMIN if found["is_admin"] else ", ".join(names) or READER)


def _role(name: str) -> int:
    """Return the number of a role, which is made, or given what it lacks."""
    known = ask("GET", f"{ROLES_API}/list", {"workspace": WORKSPACE})["roles"]
    found = next((each for each in known if each["name"] == name), None)
    if found is None:
        found = ask("POST", f"{ROLES_API}/create", {"name": name, "workspace": WORKSPACE})["role"]
    number, rights = int(found["id"]), found.get("permissions") or []
    for kind, permission in ROLES[name].items():
        if not _has(rights, kind, permission):
            right = {"resource_type": kind, "resource_pattern": "*", "permission": permission}
            ask("POST", f"{ROLES_API}/permissions/add", {"role_id": number, **right})
    return number


def _has(rights: Sequence[Mapping[str, Any]], kind: str, permission: str) -> bool:
    return any(
        (each["resource_type"], each["resource_pattern"], each["permission"]) == (kind, "*", permission)
        for each in rights
    )
