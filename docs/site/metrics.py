"""The reference of metrics: every place in the code that makes one, with its kind, its words and its labels."""

import ast
from collections.abc import Iterator
from pathlib import Path

import kfunc

ROOT = Path(kfunc.__file__).parent
KINDS = {
    "counter": "counter",
    "codes": "counter",
    "gauge": "gauge",
    "level": "gauge",
    "info": "gauge",
    "histogram": "histogram",
}
COMPONENTS = {"batcher_sidecar": "batcher", "logger_sidecar": "logger", "handlers": "handler"}


def page() -> str:
    """Markdown."""
    rows: dict[str, tuple[str, str, set[str]]] = {}
    for name, kind, text, component in found():
        known = rows.setdefault(name, (kind, text, set()))
        known[2].add(component)
    lines = [f"| `{name}` | {kind} | {', '.join(sorted(of))} | {text} |" for name, (kind, text, of) in sorted(rows.items())]
    return (
        "# Metrics\n\nOn `/metrics` of each process's management port; the outermost shows the whole pod's. "
        "Every series has the label `component`. [metrics.md](../metrics.md) says what they are for.\n\n"
        "| Name | Kind | Of | |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


def found() -> Iterator[tuple[str, str, str, str]]:
    """Name, kind, text and process of each metric."""
    for file in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(file.read_text())
        texts = dict(constants(tree))
        component = COMPONENTS.get(file.relative_to(ROOT).parts[0], "all")
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and len(call.args) >= 2 and (kind := kind_of(call)):
                for name, text in zip(names(call.args[0], texts), words(call.args[1], texts), strict=False):
                    if name.startswith("kfunc_"):
                        yield name, kind, text.replace("|", "\\|"), component


def kind_of(call: ast.Call) -> str:
    """What a call makes, if it makes a metric: a method of `Metrics`, or a function around `gauge` that is given a name."""
    if isinstance(call.func, ast.Attribute):
        return KINDS.get(call.func.attr, "")
    first = call.args[0]
    named = isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith("kfunc_")
    return "gauge" if named and isinstance(call.func, ast.Name) else ""


def constants(tree: ast.Module) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Names that stand for a text, or for a table of texts, anywhere in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(value, str) or (isinstance(value, dict) and all(isinstance(each, str) for each in value.values())):
                yield node.targets[0].id, value


def names(node: ast.expr, texts: dict[str, dict[str, str] | str]) -> list[str]:
    """The names that an argument stands for: one, or those of a table where a part of it varies."""
    if isinstance(node, ast.JoinedStr):
        start = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        return [start + key for table in texts.values() if isinstance(table, dict) for key in table]
    return words(node, texts)


def words(node: ast.expr, texts: dict[str, dict[str, str] | str]) -> list[str]:
    """The texts that an argument stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.Name):
        value = texts.get(node.id, "")
        return [value] if isinstance(value, str) and value else []
    if isinstance(node, ast.Subscript):
        return [text for table in texts.values() if isinstance(table, dict) for text in table.values()]
    return []
