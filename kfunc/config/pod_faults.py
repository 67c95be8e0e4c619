"""What is wrong in `KFUNC_CONFIG` or in a variable beside it, in the words of func.yaml's. Pure; imported when something is."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, inspect

from kfunc.config import suggest
from kfunc.config.field_path import FieldPath, show_path, show_text
from kfunc.config.wording import expected, found, inner, matches, pattern_words
from kfunc.errors import ConfigError, Problem

PLACE = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?", re.DOTALL)  # as msgspec's messages end
PART = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")
NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
UNSET_IT = 'unset it, or give it the settings, {} or {"logger": {"sink": "file:events.jsonl"}}'


def fault_of(
    error: Exception, settings: Any, root: type[Struct], variable: str, others: Mapping[FieldPath, str]
) -> ConfigError:
    """The error as a problem of the one of the variables that it is in.

    `settings` is what was converted, or the text of `variable` where that did not get so far; `others` are the variables
    beside it, by what they set.
    """
    try:
        plain = msgspec.json.decode(settings) if isinstance(settings, str) else settings
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as cause:  # `error` may be of what stands before it
        return _no_json(cause if settings.strip() else None, variable)
    match = PLACE.fullmatch(str(error))
    if match is None or not isinstance(error, msgspec.ValidationError):
        return _no_json(error, variable)
    path = tuple(int(number) if number else name for name, number in PART.findall(match[2] or ""))
    message, path, suggestion = _told(match[1], path, plain, root, is_text=any(path[: len(each)] == each for each in others))
    for owner, name in others.items():
        if path[: len(owner)] == owner:
            return ConfigError([Problem(_at(path[len(owner) :], message), suggestion=suggestion)], name)
    return ConfigError([Problem(_at(path, message), suggestion=suggestion)], variable)


def _no_json(cause: Exception | None, variable: str) -> ConfigError:
    message = f"the settings are JSON, and this is none: {cause}" if cause else "it is empty"
    return ConfigError([Problem(message, suggestion=UNSET_IT)], variable)


def _at(path: FieldPath, message: str) -> str:
    return f"{show_path(path)}: {message}" if path else message


def _told(said: str, path: FieldPath, plain: Any, root: type[Struct], *, is_text: bool) -> tuple[str, FieldPath, str]:
    """What is wrong, where, and what to write."""
    kind, value = inspect.type_info(root), plain
    for part in path:
        kind, value = _member(kind, part), value[part]
    if named := NAMED.fullmatch(said):
        where = (*path, named[2])
        if named[1] == "missing required":
            return "required, and missing", where, ""
        fields = kind.fields if isinstance(kind := _plain(kind), inspect.StructType) else ()
        return "unknown key", where, suggest.for_key(named[2], path, [field.encode_name for field in fields], root)
    words, suggestion = _wanted(_sole(kind), value, path, is_text=is_text)
    if is_text and isinstance(value, str):
        # Text where a block is wanted may be a part of one, cut within a password.
        shown = "other text" if isinstance(_plain(kind), inspect.StructType) else show_text(value)
    else:
        shown = found(value, "")
    return (f"expected {words}, found {shown}" if words else said.replace("`", "")), path, suggestion


def _wanted(annotated: inspect.Type, value: Any, path: FieldPath, *, is_text: bool) -> tuple[str, str]:
    """A type in words, and what was probably meant; both empty for a type that there are no words for."""
    kind = inner(annotated)
    if isinstance(kind, inspect.StrType) and isinstance(value, str):
        if kind.pattern and not matches(kind.pattern, value):
            return pattern_words(annotated).removeprefix("expected "), suggest.for_pattern(value, kind.pattern)
        return "a string that is not empty", ""
    try:
        words = expected(kind)
    except KeyError:
        return "", ""
    if isinstance(kind, inspect.LiteralType):
        return words, suggest.for_choice(value, kind.values)
    if is_text and isinstance(kind, inspect.StructType):
        return words, "write it as JSON"
    suggestion = suggest.for_type(value, "", kind, path)
    return words, "" if is_text and suggestion.endswith("quotes") else suggestion


def _sole(kind: inspect.Type) -> inspect.Type:
    """Of what may be null, what it is else; with what is said of it."""
    union = inner(kind)
    if isinstance(union, inspect.UnionType):
        rest = [each for each in union.types if not isinstance(inner(each), inspect.NoneType)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _plain(kind: inspect.Type) -> inspect.Type:
    return inner(_sole(kind))


def _member(kind: inspect.Type, part: str | int) -> inspect.Type:
    kind = _plain(kind)
    if isinstance(kind, inspect.StructType):
        return next((field.type for field in kind.fields if field.encode_name == part), inspect.AnyType())
    if isinstance(kind, inspect.ListType):
        return kind.item_type
    return kind.value_type if isinstance(kind, inspect.DictType) else inspect.AnyType()
