"""All rules across fields: what types, bounds and patterns cannot say. Pure: a Function in, findings out.

A rule is a generator of findings and stands in `RULES`; each file of rules has one subject.
"""

from collections.abc import Callable, Iterator

from kfunc.config import (
    access_rules,
    analysis_rules,
    batcher_rules,
    deployment_rules,
    egress_rules,
    environment_rules,
    eventing_rules,
    inference_rules,
    knative_rules,
    match_rules,
    metadata_rules,
    raw_rules,
    scaling_rules,
    server_rules,
    sink_rules,
    traffic_rules,
    volume_rules,
)
from kfunc.config.finding import Finding
from kfunc.config.function import Function

RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    *metadata_rules.RULES,
    *environment_rules.RULES,
    *volume_rules.RULES,
    *scaling_rules.RULES,
    *inference_rules.RULES,
    *batcher_rules.RULES,
    *sink_rules.RULES,
    *traffic_rules.RULES,
    *analysis_rules.RULES,
    *match_rules.RULES,
    *access_rules.RULES,
    *egress_rules.RULES,
    *raw_rules.RULES,
    *deployment_rules.RULES,
    *knative_rules.RULES,
    *server_rules.RULES,
    *eventing_rules.RULES,
)


def findings(function: Function) -> list[Finding]:
    """What is wrong with a function whose single values are right."""
    return [finding for rule in RULES for finding in rule(function)]
