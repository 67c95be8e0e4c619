"""Pictures as bodies and as bytes: what the model gets, what is answered, what is refused."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from kfunc.client.sample import sample_request
from kfunc.config.images import Choice, Images
from kfunc.config.pod import PodConfig
from kfunc.config.residency import Warmup
from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.image_model import ImageModel
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.opening import load_handler
from kfunc.handlers.pixels import Target, TooManyPixels, opened, to_array
from kfunc.handlers.slots import Loaded, Served
from kfunc.handlers.warmup import Alone, check_shapes, warm_up
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from kfunc.protocol.pictures import takes_pictures
from tests.handlers.conftest import Caller, Placed

RED, GREEN = (255, 0, 0), (0, 255, 0)
HANDLER = """
from kfunc import Handler, TensorSpec
import numpy as np

class Means(Handler):
    inputs = [TensorSpec("pixels", "FP32", [-1, 3, 8, 4])]
    outputs = [TensorSpec("means", "FP32", [-1, 3])]

    def predict(self, inputs):
        return {"means": inputs["pixels"].mean(axis=(2, 3))}
"""


def picture(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (16, 8), kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


class Means(Placed):
    """A fake model: the mean of each channel of what it gets, and what it got."""

    explains = ready = True

    def __init__(self, name: str = "iris", shape: tuple[int, ...] = (-1, 3, 8, 4), datatype: str = "FP32") -> None:
        self.metadata = ModelMetadata(
            name, ["1"], "test", [TensorSpec("pixels", datatype, shape)], [TensorSpec("means", "FP32", [-1, 3])]
        )
        self.got: list[Tensor] = []
        self.ends_after = -1

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        (tensor,) = request.inputs
        self.got.append(tensor)
        numbers = tensor.data if isinstance(tensor.data, list) else np.frombuffer(tensor.data, np.float32).reshape(tensor.shape)
        values = np.asarray(numbers, np.float32).mean(axis=(2, 3))
        return InferResponse(self.metadata.name, [Tensor("means", list(values.shape), "FP32", values.ravel())])

    explain = infer

    def stream(self, request: InferRequest, context: Context) -> Any:
        raise NotImplementedError

    def stuck(self) -> bool:
        return False

    def keep(self, files: LocalFiles) -> None: ...

    def retire(self) -> None:
        self.ends_after = len(self.got)

    def close(self) -> None: ...


@pytest.fixture
def labels(tmp_path: Path) -> str:
    file = tmp_path / "labels.txt"
    file.write_text("red\ngreen\nblue\n")
    return str(file)


@pytest.fixture
def wrap(configured: Callable[..., PodConfig]) -> Callable[..., ImageModel]:
    def wrap(model: Any = None, find: Callable[[str], Awaitable[Loaded]] | None = None, **settings: Any) -> ImageModel:
        config = configured("m", "onnx")
        return ImageModel(model or Means(), config, Images(**settings), find or (lambda name: pytest.fail(name)))

    return wrap


def ask(model: Served, target: str, body: Any, **headers: str) -> tuple[int, Any]:
    return Caller(model).ask("POST", target, body, **headers)


PREDICT, INFER = "/v1/models/iris:predict", "/v2/models/iris/infer"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"size": [16, 16]},
            r"images\.size: \[16, 16\] is not what the model iris takes, which is \[4, 8\] .*: leave size out",
        ),
        ({"color": "gray"}, r"images\.color: gray has 1 channels, and the model iris takes 3 .*: correct color, or layout"),
        ({"layout": "nhwc"}, r"images\.color: rgb has 3 channels, and the model iris takes 4 "),
    ],
)
def test_pictures_that_the_model_would_not_take_are_refused_at_start(
    wrap: Callable[..., ImageModel], settings: Any, reason: str
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        wrap(**settings)


def test_a_body_that_is_a_picture_is_resized_and_normalised(wrap: Callable[..., ImageModel]) -> None:
    inner = Means()
    status, answer = ask(wrap(inner), INFER, picture(), content_type="image/png")
    assert (status, answer["outputs"][0]["data"]) == (200, [1.0, 0.0, 0.0])
    assert (inner.got[0].shape, inner.got[0].datatype) == ([1, 3, 8, 4], "FP32")


def test_a_warm_up_is_a_black_picture(wrap: Callable[..., ImageModel]) -> None:
    inner = Means()
    asyncio.run(warm_up(wrap(inner), Warmup(requests=2, shapes={"pixels": [3, 3, 8, 4]})))
    assert [each.shape for each in inner.got] == [[3, 3, 8, 4]] * 2


def test_v1_takes_pictures_as_b64_rows_and_as_a_body(wrap: Callable[..., ImageModel]) -> None:
    model = wrap()
    rows = {"instances": [b64(picture(RED)), b64(picture(GREEN, kind="JPEG", quality=95))]}
    status, answer = ask(model, PREDICT, rows)
    assert (status, np.round(answer["predictions"]).tolist()) == (200, [[1, 0, 0], [0, 1, 0]])
    status, answer = ask(model, PREDICT, picture(GREEN), content_type="image/jpeg")
    assert (status, answer["predictions"]) == (200, [[0.0, 1.0, 0.0]])


def test_v2_takes_pictures_as_base64_texts_and_in_binary(wrap: Callable[..., ImageModel]) -> None:
    tensor = {"name": "pixels", "shape": [1], "datatype": "BYTES", "data": [b64(picture())["b64"]]}
    assert ask(wrap(), INFER, {"inputs": [tensor]})[1]["outputs"][0]["data"] == [1.0, 0.0, 0.0]
    data = picture(GREEN)
    head = json.dumps(
        {"inputs": [{"name": "pixels", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data) + 4}}]}
    ).encode()
    body = head + len(data).to_bytes(4, "little") + data
    _, answer = ask(wrap(), INFER, body, inference_header_content_length=str(len(head)))
    assert answer["outputs"][0]["data"] == [0.0, 1.0, 0.0]


def test_numbers_pass_to_the_model_as_they_are(wrap: Callable[..., ImageModel]) -> None:
    pixels = np.ones((1, 3, 8, 4)).tolist()
    assert ask(wrap(), PREDICT, {"instances": pixels})[1] == {"predictions": [[1.0, 1.0, 1.0]]}


def test_labels_name_the_best_scores(wrap: Callable[..., ImageModel], labels: str) -> None:
    _, answer = ask(wrap(labels=labels, top=2), PREDICT, {"instances": [b64(picture(GREEN))]})
    assert answer == {"predictions": [{"label": ["green", "red"], "score": [1.0, 0.0]}]}
    _, answer = ask(wrap(labels=labels, top=1, softmax=True), INFER, picture(), content_type="image/png")
    assert [each["data"] for each in answer["outputs"]] == [["red"], [pytest.approx(0.576, abs=1e-3)]]


def test_a_small_picture_goes_to_the_model_for_small_ones(wrap: Callable[..., ImageModel]) -> None:
    inner = Means("small")
    small = wrap(inner)

    async def find(name: str) -> ImageModel:
        return small

    model = wrap(find=find, choose=[Choice(max_side=20, model="small")])
    assert ask(model, INFER, picture(size=(20, 10)), content_type="image/png")[1]["model_name"] == "small"
    assert ask(model, INFER, picture(size=(21, 10)), content_type="image/png")[1]["model_name"] == "iris"
    assert ask(model, "/v2/models/iris/explain", picture(size=(20, 10)), content_type="image/png")[1]["model_name"] == "small"
    assert len(inner.got) == 2


def test_a_label_is_a_line_whatever_it_holds(wrap: Callable[..., ImageModel], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("a\u2028b\x85c\r\nd\ne".encode())
    status, answer = ask(wrap(labels=str(tmp_path / "labels.txt")), PREDICT, {"instances": [b64(picture())]})
    assert (status, sorted(answer["predictions"][0]["label"])) == (200, ["a\u2028b\x85c", "d", "e"])


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"no picture", 400, "image 0 is none, or of another format than JPEG"),
        (picture(kind="JPEG")[:200], 400, "image 0 is broken"),
        (picture(size=(2000, 1000)), 413, "image 0 has 2000 × 1000 pixels; 1000000 are taken"),
        (b"", 400, "the request has no body"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused(
    wrap: Callable[..., ImageModel], body: bytes, status: int, words: str
) -> None:
    answer = ask(wrap(max_pixels=1_000_000), INFER, body, content_type="image/png")
    assert answer[0] == status
    assert words in answer[1]["error"]


def test_a_model_without_images_says_so() -> None:
    class Plain(Means):
        pass

    status, answer = ask(Plain(), INFER, picture(), content_type="image/png")
    assert (status, answer["error"][:38]) == (415, "this model takes no image/… bodies; in")


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (Means(shape=(-1, 4)), {}, r"must have one input of four dimensions; it has pixels \[-1, 4\]"),
        (Means(shape=(-1, 3, -1, -1)), {}, "takes any size: say which"),
        (Means(datatype="INT64"), {}, "takes INT64; pictures are FP32"),
        (Means(), {"labels": "/nonexistent"}, "labels: /nonexistent cannot be read"),
    ],
)
def test_a_model_that_takes_no_pictures_is_told_when_it_is_loaded(
    wrap: Callable[..., ImageModel], model: Means, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        wrap(model, **settings)


def test_labels_that_are_not_one_for_each_score_are_told_when_it_is_loaded(
    wrap: Callable[..., ImageModel], tmp_path: Path
) -> None:
    (tmp_path / "two.txt").write_text("red\ngreen\n")
    with pytest.raises(ModelLoadError, match=r"images.labels has 2 names, and the model gives 3 scores"):
        wrap(labels=str(tmp_path / "two.txt"))


TARGET = Target(4, 8, True, "float32")


@pytest.mark.parametrize(
    ("settings", "target", "expected"),
    [
        ({}, TARGET, [1.0, 0.0, 0.0]),
        ({"color": "bgr"}, TARGET, [0.0, 0.0, 1.0]),
        ({"color": "gray"}, TARGET, [76 / 255]),
        ({"scale": 1.0, "mean": [100.0, 0.0, 0.0], "std": [2.0, 1.0, 1.0]}, TARGET, [77.5, 0.0, 0.0]),
        ({}, Target(4, 8, True, "uint8"), [255, 0, 0]),
        ({"resize": "pad"}, Target(8, 8, True, "float32"), [0.5, 0.0, 0.0]),
        ({"resize": "crop"}, TARGET, [1.0, 0.0, 0.0]),
    ],
)
def test_what_the_model_gets(settings: dict[str, Any], target: Target, expected: list[float]) -> None:
    given = Images(**settings)
    array = to_array(opened(picture(), 0, given), 0, given, target)
    assert (array.shape[1:], array.dtype) == ((target.height, target.width), target.dtype)
    assert array.mean(axis=(1, 2)).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_last_dimension_may_be_the_channels() -> None:
    given = Images()
    assert to_array(opened(picture(), 0, given), 0, given, Target(4, 8, False, "float32")).shape == (8, 4, 3)


def test_a_picture_is_turned_upright() -> None:
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), RED)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    given = Images()
    array = to_array(opened(buffer.getvalue(), 0, given), 0, given, Target(2, 1, False, "uint8"))
    assert array[0].tolist() == [[0, 0, 0], [255, 0, 0]]


def test_noise_in_every_format_is_refused_and_nothing_worse(wrap: Callable[..., ImageModel]) -> None:
    random, given = np.random.default_rng(7), Images()
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        good = bytearray(picture(kind=kind, size=(64, 64)))
        for _ in range(200):
            bad = bytearray(good)
            for at in random.integers(0, len(bad), 5):
                bad[at] = random.integers(0, 256)
            try:
                to_array(opened(bytes(bad), 0, given), 0, given, TARGET)
            except (InvalidRequest, TooManyPixels):
                pass


def test_a_handler_serves_pictures_of_a_real_function(
    configured: Callable[..., PodConfig], tmp_path: Path, labels: str
) -> None:
    from kfunc.handlers.repository import Repository

    (tmp_path / "handler.py").write_text(HANDLER)
    config = msgspec.structs.replace(configured(str(tmp_path), "python"), images=Images(labels=labels, top=1))
    repository = Repository(config)
    asyncio.run(repository.open())
    model: Any = repository.find("", "").taken()
    assert ask(model, PREDICT, picture(GREEN), content_type="image/png")[1] == {
        "predictions": [{"label": ["green"], "score": [1.0]}]
    }
    repository.close()


def test_a_model_that_is_replaced_while_a_picture_is_decoded_answers_it(wrap: Callable[..., ImageModel]) -> None:
    inner = Means()

    async def play() -> None:
        model = wrap(inner)
        request = InferRequest([Tensor("pixels", [1], "BYTES", [picture()])])
        answer: Any = model.infer(request, Alone())
        task = asyncio.ensure_future(answer)
        model.retire()
        await asyncio.sleep(0)
        assert (inner.ends_after, len((await task).outputs)) == (-1, 1)

    asyncio.run(play())
    assert inner.ends_after == 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_grey_picture_of_16_bits_keeps_its_shades(turned: bool) -> None:
    shades = np.linspace(0, 65535, 16 * 16).reshape(16, 16).astype(np.uint16)
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3 if turned else 1
    Image.fromarray(shades).save(buffer, "PNG", exif=exif)
    values = to_array(
        opened(buffer.getvalue(), 0, Images()), 0, Images(scale=1.0, color="gray"), Target(16, 16, False, "float32")
    )
    assert np.array_equal(values[:, :, 0], (shades[::-1, ::-1] if turned else shades) >> 8)


def test_the_metadata_say_that_pictures_are_taken(wrap: Callable[..., ImageModel]) -> None:
    told = Caller(wrap()).ask("GET", "/v2/models/iris")[1]
    assert (told["inputs"], told["parameters"]) == (
        [{"name": "pixels", "datatype": "BYTES", "shape": [-1]}],
        {"media_type": "image/*"},
    )


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_the_picture_that_is_made_for_a_model_is_answered(wrap: Callable[..., ImageModel], protocol: str) -> None:
    model = wrap()
    body = sample_request(model.metadata.inputs, protocol, 2, pictures=takes_pictures(model.metadata))
    status, answer = ask(model, PREDICT if protocol == "v1" else INFER, body)
    assert status == 200, answer


SIZES = """
import numpy as np
from kfunc import Handler, TensorSpec

