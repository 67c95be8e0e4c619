"""Regular expressions that Envoy's RE2 and Go's regexp read as well as Python's re: what the three share. Pure."""

import re
import warnings

MAX_LENGTH = 1024
"""Istio's own bound."""
MAX_REPEAT = 1000
"""RE2's bound, for all repetitions within each other."""
# Outside of a class; a backslash before punctuation is that character. Lookarounds, references and possessives match none.
TOKEN = re.compile(
    r"\\(?:[dDwWsSbBA]|x[0-9A-Fa-f]{2}|[tnrfv]|[!-/:-@\[-`{-~])"
    r"|\[\^?\]?(?P<set>(?:\\(?:[dDwWsS]|x[0-9A-Fa-f]{2}|[tnrfv]|[!-/:-@\[-`{-~])|[^\\\]\[])*)\]"
    r"|\((?:\?(?:[ims]{1,3}:|:|P<[A-Za-z_][A-Za-z0-9_]*>)|(?!\?))"
    r"|(?:[*+?]|\{(?P<low>[0-9]{1,4})(?:,(?P<high>[0-9]{0,4}))?\})\??(?![*+?{])"
    r"|[^\\\[\](){}*+?]|\)",
    re.ASCII,
)
FLAGS = re.compile(r"\(\?[ims]{1,3}\)")
SET_OPERATORS = ("--", "&&", "~~", "||")


def is_re2(text: str) -> bool:
    """Whether all three read it; a few that RE2 alone would read are refused as well."""
    if not text or len(text) > MAX_LENGTH or not text.isprintable():
        return False
    flags = FLAGS.match(text)
    at, repeats = (flags.end() if flags else 0), 1
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None or any(operator in (token["set"] or "") for operator in SET_OPERATORS):
            return False
        if token["low"]:
            repeats *= max(int(token["low"]), int(token["high"] or 0), 1)
        at = token.end()
    return repeats <= MAX_REPEAT and _compiles(text)


def _compiles(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(text)
        except (re.error, Warning, RecursionError, OverflowError):
            return False
    return True


def escape(text: str) -> str:
    """An expression for the text itself."""
    return re.sub(r"([^A-Za-z0-9_\u0080-\U0010ffff])", r"\\\1", text)
