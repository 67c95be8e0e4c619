"""What transformers' models do, each task as a function of arrays: texts or images in, labels, entities, vectors out."""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kfunc.config.images import Images
from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.in_turn import in_turn
from kfunc.handlers.pictures import picture_bytes
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.config.pod import PodConfig
    from kfunc.handlers.contract import Arrays

TEXT, IMAGE = TensorSpec("text", "BYTES", [-1]), TensorSpec("image", "BYTES", [-1])
LABELS = [TensorSpec("label", "BYTES", [-1]), TensorSpec("score", "FP32", [-1])]
UNKNOWN = 2**31  # tokenizers that know no limit say 10^30
MASKS = 5  # fillings of a mask, as transformers' pipeline gives


class Task(ABC):
    """A model for one task on one device. `inputs` and `outputs` are its metadata."""

    auto = ""
    """The class of transformers that opens its models."""
    inputs: list[TensorSpec] = [TEXT]
    outputs: list[TensorSpec] = []

    def __init__(self, model: Any, folder: Path, config: "PodConfig") -> None:
        self.model = model
        self.folder = folder
        self.config = config
        self.prepare()

    def prepare(self) -> None:
        """Open what stands before the model. Raises what transformers raises."""
        self.tokenizer = tokenizer_of(self.folder)
        if self.model.config.pad_token_id is None:  # else those like GPT refuse rows of different lengths
            self.model.config.pad_token_id = self.tokenizer.pad_token_id

    def example(self) -> "Arrays":
        """A small request that it answers."""
        return {"text": np.array([b"a"], np.object_)}

    @abstractmethod
    def run(self, inputs: "Arrays") -> "Arrays":
        """The answer for some rows."""

    def encoded(self, texts: list[str], **options: Any) -> Any:
        """Texts as the model's tensors, padded to the longest and cut to what the model takes."""
        longest = min(self.tokenizer.model_max_length, self.positions() or UNKNOWN)
        cut = {"truncation": True, "max_length": longest} if longest < UNKNOWN else {}
        return self.tokenizer(texts, padding=True, return_tensors="pt", **cut, **options)

    def positions(self) -> int:
        """The tokens that the model has positions for; 0 where it does not say it."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 0

    def logits(self, tensors: Any) -> torch.Tensor:
        """What the model gives for them, on the CPU."""
        return self.model(**tensors.to(self.model.device)).logits.float().cpu()


def tokenizer_of(folder: Path, **options: Any) -> Any:
    """The folder's tokenizer; code that it may bring is not run."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return in_turn(tokenizer)


def texts_of(array: "np.ndarray[Any, Any]") -> list[str]:
    """A row's text each. Raises InvalidRequest for bytes that are none."""
    try:
        return [each.decode() if isinstance(each, bytes) else str(each) for each in array.reshape(-1).tolist()]
    except UnicodeDecodeError:
        raise InvalidRequest("input 'text': expected text in UTF-8") from None


class _Labelled(Task, ABC):
    outputs = LABELS

    def labels(self, logits: torch.Tensor) -> "Arrays":
        """The best label of each row and its probability."""
        config = self.model.config
        many = config.problem_type == "multi_label_classification" or logits.shape[-1] == 1
        scores = logits.sigmoid() if many else logits.softmax(-1)
        best = scores.max(-1)
        names = [config.id2label[index] for index in best.indices.tolist()]
        return {"label": np.array(names, np.object_), "score": best.values.numpy()}


class TextClassification(_Labelled):
    """Text → its class."""

    auto = "AutoModelForSequenceClassification"

    def run(self, inputs: "Arrays") -> "Arrays":
        """The best label of each text."""
        return self.labels(self.logits(self.encoded(texts_of(inputs["text"]))))


