"""What a registry wants to know before it answers: WWW-Authenticate (RFC 9110, 11) and distribution's token flow. Pure."""

import base64
import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from msgspec import Struct

from kfunc.errors import RegistryError
from kfunc.images.credentials import Credentials

CHALLENGE = re.compile(r'([A-Za-z][A-Za-z0-9-]*)(?:\s+((?:[A-Za-z_-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]*)\s*,?\s*)+))?(?:,|$)')
PARAMETER = re.compile(r'([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
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
    found = []
    for match in CHALLENGE.finditer(", ".join(fields)):
        values = {}
        for parameter in PARAMETER.finditer(match[2] or ""):
            quoted = parameter[2]
            values[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
        found.append(Challenge(match[1].lower(), values))
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
    if not isinstance(token, str) or not token or not token.isprintable():
        raise RegistryError("the registry's token server answered without a token; tell who runs it")
    return token
