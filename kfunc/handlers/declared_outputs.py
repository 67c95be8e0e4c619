"""Holds what a handler.py answers against the outputs that it declares. Imported for the first answer, and asked once."""

import logging
from typing import TYPE_CHECKING

from kfunc.errors import ModelFailed
from kfunc.handlers.tensors import fits, to_tensor
from kfunc.protocol.messages import ModelMetadata, TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")
SAME = {"BF16": "UINT16"}  # numpy has its bits only


def tell_differences(metadata: ModelMetadata, outputs: "Arrays", *, complete: bool) -> None:
    """A warning for each difference; a part of an answer need not be `complete`."""
    for difference in differences(metadata.outputs, outputs, complete=complete):
        log.warning(
            "model %s: %s; it is answered as it is, and the metadata promise what the handler declares: correct its outputs, "
            "or what it gives",
            metadata.name,
            difference,
        )


def differences(specs: list[TensorSpec], outputs: "Arrays", *, complete: bool) -> list[str]:
    """What is given under another name, with another datatype, or in a shape that does not fit."""
    declared = {spec.name: spec for spec in specs}
    found = [f"the output {name!r} is given and not declared" for name in outputs if name not in declared]
    if complete:
        found += [f"the output {name!r} is declared and not given" for name in declared if name not in outputs]
    for name in (name for name in outputs if name in declared):
        try:
            spec, given = declared[name], to_tensor(name, outputs[name])
        except ModelFailed as error:  # of an output that nobody has asked for yet
            found.append(error.message)
            continue
        if given.datatype not in (spec.datatype, SAME.get(spec.datatype)):
            found.append(f"the output {name!r} is declared as {spec.datatype} and given as {given.datatype}")
        if not fits(given.shape, spec.shape):
            found.append(f"the output {name!r} is declared with the shape {list(spec.shape)} and given with {given.shape}")
    return found
