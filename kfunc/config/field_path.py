"""Where in a configuration a value is: keys and list indices, outermost first."""

FieldPath = tuple[str | int, ...]


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
    """A text in quotes on one line, nothing in it that a terminal would act on."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    escaped = "".join(_escape(character) for character in cut)
    return f'"{escaped}"'


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
