"""The reference of metrics: every place in the code that makes one, with its kind, its words and its labels."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import kfunc

ROOT = Path(kfunc.__file__).parent
KINDS = {
    "counter": "counter",
    "counted": "counter",
    "codes": "counter",
    "gauge": "gauge",
    "level": "gauge",
    "info": "gauge",
    "histogram": "histogram",
}
COMPONENTS = {"batcher_sidecar": "batcher", "logger_sidecar": "logger", "handlers": "handler"}


class Metric(NamedTuple):
    """One metric as a place in the code makes it."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    component: str


def page() -> str:
    """Markdown."""
    metrics: dict[str, list[Metric]] = {}
    for metric in found():
        metrics.setdefault(metric.name, []).append(metric)
    rows = ["| Name | Kind | Of | Labels | |", "|---|---|---|---|---|"]
    for name, places in sorted(metrics.items()):
        of = ", ".join(sorted({each.component for each in places}))
        labels = ", ".join(f"`{label}`" for label in dict.fromkeys(label for each in places for label in each.labels))
        text = places[0].text.replace("|", "\\|")
        rows.append(f"| `{name}` | {places[0].kind} | {of} | {labels} | {text} |")
    return (
        "# Metrics\n\nOn `/metrics` of each process's management port; the outermost shows the whole pod's. "
        "Every series has the label `component` beside its own. [metrics.md](../metrics.md) says what they are for.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def found() -> Iterator[Metric]:
    """The metrics of all modules."""
    for file in sorted(ROOT.rglob("*.py")):
        component = COMPONENTS.get(file.relative_to(ROOT).parts[0], "all")
        yield from Module(ast.parse(file.read_text())).metrics(component)


class Module:
    """The calls of a module that make metrics. A name stands for what it was last given above the place that uses it."""

    def __init__(self, tree: ast.Module) -> None:
        self._calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._given: dict[str, list[ast.Assign | ast.AugAssign]] = {}
        for node in ast.walk(tree):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(node, (ast.Assign, ast.AugAssign)) and isinstance(target, ast.Name):
                self._given.setdefault(target.id, []).append(node)

    def metrics(self, component: str) -> Iterator[Metric]:
        """What each call makes."""
        for call in self._calls:
            kind = self._kind(call)
            if kind:
                for name, text in zip(self._names(call), self._texts(call.args[1]), strict=False):
                    if name.startswith("kfunc_"):
                        yield Metric(name, kind, text, self._labels_of(call), component)

    def _kind(self, call: ast.Call) -> str:
        """What a call makes, if it makes a metric: a method of `Metrics`, or a function around one that is given a name."""
        if len(call.args) < 2:
            return ""
        if isinstance(call.func, ast.Attribute):
            return KINDS.get(call.func.attr, "")
        named = isinstance(call.args[0], ast.Constant) and str(call.args[0].value).startswith("kfunc_")
        return KINDS.get(call.func.id, "gauge") if named and isinstance(call.func, ast.Name) else ""

    def _names(self, call: ast.Call) -> list[str]:
        """One name, or those of a table where a part of it varies: of the table that has their texts."""
        first = call.args[0]
        if not isinstance(first, ast.JoinedStr):
            return self._texts(first)
        start = "".join(str(part.value) for part in first.values if isinstance(part, ast.Constant))
        return [start + key for key in self._table(call.args[1])]

    def _texts(self, node: ast.expr) -> list[str]:
        """The texts that an argument stands for."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.Name) and (given := self._last(node)):
            return self._texts(given[0])
        return list(self._table(node).values())

    def _table(self, node: ast.expr) -> dict[str, str]:
        """The table of texts that an argument takes one from."""
        given = self._last(node.value) if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) else []
        return ast.literal_eval(given[0]) if given else {}

    def _last(self, name: ast.Name) -> list[ast.expr]:
        """What a name was given last above that place, and what was added to it since."""
        above = [node for node in self._given.get(name.id, []) if node.lineno < name.lineno]
        plain = [at for at, node in enumerate(above) if isinstance(node, ast.Assign)]
        return [node.value for node in above[plain[-1] :]] if plain else []

    def _labels_of(self, call: ast.Call) -> tuple[str, ...]:
        """The labels among the arguments; of a function around a metric also those that it gives itself."""
        if isinstance(call.func, ast.Attribute) and call.func.attr == "codes":
            return ("code",)
        around = self._functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
        inner = [each for each in ast.walk(around) if isinstance(each, ast.Call) and each.args] if around else []
        arguments = [*call.args[2:], *(keyword.value for keyword in call.keywords if keyword.arg == "labels")]
        arguments += [each for one in inner if self._kind(one) for each in one.args[2:]]
        return tuple(dict.fromkeys(label for each in arguments for label in self._labels(each)))

    def _labels(self, node: ast.expr) -> Iterator[str]:
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield from [str(key.value)] if isinstance(key, ast.Constant) else self._labels(value)
        elif isinstance(node, ast.DictComp) and isinstance(node.generators[0].iter, ast.Tuple):
            yield from (str(each.value) for each in node.generators[0].iter.elts if isinstance(each, ast.Constant))
        elif isinstance(node, ast.Name):
            for given in self._last(node):
                yield from self._labels(given)
