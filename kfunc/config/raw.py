"""`inference.raw`: what a Deployment needs where there is no Knative to scale and replace pods."""

from typing import Annotated, Literal

from msgspec import Meta

from kfunc.config.block import Block
from kfunc.config.traffic import Step

Autoscaler = Literal["auto", "hpa", "keda", "none"]
MetricKind = Literal["pods", "external"]
TriggerKind = Literal["prometheus", "kafka", "nats", "rabbitmq"]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
CpuPercent = Annotated[int, Meta(ge=1, le=1000)]


class Metric(Block, frozen=True, kw_only=True):
    """A number that a metrics adapter offers to the HorizontalPodAutoscaler, such as the 99th percentile."""

    name: Annotated[str, Meta(min_length=1, description="The adapter's name for it.")]
    target: Annotated[Positive, Meta(description="Value that each pod should have.")]
    kind: Annotated[MetricKind, Meta(description="Measured at the pods, or somewhere else.")] = "pods"


class Trigger(Block, frozen=True, kw_only=True):
    """What KEDA looks at."""

    kind: Annotated[TriggerKind, Meta(description="Where the number comes from.")]
    target: Annotated[Positive, Meta(description="Value, rate or lag for which one pod is enough.")]
    address: Annotated[
        str, Meta(min_length=1, description="Prometheus' URL, Kafka's brokers, NATS' monitoring host:port or RabbitMQ's URL.")
    ]
    query: Annotated[str, Meta(description="PromQL, for prometheus: the function's requests per second by default.")] = ""
    topic: Annotated[str, Meta(description="Kafka's topic, NATS' stream or RabbitMQ's queue.")] = ""
    group: Annotated[str, Meta(description="Kafka's consumer group or NATS' consumer.")] = ""
    account: Annotated[str, Meta(description="NATS' account.")] = "$G"
    authentication: Annotated[str, Meta(description="KEDA's TriggerAuthentication with the credentials.")] = ""


class Raw(Block, frozen=True):
    """Scaling and replacement of pods without Knative."""

    autoscaler: Annotated[
        Autoscaler, Meta(description="auto: keda where there are triggers, hpa where max is more than min, else none.")
    ] = "auto"
    cpu: Annotated[CpuPercent, Meta(description="Percent of the requested cpu that pods should use.")] = 70
    metrics: Annotated[list[Metric], Meta(description="Further numbers for the HorizontalPodAutoscaler.")] = []
    triggers: Annotated[list[Trigger], Meta(description="KEDA's triggers.")] = []
    cooldown_s: Annotated[int, Meta(ge=1, le=86_400, description="Quiet time before the last pod, or any, is removed.")] = 300
    drain_s: Annotated[
        int, Meta(ge=0, le=300, description="Time for which an ending pod still takes requests, until all know that it ends.")
    ] = 10
    max_unavailable: Annotated[Step, Meta(description="Percent of the pods that may be missing at once.")] = 25
    zones: Annotated[bool, Meta(description="Spread the pods over zones and nodes as far as there are several.")] = True
