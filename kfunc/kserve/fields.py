"""A document read field by field, so that what nobody has asked for can be named. Pure."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from msgspec import Struct

T = TypeVar("T", str, int, bool)


class Note(Struct, frozen=True):
    """What a reader of the new file must know: `kind` is `changed` or `left` (not carried over)."""

    path: str
    kind: str
    text: str


class Fields:
    """A mapping at `path`; values that are taken are not among those that are `left`."""

    def __init__(self, value: Any, path: str, notes: list[Note]) -> None:
        self.path = path
        self.notes = notes
        self._value: dict[str, Any] = {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}
        self._taken: set[str] = set()
        self._inner: list[Fields] = []

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str) -> str:
        """A text, a number as its text; "" where there is none."""
        value = self.value(name)
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        self._unlike(name, value, "a text")
        return ""

    def number(self, name: str) -> int | None:
        """A whole number; None where there is none."""
        value = self.value(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and (whole := whole_number(value)) is not None:
            return whole
        self._unlike(name, value, "a whole number")
        return None

    def flag(self, name: str) -> bool:
        """Whether it is true."""
        return self.value(name) is True

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self.value(name)
        if isinstance(value, list):
            return [item if isinstance(item, str) else str(item) for item in value]
        self._unlike(name, value, "a list")
        return []

    def pairs(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        value = self.value(name)
        if isinstance(value, dict):
            return {str(key): _as_text(item) for key, item in value.items() if not isinstance(item, (dict, list))}
        self._unlike(name, value, "a mapping")
        return {}

    def mapping(self, name: str) -> "Fields":
        """A mapping, empty where there is none."""
        value = self.value(name)
        if not isinstance(value, dict):
            self._unlike(name, value, "a mapping")
        inner = Fields(value, self.at(name), self.notes)
        self._inner.append(inner)
        return inner

    def items(self, name: str) -> list["Fields"]:
        """The mappings of a list."""
        value = self.value(name)
        if not isinstance(value, list):
            self._unlike(name, value, "a list")
            return []
        inner = [Fields(item, f"{self.at(name)}[{number}]", self.notes) for number, item in enumerate(value)]
        self._inner += inner
        return inner

    def value(self, name: str) -> Any:
        """Whatever it is."""
        self._taken.add(name)
        return self._value.get(name)

    def skip(self, *names: str) -> None:
        """They mean nothing here, or are the default: nothing is said of them."""
        self._taken.update(names)

    def changed(self, name: str, text: str) -> None:
        """Say what became of a field."""
        self.notes.append(Note(self.at(name), "changed", text))

    def leave(self, name: str, text: str) -> None:
        """Say why a field is not carried over."""
        self._taken.add(name)
        self.notes.append(Note(self.at(name), "left", text))

    def left(self) -> Iterator[tuple[str, str]]:
        """Path and name of each field that was not taken."""
        for name, value in self._value.items():
            if name not in self._taken and value not in (None, "", [], {}):
                yield self.at(name), name
        for inner in self._inner:
            yield from inner.left()

    def _unlike(self, name: str, value: Any, expected: str) -> None:
        if value is not None:
            self.notes.append(Note(self.at(name), "left", f"expected {expected}"))


def whole_number(text: str) -> int | None:
    """The number that a text is, in the digits that YAML and Kubernetes take."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def number_of(text: str) -> int | float | None:
    """The same for one that may have a sign and a fraction."""
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text):
        return None
    return float(text) if "." in text else int(text)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, unless it is empty."""
    if value in ("", None) or (isinstance(value, (list, dict)) and not value):
        return
    *above, last = path.split(".")
    for name in above:
        document = document.setdefault(name, {})
    document[last] = value
