"""Inputs and outputs that func.yaml declares, for models whose files do not tell them."""

from kfunc.config.pod import PodConfig
from kfunc.protocol.messages import TensorSpec


def declared(
    config: PodConfig, inputs: list[TensorSpec], outputs: list[TensorSpec]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """What func.yaml says (`model.signature`), else what the model says of itself."""
    signature = config.model.signature
    return (
        [TensorSpec(each.name, each.datatype, each.shape) for each in signature.inputs] or inputs,
        [TensorSpec(each.name, each.datatype, each.shape) for each in signature.outputs] or outputs,
    )
