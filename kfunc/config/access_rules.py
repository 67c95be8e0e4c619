"""Rules for `inference.access`: conditions that somebody can check, tokens whose keys can be had."""

import re
from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.access import Jwt
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.jwks import jwks_fault
from kfunc.config.urls import is_ascii_url

ACCESS: FieldPath = ("inference", "access")
HEADER = re.compile(r"[-_A-Za-z0-9]{1,256}")
CLAIM = re.compile(r"[A-Za-z0-9_.:/-]{1,256}")
MAX_TEXT = 1024


def access_has_conditions(function: Function) -> Iterator[Finding]:
    """A block that allows everything protects nothing, and a condition needs a place that can check it."""
    access = function.inference.access
    if access is UNSET:
        return
    if not (access.jwt or access.principals or access.namespaces or access.paths or access.strict_mtls):
        yield Finding(ACCESS, "nothing here keeps anybody out", "add jwt: [{issuer: …}], principals or paths", at_key=True)
    for key in ("subjects", "claims"):
        if getattr(access, key) and not access.jwt:
            yield Finding((*ACCESS, key), f"{key} are those of a token", "add jwt: [{issuer: …}]", at_key=True)
    for key in ("principals", "namespaces", "strict_mtls"):
        if getattr(access, key) and access.at == "gateway":
            message = "a gateway does not know its callers' identities in the mesh"
            yield Finding((*ACCESS, key), message, "add at: pod", at_key=True)


def patterns_are_patterns(function: Function) -> Iterator[Finding]:
    """Istio knows `*` at one end of a text, and takes it for itself in the middle."""
    access = function.inference.access
    if access is UNSET:
        return
    for key in ("subjects", "principals", "namespaces", "paths", "public_paths"):
        texts: list[str] = getattr(access, key)
        for number, text in enumerate(texts):
            path: FieldPath = (*ACCESS, key, number)
            if text in texts[:number]:
                yield Finding(path, f"{show_text(text)} is already in the list", "remove it")
            if fault := _pattern_fault(text, is_path=key.endswith("paths")):
                yield Finding(path, fault)
    for claim, values in access.claims.items():
        if not CLAIM.fullmatch(claim):
            yield Finding((*ACCESS, "claims", claim), f"expected a claim's name, found {show_text(claim)}", at_key=True)
        if not values:
            yield Finding((*ACCESS, "claims", claim), "expected at least one value", "add a value, or remove the claim")
        for number, value in enumerate(values):
            if fault := _pattern_fault(value, is_path=False):
                yield Finding((*ACCESS, "claims", claim, number), fault)


def _pattern_fault(text: str, *, is_path: bool) -> str:
    inside = text[1:] if text.startswith("*") else text.removesuffix("*")
    if not text or len(text) > MAX_TEXT or not text.isprintable() or text != text.strip():
        return f"expected printable text without outer spaces, found {show_text(text)}"
    if "*" in inside and text != "*":
        return f'"*" stands for anything at the beginning or the end, not at both and not within: found {show_text(text)}'
    if is_path and (not text.startswith(("/", "*")) or re.search(r"[\s?#{}]", text)):
        return f'expected a path such as "/v2/models/*", found {show_text(text)}'
    return ""


def tokens_can_be_checked(function: Function) -> Iterator[Finding]:
    """Each issuer once, with keys that can be had."""
    access = function.inference.access
    if access is UNSET:
        return
    for number, jwt in enumerate(access.jwt):
        path: FieldPath = (*ACCESS, "jwt", number)
        if any(jwt.issuer == other.issuer for other in access.jwt[:number]):
            yield Finding((*path, "issuer"), f"the issuer {show_text(jwt.issuer)} is already in the list", "put them together")
        yield from _issuer(jwt, path)
        yield from _places(jwt, path)


def _issuer(jwt: Jwt, path: FieldPath) -> Iterator[Finding]:
    if not _is_word(jwt.issuer) or "*" in jwt.issuer:
        yield Finding((*path, "issuer"), f'expected a token\'s iss, without spaces and "*", found {show_text(jwt.issuer)}')
    if jwt.jwks_uri and jwt.jwks:
        yield Finding((*path, "jwks"), "jwks_uri and jwks say the same", "keep one of them", at_key=True)
    if jwt.jwks_uri and not is_ascii_url(jwt.jwks_uri):
        message = f'expected a URL such as "https://auth.example.com/keys", found {show_text(jwt.jwks_uri)}'
        yield Finding((*path, "jwks_uri"), message)
    if jwt.jwks and (fault := jwks_fault(jwt.jwks)):
        yield Finding((*path, "jwks"), fault)
    if jwt.issuer and not jwt.jwks and not jwt.jwks_uri and not is_ascii_url(jwt.issuer):
        message = f"the keys of {show_text(jwt.issuer)} cannot be discovered: it is no URL"
        yield Finding((*path, "issuer"), message, "add jwks_uri: …")
    for number, audience in enumerate(jwt.audiences):
        if not _is_word(audience):
            yield Finding((*path, "audiences", number), f"expected an audience without spaces, found {show_text(audience)}")


def _places(jwt: Jwt, path: FieldPath) -> Iterator[Finding]:
    if jwt.header and not HEADER.fullmatch(jwt.header):
        yield Finding((*path, "header"), f"expected a header's name, found {show_text(jwt.header)}")
    if jwt.header_prefix and not jwt.header:
        yield Finding((*path, "header_prefix"), "a prefix needs the header that it stands in", "add header: …", at_key=True)
    if len(jwt.header_prefix) > MAX_TEXT or not jwt.header_prefix.isprintable():
        yield Finding((*path, "header_prefix"), f"expected printable text, found {show_text(jwt.header_prefix)}")
    if jwt.query and not _is_word(jwt.query):
        yield Finding((*path, "query"), f"expected the name of a query parameter, found {show_text(jwt.query)}")


def _is_word(text: str) -> bool:
    return 0 < len(text) <= MAX_TEXT and text.isprintable() and " " not in text


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    access_has_conditions,
    patterns_are_patterns,
    tokens_can_be_checked,
)
