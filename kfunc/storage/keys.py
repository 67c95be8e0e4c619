"""Keys that wrap the data keys of sealed files: of a Secret, or of a key management service (Vault's transit engine)."""

import re
from base64 import b64decode, b64encode
from binascii import Error
from os import urandom
from typing import Any, Protocol

import msgspec

from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Interrupted
from kfunc.storage.credentials import Credentials
from kfunc.storage.web import WebClient

KEY_BYTES, NONCE_BYTES = 32, 12
BOUND = b"kfunc data key 1"
SECRET = "secret"  # noqa: S105, the name of a kind of key
NO_KEY = "Vault's answer has no key in it: look at VAULT_ADDR, and at the transit key's name"
VAULT = re.compile(r"vault:([A-Za-z0-9_.-]{1,128})")


class Cipher(Protocol):
    """What AESGCM offers; `bound` is what the encrypted data belong to."""

    def encrypt(self, nonce: bytes, data: bytes, bound: bytes, /) -> bytes:
        """The data, encrypted, and its tag."""

    def decrypt(self, nonce: bytes, data: bytes, bound: bytes, /) -> bytes:
        """The data again."""


def wrap(data_key: bytes, by: str, credentials: Credentials) -> bytes:
    """The data key, encrypted by the key `by`: `secret`, or `vault:NAME`. Raises ModelLoadError."""
    if match := VAULT.fullmatch(by):
        told = _vault(f"encrypt/{match[1]}", {"plaintext": b64encode(data_key).decode()}, credentials)
        wrapped = told.get("ciphertext")
        if not isinstance(wrapped, str) or not wrapped:
            raise ModelLoadError(NO_KEY)
        return wrapped.encode()
    nonce = urandom(NONCE_BYTES)
    return nonce + cipher(_secret(by, credentials)).encrypt(nonce, data_key, BOUND)


def unwrap(wrapped: bytes, by: str, credentials: Credentials) -> bytes:
    """The data key. Raises ModelLoadError where the key is missing, or another."""
    if match := VAULT.fullmatch(by):
        told = _vault(f"decrypt/{match[1]}", {"ciphertext": wrapped.decode("ascii", "replace")}, credentials)
        try:
            data_key = b64decode(told.get("plaintext", ""), validate=True)
        except (TypeError, ValueError):
            data_key = b""
        if len(data_key) != KEY_BYTES:
            raise ModelLoadError(NO_KEY)
        return data_key
    key = cipher(_secret(by, credentials))
    try:
        data_key = key.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], BOUND)
    except Exception:  # cryptography's InvalidTag, and ValueErrors of broken lengths
        data_key = b""
    if len(data_key) != KEY_BYTES:
        raise ModelLoadError("the file was sealed with another key than MODEL_KEY, or is broken")
    return data_key


def cipher(key: bytes) -> Cipher:
    """AES-GCM with this key. Raises ModelLoadError where the library is missing."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ModelLoadError("sealed models need cryptography: pip install 'kfunc[sealed]'") from None
    result: Cipher = AESGCM(key)
    return result


def _secret(by: str, credentials: Credentials) -> bytes:
    if by != SECRET:
        raise ModelLoadError(f"a key of the kind {by[:100]!r} is not known: secret, or vault:NAME")
    text = credentials.text("MODEL_KEY", "model-key")
    if not text:
        raise ModelLoadError("sealed models need MODEL_KEY: 32 bytes as base64, or the file model-key of storage.file_secret")
    try:
        key = b64decode(text, validate=True)
    except (Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ModelLoadError("MODEL_KEY must be 32 bytes as base64 (head -c 32 /dev/urandom | base64)")
    return key


def _vault(path: str, body: dict[str, str], credentials: Credentials) -> dict[str, Any]:
    base = credentials.environ.get("VAULT_ADDR", "").rstrip("/")
    token = credentials.text("VAULT_TOKEN", "vault-token", ".vault-token")
    if not base.startswith(("http://", "https://")) or not token:
        raise ModelLoadError("a key of Vault needs VAULT_ADDR and VAULT_TOKEN")
    client = WebClient({"X-Vault-Token": token})
    try:
        answer = client.get(f"{base}/v1/transit/{path}", method="POST", body=msgspec.json.encode(body))
        told = msgspec.json.decode(answer.text(), type=dict[str, Any])
        return dict(told["data"])
    except (Interrupted, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(f"{base}: Vault does not answer: {error}") from None
    finally:
        client.close()
