"""Server reflection: what the descriptors say, for clients that have no .proto. Both versions have the same messages."""

from collections.abc import Iterator
from typing import Any

from kfunc.protocol.grpc.schema import BYTES, INT, Schema, decode, encode, many, one
from kfunc.protocol.grpc.status import NOT_FOUND
from kfunc.protocol.grpc.wire import LENGTH, broken, fields, text

HOST, FILE, SYMBOL, EXTENSION, EXTENSIONS_OF, SERVICES = 1, 3, 4, 5, 6, 7

ANSWER: Schema = {
    "valid_host": one(1),
    "original_request": one(2, BYTES),
    "files": one(4, {"file_descriptor_proto": many(1, BYTES)}),
    "extension_numbers": one(5, {"base_type_name": one(1), "extension_number": many(2, INT)}),
    "services": one(6, {"service": many(1, {"name": one(1)})}),
    "error": one(7, {"error_code": one(1, INT), "error_message": one(2)}),
}

# Of descriptor.proto, what is needed to find a symbol.
_ENUM: Schema = {"name": one(1)}
_INNER_MESSAGE: Schema = {"name": one(1), "enums": many(4, _ENUM)}
_MESSAGE: Schema = {"name": one(1), "nested": many(3, _INNER_MESSAGE), "enums": many(4, _ENUM)}
_SERVICE: Schema = {"name": one(1), "methods": many(2, {"name": one(1)})}
_FILE: Schema = {
    "name": one(1),
    "package": one(2),
    "messages": many(4, _MESSAGE),
    "enums": many(5, _ENUM),
    "services": many(6, _SERVICE),
}


class Descriptors:
    """A FileDescriptorSet, by names."""

    def __init__(self, descriptor_set: bytes) -> None:
        self._files: dict[str, bytes] = {}
        self._symbols: dict[str, bytes] = {}
        self._services: list[str] = []
        for encoded in decode({"file": many(1, BYTES)}, descriptor_set)["file"]:
            file = decode(_FILE, encoded)
            self._files[file["name"]] = encoded
            self._symbols |= dict.fromkeys(_names(file), encoded)
            self._services += [f"{file['package']}.{service['name']}" for service in file["services"]]

    def answer(self, request: bytes) -> bytes:
        """The ServerReflectionResponse to a request. Raises InvalidRequest."""
        host, asked, name = "", 0, ""
        for number, kind, start, stop in fields(request, 0, len(request)):
            if number <= SERVICES and kind != LENGTH:
                raise broken(f"field {number} has the wire type {kind}")
            if number == HOST:
                host = text(request, start, stop)
            elif FILE <= number <= SERVICES:
                asked, name = number, "" if number == EXTENSION else text(request, start, stop)
        return encode(ANSWER, {"valid_host": host, "original_request": request, **self._find(asked, name)})

    def _find(self, asked: int, name: str) -> dict[str, Any]:
        if asked == SERVICES:
            return {"services": {"service": [{"name": service} for service in self._services]}}
        if asked == EXTENSIONS_OF and name in self._symbols:
            return {"extension_numbers": {"base_type_name": name}}
        found = self._files.get(name) if asked == FILE else self._symbols.get(name) if asked == SYMBOL else None
        if found is None:
            return {"error": {"error_code": NOT_FOUND, "error_message": f"{name!r} is not known here"}}
        return {"files": {"file_descriptor_proto": [found]}}


def _names(file: dict[str, Any]) -> Iterator[str]:
    package = file["package"]
    for message in file["messages"]:
        yield from _names_within(f"{package}.{message['name']}", message)
    for enum in file["enums"]:
        yield f"{package}.{enum['name']}"
    for service in file["services"]:
        yield f"{package}.{service['name']}"
        for method in service["methods"]:
            yield f"{package}.{service['name']}.{method['name']}"


def _names_within(name: str, message: dict[str, Any]) -> Iterator[str]:
    yield name
    for enum in message["enums"]:
        yield f"{name}.{enum['name']}"
    for nested in message.get("nested", ()):
        yield from _names_within(f"{name}.{nested['name']}", nested)
