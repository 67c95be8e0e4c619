"""What ruamel.yaml's messages mean, in the words of somebody who writes a func.yaml. Pure."""

from typing import NamedTuple

INDENTATION = "keys of one mapping start in the same column"
QUOTES = "put the text in quotes"
QUOTES_OR_COLUMN = "put the text in quotes, or check the indentation"
BACKSLASH = "use single quotes, or double the backslash"


class Meaning(NamedTuple):
    """Which of ruamel's two marks points at the fault (`problem` or `context`), what it is, what to do."""

    mark: str
    message: str
    suggestion: str = ""


# (in the context, in the problem, meaning), the first that fits.
MEANINGS: tuple[tuple[str, str, Meaning], ...] = (
    ("", "found character '\\t'", Meaning("problem", "a tab, where YAML takes only spaces", "indent with spaces")),
    ("", "that cannot start any token", Meaning("problem", "no value can start with this character", QUOTES)),
    ("", "mapping values are not", Meaning("problem", 'a ": " that does not belong here', QUOTES_OR_COLUMN)),
    ("block mapping", "found '<scalar>'", Meaning("problem", "text after the end of a value", "put all of it in quotes")),
    ("block", "expected <block end>", Meaning("problem", "the indentation does not fit the lines above", INDENTATION)),
    ("simple key", "expected ':'", Meaning("context", 'a key without ": " after it', 'write "key: value"')),
    ("quoted scalar", "unexpected", Meaning("context", "this quote is never closed", "close it")),
    ("flow sequence", "<stream end>", Meaning("context", 'this "[" is never closed', 'close it with "]"')),
    ("flow mapping", "<stream end>", Meaning("context", 'this "{" is never closed', 'close it with "}"')),
    ("flow sequence", "expected ','", Meaning("problem", 'a "," or "]" is missing before this')),
    ("flow mapping", "expected ','", Meaning("problem", 'a "," or "}" is missing before this')),
    ("flow node", "<stream end>", Meaning("problem", 'the file ends within a "[" or "{"', "close it")),
    ("double-quoted", "unknown escape", Meaning("problem", "no such escape in double quotes", BACKSLASH)),
    ("double-quoted", "expected escape", Meaning("problem", "a broken escape in double quotes", BACKSLASH)),
    ("anchor", "expected", Meaning("context", 'a "&" without a name', QUOTES)),
    ("alias", "expected", Meaning("context", 'a "*" without a name', QUOTES)),
    ("block scalar", "expected", Meaning("problem", 'only "-", "+" or a digit may follow "|" or ">"', "start the text below")),
    (
        "",
        "sequence entries are not",
        Meaning("problem", 'a "- " that does not belong here', "start the list on a line of its own"),
    ),
    ("", "mapping keys are not", Meaning("problem", 'a "? " that does not belong here', QUOTES)),
    (
        "",
        "expected the node content",
        Meaning("problem", "a value is missing before this", "write it, or put the text in quotes"),
    ),
    (" tag", "", Meaning("context", "tags are not supported", 'a text that starts with "!" needs quotes')),
    ("directive", "", Meaning("context", "directives are not supported", 'a text that starts with "%" needs quotes')),
    ("", "expected '<document start>'", Meaning("problem", "text after the end of the document", INDENTATION)),
    ("", "undefined tag handle", Meaning("context", "tags are not supported", 'a text that starts with "!" needs quotes')),
    ("", "found incompatible YAML", Meaning("problem", "only YAML 1.2 is read", 'remove the line "%YAML"')),
)


def explain(context: str | None, problem: str | None) -> Meaning:
    """The meaning of a scanner's or parser's error, in general words where it is a rare one."""
    for in_context, in_problem, meaning in MEANINGS:
        if in_context in (context or "") and in_problem in (problem or ""):
            return meaning
    return Meaning("problem", f"not valid YAML: {problem or context or 'it breaks off'}")
