"""What leaves the cluster in a bundle has no secrets in it."""

from typing import Any

import pytest

from kfunc.cluster.redaction import HIDDEN, Redactor, secret_names

TEXTS = [
    ("Authorization: Bearer abc.def-123456", "abc.def"),
    ('{"authorization":"Basic dXNlcjpwYXNz"}', "dXNlcjpwYXNz"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is old", "eyJ"),
    ("key AKIAIOSFODNN7EXAMPLE was refused", "AKIAIOSFODNN7EXAMPLE"),
    ("connecting to amqp://ann:s3cr3t@rabbit:5672/", "s3cr3t"),
    ("password=hunter2, retrying", "hunter2"),
    ("GET https://b.s3.amazonaws.com/m?X-Amz-Signature=0123abcd&x=1", "0123abcd"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "MIIB"),
    ("hf_abcdefghijklmnopqrstuvwx is no token any more", "hf_abcdefghijklmnopqrstuvwx"),
]


@pytest.mark.parametrize(("text", "secret"), TEXTS, ids=[secret for _, secret in TEXTS])
def test_a_credential_in_a_text_is_hidden(text: str, secret: str) -> None:
    shown = Redactor(set()).text(text)
    assert secret not in shown
    assert HIDDEN in shown


def test_what_is_no_credential_stays() -> None:
    text = "POST /v2/models/iris/infer 200 8.58 ms 252 B\nhttp://broker-ingress.knative-eventing.svc:80/default/default"
    assert Redactor(set()).text(text) == text


def test_the_value_of_a_secret_that_is_known_is_hidden_wherever_it_stands() -> None:
    assert Redactor({"correct horse", "ab"}).text("it is correct horse, ab") == f"it is {HIDDEN}, ab"


def test_a_variable_with_the_name_of_a_secret_loses_its_value() -> None:
    variables = [{"name": "DB_PASSWORD", "value": "x"}, {"name": "HOME", "value": "/tmp"}]
    pod = {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "handler", "env": variables}]}}
    env = Redactor(set()).manifest(pod)["spec"]["containers"][0]["env"]
    assert env == [{"name": "DB_PASSWORD", "value": HIDDEN}, {"name": "HOME", "value": "/tmp"}]


def test_a_reference_to_a_secret_stays_since_it_is_none() -> None:
    reference = {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    pod = {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "handler", "env": [reference]}]}}
    assert Redactor(set()).manifest(pod)["spec"]["containers"][0]["env"] == [reference]


def test_of_a_secret_only_the_keys_are_left() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "db"}, "data": {"password": "cGFzcw=="}}
    assert Redactor(set()).manifest(secret)["data"] == {"password": HIDDEN}


def test_what_was_applied_before_is_left_out_as_it_repeats_everything() -> None:
    about: dict[str, Any] = {
        "name": "a",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1"},
    }
    assert Redactor(set()).manifest({"kind": "ConfigMap", "metadata": about})["metadata"]["annotations"] == {"kept": "1"}


def test_the_secrets_that_a_pod_uses_are_found_wherever_it_names_them() -> None:
    container = {
        "name": "handler",
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}}],
        "envFrom": [{"secretRef": {"name": "two"}}, {"configMapRef": {"name": "no"}}],
    }
    volumes = [{"name": "v", "secret": {"secretName": "three"}}, {"name": "e", "emptyDir": {}}]
    pod = {"spec": {"containers": [container], "volumes": volumes, "imagePullSecrets": [{"name": "four"}]}}
    assert secret_names([pod]) == {"one", "two", "three", "four"}
