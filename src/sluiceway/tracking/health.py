"""What ``sluiceway doctor`` sees of the tracking server: whether it answers, lets us in, what we may do, and its clock.

It speaks HTTP itself, since importing MLflow takes longer than all of this. Rights are found out without changing
anything: the server is asked for what it must refuse in any case, and *how* it refuses tells whether it looked at the
request (400, 404) or only at who asked (403).
"""

import base64
import os
import ssl
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as BadCredentials
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.version import InvalidVersion, Version

from sluiceway.launch.health.base import Seen
from sluiceway.launch.health.web import Answer, ask, clock
from sluiceway.redaction import scrub
from sluiceway.tracking.store import folder, tracking_uri

_LEAST = Version("3.5")
"""MLflow of the server: logged models, which versions point to, came with 3."""
_SERVER, _RIGHTS = "tracking server", "tracking rights"
_UNKNOWN, _FORBIDDEN = 401, 403
_ACCOUNT = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ~/.mlflow/credentials"
_PAGE = 200


def tracking(root: Path, names: Mapping[str, str], seconds: float) -> Iterator[Seen]:
    """Tell of the tracking store.

    Args:
        root: the project.
        names: of registered models by pipeline, which is the name of its experiment.
        seconds: that one request may take.
    """
    uri = tracking_uri(root)
    if urlsplit(uri).scheme not in ("http", "https"):
        yield _embedded(root, uri)
        return
    server = _Server.at(uri, seconds)
    health = server.get("version")
    if health.status == 0:
        hint = "is the server up, and MLFLOW_TRACKING_URI right? Unset it to use the store below mlflow/store/"
        yield Seen(_SERVER, "fault", f"no answer at {server.shown}: {health.body}", hint)
        return
    search = server.post("experiments/search", {"max_results": _PAGE})
    yield _let_in(server, search)
    if health.status == 200:
        yield _version(health.body.strip())
    if search.skew is not None:
        yield clock("tracking clock", {server.shown: search.skew})
    if search.status == 200:
        registry = os.environ.get("MLFLOW_REGISTRY_URI")
        yield from _rights(server, _Server.at(registry, seconds) if registry else server, search, names)


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    headers: Mapping[str, str]
    context: ssl.SSLContext | None
    seconds: float

    @classmethod
    def at(cls, uri: str, seconds: float) -> "_Server":
        parts = urlsplit(uri)
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        return cls(plain, _credentials(parts.username, parts.password), _trust(plain), seconds)

    @property
    def shown(self) -> str:
        return scrub(self.url)

    def get(self, path: str) -> Answer:
        return ask(f"{self.url}/{path}", self.headers, self.seconds, context=self.context)

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return ask(f"{self.url}/api/2.0/mlflow/{path}", self.headers, self.seconds, body, self.context)


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header that MLflow's client would send, from where it would take it."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    known = ConfigParser(interpolation=None)
    try:
        known.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
    except (BadCredentials, OSError, UnicodeError):
        known = ConfigParser()
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or unquote(user or "")
    user = user or known.get("mlflow", "mlflow_tracking_username", fallback="")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or unquote(password or "")
    password = password or known.get("mlflow", "mlflow_tracking_password", fallback="")
    if not user and not password:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _trust(url: str) -> ssl.SSLContext | None:
    if not url.startswith("https"):
        return None
    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        context.load_cert_chain(certificate)
    return context


def _embedded(root: Path, uri: str) -> Seen:
    if urlsplit(uri).scheme != "sqlite":
        return Seen(_SERVER, "left out", f"none: {uri} is opened directly", "a server needs no password here")
    there = folder(root)
    there = next(each for each in (there, *there.parents) if each.exists())
    if os.access(there, os.W_OK):
        return Seen(_SERVER, "ok", "none: MLflow's store is a file below mlflow/store/")
    return Seen(_SERVER, "fault", f"MLflow's store cannot be written to: {there}", f"whose is it? `ls -ld {there}`")


def _let_in(server: _Server, search: Answer) -> Seen:
    known = bool(server.headers)
    if search.status == 200:
        return Seen(_SERVER, "ok", f"{server.shown} answers" + " and knows the account" * known)
    if search.status == _UNKNOWN:
        found = f"{server.shown} does not know the account or its password" if known else f"{server.shown} wants one"
        return Seen(_SERVER, "fault", found, _ACCOUNT)
    if search.status == _FORBIDDEN:
        text = " ".join(search.body.split())[:120]
        hint = "the server must name this host in --allowed-hosts, or the account may not even read"
        return Seen(_SERVER, "fault", f"{server.shown} forbids it: {text}", hint)
    found = f"{server.shown} is no MLflow: HTTP {search.status}"
    return Seen(_SERVER, "fault", found, "MLFLOW_TRACKING_URI is its address, without /api and with its prefix if any")


def _version(theirs: str) -> Seen:
    ours, what = version("mlflow"), "tracking version"
    try:
        server, client = Version(theirs), Version(ours)
    except InvalidVersion:
        return Seen(what, "warning", f"the server names no version: {theirs[:40]!r}", "is there a proxy between?")
    found = f"the server has MLflow {theirs}, here is {ours}"
    if server < _LEAST:
        return Seen(what, "fault", found, f"upgrade the server to {_LEAST} or newer (docs/server.md, Upgrades)")
    if server.release[:2] < client.release[:2]:
        return Seen(what, "warning", found, "what the server does not know yet will be refused: upgrade it")
    return Seen(what, "ok", f"MLflow {theirs}" if server == client else found)


def _rights(server: _Server, registry: _Server, search: Answer, names: Mapping[str, str]) -> Iterator[Seen]:
    """Tell for which pipelines the account may log and promote; what is not there yet it must be able to make."""
    known = {each["name"]: each["experiment_id"] for each in search.json.get("experiments", ())}
    listed = registry.get(f"api/2.0/mlflow/registered-models/search?max_results={_PAGE}")
    models = {each["name"] for each in listed.json.get("registered_models", ())}
    lacking: dict[str, list[str]] = {"log": [], "promote": []}
    for pipeline, model in names.items():
        if pipeline in known:  # a tag without a name
            log = server.post("experiments/set-experiment-tag", {"experiment_id": known[pipeline], "key": ""})
        else:
            log = server.post("experiments/create", {"name": ""})
        if model in models:  # no version
            promote = registry.post("registered-models/alias", {"name": model, "alias": "champion", "version": ""})
        else:
            promote = registry.post("registered-models/create", {"name": ""})
        for right, answer in (("log", log), ("promote", promote)):
            if answer.status in (_UNKNOWN, _FORBIDDEN):
                lacking[right].append(pipeline)
    may = [right for right, missing in lacking.items() if not missing]
    found = f"may {', '.join(['read', *may])}"
    found += "".join(f"; may not {right}: {', '.join(missing)}" for right, missing in lacking.items() if missing)
    if not (lacking["log"] or lacking["promote"]):
        yield Seen(_RIGHTS, "ok", found)
        return
    wanted = " and ".join(
        text for right, text in {"log": "its experiment", "promote": "its registered model"}.items() if lacking[right]
    )
    way_out = f"training needs EDIT on {wanted}: an admin of the server grants it"
    yield Seen(_RIGHTS, "fault" if lacking["log"] else "warning", found, way_out)
