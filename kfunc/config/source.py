"""A func.yaml as plain values, with line and column of each key and value; its meaning is not looked at here."""

from pathlib import Path
from typing import Any

from msgspec import Struct

from kfunc.config.composer import MAX_DEPTH, MAX_NODES, Composer, Node
from kfunc.config.field_path import FieldPath
from kfunc.config.text import MAX_BYTES, Text, decode
from kfunc.errors import ConfigError, Problem


class Place(Struct, frozen=True):
    """Line and column, from 1, of a value and of its key; `plain` is the text of an unquoted scalar."""

    line: int
    column: int
    key_line: int
    key_column: int
    plain: str = ""


class Source(Struct, frozen=True):
    """A document: mappings, lists and scalars, Broken where a problem has already been reported."""

    name: str
    text: str
    value: Any
    places: dict[FieldPath, Place]
    problems: list[Problem]

    def place(self, path: FieldPath) -> Place:
        """The place of the value at `path`, or of the nearest one around it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def load_source(path: Path) -> Source:
    """Read a file. Raises ConfigError if it cannot be read or has no value; `problems` has the rest."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([_unreadable(path, error)], str(path)) from None
    return parse_source(content, str(path))


def parse_source(content: bytes, name: str = "func.yaml") -> Source:
    """The same for bytes; pure."""
    text = decode(content, name)
    composer = Composer(text)
    root = composer.compose()
    if root is None or (root.entries is None and root.scalar is None):
        problem = Problem("the file is empty", "", 1, 1, "the least is: inference: {model: {uri: ./model.onnx}}")
        raise ConfigError([problem], name, text.content)
    places: dict[FieldPath, Place] = {}
    value = _expand(root, (), 0, text, places)
    return Source(name, text.content, value, places, composer.problems)


def _expand(node: Node, path: FieldPath, key_index: int, text: Text, places: dict[FieldPath, Place]) -> Any:
    """The plain value; aliases are written out, within the bounds that hold for a file without them."""
    key_line, key_column = text.position(key_index)
    empty = node.scalar is None and node.entries is None and not node.plain
    line, column = text.position(key_index if empty else node.index)
    if len(places) >= MAX_NODES or len(path) > MAX_DEPTH:
        bound = f"nested more than {MAX_DEPTH} deep" if len(path) > MAX_DEPTH else f"more than {MAX_NODES} values"
        problem = Problem(f"the aliases, written out, are {bound}", "", line, column, "write the values out")
        raise ConfigError([problem], text.name, text.content)
    places[path] = Place(line, column, key_line, key_column, node.plain)
    if node.entries is None:
        return node.scalar
    if node.sequence:
        return [_expand(child, (*path, key), index, text, places) for key, index, child in node.entries]
    return {key: _expand(child, (*path, key), index, text, places) for key, index, child in node.entries}


def _unreadable(path: Path, error: OSError | ValueError) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem("no such file", suggestion="`kfunc init` writes one")
    if isinstance(error, IsADirectoryError):
        return Problem("this is a folder", suggestion=f"name the file: {path / 'func.yaml'}")
    if isinstance(error, PermissionError):
        return Problem("no permission to read it", suggestion="check the file's owner and mode")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(f"cannot be read: {reason}")
