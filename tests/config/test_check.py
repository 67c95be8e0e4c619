"""Types, bounds, patterns and keys: each kind of message with its place, path and suggestion."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from kfunc.config.block import Block
from kfunc.config.check import blank, check
from kfunc.config.function import Function
from kfunc.config.inference import Accelerator, Runtime
from kfunc.config.inference_block import Inference
from kfunc.config.source import parse_source
from kfunc.config.wording import inner, pattern_words
from kfunc.errors import Problem

ACCELERATORS, RUNTIMES = ", ".join(sorted(get_args(Accelerator))), ", ".join(get_args(Runtime))
MODEL = "inference: {model: {uri: m.onnx}}\n"

# The text; then line, column, path, message and suggestion of its one problem.
CASES: list[tuple[str, int, int, str, str, str]] = [
    # Unknown keys.
    (MODEL + "batcher: {}\n", 2, 1, "batcher", "unknown key", '"batcher" belongs under "inference"'),
    (MODEL + "max_batch_size: 3\n", 2, 1, "max_batch_size", "unknown key",
     '"max_batch_size" belongs under "inference.batcher"'),
    (MODEL + "envs: []\n", 2, 1, "envs", "unknown key", '"envs" belongs under "run"'),
    (MODEL + "memory: 1Gi\n", 2, 1, "memory", "unknown key",
     '"memory" belongs under "deploy.options.resources.limits" or under "deploy.options.resources.requests"'),
    (MODEL + "deploy: {scale: {}}\n", 2, 10, "deploy.scale", "unknown key", '"scale" belongs under "deploy.options"'),
    (MODEL + "deploy: {created: x}\n", 2, 10, "deploy.created", "unknown key", '"created" belongs at the top level'),
    (MODEL + "deploy: {env: x}\n", 2, 10, "deploy.env", "unknown key", 'did you mean "envs", under "run"?'),
    (MODEL + "nam: x\n", 2, 1, "nam", "unknown key", 'did you mean "name"?'),
    (MODEL + "spec_version: x\n", 2, 1, "spec_version", "unknown key", 'did you mean "specVersion"?'),
    (MODEL + "run: {zzz: x}\n", 2, 7, "run.zzz", "unknown key", "known here: volumes, envs, startTimeout, kafka"),
    ("inference:\n  model: {uri: m}\n  batchr: {}\n", 3, 3, "inference.batchr", "unknown key", 'did you mean "batcher"?'),
    ("inference: {model: {uri: m, url: m}}\n", 1, 29, "inference.model.url", "unknown key", 'did you mean "uri"?'),
    ("inference: {model: {uri: m, storageUri: m}}\n", 1, 29, "inference.model.storageUri", "unknown key",
     'did you mean "uri"?'),
    ("inference: {model: {uri: m}, batcher: {maxBatchSize: 1}}\n", 1, 40, "inference.batcher.maxBatchSize", "unknown key",
     'did you mean "max_batch_size"?'),
    (MODEL + "run: {envs: [{name: A, value: x}, {nam: A, value: x}]}\n", 2, 36, "run.envs[1].nam", "unknown key",
     'did you mean "name"?'),
    (MODEL + '"a b": 1\n', 2, 1, '["a b"]', "unknown key", "known here: specVersion"),
    # Missing keys.
    ("name: x\n", 1, 1, "inference", "required, and missing", "add inference: {model: {uri: …}}"),
    ("name: x\ninference: {}\n", 2, 1, "inference.model", "required, and missing", "add model: {uri: …}"),
    ("name: x\ninference:\n  model: {}\n", 3, 3, "inference.model.uri", "required, and missing", "add uri: …"),
    (MODEL + "deploy: {labels: [{value: x}]}\n", 2, 19, "deploy.labels[0].key", "required, and missing", "add key: …"),
    # Wrong types.
    ("inference: {model: {uri: m}, workers: '2'}\n", 1, 39, "inference.workers",
     'expected an integer from 1 to 256, found the string "2"', "write 2 without quotes"),
    ("inference: {model: {uri: m}, workers: 2.0}\n", 1, 39, "inference.workers",
     "expected an integer from 1 to 256, found the number 2.0", "write 2"),
    ("inference: {model: {uri: m}, workers: two}\n", 1, 39, "inference.workers",
     'expected an integer from 1 to 256, found the string "two"', ""),
    ("inference: {model: {uri: m}, workers: true}\n", 1, 39, "inference.workers",
     "expected an integer from 1 to 256, found the boolean true", ""),
    ("inference: {model: {uri: m}, workers: [2]}\n", 1, 39, "inference.workers",
     "expected an integer from 1 to 256, found a list", ""),
    ("inference: {model: {uri: m}, limits: {max_headers: 1_000}}\n", 1, 52, "inference.limits.max_headers",
     'expected an integer of at least 1, found the string "1_000"', "write 1000"),
    ("inference: {model: {uri: m}, limits: {max_body_bytes: 64Mi}}\n", 1, 55, "inference.limits.max_body_bytes",
     'expected an integer of at least 1, found the string "64Mi"', "write 67108864"),
    ("inference: {model: {uri: m}, timeout_s: 30s}\n", 1, 41, "inference.timeout_s",
     'expected a number of more than 0 and at most 86400, found the string "30s"', "write 30"),
    ("inference: {model: {uri: m}, timeout_s: '1.5'}\n", 1, 41, "inference.timeout_s",
     'expected a number of more than 0 and at most 86400, found the string "1.5"', "write 1.5 without quotes"),
    ("inference: {model: {uri: m}, batcher: {max_latency_ms: 5 ms}}\n", 1, 56, "inference.batcher.max_latency_ms",
     'expected a number from 0 to 60000, found the string "5 ms"', "write 5"),
    ("inference: {model: {uri: m}, scaling: {activation: 1}}\n", 1, 52, "inference.scaling.activation",
     "expected an integer from 2 to 2147483647, found the integer 1", ""),
    ("inference: {model: {uri: m, trust: yes}}\n", 1, 36, "inference.model.trust",
     'expected true or false, found the string "yes"', "write true"),
    ("inference: {model: {uri: m, trust: 'off'}}\n", 1, 36, "inference.model.trust",
     'expected true or false, found the string "off"', "write false"),
    ("inference: {model: {uri: m, trust: 1}}\n", 1, 36, "inference.model.trust",
     "expected true or false, found the integer 1", "write true"),
    ("inference: {model: {uri: m, version: 1.10}}\n", 1, 38, "inference.model.version",
     "expected a string, found the number 1.10", 'put it in quotes: "1.10"'),
    ("inference: {model: {uri: m, name: null}}\n", 1, 35, "inference.model.name",
     "expected a string, found null", "give it a value, or remove it"),
    (MODEL + "name: true\n", 2, 7, "name", "expected a string, found the boolean true", 'put it in quotes: "true"'),
    (MODEL + "deploy: {options: {resources: {limits: {cpu: 1}}}}\n", 2, 46, "deploy.options.resources.limits.cpu",
     "expected a string, found the integer 1", 'put it in quotes: "1"'),
    (MODEL + "deploy: {annotations: {a: 1}}\n", 2, 27, "deploy.annotations.a",
     "expected a string, found the integer 1", 'put it in quotes: "1"'),
    (MODEL + "deploy: {annotations: {a.b/c: []}}\n", 2, 31, 'deploy.annotations["a.b/c"]', "expected a string, found a list",
     ""),
    ("inference:\n  model: {uri: m}\n  batcher:\n", 3, 3, "inference.batcher",
     "expected a mapping, found nothing", 'write "batcher: {}" for the defaults'),
    ("inference: {model: {uri: m}, batcher: true}\n", 1, 39, "inference.batcher",
     "expected a mapping, found the boolean true", 'write "batcher: {}" for the defaults'),
    ("inference: {model: {uri: m}, batcher: false}\n", 1, 39, "inference.batcher",
     "expected a mapping, found the boolean false", "remove it to turn it off"),
    ("inference: {model: ./m.onnx}\n", 1, 20, "inference.model",
     'expected a mapping, found the string "./m.onnx"', 'write "model: {uri: ./m.onnx}"'),
    ("inference: [{model: {uri: m}}]\n", 1, 12, "inference", "expected a mapping, found a list", 'remove the "- "'),
    ("inference: {model: {uri: m}, protocols: v2}\n", 1, 41, "inference.protocols",
     'expected a list, found the string "v2"', "write [v2]"),
    (MODEL + "run: {envs: {FOO: bar}}\n", 2, 13, "run.envs", "expected a list, found a mapping",
     'write - {name: FOO, value: "bar"}'),
    (MODEL + "deploy: {labels: {team: a}}\n", 2, 18, "deploy.labels", "expected a list, found a mapping",
     'write - {key: team, value: "a"}'),
    (MODEL + "run: {envs: {name: FOO, value: bar}}\n", 2, 13, "run.envs", "expected a list, found a mapping",
     'list items start with "- "'),
    (MODEL + "run: {envs: [FOO=bar]}\n", 2, 14, "run.envs[0]", 'expected a mapping, found the string "FOO=bar"', ""),
    ("- a\n", 1, 1, "", "expected a mapping, found a list", ""),
    ("text\n", 1, 1, "", 'expected a mapping, found the string "text"', ""),
    # Values of the right type.
    ("inference: {model: {uri: m}, workers: 0}\n", 1, 39, "inference.workers",
     "expected an integer from 1 to 256, found the integer 0", ""),
    ("inference: {model: {uri: m}, timeout_s: 0}\n", 1, 41, "inference.timeout_s",
     "expected a number of more than 0 and at most 86400, found the integer 0", ""),
    ("inference: {model: {uri: m}, limits: {max_headers: -1}}\n", 1, 52, "inference.limits.max_headers",
     "expected an integer of at least 1, found the integer -1", ""),
    (MODEL + "deploy: {options: {scale: {utilization: 100.5}}}\n", 2, 41, "deploy.options.scale.utilization",
     "expected a number from 1 to 100, found the number 100.5", ""),
    ("inference: {model: {uri: m}, accelerator: gpu}\n", 1, 43, "inference.accelerator",
     f'expected one of {ACCELERATORS}, found the string "gpu"', 'did you mean "cuda"?'),
    ("inference: {model: {uri: m, runtime: ONNX}}\n", 1, 38, "inference.model.runtime",
     f'expected one of {RUNTIMES}, alone or with a version as onnx==1.20.1, found the string "ONNX"', 'did you mean "onnx"?'),
    ("inference: {model: {uri: m}, protocols: [v1, V2]}\n", 1, 46, "inference.protocols[1]",
     'expected one of grpc, v1, v2, found the string "V2"', 'did you mean "v2"?'),
    ("inference: {model: {uri: m, runtime: 3}}\n", 1, 38, "inference.model.runtime",
     "expected a string, found the integer 3", 'put it in quotes: "3"'),
    ("inference: {model: {uri: m}, accelerator: }\n", 1, 30, "inference.accelerator",
     f"expected one of {ACCELERATORS}, found nothing", "give it a value, or remove it"),
    ("inference: {model: {uri: m}, protocols: []}\n", 1, 41, "inference.protocols",
     "expected a list that is not empty, found an empty one", ""),
    ("inference: {model: {uri: ''}}\n", 1, 26, "inference.model.uri", "expected a string that is not empty, found an empty one",
     ""),
    (MODEL + "name: My_Iris\n", 2, 7, "name",
     'expected lower-case letters, digits and "-" (not first or last), found the string "My_Iris"', 'did you mean "my-iris"?'),
    (MODEL + 'name: "iris\\n"\n', 2, 7, "name",
     'expected lower-case letters, digits and "-" (not first or last), found the string "iris\\n"', 'did you mean "iris"?'),
    (MODEL + "deploy: {options: {resources: {limits: {memory: 1GiB}}}}\n", 2, 49, "deploy.options.resources.limits.memory",
     'expected a quantity such as "250m" of cpu or "512Mi" of memory, found the string "1GiB"', 'did you mean "1Gi"?'),
    ("inference: {model: {uri: m, digest: '" + "A" * 64 + "'}}\n", 1, 37, "inference.model.digest",
     'expected "sha256:" and 64 hexadecimal digits in lower case, found the string "' + "A" * 59 + '…"',
     'did you mean "sha256:aaa'),
    ("inference: {model: {uri: m}, logger: {sink: broker}}\n", 1, 45, "inference.logger.sink",
     'expected "broker:NAME", "http(s)://…", "file:PATH", "nats://…", "kafka://…", "amqp(s)://…", "s3://…", '
     '"gs://…" or "az://…", found the string "broker"', ""),
    ("inference: {model: {uri: m}, logger: {sink: events.jsonl}}\n", 1, 45, "inference.logger.sink",
     'expected "broker:NAME", "http(s)://…", "file:PATH", "nats://…", "kafka://…", "amqp(s)://…", "s3://…", '
     '"gs://…" or "az://…", found the string "events.jsonl"', 'did you mean "file:events.jsonl"?'),
    ("inference: {model: {uri: m}, logger: {spool: 's3://b/x'}}\n", 1, 46, "inference.logger.spool",
     'expected a folder, "pvc://CLAIM/PATH" or "memory", found the string "s3://b/x"', ""),
    ("inference: {model: {uri: m}, logger: {max_body_bytes: 256KiB}}\n", 1, 55, "inference.logger.max_body_bytes",
     'expected an integer from 0 to 16777216, found the string "256KiB"', "write 262144"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "message", "suggestion"), CASES, ids=[f"{case[2]} {case[3]}" for case in CASES]
)
def test_a_wrong_key_or_value_is_told_with_place_path_and_what_to_do(
    problems_of: Callable[[str], list[Problem]], text: str, line: int, column: int, path: str, message: str, suggestion: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.column, problem.path, problem.message) == (line, column, path, message)
    assert problem.suggestion.startswith(suggestion)
    assert bool(problem.suggestion) is bool(suggestion)


def test_all_problems_are_told_at_once(problems_of: Callable[[str], list[Problem]]) -> None:
    text = "nam: x\ninference:\n  model: {uri: ''}\n  workers: 0\n  protocols: [v3, v4]\nrun: {envs: 3}\na: 1\na: 2\n"
    assert [problem.line for problem in problems_of(text)] == [1, 3, 4, 5, 5, 6, 7, 8]


def test_the_input_is_left_as_it_was() -> None:
    source = parse_source(b"inference: {model: {uri: m}, workers: 'x', batcher: {}}\nrun: {envs: [{name: A}]}\n")
    before = deepcopy(source.value)
    check(Function, source)
    assert source.value == before


def test_a_wrong_value_leaves_its_default_for_the_rules_to_look_at() -> None:
    function, checked = check(Function, parse_source(b"inference: {model: {uri: m}, workers: x}\n"))
    assert function.inference.workers == 1
    assert checked.invalid == {("inference", "workers")}


def test_a_required_value_that_is_wrong_leaves_an_empty_one() -> None:
    function, _ = check(Function, parse_source(b"inference: {model: 5}\n"))
    assert function.inference.model.uri == ""


VALID = [
    MODEL,
    "name: a\n" + MODEL,
    "inference: {model: {uri: m}, batcher: {}, logger: {}, limits: {}, timeout_s: 5, protocols: [v2]}\n",
    MODEL + "deploy: {options: {scale: {min: 0, max: 3, target: 1}}, labels: [{key: a}], annotations: {b: c}}\n",
    MODEL + "run: {envs: [{name: A, value: ''}], volumes: [{emptyDir: {}, path: /x}], startTimeout: 3}\n",
    MODEL + "build: {git: {url: u}, builderImages: {pack: p}, builder: s2i, volumes: [{hostPath: a, path: b}]}\n",
]


@pytest.mark.parametrize("text", VALID)
def test_a_valid_document_is_converted_as_msgspec_converts_it(text: str) -> None:
    source = parse_source(text.encode())
    function, checked = check(Function, source)
    assert checked.problems == []
    assert function == msgspec.convert(source.value, Function)


def test_numbers_of_a_float_field_become_floats() -> None:
    function, _ = check(Function, parse_source(b"inference: {model: {uri: m}, timeout_s: 5}\n"))
    assert isinstance(function.inference.timeout_s, float)


def types_below(kind: inspect.Type) -> list[inspect.Type]:
    found, todo = [], [kind]
    while todo:
        annotated = todo.pop()
        found.append(annotated)
        plain = inner(annotated)
        if isinstance(plain, inspect.StructType):
            todo += [field.type for field in plain.fields]
        elif isinstance(plain, inspect.ListType):
            todo.append(plain.item_type)
        elif isinstance(plain, inspect.DictType):
            todo.append(plain.value_type)
    return found


TYPES = types_below(inspect.type_info(Function))


def test_every_type_of_the_configuration_has_a_stand_in() -> None:
    assert [blank(kind) for kind in TYPES]


def test_every_pattern_is_explained_in_words() -> None:
    patterns = [kind for kind in TYPES if isinstance(inner(kind), inspect.StrType) and inner(kind).pattern]  # type: ignore[attr-defined]
    assert patterns
    assert all(pattern_words(kind).startswith("expected ") for kind in patterns)
    assert not any("matches" in pattern_words(kind) for kind in patterns)


def test_every_setting_of_kfunc_has_a_description() -> None:
    described: dict[str, Any] = {}
    for kind in types_below(inspect.type_info(Inference)):
        if isinstance(kind, inspect.StructType):
            for field in kind.fields:
                wrapped = isinstance(field.type, inspect.Metadata)
                described[field.name] = isinstance(inner(field.type), inspect.StructType) or wrapped
    assert all(described.values()), described


class Sized(Block, frozen=True):
    below: msgspec.UnsetType | int = msgspec.UNSET


def test_the_check_serves_any_struct() -> None:
    value, checked = check(Sized, parse_source(b"below: 3\n"))
    assert (value, checked.problems) == (Sized(below=3), [])
