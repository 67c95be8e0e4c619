"""Function → PodConfig: everything decided that the file leaves open. Pure."""

from typing import cast

from msgspec import UNSET

from kfunc.config.function import Function
from kfunc.config.inference import ModelSource, Runtime
from kfunc.config.locations import file_path
from kfunc.config.names import service_name
from kfunc.config.pod import PodConfig, PodModel

DEFAULT_NAMESPACE = "default"


def complete(function: Function, runtime: str) -> PodConfig:
    """The pod's settings; `runtime` is the one that runs the model, never `auto`. A file: URI becomes its path."""
    inference = function.inference
    name = function.name or service_name("")
    return PodConfig(
        function=name,
        namespace=function.namespace or function.deploy.namespace or DEFAULT_NAMESPACE,
        model=_model(inference.model, name, runtime),
        protocols=list(inference.protocols),
        accelerator=inference.accelerator,
        workers=inference.workers,
        timeout_s=inference.timeout_s,
        hang_timeout_s=inference.hang_timeout_s,
        grace_s=inference.grace_s,
        limits=inference.limits,
        batcher=None if inference.batcher is UNSET else inference.batcher,
        logger=None if inference.logger is UNSET else inference.logger,
    )


def _model(model: ModelSource, name: str, runtime: str) -> PodModel:
    return PodModel(
        name=name if model.name is UNSET else model.name,
        version=model.version,
        uri=file_path(model.uri) or model.uri,
        runtime=cast(Runtime, runtime),
        execution=model.execution,
        threads=model.threads,
        concurrency=model.concurrency,
        trust=model.trust,
        digest=None if model.digest is UNSET else model.digest,
    )
