"""`KFUNC_CONFIG`: what goes in comes out, overrides set single values, everything else is a ConfigError."""

import sys
from collections.abc import Callable
from subprocess import run

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfunc.config.batcher import Batcher
from kfunc.config.inference import Limits
from kfunc.config.logger import Logger, Shadow
from kfunc.config.pod import MAX_BYTES, VARIABLE, VERSION, PodConfig, PodModel, decode, encode
from kfunc.errors import ConfigError, Problem

LEAST = PodConfig(
    function="iris",
    namespace="default",
    model=PodModel(name="iris", version="1", uri="m.onnx", runtime="onnx"),
    protocols=["v1", "v2"],
    accelerator="auto",
    workers=1,
    timeout_s=300.0,
    hang_timeout_s=60.0,
    grace_s=30.0,
    limits=Limits(),
)
FULL = msgspec.structs.replace(
    LEAST,
    model=PodModel(
        name="iris",
        version="1",
        uri="/srv/é.pkl",
        runtime="sklearn",
        execution="process",
        threads=2,
        concurrency=3,
        trust=True,
        digest="sha256:" + "0" * 64,
    ),
    limits=Limits(max_headers=5),
    batcher=Batcher(max_batch_size=8),
    logger=Logger(mode="request", sink="http://a/"),
)


def refusal(environ: dict[str, str]) -> Problem:
    with pytest.raises(ConfigError) as caught:
        decode(environ)
    (problem,) = caught.value.problems
    return problem


def overridden(config: PodConfig = LEAST, **overrides: str) -> PodConfig:
    return decode({VARIABLE: encode(config), **overrides})


@pytest.mark.parametrize("config", [LEAST, FULL], ids=["least", "full"])
def test_what_is_encoded_is_decoded(config: PodConfig) -> None:
    assert decode({VARIABLE: encode(config)}) == config


def test_other_variables_are_not_looked_at() -> None:
    assert overridden(PATH="/bin", K_SERVICE="iris") == LEAST


def test_without_configuration_a_handler_says_how_to_get_one() -> None:
    problem = refusal({})
    assert problem.message == "KFUNC_CONFIG is not set: start the process with `kfunc run`, or render it"
    assert problem.suggestion == "or set KFUNC_MODEL_URI to the model's path"


def test_without_a_model_a_handler_says_that_it_is_missing() -> None:
    assert refusal({VARIABLE: '{"workers": 2}'}).message == "no model.uri"


def test_a_model_is_enough_for_a_handler() -> None:
    config = decode({"KFUNC_MODEL_URI": "m.onnx", "KFUNC_WORKERS": "2"})
    assert (config.model.uri, config.model.runtime, config.workers) == ("m.onnx", "auto", 2)


@pytest.mark.parametrize(
    ("environ", "batch"),
    [
        ({}, None),
        ({VARIABLE: "{}"}, None),
        ({VARIABLE: '{"batcher": {}}'}, 32),
        ({VARIABLE: '{"batcher": {"max_batch_size": 8}}', "KFUNC_BATCHER_MAX_LATENCY_MS": "1"}, 8),
        ({"KFUNC_BATCHER_MAX_BATCH_SIZE": "64"}, 64),
    ],
)
def test_a_sidecar_needs_no_configuration_or_a_part_of_it(environ: dict[str, str], batch: int | None) -> None:
    config = decode(environ, needs_model=False)
    assert (config.batcher and config.batcher.max_batch_size) == batch
    assert (config.function, config.namespace, config.limits) == ("function", "default", Limits())


@pytest.mark.parametrize("text", ["", "[]", '{"batcher": {"size": 1}}', '{"workres": 1}', '{"version": 2}'])
def test_what_a_sidecar_is_given_must_be_right(text: str) -> None:
    with pytest.raises(ConfigError):
        decode({VARIABLE: text}, needs_model=False)


def test_a_configuration_of_64_kib_is_the_largest() -> None:
    room = MAX_BYTES - len(encode(msgspec.structs.replace(LEAST, function="")))
    assert len(encode(msgspec.structs.replace(LEAST, function="x" * room))) == MAX_BYTES
    with pytest.raises(ConfigError) as caught:
        encode(msgspec.structs.replace(LEAST, function="x" * (room + 1)))
    assert caught.value.problems[0].message == f"the configuration is {MAX_BYTES + 1} bytes, the limit is {MAX_BYTES}"


