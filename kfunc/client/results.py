"""What the calls of a client return."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kfunc.client.wire import Answer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Result:
    """What every answer of a model has.

    `request_id` finds the call in the server's logs and events; `server_timing` has milliseconds by the
    names of the header Server-Timing (`queue`, `batch`, `compute`); `headers` are by name in lower case.
    """

    def __init__(self, answer: Answer) -> None:
        self.headers = answer.headers
        self.request_id = answer.headers.get("x-request-id", "")
        self.server_timing = read_server_timing(answer.headers.get("server-timing", ""))


class InferResult(Result, Mapping[str, "Array"]):
    """The outputs of a V2 inference: a mapping of names to arrays, which `outputs` also is.

    BYTES are arrays of `bytes` objects. `id` is the request's, `parameters` the answer's.
    """

    def __init__(
        self,
        answer: Answer,
        outputs: "dict[str, Array]",
        model_name: str,
        model_version: str,
        id: str,
        parameters: dict[str, Any],
    ) -> None:
        super().__init__(answer)
        self.outputs = outputs
        self.model_name = model_name
        self.model_version = model_version
        self.id = id
        self.parameters = parameters

    def __getitem__(self, name: str) -> "Array":
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in self.outputs.items())
        return f"<InferResult of {self.model_name} {self.model_version}: {shown}>"


class Prediction(Result):
    """The answer to V1's `:predict`: `predictions` as the JSON values that came, `outputs` as arrays by name.

    A model with one output gives plain rows; they are the output `predictions`.
    """

    def __init__(self, answer: Answer, predictions: list[Any]) -> None:
        super().__init__(answer)
        self.predictions = predictions

    @property
    def outputs(self) -> "dict[str, Array]":
        """The rows as arrays. Raises InvalidAnswer where they are ragged."""
        from kfunc.client.arrays import columns

        return columns("predictions", self.predictions)

    def __repr__(self) -> str:
        return f"<Prediction of {len(self.predictions)} rows>"


class Explanation(Result):
    """The answer to V1's `:explain`: `explanations` as the JSON values that came."""

    def __init__(self, answer: Answer, explanations: Any) -> None:
        super().__init__(answer)
        self.explanations = explanations


class ServerMetadata(Struct, frozen=True):
    """What a server says of itself (Open Inference Protocol, Server Metadata)."""

    name: str
    version: str = ""
    extensions: list[str] = []


class IndexEntry(Struct, frozen=True):
    """One version of a model in the repository; `state` is READY, LOADING or UNAVAILABLE, with a `reason`."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


def read_server_timing(value: str) -> dict[str, float]:
    """Milliseconds by name, of what has a duration (Server-Timing, W3C, 3)."""
    timing = {}
    for metric in value.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, number = parameter.partition("=")
            try:
                if key.strip().lower() == "dur" and name:
                    timing[name] = float(number.strip().strip('"'))
            except ValueError:
                pass
    return timing
