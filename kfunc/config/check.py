"""Plain values → structs, with every problem at once: types, bounds, patterns, unknown and missing keys.

Pure, and does not change its input. Where a value is wrong its default stands in for it, or an
empty value where there is none, so that the rules across fields can still look at the rest.
"""

from typing import Any, TypeVar

from msgspec import Struct, inspect

from kfunc.config import suggest
from kfunc.config.composer import BROKEN
from kfunc.config.field_path import FieldPath, show_path
from kfunc.config.source import Source
from kfunc.config.wording import expected, found, inner, matches, pattern_words
from kfunc.errors import Problem

T = TypeVar("T", bound=Struct)
MAX_SUGGESTIONS = 100


class Invalid:
    """Marks a value that has been reported."""


INVALID = Invalid()


class Checked(Struct, frozen=True):
    """Problems, and the paths of all values that are not to be trusted."""

    problems: list[Problem]
    invalid: set[FieldPath]


def check(kind: type[T], source: Source) -> tuple[T, Checked]:
    """Convert a source's value. The struct is the document itself if and only if there is no problem."""
    root = inspect.type_info(kind)
    walk = _Walk(source, kind)
    value = walk.value(root, source.value, ())
    result: T = blank(root) if value is INVALID else value
    return result, Checked(walk.problems, walk.invalid)


def blank(kind: inspect.Type) -> Any:
    """A value that stands in for one that is required and wrong."""
    kind = inner(kind)
    if isinstance(kind, inspect.UnionType):
        return blank(kind.types[0])
    if isinstance(kind, inspect.StructType):
        return kind.cls(**{field.name: blank(field.type) for field in kind.fields if field.required})
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    return EMPTY[type(kind)]()


EMPTY: dict[type, type] = {
    inspect.StrType: str,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.BoolType: bool,
    inspect.ListType: list,
    inspect.DictType: dict,
}


