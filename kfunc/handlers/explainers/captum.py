"""captum: attributions of PyTorch's models, of the shape of each input."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.explainers.contract import Explainer

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

ALGORITHMS = {
    "integrated-gradients": "IntegratedGradients",
    "saliency": "Saliency",
    "input-x-gradient": "InputXGradient",
    "deep-lift": "DeepLift",
    "feature-ablation": "FeatureAblation",
}


class CaptumExplainer(Explainer):
    """Of an output with several columns, the one that is largest for each row is explained."""

    packages = ("captum",)

    def check(self, path: Path) -> None:
        """The model is PyTorch's."""
        if "torch" not in self.handler.platform:
            raise ModelLoadError(f"{path}: explain.method captum explains models of the runtime torch; use shap-kernel or lime")

    def prepare(self) -> None:
        """The algorithms."""
        from captum import attr

        self._algorithm = getattr(attr, ALGORITHMS[self.settings.attribution])

    def explain(self, inputs: "Arrays") -> "Arrays":
        """Attributions by the inputs' names, and the column of the output that each row's are about."""
        import torch

        from kfunc.handlers.torch_arrays import to_array

        module, arguments = self.handler.native, self.handler.arguments(inputs)  # type: ignore[attr-defined]
        try:
            tensors = tuple(each.clone().requires_grad_() for each in arguments.values())
        except RuntimeError:
            raise InvalidRequest("captum explains inputs of floating numbers only") from None

        def forward(*given: Any) -> Any:
            answer = module(*given)
            if isinstance(answer, dict):
                answer = answer[self.settings.output] if self.settings.output else next(iter(answer.values()))
            return answer[0] if isinstance(answer, tuple | list) else answer

        with torch.no_grad():
            answer = forward(*tensors)
        target = answer.argmax(dim=1) if answer.ndim > 1 and answer.shape[1] > 1 else None
        if target is None and answer.ndim > 1:
            target = torch.zeros(len(answer), dtype=torch.int64, device=answer.device)
        found = self._algorithm(module if self.settings.attribution == "deep-lift" else forward).attribute(
            tensors, target=target
        )
        about = target if target is not None else torch.zeros(len(answer), dtype=torch.int64)
        return {name: to_array(each) for name, each in zip(arguments, found, strict=True)} | {"columns": to_array(about)}
