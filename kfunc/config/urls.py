"""Whether a text is an http(s) URL that a process may be told to talk to. Pure."""

import re
from urllib.parse import urlsplit

MAX_LENGTH = 1024


def is_http_url(text: str) -> bool:
    """A scheme, a host, perhaps a port; no user, and no character that needs an escape."""
    if not text.isprintable() or re.search(r"\s", text) or not text.startswith(("http://", "https://")):
        return False
    try:
        url = urlsplit(text)
        return bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:
        return False


def is_ascii_url(text: str) -> bool:
    """One that Go reads as well, whatever it is put into: ASCII, escapes that are such, a host that is one."""
    if not text or not text.isascii() or not is_http_url(text) or re.search(r'[<>"\\^`{|}]|%(?![0-9A-Fa-f]{2})', text):
        return False
    url = urlsplit(text)
    named = re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+", url.hostname or "") is not None
    return named and len(text) <= MAX_LENGTH and not url.netloc.endswith(":")
