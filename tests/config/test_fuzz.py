"""Whatever is in a func.yaml: a Function or a ConfigError whose places lie in the file, and the check agrees with msgspec."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kfunc.config.check import check
from kfunc.config.complete import complete
from kfunc.config.function import Function
from kfunc.config.load import read_function
from kfunc.config.pod import VARIABLE, decode, encode
from kfunc.config.report import render, to_json
from kfunc.config.rules import findings
from kfunc.config.source import Source, parse_source
from kfunc.config.suggest import keys
from kfunc.errors import ConfigError

VALID = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
image: registry.example.com/team/iris
build: {builder: pack, buildEnvs: [{name: A, value: b}], volumes: [{hostPath: a, path: /b}]}
run:
  envs:
    - {name: A, value: "{{ env:A }}"}
    - value: '{{ secret:s }}'
  volumes:
    - {secret: s, path: /s}
    - &v {emptyDir: {sizeLimit: 1Gi}, path: /e}
deploy:
  labels: [{key: team, value: ml}]
  annotations:
    a/b: |
      text
  options:
    scale: {min: 0, max: 10, metric: concurrency, target: 32}
    resources: {requests: {cpu: 250m, memory: 256Mi}, limits: {cpu: "1", memory: 512Mi, concurrency: 64}}
inference:
  model: {uri: ./model.onnx, runtime: auto, version: "1"}
  protocols: [v1, v2]
  limits: {max_body_bytes: 0x1000, header_timeout_s: 1.5e0}
  batcher: {max_batch_size: 32, max_latency_ms: 5}
  logger: {mode: all, sink: "http://broker.example.com/default"}
"""
PIECES = [
    ": ", "- ", "? ", "{", "}", "[", "]", ",", "\n", "\n  ", "\t", "#", "&a ", "*a", "<<: *a", "!!str ", "!x ", "|", ">", "'",
    '"', "\\", "%YAML 1.1\n", "---\n", "...\n", "~", "null", "true", "no", "0", "-1", "1e999", ".nan", "9" * 30, "0x", "\u2028",
    "\x85", "\ufeff", "\0", "\x1b", '"\\ud800"', '"\\0"', '"\\UFFFFFFFF"', "é", "日本", "😀", "{{ env:A }}", "s3://a/b", "../",
]  # fmt: skip
KEYS = sorted({key for key, _ in keys(Function)})

FUZZ = settings(max_examples=200, deadline=None)
pieces = st.one_of(st.sampled_from(PIECES), st.sampled_from(KEYS), st.text(max_size=5))
text_of_pieces = st.lists(pieces, max_size=40).map("".join)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(), st.text(max_size=8), st.sampled_from(PIECES)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)), inner, max_size=5)
    ),
    max_leaves=25,
)


def can_be_shown(error: ConfigError) -> None:
    lines = error.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert error.problems
    for problem in error.problems:
        assert problem.message.isprintable()
        assert 0 <= problem.line <= len(lines) or not error.text
        assert not problem.line or problem.column >= 1
    assert all(line.isprintable() for line in render(error).split("\n"))
    assert msgspec.json.encode(to_json(error))


def read(content: bytes) -> Function | None:
    """The function, or None where there are problems, each of which can be shown."""
    try:
        function = read_function(parse_source(content))
    except ConfigError as error:
        can_be_shown(error)
        return None
    settings = encode(complete(function, "onnx"))
    assert decode({VARIABLE: settings}).model.runtime == "onnx"
    return function


def test_the_file_that_is_mutated_below_is_valid() -> None:
    assert read(VALID.encode()) is not None


@FUZZ
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe")
def test_any_bytes_are_a_function_or_a_config_error(content: bytes) -> None:
    read(content)


@FUZZ
@given(text_of_pieces)
@example('a: "\\UFFFFFFFF"')
@example("%YAML 1.1 1.2\n---\na")
@example("%TAG ! x\n%TAG ! y\n---\na")
@example("? ? ? a")
@example("- - - -")
@example("&a &b c")
@example("*a : b")
@example("&a *a")
@example("{*a: b}")
@example("a: !<x> b")
@example("a: !%zz b")
@example("a: !!%C3 b")
@example("'")
@example("inference: {model: {uri: '%'}}\n")
def test_any_text_is_a_function_or_a_config_error(text: str) -> None:
    read(text.encode("utf-8", "surrogatepass"))


@FUZZ
@given(st.data())
def test_a_valid_file_with_parts_cut_out_or_put_in_is_a_function_or_a_config_error(data: st.DataObject) -> None:
    text = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(st.one_of(st.sampled_from(["", *PIECES, *KEYS]), st.text(max_size=4))) + text[end:]
    read(text.encode("utf-8", "surrogatepass"))


@FUZZ
@given(st.data())
def test_a_valid_file_with_bytes_changed_is_a_function_or_a_config_error(data: st.DataObject) -> None:
    content = bytearray(VALID.encode())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(content))


def as_source(value: Any) -> Source | None:
    """The value as a document; JSON is YAML, but for what JSON cannot say."""
    try:
        return parse_source(msgspec.json.encode(value))
    except (ConfigError, OverflowError, UnicodeEncodeError):
        return None


def replaced(value: Any, data: st.DataObject) -> Any:
    """A valid document with one value, somewhere in it, exchanged for any other."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 9)):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: replaced(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 9)):
        number = data.draw(st.integers(0, len(value) - 1))
        return [*value[:number], replaced(value[number], data), *value[number + 1 :]]
    return data.draw(values)


def agrees(source: Source) -> None:
    """The check finds a problem if and only if msgspec refuses the value; the rules take whatever it leaves."""
    function, checked = check(Function, source)
    findings(function)
    if source.problems:
        return
    try:
        converted = msgspec.convert(source.value, Function)
    except msgspec.ValidationError:
        assert checked.problems
    else:
        # A line end after the last character is the one thing that Python's `$` lets pass and JSON Schema's does not.
        assert function == converted if not checked.problems else "\\n" in checked.problems[0].message


@FUZZ
@given(st.data())
def test_the_check_agrees_with_msgspec_on_a_valid_document_with_one_value_exchanged(data: st.DataObject) -> None:
    if source := as_source(replaced(parse_source(VALID.encode()).value, data)):
        agrees(source)


@FUZZ
@given(values)
def test_the_check_agrees_with_msgspec_on_any_document(value: Any) -> None:
    if source := as_source({"inference": {"model": {"uri": "m"}}, **value} if isinstance(value, dict) else value):
        agrees(source)


@pytest.mark.parametrize("path", [path for path in KEYS if path != "inference"])
def test_a_key_at_the_top_that_belongs_elsewhere_is_never_a_crash(path: str) -> None:
    read(f"{path}: {{}}\n{VALID}".encode())
