"""The reference of func.yaml: its JSON Schema as tables, a table for each block."""

from collections.abc import Iterator
from typing import Any

import msgspec

from kfunc.config.describe import json_schema

Schema = dict[str, Any]


def page() -> str:
    """Markdown."""
    schema = json_schema()
    blocks: dict[str, list[str]] = {}
    sentences = dict(told(schema, resolve(schema, schema)))
    for path, field, required in fields(schema, resolve(schema, schema)):
        block, _, name = path.rpartition(".")
        default = "*required*" if required else f"`{text(field['default'])}`" if "default" in field else "–"
        words = field.get("description", "").replace("|", "\\|").replace("\n", " ")
        blocks.setdefault(block, []).append(f"| `{name}` | {kind(schema, field)} | {default} | {words} |")
    parts = [
        "# func.yaml",
        "Knative Functions' own file, with one block more: `inference`. `kfunc schema` prints the JSON Schema that these "
        "tables are made of; `kfunc validate` names every problem of a file, with line and column. A variable `KFUNC_…` "
        "overrides a field of the pod's settings: `KFUNC_BATCHER_MAX_BATCH_SIZE=64`.",
    ]
    for block, sentence in {"": "", **sentences}.items():
        head = "| Field | Type | Default | |\n|---|---|---|---|"
        table = [] if block not in blocks else ["\n".join([head, *blocks[block]])]
        parts += [f"## {block or 'The file'}", *([sentence] if sentence else []), *table]
    return "\n\n".join(parts) + "\n"


def fields(root: Schema, schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Each field that is no block itself: its path, its schema, and whether it must be there."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        found, suffix = inside(root, inner)
        if found.get("properties"):
            yield from fields(root, found, here + suffix)
        else:
            yield here, resolve(root, inner) | inner, name in schema.get("required", ())


def told(root: Schema, schema: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """Each block: its path and what it is for; of those of `inference` also what holds where it is absent."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        block, suffix = inside(root, inner)
        if not block.get("properties"):
            continue
        sentence = inner.get("description") or block.get("description", "").partition("\n\n")[0].replace("\n", " ")
        if path == "inference" and not suffix and "absent" not in sentence and name not in schema.get("required", ()):
            sentence += " Absent: its defaults hold." if "default" in inner else " Absent: off."
        yield here + suffix, sentence
        yield from told(root, block, here + suffix)


def inside(root: Schema, schema: Schema) -> tuple[Schema, str]:
    """The block that a field holds, and how it does: itself, in a list or by names."""
    found = resolve(root, schema)
    for choice in found.get("anyOf", ()):
        if resolve(root, choice).get("properties"):
            return resolve(root, choice), ""
    items, more = found.get("items"), found.get("additionalProperties")
    if isinstance(items, dict) and inside(root, items)[0].get("properties"):
        return inside(root, items)[0], "[]"
    if isinstance(more, dict) and inside(root, more)[0].get("properties"):
        return inside(root, more)[0], ".NAME"
    return found, ""


def resolve(root: Schema, schema: Schema) -> Schema:
    """What a reference refers to."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def kind(root: Schema, schema: Schema) -> str:
    """A type in words."""
    schema = resolve(root, schema)
    if "enum" in schema:
        return ", ".join(f"`{text(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(kind(root, each) for each in schema["anyOf"])
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in schema
    ]
    if schema.get("type") == "array":
        return f"list of {kind(root, schema.get('items', {}))}"
    if schema.get("type") == "object":
        return f"names with {kind(root, schema.get('additionalProperties') or {})}"
    return " ".join([str(schema.get("type", "anything")), *bounds])


def text(value: Any) -> str:
    """A value as func.yaml has it."""
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
