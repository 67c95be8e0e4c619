"""Where the main container's temporary files are: a volume only where something writes them. Pure."""

from msgspec import UNSET

from kfunc.config.inference import Runtime
from kfunc.config.logger import SHARED_MEMORY
from kfunc.config.places import SCRATCH
from kfunc.manifests.plan import Manifest, Plan

WRITE_NOTHING: tuple[Runtime, ...] = ("onnx", "sklearn", "xgboost", "lightgbm")


def needs_scratch(plan: Plan) -> bool:
    """Whether func.yaml's function needs a volume of ours for them: code, compilers and caches of GPUs do."""
    config, inference = plan.config, plan.function.inference
    writes = inference.server is not UNSET or inference.gpu is not UNSET or config.explain is not None
    return not _has_own(plan) and (
        writes or any(model.runtime not in WRITE_NOTHING for model in (config.model, *config.models))
    )


def temporary(plan: Plan) -> list[Manifest]:
    """The variables that lead programs there."""
    if needs_scratch(plan) or _has_own(plan):
        return [{"name": "HOME", "value": SCRATCH}]
    return [{"name": "HOME", "value": SHARED_MEMORY}, {"name": "TMPDIR", "value": SHARED_MEMORY}]


def _has_own(plan: Plan) -> bool:
    return any(volume.path == SCRATCH for volume in plan.function.run.volumes)
