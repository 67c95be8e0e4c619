"""func.yaml as msgspec structs: Knative Functions' own part (specVersion 0.36.0) and kfunc's `inference`.

Keys, enums and patterns are those of Knative's schema, so that the `func` CLI and editors read the
same file. What it leaves open (names, quantities, templates) is in kfunc.config.rules.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block
from kfunc.config.inference_block import Inference
from kfunc.config.quantity import Quantity

SPEC_VERSION = "0.36.0"

Builder = Literal["pack", "s2i"]
Deployer = Literal["knative", "raw", "keda"]
NotNegative = Annotated[int, Meta(ge=0)]

FunctionName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        extra_json_schema={"patternErrorMessage": 'expected lower-case letters, digits and "-" (not first or last)'},
    ),
]
EnvName = Annotated[
    str,
    Meta(
        pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$",
        extra_json_schema={"patternErrorMessage": 'expected letters, digits, "_", "-" and ".", not a digit first'},
    ),
]
LabelKey = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$",
        extra_json_schema={"patternErrorMessage": 'expected a label key such as "team" or "example.com/team"'},
    ),
]
LabelValue = Annotated[
    str,
    Meta(
        pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        extra_json_schema={"patternErrorMessage": 'expected letters, digits, "-", "_" and ".", a letter or digit at both ends'},
    ),
]


class Shared(Block, frozen=True, rename="camel"):
    """A mapping of the part that Knative Functions defines."""


class Env(Shared, frozen=True):
    """An environment variable; without a name, all keys of a Secret or ConfigMap."""

    name: Annotated[EnvName, Meta(description="Of the variable; none: all keys of what `value` names.")] | UnsetType = UNSET
    value: (
        Annotated[str, Meta(description="Text, or {{ env:NAME }}, {{ secret:NAME:KEY }}, {{ configMap:NAME:KEY }}.")]
        | UnsetType
    ) = UNSET


class Git(Shared, frozen=True):
    """Where the source is, for builds on the cluster."""

    url: Annotated[str, Meta(description="The repository.")] = ""
    revision: Annotated[str, Meta(description="Branch, tag or commit.")] = ""
    context_dir: Annotated[str, Meta(description="The function's folder in it.")] = ""


class MountSpec(Shared, frozen=True):
    """A folder that the build sees."""

    host_path: Annotated[str, Meta(description="Path on the local machine.")]
    path: Annotated[str, Meta(description="Path in the build container.")]


class Build(Shared, frozen=True):
    """How the image is built."""

    git: Git = Git()
    builder_images: Annotated[dict[str, str], Meta(description="Builder images by the builder's short name.")] = {}
    buildpacks: Annotated[list[str], Meta(description="Buildpacks to use.")] = []
    builder: Annotated[Builder, Meta(description="What builds the image.")] | UnsetType = UNSET
    build_envs: Annotated[list[Env], Meta(description="Environment of the build.")] = []
    pvc_size: Annotated[str, Meta(description="Size of the volume of a build on the cluster.")] = ""
    remote_storage_class: Annotated[str, Meta(description="Storage class of that volume.")] = ""
    base_image: Annotated[str, Meta(description="Image that the function's image starts from.")] = ""
    volumes: Annotated[list[MountSpec], Meta(description="Folders that the build sees.")] = []


class PersistentVolumeClaim(Shared, frozen=True):
    """A claim in the function's namespace."""

    claim_name: Annotated[str, Meta(description="Name of the claim.")] | UnsetType = UNSET
    read_only: Annotated[bool, Meta(description="The function only reads it.")] = False


class EmptyDir(Shared, frozen=True):
    """A folder that lives as long as the pod."""

    medium: Annotated[str, Meta(description='"" (the node\'s disk) or Memory.')] = ""
    size_limit: Annotated[str, Meta(description="Most bytes, as a quantity such as 64Mi.")] = ""


class Volume(Shared, frozen=True):
    """One Secret, ConfigMap, claim or emptyDir, mounted at `path`."""

    secret: Annotated[str, Meta(description="Name of a Secret, whose keys are files.")] | UnsetType = UNSET
    config_map: Annotated[str, Meta(description="Name of a ConfigMap, whose keys are files.")] | UnsetType = UNSET
    persistent_volume_claim: PersistentVolumeClaim | UnsetType = UNSET
    empty_dir: EmptyDir | UnsetType = UNSET
    path: Annotated[str, Meta(description="Where it is mounted.")] | UnsetType = UNSET


VOLUME_SOURCES = ("secret", "configMap", "persistentVolumeClaim", "emptyDir")
OneVolume = Annotated[Volume, Meta(extra_json_schema={"oneOf": [{"required": [source]} for source in VOLUME_SOURCES]})]


class KafkaConfig(Shared, frozen=True):
    """A Kafka topic whose messages reach the function as CloudEvents."""

    brokers: Annotated[str, Meta(description="Addresses, separated by commas.")]
    topic: Annotated[str, Meta(description="Name of the topic.")]
    consumer_group: Annotated[str, Meta(description="Consumer group that the function reads as.")]


