"""The messages of the descriptors as the protobuf library has them: what our codecs are held against."""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import kfunc.protocol.grpc

DESCRIPTORS = Path(kfunc.protocol.grpc.__file__).with_name("descriptors.binpb")

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
    _pool.Add(_file)


def message(name: str) -> Any:
    """A message's class, by its full name."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


ModelInferRequest = message("inference.ModelInferRequest")
ModelInferResponse = message("inference.ModelInferResponse")