class _Walk:
    def __init__(self, source: Source, root: type[Struct]) -> None:
        self.source = source
        self.root = root
        self.problems: list[Problem] = []
        self.invalid: set[FieldPath] = set()

    @property
    def helpful(self) -> bool:
        """Finding the nearest key takes time; a file that is wrong from end to end is probably another kind of file."""
        return len(self.problems) < MAX_SUGGESTIONS

    def value(self, annotated: inspect.Type, value: Any, path: FieldPath) -> Any:
        """The converted value, or INVALID."""
        kind = inner(annotated)
        if value is BROKEN:
            self.invalid.add(path)
            return INVALID
        if isinstance(kind, inspect.UnionType):
            return self.either(kind, value, path)
        if isinstance(kind, inspect.StructType) and isinstance(value, dict):
            return self.struct(kind, value, path)
        if isinstance(kind, inspect.ListType) and isinstance(value, list):
            return self.list_of(kind, value, path)
        if isinstance(kind, inspect.DictType) and isinstance(value, dict):
            return self.dict_of(kind, value, path)
        if isinstance(kind, inspect.LiteralType):
            return value if value in kind.values else self.wrong_choice(kind, value, path)
        if isinstance(kind, inspect.StrType) and isinstance(value, str):
            return self.string(annotated, kind, value, path)
        if isinstance(kind, inspect.BoolType) and isinstance(value, bool):
            return value
        if isinstance(kind, inspect.IntType | inspect.FloatType) and is_number(kind, value):
            return self.number(kind, value, path)
        suggestion = suggest.for_type(value, self.source.places[path].plain, kind, path) if self.helpful else ""
        return self.reject(path, expected(kind), value, suggestion)

    def struct(self, kind: inspect.StructType, value: dict[str, Any], path: FieldPath) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        known: dict[str, Any] = {}
        for key, inside in value.items():
            field = fields.get(key)
            if field is None:
                self.unknown(key, path, list(fields))
                continue
            converted = self.value(field.type, inside, (*path, key))
            if converted is not INVALID:
                known[field.name] = converted
            elif field.required:
                known[field.name] = blank(field.type)
        for field in kind.fields:
            if field.required and field.encode_name not in value:
                self.missing(field, path)
                known[field.name] = blank(field.type)
        return kind.cls(**known)

    def list_of(self, kind: inspect.ListType, value: list[Any], path: FieldPath) -> Any:
        items = [self.value(kind.item_type, inside, (*path, number)) for number, inside in enumerate(value)]
        if len(items) < (kind.min_length or 0):
            return self.reject(path, "a list that is not empty", value, "", "an empty one")
        return [blank(kind.item_type) if item is INVALID else item for item in items]

    def dict_of(self, kind: inspect.DictType, value: dict[str, Any], path: FieldPath) -> Any:
        items = {key: self.value(kind.value_type, inside, (*path, key)) for key, inside in value.items()}
        return {key: blank(kind.value_type) if item is INVALID else item for key, item in items.items()}

    def string(self, annotated: inspect.Type, kind: inspect.StrType, value: str, path: FieldPath) -> Any:
        if len(value) < (kind.min_length or 0):
            return self.reject(path, "a string that is not empty", value, "", "an empty one")
        if kind.pattern and not matches(kind.pattern, value):
            words = pattern_words(annotated).removeprefix("expected ")
            return self.reject(path, words, value, suggest.for_pattern(value, kind.pattern))
        return value

    def number(self, kind: inspect.IntType | inspect.FloatType, value: int | float, path: FieldPath) -> Any:
        low = (kind.gt is None or value > kind.gt) and (kind.ge is None or value >= kind.ge)
        high = (kind.lt is None or value < kind.lt) and (kind.le is None or value <= kind.le)
        if not low or not high:
            return self.reject(path, expected(kind), value)
        return float(value) if isinstance(kind, inspect.FloatType) else value

    def either(self, kind: inspect.UnionType, value: Any, path: FieldPath) -> Any:
        """A number, or one of some words."""
        words: tuple[Any, ...] = ()
        for each in map(inner, kind.types):
            if isinstance(each, inspect.LiteralType):
                words = each.values
                if value in words:
                    return value
            elif isinstance(each, inspect.IntType | inspect.FloatType) and is_number(each, value):
                return self.number(each, value, path)
        plain = self.source.places[path].plain
        number = inner(kind.types[0])
        suggestion = suggest.for_choice(value, words) or suggest.for_type(value, plain, number, path) if self.helpful else ""
        return self.reject(path, expected(kind), value, suggestion)

    def wrong_choice(self, kind: inspect.LiteralType, value: Any, path: FieldPath) -> Any:
        suggestion = suggest.for_choice(value, kind.values) if self.helpful else ""
        return self.reject(path, expected(kind), value, suggestion)

    def reject(self, path: FieldPath, words: str, value: Any, suggestion: str = "", shown: str = "") -> Invalid:
        place = self.source.places[path]
        message = f"expected {words}, found {shown or found(value, place.plain)}"
        self.problems.append(Problem(message, show_path(path), place.line, place.column, suggestion))
        self.invalid.add(path)
        return INVALID

    def unknown(self, key: str, path: FieldPath, known: list[str]) -> None:
        place = self.source.places[(*path, key)]
        suggestion = suggest.for_key(key, path, known, self.root) if self.helpful else ""
        where = show_path((*path, key))
        self.problems.append(Problem("unknown key", where, place.key_line, place.key_column, suggestion))
        self.invalid.add((*path, key))

    def missing(self, field: inspect.Field, path: FieldPath) -> None:
        place = self.source.places[path]
        where = (*path, field.encode_name)
        suggestion = f"add {field.encode_name}: {_least(field.type)}"
        self.problems.append(Problem("required, and missing", show_path(where), place.key_line, place.key_column, suggestion))
        self.invalid.add(where)


def is_number(kind: inspect.IntType | inspect.FloatType, value: Any) -> bool:
    """Whether a value is of the number type; true and false are not."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(kind, inspect.FloatType) and isinstance(value, float))


def _least(kind: inspect.Type) -> str:
    """The shortest value of a type, as YAML."""
    kind = inner(kind)
    if isinstance(kind, inspect.StructType):
        inside = ", ".join(f"{field.encode_name}: {_least(field.type)}" for field in kind.fields if field.required)
        return f"{{{inside}}}"
    return "…"
