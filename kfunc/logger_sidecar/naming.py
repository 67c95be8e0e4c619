"""The names that an event's attributes have: kfunc's own, or KServe's for its consumers. Sans-IO."""

from typing import Any

import msgspec
from msgspec import Struct

from kfunc.logger_sidecar.record import CallRecord, Origin
from kfunc.logger_sidecar.targets import is_for_own_model, model_of
from kfunc.protocol.own_events import source_of

REQUEST_TYPE = "io.kfunc.inference.request"
RESPONSE_TYPE = "io.kfunc.inference.response"
KSERVE_REQUEST = "org.kubeflow.serving.inference.request"
KSERVE_RESPONSE = "org.kubeflow.serving.inference.response"
COMPONENT = "predictor"
ENDPOINT = "default"


class Naming(Struct, frozen=True):
    """One way to name things. With `shared_id` both events of a call have one id."""

    shared_id: bool = False

    def fixed(self, origin: Origin, target: bytes, is_response: bool) -> dict[str, Any]:
        """What all events of a path have in common."""
        model, version = model_of(target)
        model = model or (origin.model if is_for_own_model(target) else "")
        revision = {"revision": origin.revision} if origin.revision else {}
        return {
            "source": source(origin),
            "type": RESPONSE_TYPE if is_response else REQUEST_TYPE,
            **({"subject": model} if model else {}),
            **{"function": origin.function, "namespace": origin.namespace, **revision},
            **{"model": model, "modelversion": version or origin.version, "endpoint": target.decode("latin-1")},
        }

    def headers(self, call: CallRecord, is_response: bool) -> bytes:
        """The members for the header fields that are logged, in the request's event: a JSON object in a string, and
        baggage, if it is among them, as the extension that it has in events."""
        if is_response:
            return b""
        own = b',"headers":%b' % msgspec.json.encode(call.headers.decode())
        given = msgspec.json.decode(call.headers).get("baggage", "") if b'"baggage"' in call.headers else ""
        return b'%b,"baggage":%b' % (own, msgspec.json.encode(given)) if given else own


class KServeNaming(Naming, frozen=True):
    """As KServe's agent names them (pkg/logger): consumers pair both events by their one id."""

    def fixed(self, origin: Origin, target: bytes, is_response: bool) -> dict[str, Any]:
        """What all events of a path have in common."""
        return {
            "source": source(origin),
            "type": KSERVE_RESPONSE if is_response else KSERVE_REQUEST,
            "inferenceservicename": origin.function,
            "namespace": origin.namespace,
            "component": COMPONENT,
            "endpoint": ENDPOINT,
        }

    def headers(self, call: CallRecord, is_response: bool) -> bytes:
        """`metadata`: each field as Go writes its name, with a list of its values."""
        fields: dict[str, str] = msgspec.json.decode(call.headers) if call.headers else {}
        named = {"-".join(word.capitalize() for word in name.split("-")): [value] for name, value in fields.items()}
        return b',"metadata":%b' % msgspec.json.encode(msgspec.json.encode(named).decode())


def source(origin: Origin) -> str:
    """The source of a function's events."""
    return source_of(origin.namespace, origin.function)


KFUNC = Naming()
KSERVE = KServeNaming(shared_id=True)
