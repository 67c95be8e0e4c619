"""A model's files are brought into memory ahead of their runtime."""

import threading
from pathlib import Path

from kfunc.handlers.read_ahead import LEAST_BYTES, _read, large_files, read_ahead


def test_a_file_that_is_gone_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    large = tmp_path / "weights"
    large.write_bytes(b"x" * LEAST_BYTES)
    _read([tmp_path / "missing", large])
    assert large.stat().st_size == LEAST_BYTES


def test_what_is_hidden_in_a_folder_is_not_read(tmp_path: Path) -> None:
    for name in ("1/weights.bin", ".git/objects/pack", ".venv/lib/big.so", "small"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * (1 if name == "small" else LEAST_BYTES))
    assert large_files(tmp_path) == [tmp_path / "1/weights.bin"]


def test_a_small_file_starts_no_thread(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    before = threading.active_count()
    read_ahead(tmp_path / "m.onnx")
    assert threading.active_count() == before