def test_the_size_is_counted_in_bytes() -> None:
    with pytest.raises(ConfigError):
        encode(msgspec.structs.replace(LEAST, function="é" * (MAX_BYTES // 2)))


def test_the_configuration_of_another_version_is_refused() -> None:
    text = encode(msgspec.structs.replace(LEAST, version=VERSION + 1))
    assert refusal({VARIABLE: text}).message == (
        f"version {VERSION + 1} of the configuration, this kfunc reads {VERSION}: render it again"
    )


@pytest.mark.parametrize("overrides", [{}, {"KFUNC_WORKERS": "2"}, {"KFUNC_MODEL_THREADS": "2"}], ids=["plain", "top", "inner"])
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", "null", "{}", '{"model": 5}', '{"model": [1]}', '{"function": "a"}', "[" * 5000, "\udcff", '{"a": 1}'],
)
def test_a_broken_configuration_is_refused(text: str, overrides: dict[str, str]) -> None:
    assert refusal({VARIABLE: text, **overrides}).message


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("KFUNC_WORKERS", "4", "workers", 4),
        ("KFUNC_TIMEOUT_S", "1.5", "timeout_s", 1.5),
        ("KFUNC_HANG_TIMEOUT_S", "5", "hang_timeout_s", 5.0),
        ("KFUNC_PROTOCOLS", "v2", "protocols", ["v2"]),
        ("KFUNC_PROTOCOLS", "v2,v1", "protocols", ["v2", "v1"]),
        ("KFUNC_MODEL_THREADS", "2", "model.threads", 2),
        ("KFUNC_MODEL_TRUST", "true", "model.trust", True),
        ("KFUNC_MODEL_VERSION", "2", "model.version", "2"),
        ("KFUNC_LIMITS_MAX_HEADERS", "7", "limits.max_headers", 7),
        ("KFUNC_BATCHER_MAX_BATCH_SIZE", "64", "batcher.max_batch_size", 64),
        ("KFUNC_BATCHER_PREFERRED_BATCH_SIZES", "4,8", "batcher.preferred_batch_sizes", [4, 8]),
        ("KFUNC_BATCHER_GROUP_HEADERS", "x-tenant", "batcher.group_headers", ["x-tenant"]),
        ("KFUNC_LOGGER_REDACT", "ssn,name", "logger.redact", ["ssn", "name"]),
        ("KFUNC_LOGGER_SINK", "http://b/", "logger.sink", "http://b/"),
    ],
)
def test_an_override_sets_the_field_that_it_names(variable: str, value: str, field: str, expected: object) -> None:
    found: object = overridden(FULL, **{variable: value})
    for part in field.split("."):
        found = getattr(found, part)
    assert found == expected


def test_an_override_leaves_the_fields_beside_it() -> None:
    assert overridden(FULL, KFUNC_LIMITS_MAX_CONNECTIONS="9").limits == Limits(max_headers=5, max_connections=9)


def test_an_override_may_turn_on_what_the_file_leaves_out() -> None:
    assert overridden(KFUNC_BATCHER_MAX_BATCH_SIZE="4").batcher == Batcher(max_batch_size=4)


@pytest.mark.parametrize(
    ("variable", "known"),
    [("KFUNC_WORKRES", "workers"), ("KFUNC_BATCHER_SIZE", "max_batch_size"), ("KFUNC_", "function"), ("KFUNC_MODEL_", "uri")],
)
def test_an_override_that_names_no_setting_is_refused_with_those_that_exist(variable: str, known: str) -> None:
    problem = refusal({VARIABLE: encode(LEAST), variable: "1"})
    assert problem.message == f"{variable} names no setting"
    assert known in problem.suggestion


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KFUNC_WORKERS", "many"),
        ("KFUNC_WORKERS", "0"),
        ("KFUNC_WORKERS", "257"),
        ("KFUNC_TIMEOUT_S", "0"),
        ("KFUNC_HANG_TIMEOUT_S", "-1"),
        ("KFUNC_GRACE_S", "nan"),
        ("KFUNC_PROTOCOLS", ""),
        ("KFUNC_MODEL_NAME", ""),
        ("KFUNC_MODEL_NAME", "a/b"),
        ("KFUNC_MODEL_VERSION", "-"),
        ("KFUNC_MODEL_URI", ""),
        ("KFUNC_MODEL_RUNTIME", "fortran"),
        ("KFUNC_MODEL_THREADS", "-1"),
        ("KFUNC_MODEL_CONCURRENCY", "1025"),
        ("KFUNC_MODEL_DIGEST", "md5:1"),
        ("KFUNC_PROTOCOLS", "v3"),
        ("KFUNC_MODEL_EXECUTION", "gpu"),
        ("KFUNC_LIMITS_MAX_HEADERS", "0"),
        ("KFUNC_BATCHER_MAX_LATENCY_MS", "-1"),
        ("KFUNC_LOGGER_SINK", "ftp://a"),
        ("KFUNC_LIMITS", "5"),
    ],
)
def test_an_override_with_a_wrong_value_is_refused(variable: str, value: str) -> None:
    assert refusal({VARIABLE: encode(LEAST), variable: value}).message


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([f"KFUNC_{name.upper()}" for name in PodConfig.__struct_fields__]), st.text()))
def test_whatever_the_overrides_are_only_config_errors_escape(overrides: dict[str, str]) -> None:
    try:
        decode({VARIABLE: encode(FULL), **overrides})
    except ConfigError:
        return


