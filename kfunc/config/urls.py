"""Whether a text is an http(s) URL that a process may be told to talk to. Pure."""

import re
from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """A scheme, a host, perhaps a port; no user, and no character that needs an escape."""
    if not text.isprintable() or re.search(r"\s", text) or not text.startswith(("http://", "https://")):
        return False
    try:
        url = urlsplit(text)
        return bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:
        return False
