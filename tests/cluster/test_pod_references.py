"""Which Secrets and ConfigMaps pods name, and in which forms a Secret's values would show."""

import base64
import json
from urllib.parse import quote

import pytest

from kfunc.cluster.pod_references import named_by, values_of
from kfunc.cluster.redaction import Redactor

ACCOUNT = '{\n  "type": "service_account",\n  "signing": "MIIEvQIBADANBgkq"\n}\n'


def redactor(value: str) -> Redactor:
    return Redactor(values_of({"kind": "Secret", "data": {"key": base64.b64encode(value.encode()).decode()}}))


def test_secrets_and_config_maps_are_found_wherever_a_pod_names_them() -> None:
    container = {
        "name": "handler",
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "map-one", "key": "k"}}},
            {"name": "C", "value": "text"},
        ],
        "envFrom": [{"secretRef": {"name": "two"}}, {"configMapRef": {"name": "map-two"}}],
    }
    projected = {"sources": [{"secret": {"name": "five"}}, {"configMap": {"name": "map-four"}}]}
    volumes = [
        {"name": "v", "secret": {"secretName": "three"}},
        {"name": "c", "configMap": {"name": "map-three"}},
        {"name": "p", "projected": projected},
        {"name": "e", "emptyDir": {}},
    ]
    spec = {"initContainers": [container], "containers": [], "volumes": volumes, "imagePullSecrets": [{"name": "four"}]}
    found = named_by([spec])
    assert found.secrets == {"one", "two", "three", "four", "five"}
    assert found.config_maps == {"map-one", "map-two", "map-three", "map-four"}


def test_a_secret_of_several_lines_is_hidden_where_each_line_has_a_time() -> None:
    log = "\n".join(f"2026-11-25T00:00:00Z {line}" for line in ACCOUNT.splitlines())
    assert "MIIEvQ" not in redactor(ACCOUNT).text(log)


@pytest.mark.parametrize("write", [str, repr, json.dumps, quote, lambda text: text.replace("\n", "\r\n")])
def test_a_secret_is_hidden_however_it_is_written(write: object) -> None:
    assert callable(write)
    for value in ACCOUNT, 's3cr/et+x="1" \\', "ünïcode-pass":
        shown = redactor(value).text(f"it is {write(value)}.")
        assert [part for part in ("MIIEvQ", "s3cr", "code-pass") if part in shown] == []


def test_the_password_in_a_registrys_secret_is_hidden() -> None:
    value = json.dumps({"auths": {"ghcr.io": {"username": "ann", "password": "correct horse", "auth": "YW5uOmNv"}}})
    assert redactor(value).text("ann gave correct horse") == "ann gave <redacted>"


def test_a_word_that_everybody_writes_is_not_hidden_for_a_secret_that_has_it() -> None:
    assert redactor("true").text("ready: true") == "ready: true"


def test_a_value_that_is_no_base64_is_passed_over() -> None:
    assert values_of({"data": {"key": "a"}}) == set()