def test_a_variable_with_commas_is_a_list_where_the_field_is_one() -> None:
    config = decode({"KFUNC_LOGGER_REDACT": "ssn,iban", "KFUNC_LOGGER_SINK": "file:a,b"}, needs_model=False)
    assert config.logger is not None
    assert (config.logger.redact, config.logger.sink) == (["ssn", "iban"], "file:a,b")


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("KFUNC_MODEL_MANAGEMENT", "true", lambda config: config.model_management),
        ("KFUNC_MODEL_CACHE_MAX_BYTES", "7", lambda config: config.model_cache.max_bytes == 7),
        ("KFUNC_MODEL_REFRESH_S", "7", lambda config: config.model.refresh_s == 7),
        ("KFUNC_RESIDENCY_MAX_MODELS", "7", lambda config: config.residency.max_models == 7),
    ],
)
def test_a_variable_whose_name_begins_as_another_block_s_finds_its_own(
    name: str, value: str, read: Callable[[PodConfig], bool]
) -> None:
    assert read(decode({name: value}, needs_model=False))


@pytest.mark.parametrize(
    ("environ", "source", "message", "suggestion"),
    [
        ({"KFUNC_LOGGER_SAMPLE": "2"}, "KFUNC_LOGGER_SAMPLE", 'expected a number from 0 to 1, found "2"', ""),
        ({"KFUNC_PROTOCOLS": "v1,v3"}, "KFUNC_PROTOCOLS", '[1]: expected one of grpc, v1, v2, found "v3"', ""),
        (
            {"KFUNC_MODEL_DIGEST": "md5:1"},
            "KFUNC_MODEL_DIGEST",
            'expected "sha256:" and 64 hexadecimal digits in lower case, found "md5:1"',
            "",
        ),
        ({"KFUNC_LOGGER_SPOOL_MAX_BYTES": "1Gi"}, "KFUNC_LOGGER_SPOOL_MAX_BYTES", "expected an integer", "write 1073741824"),
        ({"KFUNC_LOGGER_SINKS": "x"}, "KFUNC_LOGGER_SINKS", "[0]: expected a mapping, found other text", "write it as JSON"),
        ({"KFUNC_LOGGER_SINKS": '[{"name": "a"}]'}, "KFUNC_LOGGER_SINKS", "[0].to: required, and missing", ""),
        (
            {VARIABLE: '{"logger": {"mode": "alll"}}'},
            VARIABLE,
            'logger.mode: expected one of all, metadata, request, response, found the string "alll"',
            'did you mean "all"?',
        ),
        (
            {VARIABLE: '{"logger": {"token_file": "x"}}', "KFUNC_LOGGER_SAMPLE": "1"},
            VARIABLE,
            'logger.token_file: expected an absolute path, found the string "x"',
            "",
        ),
        ({VARIABLE: '{"workres": 1}'}, VARIABLE, "workres: unknown key", 'did you mean "workers"?'),
        ({VARIABLE: "5"}, VARIABLE, "expected a mapping, found the integer 5", ""),
        ({VARIABLE: " "}, VARIABLE, "it is empty", "unset it, or give it the settings"),
        (
            {VARIABLE: '{"logger": {"sink": "a:b"'},
            VARIABLE,
            "the settings are JSON, and this is none: Input data was truncated",
            "unset it",
        ),
        ({VARIABLE: "null"}, VARIABLE, "expected a mapping, found nothing", ""),
        ({VARIABLE: "{"}, VARIABLE, "the settings are JSON, and this is none: ", "unset it, or give it the settings"),
    ],
)
def test_what_is_wrong_is_told_with_the_variable_the_place_and_what_to_write(
    environ: dict[str, str], source: str, message: str, suggestion: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(environ, needs_model=False)
    (problem,) = caught.value.problems
    assert (caught.value.source, problem.message[: len(message)]) == (source, message)
    assert problem.suggestion.startswith(suggestion)


def told(environ: dict[str, str]) -> str:
    """What is wrong; nothing, where a sink's own reader says it."""
    try:
        decode(environ, needs_model=False)
    except ConfigError as error:
        return " ".join(f"{each.path} {each.message} {each.suggestion}" for each in error.problems)
    return ""


WITH_PASSWORD = [
    " nats://me:hush@a:1/t",
    "mqtt://me:hush@a:1/t",
    "mqtt://hush@a/t",
    "mqtt://me:hu/hush@a",
    "mqtt://me:hush//@a/t",
    "mqtt://me:p\nhush@a",
    "me:hush@a/t",
    "hush@a:1/t",
    "https//me:hush@a/t",
    "https:me:hush@a/t",
    "htps://a/t?code=hush",
    "mqtt://me:" + 60 * "x" + "hush@a",
]


@pytest.mark.parametrize("address", WITH_PASSWORD)
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KFUNC_LOGGER_SINK", "{}"),
        ("KFUNC_LOGGER_DEAD_LETTER", "{}"),
        ("KFUNC_LOGGER_OVERFLOW", "{}"),
        ("KFUNC_LOGGER_TOKEN_FILE", "{}"),
        ("KFUNC_LOGGER_SPOOL", "{}"),
        ("KFUNC_LOGGER_SINKS", "{}"),
        ("KFUNC_LOGGER_SINKS", '[{{"to": "{}"}}]'),
        ("KFUNC_LOGGER_SINKS", '[{{"to": "file:a", "dead_letter": "{}"}}]'),
        ("KFUNC_LOGGER_SINKS", '["{}"]'),
        ("KFUNC_LOGGER_SINKS", '[{{"to": "{}"'),
        ("KFUNC_LOGGER_SINKS", '[{{"to": "me:hush,more@a", "also": "{}"'),
        ("KFUNC_LOGGER_SHADOW", "{}"),
        ("KFUNC_LOGGER_SHADOW", '{{"to": "{}"}}'),
        ("KFUNC_LOGGER_SHADOW", '{{"{}": "x"}}'),
        ("KFUNC_LOGGER", '{{"sink": "{}"}}'),
        ("KFUNC_LOGGER", '{{"sink": "{}"'),
        ("KFUNC_MODEL", '{{"uri": ["{}"]}}'),
        (VARIABLE, '{{"logger": {{"sink": "{}"}}}}'),
        (VARIABLE, '{{"logger": {{"dead_letter": "{}"}}}}'),
        (VARIABLE, '{{"logger": {{"overflow": "{}"}}}}'),
        (VARIABLE, '{{"logger": {{"sinks": [{{"to": "{}"}}]}}}}'),
        (VARIABLE, '{{"logger": {{"sinks": [{{"to": "file:a", "dead_letter": "{}"}}]}}}}'),
        (VARIABLE, '{{"logger": {{"sinks": ["{}"]}}}}'),
        (VARIABLE, '{{"logger": {{"sinks": "{}"}}}}'),
        (VARIABLE, '{{"logger": {{"shadow": {{"to": "{}"}}}}}}'),
        (VARIABLE, '{{"logger": {{"shadow": "{}"}}}}'),
        (VARIABLE, '{{"logger": "{}"}}'),
        (VARIABLE, '{{"logger": {{"{}": 1}}}}'),
        (VARIABLE, '{{"logger": {{"sink": "{}"'),
        (VARIABLE, "{}"),
    ],
)
def test_no_password_is_told_with_what_is_wrong(address: str, variable: str, value: str) -> None:
    text = value.format(address if value == "{}" else address.replace("\n", "\\n"))
    for environ in {variable: text}, {variable: text, "KFUNC_GRACE_S": "3"}:
        assert "hush" not in told(environ)


