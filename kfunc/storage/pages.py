"""Pages that web servers give in a model's place: for a folder, a login or an error."""

import re
from pathlib import Path

HEAD_BYTES = 4096
PAGE = (
    "this is an HTML page, no model: a login, an error, or a listing of files (https: and http: name one file); "
    "open the URI in a browser, and correct it"
)
HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+)?html\b", re.DOTALL | re.IGNORECASE)


def is_page(file: Path) -> bool:
    """Whether a file begins as HTML does."""
    try:
        with file.open("rb") as content:
            return HEAD.match(content.read(HEAD_BYTES)) is not None
    except OSError:
        return False
