"""JSON Web Key Sets (RFC 7517), as far as a rule must know them: public keys that signatures are checked with. Pure."""

import re
from typing import Any

import msgspec

BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
PRIVATE = ("d", "k", "p", "q", "dp", "dq", "qi", "oth")
CURVES = {"P-256": 43, "P-384": 64, "P-521": 88}
"""Curve -> characters of a coordinate in base64url."""
ED25519 = 43
LEAST_RSA = 340
"""2,040 bits in base64url."""


def jwks_fault(text: str) -> str:
    """Why a text is no set of public keys; empty if it is one."""
    try:
        content = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return 'expected JSON such as {"keys": [{"kty": "RSA", …}]}'
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list) or not keys or len(content) != 1:
        return 'expected JSON such as {"keys": [{"kty": "RSA", …}]} with at least one key'
    for number, key in enumerate(keys):
        if fault := _key_fault(key):
            return f"keys[{number}]: {fault}"
    return ""


def _key_fault(key: Any) -> str:
    if not isinstance(key, dict) or not all(isinstance(value, str) for value in key.values()):
        return "expected a key whose members are strings"
    if any(name in key for name in PRIVATE):
        return "this is a private or a shared key: it is no secret any more, and a signature is checked with the public one"
    kind, curve = key.get("kty"), key.get("crv", "")
    if kind == "RSA":
        return "" if _encoded(key, "n", LEAST_RSA) and _encoded(key, "e") else "an RSA key needs n (2048 bits or more) and e"
    if kind == "EC" and curve in CURVES:
        size = CURVES[curve]
        whole = _encoded(key, "x", size, size) and _encoded(key, "y", size, size)
        return "" if whole else f"a key on {curve} needs x and y of {size} characters in base64url"
    if kind == "OKP" and curve == "Ed25519":
        return "" if _encoded(key, "x", ED25519, ED25519) else "an Ed25519 key needs x of 43 characters in base64url"
    return "expected kty RSA, EC (crv P-256, P-384, P-521) or OKP (crv Ed25519)"


def _encoded(key: dict[str, str], name: str, least: int = 1, most: int = 4096) -> bool:
    value = key.get(name, "")
    return least <= len(value) <= most and BASE64URL.fullmatch(value) is not None and len(value) % 4 != 1