def test_a_variable_may_have_a_list_or_a_block_as_json_and_a_pattern_stays_one() -> None:
    environ = {
        "KFUNC_LOGGER_SINKS": '[{"to": "http://a/", "name": "b"}]',
        "KFUNC_LOGGER_SHADOW": '{"to": "http://c/"}',
        "KFUNC_LOGGER_PATHS": "[ab]*,c",
        "KFUNC_LOGGER_REDACT": '["a,b"]',
    }
    logger = decode(environ, needs_model=False).logger
    assert isinstance(logger, Logger)
    assert isinstance(logger.shadow, Shadow)
    assert (logger.sinks[0].name, logger.shadow.to) == ("b", "http://c/")
    assert (logger.paths, logger.redact) == (["[ab]*", "c"], ["a,b"])


def test_reading_the_configuration_loads_neither_yaml_nor_what_checks_it() -> None:
    program = (
        "import sys, kfunc.config.pod\nprint(*sorted(name for name in sys.modules if name.startswith(('kfunc', 'ruamel'))))"
    )
    loaded = run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    modules = ("batcher", "block", "explain", "images", "inference", "logger", "pod", "residency")
    assert loaded == ["kfunc", "kfunc.config", *(f"kfunc.config.{module}" for module in modules), "kfunc.errors"]
