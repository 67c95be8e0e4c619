"""The text of a func.yaml: what bytes are acceptable, and which line and column an offset is."""

import re
from bisect import bisect_right

from kfunc.errors import ConfigError, Problem

MAX_BYTES = 1024 * 1024
LINE_END = re.compile(r"\r\n|\r|\n")
# YAML 1.2, 5.1: the C0 and C1 controls except tab, line ends and NEL; surrogates cannot occur in decoded UTF-8.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Text:
    """Decoded content; lines and columns count from 1, in characters."""

    def __init__(self, content: str, name: str) -> None:
        self.content = content
        self.name = name
        self._starts = [0, *(match.end() for match in LINE_END.finditer(content))]

    def position(self, index: int) -> tuple[int, int]:
        """Line and column of an offset into the content."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1


def decode(content: bytes, name: str) -> Text:
    """UTF-8 with or without a byte order mark. Raises ConfigError for what cannot be YAML text."""
    if len(content) > MAX_BYTES:
        raise _refused(name, f"larger than {MAX_BYTES} bytes", "a func.yaml is short: is this another file?")
    if content.startswith(WIDE_MARKS):
        raise _refused(name, "this is UTF-16, not UTF-8", "save the file as UTF-8")
    if 0 in content:
        raise _refused(name, "this is a binary file: it has NUL bytes", "", _position(content, content.index(0)))
    content = content.removeprefix(BYTE_ORDER_MARK)
    try:
        text = Text(content.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        raise _refused(name, message, "save the file as UTF-8", _position(content, error.start)) from None
    if match := FORBIDDEN.search(text.content):
        message = f"the character U+{ord(match[0]):04X} is not allowed in YAML"
        suggestion = f'remove it; in double quotes it is "\\u{ord(match[0]):04x}"'
        raise ConfigError([Problem(message, "", *text.position(match.start()), suggestion)], name, text.content)
    return text


def _position(content: bytes, offset: int) -> tuple[int, int]:
    before = content[:offset].decode("utf-8", "replace")
    return Text(before, "").position(len(before))


def _refused(name: str, message: str, suggestion: str, position: tuple[int, int] = (0, 0)) -> ConfigError:
    return ConfigError([Problem(message, "", *position, suggestion)], name)
