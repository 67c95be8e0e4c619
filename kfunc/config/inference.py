"""The settings that reach the pod, as msgspec structs: the one definition of them.

`kfunc schema`, the validation, the defaults and the pod's `KFUNC_CONFIG` all come from these types.
The whole `inference` block, with what is for the cluster, is in kfunc.config.inference_block.
"""

from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, UnsetType, field

from kfunc.config.block import Block, Name, PositiveInt
from kfunc.config.residency import ModelCache, Pause, Warmup

VERSION_PATTERN = r"[0-9][0-9A-Za-z.+]{0,40}(\.\*)?"

Protocol = Literal["v1", "v2", "grpc"]
Accelerator = Literal["auto", "cpu", "cuda", "tensorrt", "rocm", "migraphx", "xpu", "openvino", "mps", "coreml"]
Runtime = Literal[
    "auto",
    "onnx",
    "sklearn",
    "xgboost",
    "lightgbm",
    "catboost",
    "pmml",
    "mlflow",
    "torch",
    "tensorflow",
    "huggingface",
    "openvino",
    "paddle",
    "tensorrt",
    "python",
]
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"
]
Task = Literal[
    "auto",
    "text-classification",
    "token-classification",
    "fill-mask",
    "embeddings",
    "text-generation",
    "image-classification",
]
# What nobody serves is known all the same: a rule says which way its models can take.
UNSERVED = ("mxnet", "spark")
PINNED = "=="
RuntimeOrPin = Annotated[
    str,
    Meta(
        pattern=rf"^({'|'.join((*get_args(Runtime)[1:], *UNSERVED))})(=={VERSION_PATTERN})?$|^auto$",
        extra_json_schema={
            "patternErrorMessage": f"expected one of {', '.join(get_args(Runtime))}, alone or with a version as onnx==1.20.1"
        },
    ),
]
RuntimeVersion = Annotated[
    str,
    Meta(
        pattern=rf"^({VERSION_PATTERN})?$",
        extra_json_schema={"patternErrorMessage": "expected a version, as 1.20.1 or 1.20.*"},
    ),
]
LogFormat = Literal["text", "json"]
Page = Literal["auto", "none", "local", "everyone"]
Execution = Literal["auto", "loop", "thread", "process"]

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Workers = Annotated[int, Meta(ge=1, le=256)]
Dimension = Annotated[int, Meta(ge=-1, le=2**40)]
Threads = Annotated[int, Meta(ge=0, le=1024)]
Digest = Annotated[
    str,
    Meta(
        pattern=r"^sha256:[0-9a-f]{64}$",
        extra_json_schema={"patternErrorMessage": 'expected "sha256:" and 64 hexadecimal digits in lower case'},
    ),
]


class TensorDeclaration(Block, frozen=True, kw_only=True):
    """An input or output of a model."""

    name: Annotated[str, Meta(min_length=1, description="Name of the input or output.")]
    datatype: Annotated[Datatype, Meta(description="Datatype, as the V2 protocol names it.")] = "FP32"
    shape: Annotated[list[Dimension], Meta(max_length=32, description="Size of each dimension; -1: any.")] = field(
        default_factory=lambda: [-1]
    )


class Signature(Block, frozen=True, kw_only=True):
    """What a model takes and gives."""

    inputs: Annotated[list[TensorDeclaration], Meta(description="Inputs, in the order in which the model takes them.")] = []
    outputs: Annotated[list[TensorDeclaration], Meta(description="Outputs, in the order in which the model gives them.")] = []


class ModelSettings(Block, frozen=True, kw_only=True):
    """What func.yaml and the pod's configuration say of a model in the same way."""

    version: Annotated[
        Name, Meta(description="Version that the model answers to, unless it is one of a folder's numbered ones.")
    ] = "1"
    runtime_version: Annotated[
        RuntimeVersion, Meta(description="Version of the runtime's library; `runtime: onnx==1.20.1` says the same.")
    ] = ""
    execution: Annotated[
        Execution,
        Meta(description="Where a call runs: `auto` measures and chooses event loop, thread pool or worker process."),
    ] = "auto"
    threads: Annotated[Threads, Meta(description="Threads of one model call; 0: the processors this process may use.")] = 0
    concurrency: Annotated[
        Threads,
        Meta(description="Calls of the model at once in threads; 0: 1 for python, else the processors."),
    ] = 0
    outputs: Annotated[
        list[str],
        Meta(description="Outputs that the model answers with, as predict and predict_proba; by default what is usual for it."),
    ] = field(default_factory=list)
    trust: Annotated[
        bool, Meta(description="Allow what can run any code when it is opened, as a pickle or an engine; needs `digest`.")
    ] = False
    signature: Annotated[
        Signature, Meta(description="Inputs and outputs, where the model's files do not tell them, or not fully.")
    ] = Signature()
    task: Annotated[Task, Meta(description="What a model of transformers does; `auto`: what its config.json says.")] = "auto"
    gpu_memory_mb: Annotated[
        int, Meta(ge=0, le=2**24, description="Most memory of the GPU that the model may take, in MiB; 0: no bound.")
    ] = 0
    files: Annotated[
        list[str],
        Meta(description="Which files of a folder elsewhere are fetched, as *.onnx; all by default."),
    ] = []
    sealed: Annotated[
        bool, Meta(description="The model's files are sealed (kfunc model seal): they are decrypted into memory.")
    ] = False
    refresh_s: Annotated[
        Pause,
        Meta(description="How often it is looked whether the URI has a new version, which then replaces this one; 0: never."),
    ] = 0.0
    warmup: Warmup = Warmup()
    lazy: Annotated[
        bool, Meta(description="Ready at once: the model is loaded by the first request, and the requests wait for it.")
    ] = False


