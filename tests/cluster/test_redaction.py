"""What leaves the cluster in a bundle has no secrets in it."""

from typing import Any

import msgspec
import pytest

from kfunc.cluster.credentials import HIDDEN
from kfunc.cluster.redaction import Redactor
from kfunc.rollout.record import Objects, Record, to_config_map
from kfunc.rollout.state import Rollout, Settings, Share


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


def test_a_header_with_the_name_of_a_secret_loses_its_value() -> None:
    headers = [
        {"name": "x-api-key", "value": "x"},
        {"name": "Authorization", "value": "Token x"},
        {"name": "Host", "value": "a"},
    ]
    assert [each["value"] for each in Redactor(set()).value(headers)] == [HIDDEN, HIDDEN, "a"]


def test_what_follows_a_flag_of_a_secret_is_hidden() -> None:
    arguments = ["serve", "--api-key", "x1", "--token", "--port", "80", "--api-key=x2"]
    assert Redactor(set()).value(arguments) == ["serve", "--api-key", HIDDEN, "--token", "--port", "80", f"--api-key={HIDDEN}"]


def test_header_fields_that_a_route_asks_for_are_hidden_and_lists_too() -> None:
    rules = {
        "headers": {"x-api-key": {"exact": "abc"}, "end-user": {"exact": "ann"}},
        "tokens": ["abc"],
        "secrets": [{"name": "db"}],
    }
    assert Redactor(set()).value(rules) == {
        "headers": {"x-api-key": {"exact": HIDDEN}, "end-user": {"exact": "ann"}},
        "tokens": [HIDDEN],
        "secrets": [{"name": "db"}],
    }


def test_fields_named_as_secrets_lose_their_values_but_not_names_of_secrets() -> None:
    data = {"client_secret": "x", "clientSecret": "x", "secret": "x", "DB_SECRET": "x", "x-api-key": "x"}
    kept = {"secretName": "db", "imagePullSecret": "pull"}
    assert Redactor(set()).value(data | kept) == dict.fromkeys(data, HIDDEN) | kept


@pytest.mark.parametrize("before", ["", "\n  "])
def test_what_a_text_of_json_holds_is_hidden_as_if_it_were_no_text(before: str) -> None:
    config = before + '{"env":[{"name":"DB_PASSWORD","value":"x1"}],"clientSecret":"x2","name":"a"}'
    variable = Redactor(set()).value({"name": "KFUNC_CONFIG", "value": config})["value"]
    assert msgspec.json.decode(variable) == {
        "env": [{"name": "DB_PASSWORD", "value": HIDDEN}],
        "clientSecret": HIDDEN,
        "name": "a",
    }


def test_a_rollouts_record_shows_no_more_than_the_service_that_it_holds() -> None:
    variables = [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "HOME", "value": "/tmp"}]
    service = {"kind": "Service", "metadata": {"name": "iris"}, "spec": {"containers": [{"name": "handler", "env": variables}]}}
    shares = [Share("stable", "iris-a"), Share("candidate", "iris-b")]
    rollout = Rollout(
        id="1",
        function="iris",
        namespace="team",
        strategy="canary",
        shares=shares,
        settings=Settings(steps=[100]),
        rendered="iris-b",
        since=0.0,
        began_at=0.0,
    )
    record = to_config_map(Record(rollout, Objects(candidate=[service], promoted=[service], before=[service])))
    data = Redactor(set()).manifest(record)["data"]
    held = msgspec.json.decode(data["objects"], type=Objects)
    assert {"hunter2" in text for text in data.values()} == {False}
    assert held.before[0]["spec"]["containers"][0]["env"] == [{"name": "DB_PASSWORD", "value": HIDDEN}, variables[1]]


def test_a_text_that_is_nested_without_end_stays_a_text() -> None:
    assert Redactor(set()).value("[" * 5000) == "[" * 5000


def test_a_text_of_json_without_a_secret_stays_as_it_was_written() -> None:
    assert Redactor(set()).value('{ "a" : [1, "b"] }') == '{ "a" : [1, "b"] }'
