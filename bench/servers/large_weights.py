"""Weights of 2 GB: `write FOLDER`, `drop FOLDER` from the page cache, `load FOLDER`: GB/s of opening and reading them all."""

import os
import sys
import time
from pathlib import Path
from typing import Any

HANDLER = """
import torch
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ParameterList([torch.empty(1024, 8192) for _ in range(64)])
    def forward(self, x):
        return x
"""
LAYERS = 64


def drop(file: Path) -> None:
    """Out of the page cache."""
    with file.open("rb") as content:
        os.fsync(content.fileno())
        os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write(folder: Path) -> None:
    """handler.py and model.safetensors."""
    import torch
    from safetensors.torch import save_file

    (folder / "handler.py").write_text(HANDLER)
    save_file({f"layers.{index}": torch.full((1024, 8192), 1.0) for index in range(LAYERS)}, folder / "model.safetensors")


def load(folder: Path) -> float:
    """GB/s of what the handler does with the file, all imports done."""
    import torch

    from kfunc.handlers.read_ahead import read_ahead
    from kfunc.handlers.torch_files import open_weights

    file = folder / "model.safetensors"
    torch.set_num_threads(1)
    drop(file)
    began_at = time.perf_counter()
    read_ahead(file)
    opened = open_weights(file, trusted=False)
    weights: Any = opened.call
    total = 0.0
    for each in weights.parameters():
        total += float(each.detach().sum())
    took = time.perf_counter() - began_at
    if total != LAYERS * 1024 * 8192:
        raise SystemExit(f"the weights are not what was written: {total}")
    return file.stat().st_size / took / 1e9


if __name__ == "__main__":
    what, place = sys.argv[1], Path(sys.argv[2])
    if what == "write":
        write(place)
    elif what == "drop":
        drop(place / "model.safetensors")
    else:
        print(load(place), flush=True)
