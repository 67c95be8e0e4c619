"""Blobs into a registry, large ones in chunks: an upload goes on where a lost connection or an ended build left it."""

import hashlib
import re
from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from kfunc.errors import BuildError, RegistryError
from kfunc.images.layers import content_digest
from kfunc.images.registry import Registry
from kfunc.images.store import ALGORITHM, Blob, Store
from kfunc.images.transport import BUSY, LOST, PIECE, TRIES, Answer, lost, may_pass

CHUNK = 16 << 20
MOST_MINIMUM = 256 << 20
"""Of what a registry may ask a chunk to be at least."""
STREAM = "application/octet-stream"
RANGE = re.compile(r"(?:bytes=)?0-([0-9]+)")

Told = Callable[[int], object]
"""Hears how many bytes have arrived: of the whole blob, from its beginning."""


class Session(Struct, frozen=True):
    """An upload that has been begun: where it goes on, and the size of its chunks."""

    url: str
    chunk: int = CHUNK


def upload(registry: Registry, blob: Blob, store: Store, told: Told) -> bool:
    """Bring a blob into the repository; False if it was there. Raises RegistryError."""
    if registry.has_blob(blob.digest):
        return False
    place = f"{registry.reference.host}/{registry.reference.repository}@{blob.digest}"
    key = f"upload-{hashlib.sha256(place.encode()).hexdigest()}"
    session = store.noted(key, Session)
    offset = _arrived(registry, session) if session else None
    if session is None or offset is None or offset > blob.size:
        session, offset = _begin(registry), 0
    if blob.size <= session.chunk:
        _whole(registry, session, blob)
    else:
        session = _chunks(registry, session, blob, offset, told, store, key)
        answer = registry.ask("PUT", _with_digest(session.url, blob.digest), {"Content-Type": STREAM, "Content-Length": "0"})
        if answer.status not in BUSY:
            store.forget(key)  # what is refused as it is now must not be gone on with by the next build
        _accepted(registry, answer, blob)
    told(blob.size)
    return True


def _begin(registry: Registry) -> Session:
    """Begin an upload. Raises RegistryError."""
    answer = registry.ask("POST", f"{registry.base}/blobs/uploads/", {"Content-Length": "0"})
    registry.expect(answer, f"take a layer for {registry.reference.name}")
    least = answer.field("OCI-Chunk-Min-Length")
    chunk = max(CHUNK, min(int(least), MOST_MINIMUM)) if least.isdecimal() else CHUNK
    return Session(_next(registry, answer, answer.url), chunk)


def _next(registry: Registry, answer: Answer, url: str) -> str:
    """Where an upload goes on. Raises RegistryError."""
    location = answer.field("Location")
    if not location:
        raise RegistryError(f"{registry.reference.registry} does not say where the upload goes on; tell who runs it")
    target = urljoin(url, location)
    here = urlsplit(registry.base)
    # A registry behind a proxy that ends TLS may call itself http://: what is sent stays on the way that was chosen.
    parts = urlsplit(target)
    if parts.hostname == here.hostname and parts.scheme != here.scheme:
        target = parts._replace(scheme=here.scheme, netloc=here.netloc).geturl()
    return target


def _arrived(registry: Registry, session: Session) -> int | None:
    """How many bytes of an upload the registry has; None if it does not know it any more."""
    try:
        answer = registry.ask("GET", session.url)
    except RegistryError:
        return None
    found = RANGE.fullmatch(answer.field("Range"))
    if answer.status != 204:
        return None
    return int(found[1]) + 1 if found and found[1] != "0" else 0


def _whole(registry: Registry, session: Session, blob: Blob) -> None:
    """A small blob in one request; after a lost connection the registry is asked whether it has it."""
    fields = {"Content-Type": STREAM, "Content-Length": str(blob.size)}
    answer = registry.ask("PUT", _with_digest(session.url, blob.digest), fields, lambda: _read(blob, 0, blob.size))
    _accepted(registry, answer, blob)


def _chunks(registry: Registry, session: Session, blob: Blob, offset: int, told: Told, store: Store, key: str) -> Session:
    """Send from `offset` on. After each failure the registry is asked how far it came. Raises RegistryError."""
    failures = 0
    while offset < blob.size:
        told(offset)
        size = min(session.chunk, blob.size - offset)
        answer, failure = _chunk(registry, session.url, blob, offset, size)
        if answer is not None and answer.status in (202, 204):
            session = Session(_next(registry, answer, session.url), session.chunk)
            offset, failures = offset + size, 0
            store.note(key, session)
            continue
        failures += 1
        if failure is not None and (failures == TRIES or not may_pass(failure)):
            raise lost(session.url, failure)
        if answer is not None and (failures == TRIES or answer.status not in (*BUSY, 404, 416)):
            registry.expect(answer, f"take a layer for {registry.reference.name}")
        registry.transport.wait(failures, answer)
        arrived = _arrived(registry, session)
        if arrived is None or arrived > blob.size:
            session, arrived = _begin(registry), 0
        offset = arrived
    return session


def _chunk(registry: Registry, url: str, blob: Blob, offset: int, size: int) -> tuple[Answer | None, Exception | None]:
    """Send one chunk: the answer, or how the connection was lost."""
    fields = {"Content-Type": STREAM, "Content-Length": str(size), "Content-Range": f"{offset}-{offset + size - 1}"}
    try:
        return registry.ask_once("PATCH", url, fields, lambda: _read(blob, offset, size)), None
    except LOST as error:
        return None, error


def _accepted(registry: Registry, answer: Answer, blob: Blob) -> None:
    """Whether an upload is whole; one whose answer was lost is there although its session is gone. Raises RegistryError."""
    if answer.status == 404 and registry.has_blob(blob.digest):
        return
    if answer.status == 400:
        if f"{ALGORITHM}{content_digest(blob.path)}" != blob.digest:
            blob.path.unlink(missing_ok=True)
            raise RegistryError(f"{blob.path} was damaged on this machine, and is removed: build again", answer.status)
        raise RegistryError(
            f"{registry.reference.registry} says that a layer arrived damaged ({answer.status}): try again;"
            " if it stays so, something on the way changes what is sent",
            answer.status,
        )
    registry.expect(answer, f"take a layer for {registry.reference.name}")


def _with_digest(url: str, digest: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}digest={digest}"


def _read(blob: Blob, offset: int, size: int) -> Iterator[bytes]:
    """A part of a blob. Raises BuildError, so that nobody takes it for a fault of the connection."""
    try:
        with blob.path.open("rb") as file:
            file.seek(offset)
            while size > 0 and (piece := file.read(min(PIECE, size))):
                size -= len(piece)
                yield piece
    except OSError as error:
        raise BuildError(f"cannot read {blob.path}: {error.strerror}; build again") from None
