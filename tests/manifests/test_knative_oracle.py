"""Knative's own SetDefaults and Validate as the judge: what we accept it accepts, what it refuses we refuse."""

from typing import Any

from hypothesis import HealthCheck, event, given, settings

from kfunc.config.source import parse_source
from kfunc.errors import ConfigError
from kfunc.manifests.outputs import render, text
from kfunc.manifests.yaml_text import write
from tests.manifests.conftest import plan_of
from tests.manifests.documents import documents
from tests.manifests.oracle import Oracle


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(document=documents())
def test_whatever_we_accept_knative_accepts_with_the_flags_that_we_name(knative: Oracle, document: dict[str, Any]) -> None:
    written = write(document)
    assert parse_source(written.encode()).value == document
    try:
        plan = plan_of(written)
    except ConfigError as error:
        event("refused: " + error.problems[0].path.rpartition(".")[2].split("[")[0])
        return
    event("accepted")
    rendered = render(plan, "service")
    answer = knative.ask(text(rendered.files["knative/service.yaml"]), rendered.notes)
    assert answer["errors"] == ""
    assert answer["value"] == rendered.files["knative/service.yaml"][0]
