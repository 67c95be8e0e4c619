"""Which files of a folder stay out of an image: what .funcignore or .dockerignore says, and what never belongs there. Pure."""

import re
from collections.abc import Iterable

from msgspec import Struct

FILES = (".funcignore", ".dockerignore")
IN_MODELS = (".*", "__pycache__", "*.py[cod]")
"""What is left out of a folder of models: hidden files and caches."""
NEVER = (*IN_MODELS, "*.egg-info", "venv", "node_modules", "/func.yaml")
"""The same of a function's folder: hidden files may be secrets (.env) and tools' own; no pod reads func.yaml."""
GIVEN = ("wheels", "knative", "istio", "monitoring")
GIVEN_FILES = (".whl", ".gz", ".yaml", ".yml", ".json", ".md")
"""Folders beside func.yaml that pip gets and `kfunc render` writes; with other files in them they are packages, or models."""
TOLD = ("*.tar", "*.pem", "*.key", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials*.json")
"""Images that `--output` has written, and what may be secrets: they are left out, and the user is told."""


class Rule(Struct, frozen=True):
    """One line: a pattern of paths; `keep` takes back what an earlier one left out. `told`: the user hears of what fits."""

    pattern: re.Pattern[str]
    keep: bool = False
    told: bool = False
    text: str = ""


def parse_rules(lines: Iterable[str], never: Iterable[str] = NEVER, told: Iterable[str] = TOLD) -> list[Rule]:
    """The rules of a file in git's form; the built-in ones stand before them, so that `!` can take them back."""
    rules = [Rule(re.compile(_expression(text)), told=True) for text in told]
    for line in (*never, *lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        keep = text.startswith("!")
        text = text.removeprefix("!").removeprefix("\\").removesuffix("/")
        if text:
            rules.append(Rule(re.compile(_expression(text)), keep, text=text.removeprefix("/")))
    return rules


def ignored_by(path: str, rules: Iterable[Rule]) -> Rule | None:
    """The rule that leaves out a path relative to the folder: of those that fit, the last decides."""
    last = None
    for rule in rules:
        if rule.pattern.fullmatch(path):
            last = rule
    return None if last is None or last.keep else last


def may_keep_below(folder: str, rules: Iterable[Rule]) -> bool:
    """Whether a rule takes back something of a folder that is left out: `*`, `!src/**`."""
    return any(rule.keep and rule.text.startswith(f"{folder}/") for rule in rules)


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
