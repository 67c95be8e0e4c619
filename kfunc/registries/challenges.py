"""What a registry wants to know before it answers: WWW-Authenticate (RFC 9110, 11) and distribution's token flow. Pure."""

import base64
import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from msgspec import Struct

from kfunc.errors import RegistryError
from kfunc.registries.credentials import Credentials

PART = re.compile(
    r'\s*(?:([A-Za-z][A-Za-z0-9-]*)(?:\s+|(?=,|$)))?(?:([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*)?(?:,|$)'
)
"""What is between two commas: a scheme, its parameter, or both."""
CLIENT = "kfunc"


class Challenge(Struct, frozen=True):
    """One way to show who one is; `scheme` in lower case."""

    scheme: str
    parameters: dict[str, str] = {}


class TokenRequest(Struct, frozen=True):
    """What is sent to the registry's token server: a GET with Basic, or a POST with an identity token."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""


def parse_challenges(fields: list[str]) -> list[Challenge]:
    """The challenges of all fields of that name."""
    found: list[Challenge] = []
    text, position = ", ".join(fields), 0
    while position < len(text):
        part = PART.match(text, position)
        if part is None:  # something else than parameters: the schemes behind it may be known
            position = (text.find(",", position) + 1) or len(text)
            continue
        scheme, name, quoted, plain = part.groups()
        if scheme:
            found.append(Challenge(scheme.lower(), {}))
        if name and found:
            found[-1].parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        position = part.end()
    return found


def basic(credentials: Credentials) -> str:
    """The value of Authorization."""
    return "Basic " + base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()


def token_request(challenge: Challenge, scope: str, credentials: Credentials) -> TokenRequest:
    """How to get a token for `scope`. Raises RegistryError."""
    realm = challenge.parameters.get("realm", "")
    if urlsplit(realm).scheme not in ("http", "https"):
        raise RegistryError(f"the registry names no token server (realm={realm!r}); tell who runs it")
    service = {"service": challenge.parameters["service"]} if challenge.parameters.get("service") else {}
    if credentials.identity_token:
        form = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": credentials.identity_token}
        body = urlencode(form | service | {"scope": scope}).encode()
        return TokenRequest("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, body)
    query = urlencode([*service.items(), *(("scope", each) for each in scope.split(" "))])
    headers = {"Authorization": basic(credentials)} if credentials.user else {}
    return TokenRequest("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers)


def token_of(answer: Any) -> str:
    """The token in a token server's answer. Raises RegistryError."""
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
        raise RegistryError("the registry's token server answered without a token; tell who runs it")
    return token
