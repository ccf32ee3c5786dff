"""What may be told of addresses, variables and the answers of others: nothing that lets somebody in.

Whatever is printed, logged, put into MLflow or sent away goes through here first.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_KEY_OF_A_QUERY = re.compile(
    r"x-(amz|goog|oss|ms)-.*|awsaccesskeyid|googleaccessid|signature|sig|expires|policy|key-pair-id|se|sp|spr|sr|st|sv|"
    r"sk[a-z]+|.*(token|secret|password|passwd|credential|api_?key|auth).*|key",
    re.IGNORECASE,
)
"""Names of a query's fields that let somebody in, or belong to what does."""
_SECRET_NAME = re.compile(r"PASS|TOKEN|SECRET|KEY|CREDENTIAL|WEBHOOK|CONNECTION_STRING", re.IGNORECASE)
_BEARER = re.compile(r"(?i)(bearer|basic)\s+[\w.~+/=-]{8,}")
_SHORTEST = 6
"""Letters of a secret below which it would also be found in innocent words."""


def address(uri: str) -> str:
    """Return a URI without what may let somebody in; what is no URI comes back as it is.

    User, password and fragment are left out; of a query there is a digest alone, of its fields without signature and
    tokens: ``https://host/get?~1f0c9d2a``.
    """
    protocol, mark, rest = uri.partition("://")
    if not mark:
        return uri
    rest, _, query = rest.partition("#")[0].partition("?")
    authority, slash, path = rest.partition("/")
    plain = f"{protocol.lower()}://{authority.rpartition('@')[2]}{slash}{path}"
    told = [(name, value) for name, value in parse_qsl(query, True) if not _KEY_OF_A_QUERY.fullmatch(name)]
    return f"{plain}?~{hashlib.sha256(urlencode(told).encode()).hexdigest()[:8]}" if told else plain


def origin(uri: str) -> str:
    """Return protocol and host of a URI: of a webhook, the path is a secret too."""
    protocol, mark, rest = address(uri).partition("://")
    return f"{protocol}{mark}{rest.partition('/')[0]}"


def addresses_in(text: str) -> str:
    """Return a text in which every URI is told as :func:`address` does."""
    return _URI.sub(lambda found: address(found.group()), text)


def origins_in(text: str) -> str:
    """Return a text in which every URI is told as :func:`address` does, those of the web without their paths."""
    return _URI.sub(lambda found: _web(found.group()), text)


def _web(uri: str) -> str:
    told, short = address(uri), origin(uri)
    return f"{short}/***" if told.startswith(("http://", "https://")) and told != short else told


def is_secret(name: str) -> bool:
    """Whether a variable or an option of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def scrub(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text in one line without credentials of addresses, bearers, and values of the environment's secrets."""
    text = _BEARER.sub(r"\1 ***", addresses_in(" ".join(text.split())))
    for name, value in (os.environ if environment is None else environment).items():
        if is_secret(name) and len(value) >= _SHORTEST and not _is_path(value):
            text = text.replace(value, "***")
    return text


def _is_path(value: str) -> bool:
    """Whether a variable names a file that holds the secret, and not the secret."""
    with suppress(OSError, ValueError):
        return Path(value).exists()
    return False
