"""Where in a configuration a value is: keys and list indices, outermost first."""

import re

FieldPath = tuple[str | int, ...]
SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")


def show_path(path: FieldPath) -> str:
    """`inference.batcher`, `run.envs[0].name`, `deploy.annotations["example.com/team"]`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif len(part) <= 60 and part.replace("_", "a").replace("-", "a").isalnum():
            shown += f".{part}" if shown else part
        else:
            shown += f"[{show_text(part)}]"
    return shown


def show_text(text: str, limit: int = 60) -> str:
    """A text in quotes on one line, nothing in it that a terminal would act on, and no password."""
    text = without_login(text)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    escaped = "".join(_escape(character) for character in cut)
    return f'"{escaped}"'


def without_login(text: str, mark: str = "…") -> str:
    """An address, a wrong one too, without user, password and query; as it is an image, a path, an address of e-mail."""
    is_address = SCHEME.match(text)
    login, at, rest = text.rpartition("@")
    is_place = text.startswith("file:") or rest.startswith("sha256:") or (":" not in text and "//" not in text)
    if login and not is_place:
        text = f"{is_address[0] if is_address else ''}{mark}{at}{rest}"
    if is_address and "?" in text:
        text = f"{text.partition('?')[0]}?{mark}"
    return text


def printable(text: str) -> str:
    """The text with control characters, line ends and invisible marks as escapes."""
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or (
        f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
    )
