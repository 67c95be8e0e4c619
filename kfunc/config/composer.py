"""YAML text → nodes with their place in the text; the only module that knows ruamel.yaml.

Pure. Events become nodes here rather than in ruamel's composer, which recurses as deep as its input
and stops at the first duplicate key. A node is made once and shared by its aliases.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from kfunc.config.field_path import FieldPath, show_path, show_text
from kfunc.config.scalars import resolve
from kfunc.config.syntax import explain
from kfunc.config.text import Text
from kfunc.errors import ConfigError, Problem

MAX_DEPTH = 100
MAX_NODES = 10_000
PLAIN_TAGS = {"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
RUAMEL_FAULTS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError, NotImplementedError)


class Broken:
    """Stands for a value that a problem has been reported of."""


BROKEN = Broken()


class Node:
    """A value at `index` of the text: a scalar, or `entries` of (key, index of the key or item, node)."""

    __slots__ = ("entries", "index", "plain", "scalar", "sequence")

    def __init__(self, index: int, scalar: Any = None, plain: str = "", sequence: bool = False) -> None:
        self.index = index
        self.scalar = scalar
        self.plain = plain
        self.sequence = sequence
        self.entries: list[tuple[str | int, int, Node]] | None = None


class Composer:
    """Reads one document; `problems` has what can be said without stopping."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.problems: list[Problem] = []
        self._events = self._parse()
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()
        self._nodes = 0

    def compose(self) -> Node | None:
        """The document's root, None if there is no document. Raises ConfigError where reading on makes no sense."""
        next(self._events)
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            return None
        if start.version not in (None, (1, 2)):
            line, column = self.text.position(self.text.content.find("%YAML"))
            self.problems.append(Problem("only YAML 1.2 is read", "", line, column, 'remove the line "%YAML"'))
        root = self._node(next(self._events), (), 0)
        next(self._events)
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            self._report(after, (), "a second document starts here", 'one file is one function: remove the "---"')
        return root

    def _parse(self) -> Iterator[Any]:
        index = 0
        try:
            for event in YAML(typ="safe", pure=True).parse(self.text.content):
                index = event.start_mark.index
                yield event
        except MarkedYAMLError as error:
            mark, message, suggestion = explain(error.context, error.problem)
            place = error.context_mark if mark == "context" and error.context_mark else error.problem_mark
            self._stop(place.index if place else index, message, suggestion)
        except (YAMLError, *RUAMEL_FAULTS):
            # Malformed escapes and directives make ruamel raise what comes along (OverflowError for "\UFFFFFFFF").
            self._stop(index, "not valid YAML from here on", "look for a broken escape sequence or directive")

    def _node(self, event: Any, path: FieldPath, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(event.start_mark.index, f"more than {MAX_NODES} values", "a func.yaml is short: is this another file?")
        if depth > MAX_DEPTH:
            self._stop(event.start_mark.index, f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if event.anchor:
            self._open.add(event.anchor)
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, path)
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(event, path, depth)
        else:
            node = self._sequence(event, path, depth)
        if event.tag is not None and event.tag not in PLAIN_TAGS:
            shown = show_text(event.tag.replace("tag:yaml.org,2002:", "!!"))
            self._report(event, path, f"the tag {shown} is not supported", "remove the tag")
            node = self._broken(event)
        if event.anchor:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, path: FieldPath) -> Node:
        name, shown = event.anchor, show_text(f"*{event.anchor}")
        if name in self._open:
            self._report(event, path, f"the alias {shown} stands inside its own anchor", "write the value out")
            return self._broken(event)
        if name not in self._anchors:
            self._report(event, path, f"the alias {shown} has no anchor above it", 'a text that starts with "*" needs quotes')
            return self._broken(event)
        return self._anchors[name]

    def _scalar(self, event: Any, path: FieldPath) -> Node:
        index, text = event.start_mark.index, event.value
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self._report(event, path, "an escape for NUL or half a surrogate pair is no text", "write the character itself")
            return self._broken(event)
        if event.style is not None or event.tag is not None:
            return Node(index, text)
        try:
            return Node(index, resolve(text), text)
        except ValueError as error:
            self._report(event, path, str(error), f'if it is text, put it in quotes: "{text}"' if len(text) < 40 else "")
            return self._broken(event)

    def _mapping(self, event: Any, path: FieldPath, depth: int) -> Node:
        node = Node(event.start_mark.index)
        node.entries = []
        seen: dict[str, int] = {}
        while not isinstance(key_event := next(self._events), MappingEndEvent):
            index = key_event.start_mark.index
            key = self._key(key_event, path, depth + 1)
            value = self._node(next(self._events), path if key is None else (*path, key), depth + 1)
            if key is None:
                continue
            if key in seen:
                line, _ = self.text.position(seen[key])
                self._report(key_event, (*path, key), f"duplicate key, it is already on line {line}", "keep one of the two")
                continue
            seen[key] = index
            node.entries.append((key, index, value))
        return node

    def _key(self, event: Any, path: FieldPath, depth: int) -> str | None:
        """The key's text; None for what cannot be a key, which is reported."""
        node = self._node(event, path, depth)
        if isinstance(event, ScalarEvent) and event.value == "<<" and event.style is None:
            self._report(event, path, 'merge keys ("<<") are not part of YAML 1.2', "write the keys out")
        elif node.entries is not None:
            self._report(event, path, "a list or mapping cannot be a key", 'a value that starts with "{" or "[" needs quotes')
        elif isinstance(node.scalar, str):
            return node.scalar
        elif node.scalar is None and not node.plain:
            self._report(event, path, 'a ":" without a key before it', 'write "key: value"')
        elif node.scalar is not BROKEN:
            self._report(event, path, f"keys are text, {node.plain} is not", f'put it in quotes: "{node.plain}"')
        return None

    def _sequence(self, event: Any, path: FieldPath, depth: int) -> Node:
        node = Node(event.start_mark.index, sequence=True)
        node.entries = []
        while not isinstance(item := next(self._events), SequenceEndEvent):
            number = len(node.entries)
            child = self._node(item, (*path, number), depth + 1)
            node.entries.append((number, item.start_mark.index, child))
        return node

    def _broken(self, event: Any) -> Node:
        return Node(event.start_mark.index, BROKEN)

    def _report(self, event: Any, path: FieldPath, message: str, suggestion: str = "") -> None:
        line, column = self.text.position(event.start_mark.index)
        self.problems.append(Problem(message, show_path(path), line, column, suggestion))

    def _stop(self, index: int, message: str, suggestion: str = "") -> NoReturn:
        line, column = self.text.position(index)
        self.problems.append(Problem(message, "", line, column, suggestion))
        raise ConfigError(self.problems, self.text.name, self.text.content) from None
