"""The nearest valid key or value for a wrong one. Pure."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from msgspec import Struct, inspect

from kfunc.config.field_path import FieldPath, show_path, show_text, without_login
from kfunc.config.quantity import parse_quantity
from kfunc.config.scalars import resolve
from kfunc.config.wording import inner, matches

SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "storageuri": "uri", "path": "uri", "minreplicas": "min", "maxreplicas": "max"}
TRUE_WORDS = {"yes", "y", "on", "true", "1"}
FALSE_WORDS = {"no", "n", "off", "false", "0"}
UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s)")
NOTHING = "give it a value, or remove it"
NEAR = 2
"""Steps up and down the tree within which a key of another mapping is the likelier meaning."""


def for_key(name: str, path: FieldPath, known: list[str], root: type[Struct]) -> str:
    """What a key that `path`'s mapping does not know was probably meant to be."""
    near = _nearest(name, known)
    here = tuple(part for part in path if isinstance(part, str))
    homes = sorted((_distance(here, home), home) for key, home in keys(root) if key == name)
    if homes and (homes[0][0] <= NEAR or not near):
        nearest = [home for distance, home in homes if distance == homes[0][0]][:2]
        return f"{show_text(name)} belongs {' or '.join(_home(home) for home in nearest)}"
    if not near and (close := get_close_matches(name, sorted({key for key, _ in keys(root)}), n=1, cutoff=0.8)):
        homes = sorted((_distance(here, home), home) for key, home in keys(root) if key == close[0])
        return f"did you mean {show_text(close[0])}, {_home(homes[0][1])}?"
    return f"did you mean {show_text(near)}?" if near else f"known here: {', '.join(known)}"


@cache
def keys(root: type[Struct]) -> tuple[tuple[str, FieldPath], ...]:
    """Every key below a type, with the mapping that it belongs to."""
    return tuple(_keys(inspect.type_info(root), ()))


def _keys(kind: inspect.Type, path: FieldPath) -> Iterator[tuple[str, FieldPath]]:
    kind = inner(kind)
    if isinstance(kind, inspect.ListType):
        yield from _keys(kind.item_type, path)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield field.encode_name, path
            yield from _keys(field.type, (*path, field.encode_name))


def for_choice(value: Any, choices: tuple[Any, ...]) -> str:
    """The nearest of an enum's values."""
    if not isinstance(value, str | bool):
        return NOTHING if value is None else ""
    near = _nearest(str(value), [str(choice) for choice in choices])
    return f"did you mean {show_text(near)}?" if near else ""


def for_type(value: Any, plain: str, kind: inspect.Type, path: FieldPath) -> str:
    """How to write what was probably meant, where the value has another type than `kind`."""
    key = show_path(path[-1:]) if path and isinstance(path[-1], str) else ""
    if value is None:
        if isinstance(kind, inspect.StructType) and not any(field.required for field in kind.fields):
            return f'write "{key}: {{}}" for the defaults' if key else 'write "{}" for the defaults'
        return NOTHING
    if isinstance(kind, inspect.StrType) and not isinstance(value, list | dict):
        return f'put it in quotes: "{plain or value}"'
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number(value, kind, key)
    if isinstance(kind, inspect.BoolType):
        word = str(value).lower()
        return "write true" if word in TRUE_WORDS else "write false" if word in FALSE_WORDS else ""
    if isinstance(kind, inspect.ListType):
        return _list(value, plain, inner(kind.item_type))
    if isinstance(kind, inspect.StructType):
        return _mapping(value, plain, kind, key)
    return ""


def for_pattern(value: str, pattern: str) -> str:
    """The same text, changed so far that it fits."""
    dashed = "" if "://" in value or without_login(value) != value else re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")
    sink = f"file:{value}" if ":" not in value and {".", "/"} & set(value) else ""
    for candidate in value.strip(), value.strip().lower(), dashed, value.removesuffix("B"), f"sha256:{value.lower()}", sink:
        if candidate and candidate != value and matches(pattern, candidate):
            return f"did you mean {show_text(candidate)}?"
    return ""


def _number(value: Any, kind: inspect.IntType | inspect.FloatType, key: str) -> str:
    whole = isinstance(kind, inspect.IntType)
    if isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if not isinstance(value, str):
        return ""
    text = value.strip()
    if re.fullmatch(r"[0-9]+(_[0-9]+)+", text):
        return f"write {text.replace('_', '')}"
    if (unit := UNIT.fullmatch(text)) and key.endswith("_" + unit[2]):
        return f"write {unit[1]}"
    try:
        number = resolve(text)
    except ValueError:
        return ""
    if not isinstance(number, bool) and isinstance(number, int if whole else int | float):
        return f"write {text} without quotes"
    size = parse_quantity(re.sub(r"K$", "k", text.removesuffix("B")))
    return f"write {size}" if whole and key.endswith("_bytes") and size is not None and size.denominator == 1 else ""


def _list(value: Any, plain: str, item: inspect.Type) -> str:
    if isinstance(value, dict):
        if not isinstance(item, inspect.StructType):
            return 'list items start with "- "'
        names = [field.encode_name for field in item.fields]
        if len(names) == 2 and value and not set(value) & set(names):
            key, inside = next(iter(value.items()))
            if isinstance(inside, str):
                return f"write - {{{names[0]}: {key}, {names[1]}: {show_text(inside)}}}"
        return 'list items start with "- "'
    return f"write [{plain}]" if plain and len(plain) < 40 else 'list items start with "- "'


def _mapping(value: Any, plain: str, kind: inspect.StructType, key: str) -> str:
    required = [field for field in kind.fields if field.required]
    if isinstance(value, list):
        return 'remove the "- "' if len(value) == 1 and isinstance(value[0], dict) else ""
    if value is True and not required:
        return f'write "{key}: {{}}" for the defaults'
    if value is False and not required:
        return "remove it to turn it off"
    if isinstance(value, str) and len(required) == 1 and isinstance(inner(required[0].type), inspect.StrType):
        return f'write "{key}: {{{required[0].encode_name}: {plain if 0 < len(plain) < 60 else show_text(value)}}}"'
    return ""


def _nearest(name: str, known: list[str]) -> str:
    folded = {_fold(key): key for key in known}
    meant = SYNONYMS.get(_fold(name))
    if meant in known:
        return meant
    close = get_close_matches(_fold(name), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def _fold(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def _distance(here: FieldPath, there: FieldPath) -> int:
    common = 0
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    return len(here) + len(there) - 2 * common


def _home(path: FieldPath) -> str:
    return f'under "{show_path(path)}"' if path else "at the top level"
