"""What Knative brings into a container for its sink: attributes for events (`K_CE_OVERRIDES`) and an OIDC token."""

import logging
import os
from collections.abc import Mapping
from time import monotonic

import msgspec
from msgspec import Struct

log = logging.getLogger("kfunc.logger")

TOKEN_FILE = "/oidc/token"  # noqa: S105 (where a SinkBinding with an audience mounts it)
LOOK_EVERY_S = 1.0
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")  # of an attribute's name (CloudEvents, 3.1)
MAX_NAME = 20
CORE = frozenset(("id", "source", "type", "specversion", "time", "subject", "data", "datacontenttype", "dataschema"))
VISIBLE = bytes(range(0x21, 0x7F))


class _Overrides(Struct):
    extensions: dict[str, str] | None = None


def overrides(environ: Mapping[str, str]) -> dict[str, str]:
    """The attributes that every event gets. What is wrong in them is said and left out: requests go on."""
    text = environ.get("K_CE_OVERRIDES", "").strip()
    if not text:
        return {}
    try:
        extensions = msgspec.json.decode(text, type=_Overrides).extensions or {}
    except msgspec.MsgspecError as error:
        log.warning("K_CE_OVERRIDES is not read: %s; the SinkBinding's ceOverrides make it", error)
        return {}
    wrong = [name for name in extensions if name in CORE or not 0 < len(name) <= MAX_NAME or not LETTERS.issuperset(name)]
    if wrong:
        log.warning("K_CE_OVERRIDES has names that no extension may have, and they are left out: %s", ", ".join(wrong)[:200])
    return {name: value for name, value in extensions.items() if name not in wrong}


class Token:
    """The token in a file; it is read again when the file changes, which is looked for once a second.

    Without a `path` there is one for the SinkBinding's sink only (`is_bound`): it is meant for nobody else.
    """

    def __init__(self, path: str = "", *, is_bound: bool = False) -> None:
        self._path = path or (TOKEN_FILE if is_bound else "")
        self._wanted = bool(path)
        self._looked_at = -LOOK_EVERY_S
        self._stamp: tuple[int, int, int] | None = None
        self._line = b""

    def line(self) -> bytes:
        """The header line with the token; empty without one."""
        now = monotonic()
        if self._path and now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._line

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            with open(self._path, "rb") as file:
                token = file.read(65536).strip()
        except OSError as error:
            if self._wanted and self._stamp != (0, 0, 0):
                self._stamp = (0, 0, 0)
                log.warning("the token %s cannot be read: %s; the sink gets the last one, or none", self._path, error.strerror)
            return
        self._stamp = stamp
        self._line = b"authorization: Bearer %b\r\n" % token if token and not token.translate(None, VISIBLE) else b""
