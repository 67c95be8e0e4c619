"""The runtime for folders of Hugging Face's transformers: the task is the model's own, or func.yaml's."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when it is imported: a model is the files that are there
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.choice import choose
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.contract import Handler
from kfunc.handlers.huggingface_generation import TextGeneration
from kfunc.handlers.huggingface_tasks import IMAGE, TASKS, Task
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.torch_devices import device_of, offers, use_threads

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

GENERATION = "text-generation"
# The end of the name of a model's class → its task.
ARCHITECTURES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": GENERATION,
    "LMHeadModel": GENERATION,
    "ForImageClassification": "image-classification",
    "Model": "embeddings",
}


class HuggingfaceHandler(Handler):
    """One model for one task; may be called from several threads."""

    platform = "huggingface"

    def load(self, path: Path) -> None:
        """Open the model on the best device. Raises ModelLoadError with the file and the reason."""
        use_threads(self.config.model.threads or usable_processors())
        transformers.utils.logging.disable_progress_bar()
        kind = TextGeneration if (task := task_of(path, self.config.model.task)) == GENERATION else TASKS[task]
        self.platform = f"huggingface_{task}"

        def open_on(accelerator: str) -> Task:
            device = device_of(accelerator, self.config.model.gpu_memory_mb)
            try:
                return kind(open_model(kind.auto, path, device), path, self.config)  # type: ignore[attr-defined]
            except ModelLoadError:
                raise
            except Exception as error:  # OSError, ValueError, safetensors' and tokenizers' own
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise ModelLoadError(f"{path}: transformers cannot open it: {lines[0]}") from None

        name = f"transformers {transformers.__version__} with torch {torch.__version__}"
        self._task, self.choice = choose(self.config.accelerator, offers(), facts(), open_on, try_out, name)
        self.inputs, self.outputs = list(self._task.inputs), list(self._task.outputs)
        self.takes_images = self.inputs == [IMAGE]
        if isinstance(self._task, TextGeneration):
            self.optional_inputs = self._task.optional_inputs
            self.predict_stream = self._task.stream  # type: ignore[method-assign]

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Run the task."""
        with torch.inference_mode():
            return self._task.run(inputs)


def try_out(task: Task) -> None:
    """A first inference. Raises what fails there."""
    with torch.inference_mode():
        task.run(task.example())


def task_of(folder: Path, wanted: str) -> str:
    """The task of the model in a folder; `wanted` is func.yaml's, or auto. Raises ModelLoadError."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ModelLoadError(f"{file}: there is no such file; a folder of transformers has one") from None
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file}: is not JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelLoadError(f"{file}: has no model_type, so that it is no model of transformers")
    if "auto_map" in config:
        raise ModelLoadError(f"{file}: the model brings code of its own (auto_map), which is not run")
    if wanted != "auto":
        return wanted
    if (folder / "modules.json").is_file():
        return "embeddings"
    for name in config.get("architectures") or ():
        for end, task in ARCHITECTURES.items():
            if str(name).endswith(end):
                return task
    known = ", ".join([*TASKS, GENERATION])
    raise ModelLoadError(f"{file}: architectures does not say the task; set inference.model.task to one of {known}")


def open_model(auto: str, folder: Path, device: torch.device) -> Any:
    """The model on a device, its weights mapped. Raises what transformers raises; ModelLoadError where weights are missing."""
    model, told = getattr(transformers, auto).from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, dtype="auto", output_loading_info=True
    )
    missing = sorted(name for name in told["missing_keys"] if auto != "AutoModel" or "pooler." not in name)  # not asked there
    if missing:
        raise ModelLoadError(f"{folder}: the weights for this task are not in it: {', '.join(missing[:3])}")
    return model.eval().to(device)
