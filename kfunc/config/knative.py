"""What Knative Serving and Eventing are told beside Knative Functions' own fields: structs of the `inference` block."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block

Hour = Annotated[int, Meta(ge=0, le=3600)]
Wait = Annotated[int, Meta(ge=0, le=600)]
MAX_TIMEOUT_S = 600
"""Knative's max-revision-timeout-seconds."""
BROKER_INGRESS = "http://broker-ingress.knative-eventing.svc.cluster.local"


class Scaling(Block, frozen=True):
    """How Knative scales; fewest and most pods, metric and target are in deploy.options.scale."""

    resource_metric: (
        Annotated[Literal["cpu", "memory"], Meta(description="Scale by use of this instead (class hpa; never to zero).")]
        | UnsetType
    ) = UNSET
    initial: Annotated[int, Meta(ge=0, le=2**31 - 1, description="Pods of a new revision.")] | UnsetType = UNSET
    activation: Annotated[int, Meta(ge=2, le=2**31 - 1, description="Fewest pods when it is not zero.")] | UnsetType = UNSET
    window_s: Annotated[int, Meta(ge=6, le=3600, description="Time that the metric is averaged over.")] | UnsetType = UNSET
    panic_window_percentage: (
        Annotated[float, Meta(ge=1, le=100, description="Panic window, in percent of the window.")] | UnsetType
    ) = UNSET
    panic_threshold_percentage: (
        Annotated[float, Meta(ge=110, le=1000, description="Percent of the target at which panic begins.")] | UnsetType
    ) = UNSET
    scale_down_delay_s: Annotated[Hour, Meta(description="Wait before pods are removed.")] | UnsetType = UNSET
    retention_s: Annotated[Hour, Meta(description="Least time that the last pod stays without traffic.")] | UnsetType = UNSET
    burst_capacity: (
        Annotated[float, Meta(ge=-1, le=1e9, description="Requests that the activator holds back in a burst; -1: always.")]
        | UnsetType
    ) = UNSET
    progress_deadline_s: (
        Annotated[int, Meta(ge=1, le=86_400, description="Time for a new revision to become ready.")] | UnsetType
    ) = UNSET
    rollout_duration_s: (
        Annotated[int, Meta(ge=0, le=86_400, description="Time over which traffic moves to a new revision.")] | UnsetType
    ) = UNSET


class Timeouts(Block, frozen=True):
    """Knative's times for one answer, beside `timeout_s`."""

    response_start_s: Annotated[Wait, Meta(description="Until its first byte.")] | UnsetType = UNSET
    idle_s: Annotated[Wait, Meta(description="Without a byte.")] | UnsetType = UNSET


class Delivery(Block, frozen=True):
    """How often a broker tries to deliver an event to the function."""

    retry: Annotated[int, Meta(ge=0, le=100, description="Tries after the first.")] | UnsetType = UNSET
    backoff: Annotated[Literal["linear", "exponential"], Meta(description="How the pauses grow.")] | UnsetType = UNSET
    backoff_s: Annotated[float, Meta(gt=0, le=3600, description="Pause before the second try.")] | UnsetType = UNSET
    dead_letter: Annotated[str, Meta(description="Where events go that were not delivered: broker:NAME or a URL.")] = ""


class Eventing(Block, frozen=True):
    """Events from and to the function."""

    sink_binding: Annotated[
        str, Meta(description="The logger's sink, found by a SinkBinding: broker:NAME, service:NAME or a URL.")
    ] = ""
    ce_overrides: Annotated[dict[str, str], Meta(description="Attributes that a SinkBinding adds to each event.")] = {}
    broker_ingress: Annotated[
        str, Meta(description="Where the cluster's brokers take events; another class of broker has another address.")
    ] = BROKER_INGRESS
    delivery: Delivery = Delivery()
