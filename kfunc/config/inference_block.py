"""The whole `inference` block of func.yaml: the pod's settings, and those that only say how a function runs on a cluster.

The pod's processes never import this module nor those of the cluster's settings.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.batcher import Batcher
from kfunc.config.deployment import Mode
from kfunc.config.inference import Logger, ModelSource, Settings


class Inference(Settings, frozen=True, kw_only=True):
    """kfunc's own block in func.yaml."""

    model: ModelSource
    batcher: Batcher | UnsetType = UNSET
    logger: Logger | UnsetType = UNSET
    mode: Annotated[
        Mode, Meta(description="A Knative Service, or a Deployment with what belongs to it for clusters without Knative.")
    ] = "knative"
