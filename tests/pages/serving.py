"""A function whose model has an input of each kind that the page makes a field for, and what it answers is hostile."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
FUNC_YAML = """\
specVersion: 0.36.0
name: zoo
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./handler.py}
  batcher: {}
  logger: {}
"""
HANDLER = """
import numpy as np
from kfunc.errors import InvalidRequest
from kfunc.handlers.contract import Handler
from kfunc.protocol.messages import TensorSpec


class Zoo(Handler):
    inputs = [
        TensorSpec("size", "INT64", [1]),
        TensorSpec("tame", "BOOL", [1]),
        TensorSpec("note", "BYTES", [1]),
        TensorSpec("picture", "FP32", [1, 3, 16, 16]),
        TensorSpec("half", "FP16", [2]),
    ]
    outputs = [
        TensorSpec("next", "INT64", [1]),
        TensorSpec("echo", "BYTES", [1]),
        TensorSpec("mean", "FP32", [3]),
        TensorSpec("doubled", "FP16", [2]),
    ]

    def predict(self, inputs):
        if inputs["size"][0] == 13:
            raise InvalidRequest("HOSTILE 13 is no size")
        note = inputs["note"][0]
        text = note if isinstance(note, bytes) else str(note).encode()
        return {
            "next": inputs["size"] + 1,
            "echo": np.array([b"HOSTILE " + text], object),
            "mean": inputs["picture"].mean(axis=(0, 2, 3)),
            "doubled": inputs["half"] * 2,
        }
""".replace("HOSTILE", HOSTILE.replace('"', '\\"'))


def make_zoo(folder: Path) -> Path:
    """The function's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "func.yaml").write_text(FUNC_YAML)
    (folder / "handler.py").write_text(HANDLER)
    return folder


def png(file: Path, red: int, green: int, blue: int, side: int = 40) -> Path:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([red, green, blue]) * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return file


@contextmanager
def running(folder: Path, state: Path, *, own_sink: bool = False) -> Iterator[str]:
    """`kfunc run` of a folder; the value is its URL. Events go to `state`, or with `own_sink` where the function says."""
    sink = [] if own_sink else ["--sink", f"file:{state}/events.jsonl"]
    command = [sys.executable, "-m", "kfunc", "run", str(folder), "--port", "0", *sink]
    with (
        (state / "run.log").open("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("ready: "):
                    break
            else:
                raise AssertionError(f"kfunc run did not become ready: {(state / 'run.log').read_text()}")
            yield line.removeprefix("ready: ").strip()
        finally:
            process.terminate()
            process.communicate(timeout=30)
