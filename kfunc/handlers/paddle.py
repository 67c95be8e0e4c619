"""The runtime for Paddle's inference models: a program (.json, or .pdmodel of Paddle 2) and its .pdiparams."""

import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle
from paddle import inference

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.facts import version_of
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.selection import CPU, Offer
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.contract import Handler
from kfunc.handlers.declared import declared, observed
from kfunc.handlers.processors import usable_processors
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")

DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "uint8": "UINT8",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
}
GPU_POOL_MB = 256
"""What Paddle takes of a GPU at first, where func.yaml sets no bound."""


class PaddleHandler(Handler):
    """One predictor, cloned for each thread: clones share the weights."""

    platform = "paddle"

    def load(self, path: Path) -> None:
        """Open the model on the best device. Raises ModelLoadError with the file and the reason."""
        program, weights = _files(path)
        known = _inputs(program) if program.suffix == ".json" else []
        self.inputs, self.outputs = declared(self.config, known, [])

        def open_on(accelerator: str) -> Any:
            try:
                return inference.create_predictor(self._settings(program, weights, accelerator))
            except Exception as error:  # RuntimeError and Paddle's own, with a trace of C++
                raise ModelLoadError(f"{path}: Paddle cannot open it: {_reason(error)}") from None

        def test(predictor: Any) -> None:
            inputs = sample(self.inputs, self.config.model.warmup.shapes)
            if inputs is not None:
                self._answer(predictor, inputs)

        name = f"paddle {paddle.__version__}"
        self._clones = threading.local()
        self._predictor, self.choice = choose(self.config.accelerator, offers(), facts(), open_on, test, name)
        if not self.outputs:
            self.outputs = observed(self.inputs, self.config.model.warmup.shapes, self.predict)

    def _settings(self, program: Path, weights: Path, accelerator: str) -> Any:
        settings = inference.Config(str(program), str(weights))
        settings.disable_glog_info()
        if accelerator == CPU:
            settings.disable_gpu()
            settings.set_cpu_math_library_num_threads(self.config.model.threads or usable_processors())
        else:
            limit_mb = self.config.model.gpu_memory_mb
            if limit_mb:
                log.warning("model.gpu_memory_mb is what Paddle takes at first, and no bound: it takes more where it needs it")
            settings.enable_use_gpu(limit_mb or GPU_POOL_MB, 0)
        return settings

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run this thread's predictor."""
        predictor = getattr(self._clones, "predictor", None)
        if predictor is None:
            predictor = self._clones.predictor = self._predictor.clone()
        return self._answer(predictor, inputs)

    def _answer(self, predictor: Any, inputs: "Arrays") -> "Arrays":
        names = predictor.get_input_names()
        if inputs.keys() != set(names):
            raise InvalidRequest(f"the model's inputs are {', '.join(names)}; given are {', '.join(inputs)}")
        for name in names:
            predictor.get_input_handle(name).copy_from_cpu(inputs[name])
        predictor.run()
        given = predictor.get_output_names()
        named = [spec.name for spec in self.outputs] if len(self.outputs) == len(given) else given
        return {own: predictor.get_output_handle(name).copy_to_cpu() for own, name in zip(named, given, strict=True)}


def offers() -> list[Offer]:
    """CUDA where this build is for it, the CPU."""
    version = paddle.version.cuda()
    if paddle.is_compiled_with_cuda():
        return [Offer("cuda", "nvidia", version_of(str(version))), Offer(CPU)]
    return [Offer("cuda", "nvidia", unavailable=f"paddle {paddle.__version__} is built without CUDA"), Offer(CPU)]


def _files(path: Path) -> tuple[Path, Path]:
    """The program and its weights, of which `path` is one. Raises ModelLoadError."""
    weights = path.with_suffix(".pdiparams")
    programs = [path.with_suffix(suffix) for suffix in (".json", ".pdmodel")]
    program = next((each for each in programs if each.is_file()), None)
    if program is None:
        raise ModelLoadError(f"{path}: there is no {programs[0].name} or {programs[1].name} beside it, its program")
    if not weights.is_file():
        raise ModelLoadError(f"{path}: there is no {weights.name} beside it, its weights")
    return program, weights


def _inputs(program: Path) -> list[TensorSpec]:
    """The inputs that a program in JSON names (Paddle's PIR). Raises ModelLoadError."""
    try:
        document = json.loads(program.read_bytes())
        operators = document["program"]["regions"][0]["blocks"][0]["ops"]
        found = [{each["N"]: each["AT"]["D"] for each in op["A"]} for op in operators if op["#"] == "1.data"]
        return [TensorSpec(each["name"], DATATYPES.get(each["dtype"], "FP32"), each["shape"]) for each in found]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelLoadError(f"{program}: is no program of Paddle: {type(error).__name__}: {error}") from None


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "Error: " in line] or str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