class ImageClassification(_Labelled):
    """An image, as its file's bytes → its class."""

    auto = "AutoModelForImageClassification"
    inputs = [IMAGE]

    def prepare(self) -> None:
        """The image processor; resizing and normalising are as its file says."""
        from transformers import AutoImageProcessor

        from kfunc.handlers import pixels

        self._pixels, self._settings = pixels, Images()
        self.processor = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    def run(self, inputs: "Arrays") -> "Arrays":
        """The best label of each image. Raises InvalidRequest for bytes that are none, TooManyPixels."""
        files = map(picture_bytes, inputs["image"].reshape(-1).tolist())
        heads = [self._pixels.opened(each, at, self._settings) for at, each in enumerate(files)]
        images = [self._pixels.to_rgb(each, at) for at, each in enumerate(heads)]
        return self.labels(self.logits(self.processor(images=images, return_tensors="pt")))

    def example(self) -> "Arrays":
        """One black pixel."""
        from PIL import Image

        file = io.BytesIO()
        Image.new("RGB", (1, 1)).save(file, "PNG")
        return {"image": np.array([file.getvalue()], np.object_)}


class TokenClassification(Task):
    """Text → the entities in it, a list as JSON for each row, as transformers' pipeline gives with `simple` aggregation."""

    auto = "AutoModelForTokenClassification"
    outputs = [TensorSpec("entities", "BYTES", [-1])]

    def prepare(self) -> None:
        """The pipeline, which joins tokens to words and entities."""
        from transformers import TokenClassificationPipeline

        super().prepare()
        self._pipeline = TokenClassificationPipeline(
            model=self.model, tokenizer=self.tokenizer, aggregation_strategy="simple", device=self.model.device
        )

    def run(self, inputs: "Arrays") -> "Arrays":
        """Each text's entities."""
        texts = texts_of(inputs["text"])
        found = [self._pipeline(text) if text else [] for text in texts]
        rows = [json.dumps([{**each, "score": float(each["score"])} for each in entities]) for entities in found]
        return {"entities": np.array(rows, np.object_)}


class FillMask(Task):
    """Text with one mask → what may stand there, the likeliest first."""

    auto = "AutoModelForMaskedLM"
    outputs = [TensorSpec("token", "BYTES", [-1, MASKS]), TensorSpec("score", "FP32", [-1, MASKS])]

    def example(self) -> "Arrays":
        """A mask alone."""
        return {"text": np.array([self.tokenizer.mask_token], np.object_)}

    def run(self, inputs: "Arrays") -> "Arrays":
        """Fillings and their probabilities. Raises InvalidRequest for a text that has not exactly one mask."""
        tensors = self.encoded(texts_of(inputs["text"]))
        masked = tensors["input_ids"] == self.tokenizer.mask_token_id
        if not bool((masked.sum(-1) == 1).all()):
            raise InvalidRequest(f"input 'text': expected one {self.tokenizer.mask_token} in each text")
        best = self.logits(tensors)[masked].softmax(-1).topk(MASKS)
        words = [[self.tokenizer.decode([index]).strip() for index in row] for row in best.indices.tolist()]
        return {"token": np.array(words, np.object_), "score": best.values.numpy()}


class Embeddings(Task):
    """Text → a vector, pooled and normalised as the files of sentence-transformers say; by default the mean of its tokens."""

    auto = "AutoModel"

    def prepare(self) -> None:
        """Tokenizer, pooling and size."""
        super().prepare()
        pooling = _document(self.folder / "1_Pooling" / "config.json")
        self._first = bool(pooling.get("pooling_mode_cls_token"))
        unknown = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True]
        if [name for name in unknown if name not in ("pooling_mode_cls_token", "pooling_mode_mean_tokens")]:
            raise ModelLoadError(f"{self.folder}: pooling by {', '.join(unknown)} is not known here; mean and cls are")
        modules = _document(self.folder / "modules.json", [])
        self._normalise = any("Normalize" in str(each.get("type")) for each in modules)
        self.outputs = [TensorSpec("embedding", "FP32", [-1, int(self.model.config.hidden_size)])]

    def run(self, inputs: "Arrays") -> "Arrays":
        """Each text's vector."""
        tensors = self.encoded(texts_of(inputs["text"])).to(self.model.device)
        hidden = self.model(**tensors).last_hidden_state
        if self._first:
            pooled = hidden[:, 0]
        else:
            mask = tensors["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        if self._normalise:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        return {"embedding": pooled.float().cpu().numpy()}


def _document(file: Path, empty: Any = None) -> Any:
    return json.loads(file.read_bytes()) if file.is_file() else ({} if empty is None else empty)


TASKS: "dict[str, Callable[[Any, Path, PodConfig], Task]]" = {
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "fill-mask": FillMask,
    "embeddings": Embeddings,
    "image-classification": ImageClassification,
}
