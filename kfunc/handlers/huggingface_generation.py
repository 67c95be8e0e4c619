"""Text generation by transformers: whole answers, and parts as they come."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from kfunc.errors import InvalidRequest
from kfunc.handlers.huggingface_tasks import Task, texts_of, tokenizer_of
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

MAX_NEW_TOKENS = 256
"""Where neither the request nor the model's generation_config.json says it."""


class TextGeneration(Task):
    """Text → what follows it. `optional_inputs` are settings of one request."""

    auto = "AutoModelForCausalLM"
    outputs = [TensorSpec("generated_text", "BYTES", [-1])]
    optional_inputs = [
        TensorSpec("max_new_tokens", "INT32", [1]),
        TensorSpec("temperature", "FP32", [1]),
        TensorSpec("top_p", "FP32", [1]),
        TensorSpec("seed", "INT64", [1]),
    ]

    def prepare(self) -> None:
        """The tokenizer, which fills from the left: what is generated stands at the right."""
        self.tokenizer = tokenizer_of(self.folder, padding_side="left")

    def example(self) -> "Arrays":
        """One token more."""
        return {**super().example(), "max_new_tokens": np.array([1], np.int32)}

    def run(self, inputs: "Arrays") -> "Arrays":
        """What follows each text."""
        tensors, settings, seed = self._prepared(inputs)
        # Past timeout_s the caller has got 504, and nobody reads on.
        generated = self._generate(seed, **tensors, **settings, max_time=self.config.timeout_s)
        new = generated[:, tensors["input_ids"].shape[1] :]
        return {"generated_text": np.array(self.tokenizer.batch_decode(new, skip_special_tokens=True), np.object_)}

    def stream(self, inputs: "Arrays") -> "Iterator[Arrays]":
        """Pieces of what follows one text; when nobody asks for the next one, the model stops. Raises InvalidRequest."""
        from transformers import TextIteratorStreamer

        if inputs["text"].size != 1:
            raise InvalidRequest("input 'text': one text is answered in parts, several in one answer: POST them to …/infer")
        tensors, settings, seed = self._prepared(inputs)
        pieces = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        stopped = threading.Event()
        failures: list[BaseException] = []

        def generate() -> None:
            try:
                with torch.inference_mode():
                    self._generate(seed, **tensors, **settings, streamer=pieces, stopping_criteria=[_Stop(stopped)])
            except BaseException as error:
                failures.append(error)
                pieces.on_finalized_text("", stream_end=True)

        thread = threading.Thread(target=generate, daemon=True, name="generate")
        thread.start()
        try:
            for piece in pieces:
                if piece:
                    yield {"generated_text": np.array([piece], np.object_)}
        finally:
            stopped.set()
            thread.join()
        if failures:
            raise failures[0]

    def _generate(self, seed: int | None, **settings: Any) -> Any:
        with ExitStack() as stack:
            if seed is not None:
                stack.enter_context(_Seeded(seed, self.model.device))
            return self.model.generate(**settings)

    def _prepared(self, inputs: "Arrays") -> tuple[Any, dict[str, Any], int | None]:
        """Tokens, settings and seed. A text is not cut: what follows its end is asked for. Raises InvalidRequest."""
        asked = {name: inputs[name].reshape(-1)[0].item() for name in inputs if name != "text"}
        seed = asked.pop("seed", None)
        settings = self._settings(asked)
        tensors = self.tokenizer(texts_of(inputs["text"]), padding=True, return_tensors="pt").to(self.model.device)
        tensors.pop("token_type_ids", None)
        given, most = tensors["input_ids"].shape[1], self.positions()
        if most:
            if given >= most:
                raise InvalidRequest(f"input 'text': {given} tokens; the model takes {most} with those that it adds")
            settings["max_new_tokens"] = min(settings["max_new_tokens"], most - given)
        return tensors, settings, seed

    def _settings(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = asked.get("max_new_tokens", self.model.generation_config.max_new_tokens or MAX_NEW_TOKENS)
        if wanted < 1:
            raise InvalidRequest("input 'max_new_tokens': at least 1 expected")
        settings: dict[str, Any] = {"max_new_tokens": int(wanted), "pad_token_id": self.tokenizer.pad_token_id}
        temperature, top_p = asked.get("temperature"), asked.get("top_p")
        if temperature == 0:
            settings["do_sample"] = False
        elif temperature is not None:
            if not 0 < temperature <= 100:
                raise InvalidRequest("input 'temperature': a number from 0 to 100 expected")
            settings |= {"do_sample": True, "temperature": float(temperature)}
        if top_p is not None:
            if not 0 < top_p <= 1:
                raise InvalidRequest("input 'top_p': a number above 0, and at most 1, expected")
            settings |= {"do_sample": True, "top_p": float(top_p)}
        return settings


class _Seeded(TorchFunctionMode):  # type: ignore[misc]
    """Draws this thread's random tokens from a generator of its own: torch.manual_seed is for all threads together."""

    def __init__(self, seed: int, device: torch.device) -> None:
        super().__init__()
        self._generator = torch.Generator(device).manual_seed(seed)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own = {"generator": self._generator} if function is torch.multinomial else {}
        return function(*args, **{**(kwargs or {}), **own})


class _Stop:
    """Ends a generation that nobody waits for."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: torch.Tensor, scores: Any, **others: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._stopped.is_set(), device=input_ids.device, dtype=torch.bool)