class Sizes(Handler):
    takes_images = True
    inputs = [TensorSpec("image", "BYTES", [-1])]
    outputs = [TensorSpec("size", "INT64", [-1])]

    def predict(self, inputs):
        return {"size": np.array([len(each) for each in inputs["image"]])}
"""


@pytest.mark.parametrize("execution", ["auto", pytest.param("process", marks=pytest.mark.integration)])
def test_a_handler_may_take_the_files_of_pictures_itself(
    configured: Callable[..., PodConfig], tmp_path: Path, execution: str
) -> None:
    (tmp_path / "handler.py").write_text(SIZES)
    config = configured(str(tmp_path), "python", execution=execution)
    model = LoadedModel(config, load_handler(config))
    try:
        assert takes_pictures(model.metadata)
        assert ask(model, PREDICT, picture(), content_type="image/png") == (200, {"predictions": [len(picture())]})
        assert ask(model, INFER, picture(), content_type="image/png")[1]["outputs"][0]["data"] == [len(picture())]
    finally:
        model.close()


@pytest.mark.parametrize(("shape", "good"), [([2], True), ([2, 3, 8, 4], True), ([2, 3, 8, 8], False), ([2, 3], False)])
def test_shapes_of_a_warm_up_are_a_number_of_pictures_or_the_model_s_own(
    wrap: Callable[..., ImageModel], shape: list[int], good: bool
) -> None:
    with nullcontext() if good else pytest.raises(ModelLoadError, match=r"takes \[-1\] or \[-1, 3, 8, 4\] \(-1: any size\)"):
        check_shapes(wrap(), {"pixels": shape})
