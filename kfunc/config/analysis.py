"""`inference.traffic.analysis`: what a new revision must keep to while it gets more and more of the requests."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block
from kfunc.config.inference import Seconds

Promotion = Literal["auto", "manual"]
Share = Annotated[float, Meta(ge=0, le=1)]
Factor = Annotated[float, Meta(gt=1, le=1000)]
Milliseconds = Annotated[float, Meta(ge=0.01, le=300_000)]
"""Within the buckets that times are counted in."""
Pods = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(gt=0, le=1000)]


class Query(Block, frozen=True, kw_only=True):
    """A value that Prometheus is asked for; $revision, $function, $namespace and $window are filled in."""

    name: Annotated[str, Meta(min_length=1, max_length=60, description="What it is called in reports.")]
    query: Annotated[str, Meta(min_length=1, description="PromQL that gives one number.")]
    max: Annotated[float, Meta(description="The most that is good.")] | UnsetType = UNSET
    min: Annotated[float, Meta(description="The least that is good.")] | UnsetType = UNSET
    over_stable: Annotated[Factor, Meta(description="The most that is good, times the stable one's.")] | UnsetType = UNSET


class Load(Block, frozen=True, kw_only=True):
    """Requests that the rollout sends itself, to every revision alike, while there are too few."""

    source: Annotated[
        str, Meta(min_length=1, description="synthetic: made from the model's metadata; else a log that `kfunc events` reads.")
    ] = "synthetic"
    rate: Annotated[Rate, Meta(description="Requests a second to each revision.")] = 5.0


class Analysis(Block, frozen=True, kw_only=True):
    """When a step is passed, and when the rollout is taken back."""

    min_requests: Annotated[int, Meta(ge=1, le=10_000_000, description="Requests of the new revision that a step needs.")] = 50
    max_step_s: Annotated[Seconds, Meta(description="A step that has not passed by then is taken back.")] = 1800.0
    ready_timeout_s: Annotated[Seconds, Meta(description="Longest time until the new revision is ready.")] = 300.0
    exclude_start_s: Annotated[
        float, Meta(ge=0, le=3600, description="What a pod answers so soon after it is ready is not judged.")
    ] = 5.0
    error_rate: Annotated[Share, Meta(description="Most answers that may be 5xx, as a part of all.")] = 0.01
    error_rate_over_stable: Annotated[Share, Meta(description="How far above the stable one's it may be.")] | UnsetType = UNSET
    p99_ms: Annotated[Milliseconds, Meta(description="Longest 99th percentile of the answers' times.")] | UnsetType = UNSET
    p99_over_stable: Annotated[Factor, Meta(description="The same as a multiple of the stable revision's.")] | UnsetType = UNSET
    restarts: Annotated[int, Meta(ge=0, le=1000, description="How often its containers may be started again.")] = 0
    prometheus: Annotated[
        str, Meta(description="URL of Prometheus, or service:NAMESPACE/NAME:PORT; without it the pods' own metrics are read.")
    ] = ""
    queries: Annotated[list[Query], Meta(description="Further values; they need prometheus.")] = []
    load: Load | UnsetType = UNSET
