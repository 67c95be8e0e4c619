"""A model with several signatures: a request names one by `signature_name`, or gets the default one."""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import TYPE_CHECKING

from kfunc.errors import InvalidRequest
from kfunc.handlers.slots import Loaded
from kfunc.handlers.wrapping import Wrapping
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse

if TYPE_CHECKING:
    from kfunc.handlers.local_files import LocalFiles

PARAMETER = "signature_name"


class BySignature(Wrapping):
    """A Model in front of one for each signature; its metadata are the default one's."""

    def __init__(self, default: Loaded, named: Mapping[str, Loaded]) -> None:
        super().__init__(default)
        self._named = named

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """The signature's answer. Raises InvalidRequest for one that there is not."""
        return self._of(request).infer(request, context)

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """The signature's explanation."""
        return self._of(request).explain(request, context)

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """The signature's answer in parts."""
        return self._of(request).stream(request, context)

    def _of(self, request: InferRequest) -> Loaded:
        if not request.parameters or PARAMETER not in request.parameters:
            return self.inner
        name = request.parameters[PARAMETER]
        if name not in self._named:
            raise InvalidRequest(f"no signature {name!r}; the model's signatures are {', '.join(self._named)}")
        return self._named[name]

    def stuck(self) -> bool:
        """Whether a call of one of them hangs."""
        return any(model.stuck() for model in self._all())

    def keep(self, files: "LocalFiles") -> None:
        """Hold the files until all are closed."""
        for model in self._all():
            model.keep(files)

    def retire(self) -> None:
        """Close each when its calls have ended."""
        for model in self._all():
            model.retire()

    def close(self) -> None:
        """Let go of all."""
        for model in self._all():
            model.close()

    def _all(self) -> set[Loaded]:
        return {self.inner, *self._named.values()}
