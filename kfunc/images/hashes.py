"""The hashes of a requirements.txt, and whether the wheels that came have them: pip's own look is not relied on."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kfunc.errors import BuildError
from kfunc.images.wheels import normalized

HASH = re.compile(r"\s--hash[=\s]\s*['\"]?(sha256|sha384|sha512):([0-9a-fA-F]+)")
COMMENT = re.compile(r"(^|\s)#.*")
"""What pip leaves out of a line."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
WHEEL = ".whl"


def hashes_of(texts: Iterable[str]) -> dict[str, set[str]]:
    """Per package what its wheel may be, as `sha256:…`, of those for which the texts say it."""
    found: dict[str, set[str]] = {}
    for text in texts:
        for joined in re.sub(r"\\\r?\n", " ", text).splitlines():
            line = COMMENT.sub("", joined)
            allowed = {f"{kind}:{digits.lower()}" for kind, digits in HASH.findall(line)}
            name = _package(line.split()[0]) if allowed else ""
            if name:
                found.setdefault(name, set()).update(allowed)
    return found


def check(files: Iterable[Path], known: dict[str, set[str]]) -> None:
    """Raises BuildError for a wheel that is not one of those that its hashes allow."""
    for file in files:
        allowed = known.get(_package(file.name))
        if allowed and not any(each.partition(":")[2] == _digest(file, each.partition(":")[0]) for each in allowed):
            raise BuildError(
                f"{file.name} has sha256:{_digest(file, 'sha256')}, and that is none of its hashes in the requirements: make"
                " them anew if it is the right one (pip-compile --generate-hashes), else find out who has changed it"
            )


def _package(word: str) -> str:
    """The package that the first word of a requirement means, or a wheel's file name."""
    path = unquote(urlsplit(word).path)
    if path.endswith(WHEEL) and "@" not in word.partition("://")[0]:
        return normalized(path.rpartition("/")[2].partition("-")[0])
    found = NAME.match(word)
    return normalized(found[0]) if found else ""


def _digest(file: Path, kind: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, kind).hexdigest()
