"""Sealed files: AES-GCM in blocks, with a data key for each file, which another key wraps.

`MAGIC`, the length of the header in 4 bytes, the header in JSON, then blocks of BLOCK bytes with a tag of 16 each. A
block's nonce is its number and whether it is the last one, so that none can be moved, repeated or cut off unseen. The
header, which each block authenticates, has the file's name, so that no file can take another one's place.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from os import urandom
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from kfunc.errors import ModelLoadError
from kfunc.storage.credentials import Credentials
from kfunc.storage.keys import KEY_BYTES, cipher, unwrap, wrap

MAGIC = b"KFSEAL1\n"
SUFFIX = ".sealed"
BLOCK = 1024 * 1024
TAG_BYTES = 16
LONGEST_HEADER = 64 * 1024


class Header(Struct, frozen=True):
    """`name` is the file's within what was sealed, `key` the wrapped data key as base64, `by` the key that wraps it."""

    name: str
    key: str
    by: str
    size: int


def seal(source: Path, target: Path, by: str, credentials: Credentials, name: str = "") -> None:
    """Encrypt a file, to be known as `name`, else as the target's own. Raises ModelLoadError where the key is missing."""
    data_key = urandom(KEY_BYTES)
    size = source.stat().st_size
    wrapped = b64encode(wrap(data_key, by, credentials)).decode()
    header = Header(name or target.name.removesuffix(SUFFIX), wrapped, by, size)
    head = msgspec.json.encode(header)
    blocks, bound = cipher(data_key), sha256(head).digest()
    with source.open("rb") as file, target.open("xb") as out:
        out.write(MAGIC + len(head).to_bytes(4, "big") + head)
        number, block = 0, file.read(BLOCK)
        while True:
            following = file.read(BLOCK)
            out.write(blocks.encrypt(nonce(number, last=not following), block, bound))
            if not following:
                return
            number, block = number + 1, following


def is_sealed(file: Path) -> bool:
    """Whether a file begins as a sealed one does."""
    with file.open("rb") as content:
        return content.read(len(MAGIC)) == MAGIC


def sealed_as(source: Path) -> str:
    """The name that a file says it was sealed by; `unseal` finds out whether that is true. Raises ModelLoadError."""
    with source.open("rb") as file:
        return _header(source, file)[0].name


def unseal(source: Path, credentials: Credentials, name: str = "") -> Iterator[bytes]:
    """The content of a sealed file, block after block; it must have been sealed by the name, else by its own.

    Raises ModelLoadError with the file and the reason.
    """
    name = name or source.name.removesuffix(SUFFIX)
    with source.open("rb") as file:
        header, head = _header(source, file)
        if header.name != name:
            raise ModelLoadError(
                f"{source.name}: was sealed as {header.name[:200]!r}, not as {name!r}; seal the right file again"
            )
        try:
            data_key = unwrap(b64decode(header.key, validate=True), header.by, credentials)
        except ModelLoadError as error:
            raise ModelLoadError(f"{source.name}: {error.message}") from None
        except ValueError:  # of base64
            raise ModelLoadError(f"{source.name}: the file's head is broken, or was changed") from None
        blocks, bound = cipher(data_key), sha256(head).digest()
        number, block, size = 0, file.read(BLOCK + TAG_BYTES), 0
        while True:
            following = file.read(BLOCK + TAG_BYTES)
            try:
                plain = blocks.decrypt(nonce(number, last=not following), block, bound)
            except Exception:  # cryptography's InvalidTag, ValueError for a short block
                raise ModelLoadError(f"{source.name}: block {number} is broken, or the file was cut off or changed") from None
            size += len(plain)
            yield plain
            if not following:
                break
            number, block = number + 1, following
        if size != header.size:
            raise ModelLoadError(f"{source.name}: has {size} bytes, its header says {header.size}")


def nonce(number: int, *, last: bool) -> bytes:
    """Of block `number`: never twice with one data key."""
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _header(source: Path, file: IO[bytes]) -> tuple[Header, bytes]:
    if file.read(len(MAGIC)) != MAGIC:
        raise ModelLoadError(f"{source.name}: is not a sealed file (kfunc model seal makes one)")
    length = int.from_bytes(file.read(4), "big")
    head = file.read(length) if length <= LONGEST_HEADER else b""
    try:
        return msgspec.json.decode(head, type=Header), head
    except (msgspec.MsgspecError, UnicodeError):
        raise ModelLoadError(f"{source.name}: the header of the sealed file is broken") from None