class Run(Shared, frozen=True):
    """What the running function has around it."""

    volumes: Annotated[list[OneVolume], Meta(description="Volumes mounted into the function.")] = []
    envs: Annotated[list[Env], Meta(description="Environment variables.")] = []
    start_timeout: Annotated[int, Meta(description="Time to start, s.")] | UnsetType = UNSET
    kafka: KafkaConfig | UnsetType = UNSET


class Scale(Shared, frozen=True):
    """How many pods, and what decides it."""

    min: Annotated[NotNegative, Meta(description="Fewest pods; 0: none while there is no traffic.")] | UnsetType = UNSET
    max: Annotated[NotNegative, Meta(description="Most pods; 0: no bound.")] | UnsetType = UNSET
    metric: (
        Annotated[
            Literal["concurrency", "rps"], Meta(description="What is measured: requests in flight or requests per second.")
        ]
        | UnsetType
    ) = UNSET
    target: Annotated[float, Meta(ge=0, description="The metric's value that one pod should have.")] | UnsetType = UNSET
    utilization: (
        Annotated[float, Meta(ge=1, le=100, description="Percent of the target at which pods are added.")] | UnsetType
    ) = UNSET


class Requests(Shared, frozen=True):
    """What a pod is guaranteed."""

    cpu: Annotated[Quantity, Meta(description="Cores, as 250m.")] = ""
    memory: Annotated[Quantity, Meta(description="Bytes, as 256Mi.")] = ""


class ResourceLimits(Shared, frozen=True):
    """What a pod may use at most."""

    cpu: Annotated[Quantity, Meta(description="Cores, as 250m.")] = ""
    memory: Annotated[Quantity, Meta(description="Bytes, as 256Mi; a container that uses more is ended.")] = ""
    concurrency: Annotated[NotNegative, Meta(description="Most requests in one pod at once; 0: no bound.")] | UnsetType = UNSET


class Resources(Shared, frozen=True):
    """Resources of the function's container."""

    requests: Requests = Requests()
    limits: ResourceLimits = ResourceLimits()


class Options(Shared, frozen=True):
    """Scaling and resources."""

    scale: Scale = Scale()
    resources: Resources = Resources()


class Label(Shared, frozen=True):
    """A label on the deployed function."""

    key: Annotated[LabelKey, Meta(description="As team or example.com/team.")]
    value: Annotated[LabelValue, Meta(description="Text, may be empty.")] = ""


class HealthEndpoints(Shared, frozen=True):
    """Paths of the probes."""

    liveness: Annotated[str, Meta(description="Of liveness; kfunc has its own.")] = ""
    readiness: Annotated[str, Meta(description="Of readiness; kfunc has its own.")] = ""


class Subscription(Shared, frozen=True):
    """Events of a broker that the function receives."""

    source: Annotated[str, Meta(description="Name of the broker.")]
    filters: Annotated[dict[str, str], Meta(description="Attributes that the events must have.")] = {}


class Deploy(Shared, frozen=True):
    """How the function runs on the cluster."""

    namespace: Annotated[str, Meta(description="Namespace of the deployed function.")] = ""
    image: Annotated[str, Meta(description="Deployed image with its digest.")] = ""
    annotations: Annotated[dict[str, str], Meta(description="Annotations of the deployed function.")] = {}
    options: Options = Options()
    labels: list[Label] = []
    health_endpoints: HealthEndpoints = HealthEndpoints()
    service_account_name: Annotated[str, Meta(description="Service account of the pod.")] = ""
    image_pull_secret: Annotated[str, Meta(description="Secret for pulling the image.")] = ""
    deployer: Annotated[Deployer, Meta(description="Deployer in use; written by the deployment.")] | UnsetType = UNSET
    subscriptions: list[Subscription] = []
    management_disabled: Annotated[bool, Meta(description="No management by the function operator.")] = False


class Function(Shared, frozen=True, kw_only=True):
    """One inference function: a func.yaml."""

    spec_version: Annotated[str, Meta(description="Version of Knative Functions' schema.")] = SPEC_VERSION
    name: Annotated[FunctionName, Meta(description="Name of the function; the folder's name by default.")] = ""
    domain: Annotated[str, Meta(description="Domain of the function's route.")] = ""
    runtime: Annotated[str, Meta(description="Language, for the `func` CLI.")] = ""
    registry: Annotated[str, Meta(description="Where images go: REGISTRY/USER.")] = ""
    registry_insecure: Annotated[bool, Meta(description="Do not verify the registry's certificate.")] = False
    image: Annotated[str, Meta(description="Full name of the image.")] = ""
    namespace: Annotated[str, Meta(description="Namespace to deploy to.")] = ""
    deployer: Annotated[Deployer, Meta(description="What deploys the function.")] | UnsetType = UNSET
    created: Annotated[
        str, Meta(description="When the function was created, RFC 3339.", extra_json_schema={"format": "date-time"})
    ] = ""
    invoke: Annotated[Literal["http", "cloudevent"], Meta(description="How the function is called.")] | UnsetType = UNSET
    build: Build = Build()
    run: Run = Run()
    deploy: Deploy = Deploy()
    inference: Inference