class ModelSource(ModelSettings, frozen=True, kw_only=True):
    """Where the model is and how it runs."""

    runtime: Annotated[
        RuntimeOrPin, Meta(description="What runs the model; `auto` decides by the file's name and content.")
    ] = "auto"

    uri: Annotated[
        str,
        Meta(
            min_length=1,
            description="Path of a model file, or of a folder with one, its versions (1/, 2/ …) or several models, "
            "relative to func.yaml; or where it is fetched from: s3:, gs:, az:, https:, hf:, oci:, models:, runs:.",
        ),
    ]
    name: Annotated[Name, Meta(description="Name in URLs; the function's name by default.")] | UnsetType = UNSET
    digest: (
        Annotated[Digest, Meta(description="sha256 of the model file, archive or folder, checked before it is opened.")]
        | UnsetType
    ) = UNSET


class Limits(Block, frozen=True):
    """Bounds on what one client may ask for; past them it gets a 4xx or 503."""

    max_body_bytes: Annotated[PositiveInt, Meta(description="Largest request body; more is 413.")] = 64 * 1024 * 1024
    """All that are on their way may have 8 times as much or 512 MiB, but half of the container's memory: kfunc.http.server."""
    max_header_bytes: Annotated[int, Meta(ge=1024, description="Largest request head; more is 431.")] = 32 * 1024
    max_headers: Annotated[PositiveInt, Meta(description="Most header fields in a request; more is 431.")] = 100
    header_timeout_s: Annotated[Seconds, Meta(description="Time to send a complete request head; more is 408.")] = 10.0
    body_timeout_s: Annotated[
        Seconds, Meta(description="Longest pause within a request body (408), or in taking an answer, whose connection ends.")
    ] = 30.0
    idle_timeout_s: Annotated[Seconds, Meta(description="An idle keep-alive connection is closed after this.")] = 75.0
    max_connections: Annotated[PositiveInt, Meta(description="Open client connections; more are answered 503.")] = 10_000
    max_concurrency: Annotated[
        PositiveInt, Meta(description="Requests in the model or waiting for it; more are 503 with Retry-After.")
    ] = 1_000


class Settings(Block, frozen=True, kw_only=True):
    """What func.yaml and the pod's configuration say in the same way: a field here is all that either needs."""

    protocols: Annotated[
        list[Protocol],
        Meta(
            min_length=1,
            description="Protocols that are served: REST v1 and v2, and grpc, which needs v2.",
            extra_json_schema={"default": ["v1", "v2"]},
        ),
    ] = field(default_factory=lambda: ["v1", "v2"])
    accelerator: Annotated[Accelerator, Meta(description="Device; `auto` takes the best that the runtime offers.")] = "auto"
    workers: Annotated[Workers, Meta(description="Handler processes; more than 1 are managed by gunicorn.")] = 1
    timeout_s: Annotated[Seconds, Meta(description="Longest time for one answer; more is 504.")] = 60.0
    hang_timeout_s: Annotated[
        Seconds,
        Meta(description="A loop or a model call that takes longer is stuck: the handler is restarted."),
    ] = 60.0
    grace_s: Annotated[Seconds, Meta(description="Time to finish requests in flight after SIGTERM.")] = 30.0
    log_format: Annotated[
        LogFormat, Meta(description="Log and access lines for people, or as JSON objects for collectors.")
    ] = "text"
    access_log: Annotated[
        Share,
        Meta(description="Part of the requests that get a line on standard output; failures always, `kfunc run` shows all."),
    ] = 0.0
    model_management: Annotated[
        bool, Meta(description="Load and unload models by requests to the management port (V2 model repository).")
    ] = False
    page: Annotated[
        Page,
        Meta(
            description="Who sees the page at `/`: `local` is this machine and port-forwards; "
            "`auto` is `local` with kfunc run and `none` in a pod."
        ),
    ] = "auto"
    limits: Limits = Limits()
    model_cache: ModelCache = ModelCache()
