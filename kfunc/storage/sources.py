"""The kinds of storage, one line each; imported when a URI names one."""

from importlib import import_module

from kfunc.config.model_addresses import AddressFault, ModelAddress, parse_address
from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Source
from kfunc.storage.credentials import Credentials
from kfunc.storage.names import shown

SOURCES = {
    "http": "kfunc.storage.http_source:HttpSource",
    "https": "kfunc.storage.http_source:HttpSource",
    "s3": "kfunc.storage.object_store:ObjectSource",
    "gs": "kfunc.storage.object_store:ObjectSource",
    "az": "kfunc.storage.object_store:ObjectSource",
    "hf": "kfunc.storage.huggingface:HuggingFaceSource",
    "oci": "kfunc.storage.oci:OciSource",
    "models": "kfunc.storage.mlflow:open_source",
    "runs": "kfunc.storage.mlflow:open_source",
}


def open_uri(uri: str, credentials: Credentials) -> Source:
    """The source of a model's URI. Raises ModelLoadError."""
    try:
        return open_address(parse_address(uri), credentials)
    except AddressFault as fault:
        raise ModelLoadError(f"{shown(uri)}: {fault}") from None


def open_address(address: ModelAddress, credentials: Credentials) -> Source:
    """The same, of an address in its parts."""
    module, _, name = SOURCES[address.scheme].partition(":")
    source: Source = getattr(import_module(module), name)(address, credentials)
    return source
