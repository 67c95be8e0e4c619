"""Which files of a folder stay out of an image: what .funcignore or .dockerignore says, and what never belongs there. Pure."""

import re
from collections.abc import Iterable

from msgspec import Struct

FILES = (".funcignore", ".dockerignore")
NEVER = (".*", "__pycache__", "*.py[cod]", "*.egg-info", "venv", "node_modules", "/wheels", "/knative", "/istio", "/monitoring")
"""Hidden files may be secrets (.env) and tools' own; the last ones are what pip and `kfunc render` get and write."""


class Rule(Struct, frozen=True):
    """One line: a pattern of paths; `keep` takes back what an earlier one left out."""

    pattern: re.Pattern[str]
    keep: bool = False


def parse_rules(lines: Iterable[str]) -> list[Rule]:
    """The rules of a file in git's form; the built-in ones stand before them, so that `!` can take them back."""
    rules = []
    for line in (*NEVER, *lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        keep = text.startswith("!")
        text = text.removeprefix("!").removesuffix("/")
        if text:
            rules.append(Rule(re.compile(_expression(text)), keep))
    return rules


def is_ignored(path: str, rules: Iterable[Rule]) -> bool:
    """Whether a path relative to the folder is left out: the last rule that fits decides."""
    ignored = False
    for rule in rules:
        if rule.pattern.fullmatch(path):
            ignored = not rule.keep
    return ignored


def _expression(text: str) -> str:
    """A pattern as a regular expression; one without a slash fits in every folder."""
    anchored = "/" in text
    text = text.removeprefix("/")
    result, position = "" if anchored else "(?:.*/)?", 0
    while position < len(text):
        if text.startswith("**/", position):
            result, position = result + "(?:.*/)?", position + 3
        elif text.startswith("**", position):
            result, position = result + ".*", position + 2
        elif text[position] == "*":
            result, position = result + "[^/]*", position + 1
        elif text[position] == "?":
            result, position = result + "[^/]", position + 1
        elif text[position] == "[" and "]" in text[position + 2 :]:
            end = text.index("]", position + 2)
            inner = text[position + 1 : end].replace("\\", "\\\\")
            result, position = result + "[" + ("^" + inner[1:] if inner.startswith("!") else inner) + "]", end + 1
        else:
            result, position = result + re.escape(text[position]), position + 1
    return f"{result}(?:/.*)?"
