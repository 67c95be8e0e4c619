"""The whole `inference` block of func.yaml: the pod's settings, and those that only say how a function runs on a cluster.

The pod's processes never import this module nor those of the cluster's settings.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.access import Access, Egress
from kfunc.config.batcher import Batcher
from kfunc.config.build import ImageBuild
from kfunc.config.deployment import Gpu, Mode, Port, Revisions, Scheduling, Security, Sidecars, Storage, Telemetry, Visibility
from kfunc.config.explain import Explain
from kfunc.config.images import Images
from kfunc.config.inference import ModelSource, Settings
from kfunc.config.knative import Eventing, Scaling, Timeouts
from kfunc.config.logger import Logger
from kfunc.config.monitoring import Monitoring
from kfunc.config.quantity import Quantity
from kfunc.config.raw import Raw
from kfunc.config.residency import Residency
from kfunc.config.server import Server
from kfunc.config.traffic import Traffic


class Inference(Settings, frozen=True, kw_only=True):
    """kfunc's own block in func.yaml."""

    model: ModelSource
    models: Annotated[list[ModelSource], Meta(description="Further models, each with a name of its own.")] = []
    residency: Residency | UnsetType = UNSET
    images: Images | UnsetType = UNSET
    batcher: Batcher | UnsetType = UNSET
    logger: Logger | UnsetType = UNSET
    explain: Annotated[Explain, Meta(description="How answers are explained.")] | UnsetType = UNSET
    mode: Annotated[
        Mode, Meta(description="A Knative Service, or a Deployment with what belongs to it for clusters without Knative.")
    ] = "knative"
    raw: Annotated[Raw, Meta(description="Scaling and replacement of pods with `mode: raw`.")] = Raw()
    traffic: (
        Annotated[
            Traffic,
            Meta(description="How a new revision gets its requests; absent: all at once; present: Istio's part is rendered."),
        ]
        | UnsetType
    ) = UNSET
    access: Annotated[Access, Meta(description="Who may call the function; absent: everybody.")] | UnsetType = UNSET
    egress: (
        Annotated[Egress, Meta(description="Hosts that the function may call; absent: all; needs a sidecar in the pod.")]
        | UnsetType
    ) = UNSET
    monitoring: Annotated[Monitoring, Meta(description="Scraping, alerts and a dashboard; `{}` is enough.")] | UnsetType = UNSET
    port: Annotated[Port, Meta(description="The pod's port for requests.")] = 8080
    visibility: Annotated[Visibility, Meta(description="Whether the function has an address outside the cluster.")] = "public"
    gpu: Gpu | UnsetType = UNSET
    devices: Annotated[dict[str, Quantity], Meta(description='Further resources of nodes, as sgx.intel.com/epc: "10Mi".')] = {}
    server: Server | UnsetType = UNSET
    revisions: Revisions = Revisions()
    scaling: Scaling = Scaling()
    timeouts: Timeouts = Timeouts()
    resources: Sidecars = Sidecars()
    scheduling: Scheduling = Scheduling()
    security: Security = Security()
    storage: Storage = Storage()
    eventing: Eventing = Eventing()
    build: ImageBuild = ImageBuild()
    telemetry: Telemetry | UnsetType = UNSET
