"""Batcher, logger, transformer and explainer. Pure."""

from typing import Any

from kfunc.kserve.fields import Fields, put

DEFAULT_SIZE, DEFAULT_LATENCY_MS = 32, 5000


def read_sidecars(predictor: Fields, function: dict[str, Any]) -> None:
    """`inference.batcher` and `inference.logger`."""
    if "batcher" in predictor:
        batcher = predictor.mapping("batcher")
        function["inference"]["batcher"] = settings = dict[str, Any]()
        put(settings, "max_batch_size", batcher.number("maxBatchSize"))
        put(settings, "max_latency_ms", batcher.number("maxLatency"))
        if "maxLatency" not in batcher:
            batcher.changed(
                "maxLatency", f"KServe waits {DEFAULT_LATENCY_MS} ms without it, kfunc 5 at most, and not at all while idle"
            )
        if "timeout" in batcher:
            batcher.leave("timeout", "inference.timeout_s holds for every request")
    if "logger" in predictor:
        logger = predictor.mapping("logger")
        function["inference"]["logger"] = settings = dict[str, Any]()
        put(settings, "mode", logger.text("mode"))
        put(settings, "sink", _sink(logger))
        put(settings, "headers", logger.texts("metadataHeaders"))
        settings["compat"] = "kserve"
        logger.changed(
            "url", "compat: kserve keeps the names that its consumers know; without it events say more (docs/logger.md)"
        )
        if "metadataAnnotations" in logger:
            logger.leave("metadataAnnotations", "events name function, revision and namespace, not the pod's annotations")


def _sink(logger: Fields) -> str:
    storage = logger.mapping("storage")
    if "path" not in storage:
        return logger.text("url")
    logger.skip("url")
    parameters = storage.pairs("parameters")
    form = parameters.get("format", "")
    if form:
        storage.changed("parameters", f"{form}: inference.logger.sinks has format: jsonl or parquet")
    uri = logger.text("url")
    scheme = uri.partition("://")[0] if "://" in uri else parameters.get("type", "s3")
    key = storage.text("key")
    if key:
        storage.changed("key", f"credentials ({key}) are variables of the logger: run.envs (docs/logger.md)")
    return f"{scheme}://{parameters.get('bucket', uri.partition('://')[2] or 'BUCKET')}/{storage.text('path').lstrip('/')}"


def read_others(spec: Fields) -> None:
    """What KServe makes services of their own of."""
    if "transformer" in spec:
        message = "one process does it all: move preprocess and postprocess into handler.py (docs/from-kserve.md)"
        spec.leave("transformer", message)
    if "explainer" in spec:
        spec.leave("explainer", "explanations come from the handler itself: its method explain answers :explain")
