"""How the pod of a function is made on the cluster: structs of the `inference` block that the pod itself never sees."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block
from kfunc.config.quantity import Quantity

Mode = Literal["knative", "raw"]
Visibility = Literal["public", "cluster-local"]
Vendor = Literal["nvidia", "amd", "intel"]
Operator = Literal["Equal", "Exists"]
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
Domain = Literal["zone", "node"]

Port = Annotated[int, Meta(ge=1024, le=65535)]
UserId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
MigProfile = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]?g\.[1-9][0-9]{0,2}gb(\.me)?$",
        extra_json_schema={"patternErrorMessage": 'expected a MIG profile such as "1g.5gb"'},
    ),
]


class Gpu(Block, frozen=True):
    """GPUs of the handler; absent: none is asked for."""

    count: Annotated[int, Meta(ge=1, le=64, description="How many, or how many MIG slices.")] = 1
    mig: Annotated[MigProfile, Meta(description="A slice of an NVIDIA GPU instead of a whole one.")] | UnsetType = UNSET
    vendor: Annotated[Vendor, Meta(description="Whose; the nodes run this vendor's device plugin.")] = "nvidia"


class Shares(Block, frozen=True):
    """CPU and memory of a container; empty: none is stated."""

    cpu: Annotated[Quantity, Meta(description="Cores, as 250m.")] = ""
    memory: Annotated[Quantity, Meta(description="Bytes, as 256Mi.")] = ""


class ContainerResources(Block, frozen=True):
    """What a container is guaranteed, and what it may use at most."""

    requests: Shares = Shares()
    limits: Shares = Shares()


SIDECAR = ContainerResources(Shares("50m", "64Mi"), Shares("1", "512Mi"))


class Sidecars(Block, frozen=True):
    """Resources of the containers beside the handler; its own are in deploy.options.resources."""

    batcher: ContainerResources = SIDECAR
    logger: ContainerResources = SIDECAR
    queue_proxy: Annotated[ContainerResources, Meta(description="Knative's own sidecar; the cluster's defaults if absent.")] = (
        ContainerResources()
    )


class Toleration(Block, frozen=True):
    """A taint of nodes that the pod may run on in spite of it."""

    key: Annotated[str, Meta(description="The taint's key; without one, every taint (operator Exists).")] = ""
    operator: Annotated[Operator, Meta(description="Whether the value must be equal.")] = "Equal"
    value: Annotated[str, Meta(description="The taint's value.")] = ""
    effect: Annotated[Effect, Meta(description="The taint's effect; every one if absent.")] | UnsetType = UNSET
    toleration_s: Annotated[int, Meta(ge=0, le=2**31 - 1, description="With NoExecute: time until eviction.")] | UnsetType = (
        UNSET
    )


class Scheduling(Block, frozen=True):
    """Which nodes pods run on; Knative takes each of these only with a feature flag."""

    node_selector: Annotated[dict[str, str], Meta(description="Labels that a node must have.")] = {}
    tolerations: Annotated[list[Toleration], Meta(description="Taints of nodes that the pods may run on.")] = []
    spread: Annotated[Domain, Meta(description="Spread pods over zones or nodes.")] | UnsetType = UNSET
    priority_class: Annotated[str, Meta(description="PriorityClass of the pods.")] = ""
    runtime_class: Annotated[str, Meta(description="RuntimeClass of the pods.")] = ""


class Security(Block, frozen=True):
    """What the containers may do. They never run as root, and never with capabilities."""

    run_as_user: Annotated[UserId, Meta(description="User that the containers run as; 0: the image's own.")] = 65532
    read_only_root: Annotated[bool, Meta(description="The handler's root file system cannot be written; /tmp can.")] = True


class Storage(Block, frozen=True):
    """Credentials that the handler needs for its model."""

    env_secret: Annotated[str, Meta(description="Secret whose keys are variables, as AWS_ACCESS_KEY_ID.")] = ""
    file_secret: Annotated[str, Meta(description="Secret whose keys are files in /var/run/secrets/kfunc/storage.")] = ""


class Revisions(Block, frozen=True):
    """What becomes of revisions that have no traffic any more."""

    keep: Annotated[int, Meta(ge=1, le=100, description="How many stay, the newest, so that an undo finds them.")] = 5


class Telemetry(Block, frozen=True):
    """OpenTelemetry's variables for all containers: kfunc's own processes send traces, as others do; absent: none is set."""

    otlp_endpoint: Annotated[str, Meta(min_length=1, description="Collector that takes OTLP over HTTP, http://HOST:4318.")]
    sample_ratio: Annotated[float, Meta(ge=0, le=1, description="Part of the traces begun here that are kept.")] = 1.0
    metrics: Annotated[bool, Meta(description="Metrics are pushed there as well, now and then and at a pod's end.")] = False
    attributes: Annotated[dict[str, str], Meta(description="Attributes of the resource beside the function's own.")] = {}
