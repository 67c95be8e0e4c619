"""Every text of a func.yaml with quotes, lines, $(…), tags and a megabyte in it: refused, or in the manifests as itself."""

import json
import re
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from msgspec import inspect

from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, StartupError
from kfunc.manifests.outputs import render, text
from kfunc.manifests.yaml_text import write
from tests.manifests import plan, plan_of
from tests.manifests.reading import expand, read
from tests.oracles.func_yaml import Path, leaves

BENIGN = ("benign", "/benign", "http://benign.example.com/a", "benign.example.com/b:1", "broker:benign", "100", "1.2.3")
HOSTILE = (
    'it\'s "quoted"',
    "a\nb: c\n---\nkind: Pod\n",
    '"}]\n- name: B\n',
    "$(HOME)",
    "$$(HOME)",
    "$$",
    "${HOME} `id` $(id)",
    "!!python/object/apply:os.system",
    "*alias",
    "&anchor",
    "{{ .Values.a }}",
    "ü\u202e😀\u2028\x85",
    "a\tb",
    "# a",
    "- a",
    "yes",
    "1e3",
    "\\",
    "%",
    "@a",
    "| a",
    "/a'\"$(A)\n",
    "http://a/'\"$(A)",
    "http://a/\n",
)
MEGABYTE = "x" * 1_000_000
REVISION = re.compile(r"-[0-9a-f]{8}$")


@cache
def texts() -> list[Path]:
    """Where a func.yaml has texts that are not one of a few words."""
    return [path for path, kind in leaves() if isinstance(kind, inspect.StrType)]


def written(path: Path, value: str) -> str:
    """A func.yaml with a text at one place, and around it what makes the place count."""
    whole: dict[str, Any] = {"name": "iris", "inference": {"model": {"uri": "m.onnx"}, "logger": {}}}
    place: Any = whole
    for part, following in pairwise(path):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(part, int):
            place += [{} for _ in range(part + 1 - len(place))]
            place[part] = place[part] or empty
        else:
            place.setdefault(part, empty)
        place = place[part]
    place[path[-1]] = value
    for number, volume in enumerate(whole.get("run", {}).get("volumes", [])):
        volume.setdefault("path", f"/data/{number}")
        if len(volume) == 1:
            volume["emptyDir"] = {}
    for number, env in enumerate(whole.get("run", {}).get("envs", [])):
        env.setdefault("name", f"A{number}")
        env.setdefault("value", "text")
    for number, sink in enumerate(whole["inference"]["logger"].get("sinks", [])):
        sink.setdefault("to", f"http://a{number}/")
    inference = whole["inference"]
    inference.get("server", {"image": ""}).setdefault("image", "example.com/server")
    if "server" in inference:
        inference["server"] |= {"port": 9000} | ({} if path[-1] == "sidecar_image" else {"sidecar_image": "example.com/kfunc"})
    inference.get("telemetry", {}).setdefault("otlp_endpoint", "http://a:1")
    for number, toleration in enumerate(inference.get("scheduling", {}).get("tolerations", [])):
        toleration.setdefault("key", f"a{number}")
    for number, label in enumerate(whole.get("deploy", {}).get("labels", [])):
        label.setdefault("key", f"a{number}")
    for number, subscription in enumerate(whole.get("deploy", {}).get("subscriptions", [])):
        subscription.setdefault("source", f"a{number}")
    if "explain" in inference:
        inference["explain"].setdefault("method", "shap-kernel")
    surround_models(inference)
    return write(whole)


def surround_models(inference: dict[str, Any]) -> None:
    """The same for what stands in several models."""
    models = inference.get("models", [])
    for number, rule in enumerate(inference.get("images", {}).get("choose", [])):
        rule.setdefault("max_side", 100 + number)
        rule.setdefault("model", "iris")
    for number, model in enumerate(models):
        model.setdefault("uri", f"m{number}.onnx")
        model.setdefault("name", f"m{number}")
    for model in (*models, inference.get("model", {})):
        for side in ("inputs", "outputs"):
            for number, tensor in enumerate(model.get("signature", {}).get(side, [])):
                tensor.setdefault("name", f"a{number}")


def rendered(source: str) -> list[Any] | None:
    """All documents as a cluster sees them, None where the file is refused."""
    try:
        result = render(plan_of(source))
    except (ConfigError, StartupError):
        return None
    return [seen(read(text([manifest]))) for manifests in result.files.values() for manifest in manifests]


def seen(value: Any) -> Any:
    """A document after Kubernetes has replaced $(…) in variables and arguments, the settings as what they hold."""
    if isinstance(value, list):
        return [seen(one) for one in value]
    if not isinstance(value, dict):
        return value
    result = {key: seen(one) for key, one in value.items()}
    for key in ("command", "args"):
        if key in result:
            result[key] = [expand(word) for word in result[key]]
    if isinstance(value.get("value"), str) and "name" in value:
        result["value"] = expand(value["value"])
        if value["name"] == "KFUNC_CONFIG" and result["value"].startswith("{"):
            result["value"] = json.loads(result["value"])
    return result


def shape(value: Any, text: str) -> Any:
    """The document with every text that holds this one, and every revision's name, blanked."""
    if isinstance(value, dict):
        return {("…" if text in key else key): shape(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one, text) for one in value]
    if isinstance(value, str):
        return "…" if text in value else REVISION.sub("-…", value)
    return value


@cache
def benign(path: Path, scheme: str = "") -> Any:
    """The shape with a harmless text at the place, one of that scheme if there is any; None where none is accepted."""
    for word in sorted(BENIGN, key=lambda word: not word.startswith(scheme)):
        if (documents := rendered(written(path, word))) is not None:
            return shape(documents, word)
    return None


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_text_is_refused_or_stands_for_itself_and_changes_nothing_else(hostile: str) -> None:
    for path in texts():
        documents = rendered(written(path, hostile))
        if documents is not None and (expected := benign(path, hostile.partition("//")[0])) is not None:
            assert shape(documents, hostile) == expected, path


def test_no_text_is_expanded_by_kubernetes() -> None:
    for path in texts():
        assert "EXPANDED" not in json.dumps(rendered(written(path, "$(HOME)"))), path


def test_a_megabyte_is_refused_or_stands_for_itself() -> None:
    for path in texts():
        documents = long(path)
        if documents is not None and "…" in json.dumps(benign(path), ensure_ascii=False):
            assert MEGABYTE in json.dumps(documents), path


def long(path: Path) -> list[Any] | None:
    """All documents of a file with a megabyte at a place, None where it is refused; as YAML it would take a second to read."""
    source = parse_source(written(path, "benign").encode())
    place = source.value
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = MEGABYTE
    try:
        result = render(plan(read_function(source)))
    except (ConfigError, StartupError):
        return None
    return [seen(manifest) for manifests in result.files.values() for manifest in manifests]


def test_most_places_accept_some_text_so_that_these_tests_say_something() -> None:
    assert sum(benign(path) is not None for path in texts()) > 0.7 * len(texts())
    assert (
        read_function(parse_source(written(("run", "envs", 0, "value"), HOSTILE[0]).encode())).run.envs[0].value == HOSTILE[0]
    )
