"""Sealed files: only the key opens them, nothing in them can be changed unseen, and they are opened only in memory."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage.credentials import Credentials
from kfunc.storage.keys import unwrap, wrap
from kfunc.storage.progress import Progress
from kfunc.storage.sealing import BLOCK, MAGIC, TAG_BYTES, seal, unseal
from kfunc.storage.unsealing import file_system, forget, memory_folder, unsealed
from tests.storage.web_server import Handler, WebServer

KEY = b64encode(bytes(range(32))).decode()
CREDENTIALS = Credentials({"MODEL_KEY": KEY})
SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 7]


def sealed(folder: Path, content: bytes, name: str = "m.onnx") -> Path:
    plain = folder / name
    plain.write_bytes(content)
    target = folder / f"{name}.sealed"
    seal(plain, target, "secret", CREDENTIALS)
    plain.unlink()
    return target


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_is_read_again(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    file = sealed(tmp_path, content)
    assert b"".join(unseal(file, CREDENTIALS)) == content
    assert size < 16 or content[:16] not in file.read_bytes()


def test_the_same_file_is_sealed_differently_each_time(tmp_path: Path) -> None:
    first = sealed(tmp_path, bytes(1000), "a").read_bytes()
    assert first != sealed(tmp_path, bytes(1000), "b").read_bytes()


def test_another_key_does_not_open_it(tmp_path: Path) -> None:
    file = sealed(tmp_path, b"weights")
    with pytest.raises(ModelLoadError, match=r"m\.onnx\.sealed: the file was sealed with another key"):
        list(unseal(file, Credentials({"MODEL_KEY": b64encode(bytes(32)).decode()})))


@pytest.mark.parametrize("key", ["", "short", "AAAA", "?" * 44])
def test_a_key_that_is_none_is_told(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelLoadError, match="MODEL_KEY"):
        list(unseal(sealed(tmp_path, b"weights"), Credentials({"MODEL_KEY": key})))


def test_any_changed_byte_any_cut_and_any_swap_is_found(tmp_path: Path) -> None:
    file = sealed(tmp_path, os.urandom(2 * BLOCK + 5))
    whole, size = file.read_bytes(), BLOCK + TAG_BYTES
    start = len(whole) - 2 * size - 5 - TAG_BYTES
    blocks = [whole[start : start + size], whole[start + size : start + 2 * size], whole[start + 2 * size :]]
    flipped = [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        for at in (len(MAGIC) + 2, len(MAGIC) + 30, start + 9, len(whole) - 1)
    ]
    for bad in (
        *flipped,
        whole[:-1],
        whole[: start + size],
        whole[: start + 2 * size],
        whole[:start] + blocks[1] + blocks[0] + blocks[2],
        whole[:start] + blocks[0] + blocks[0] + blocks[2],
        whole + b"x",
    ):
        file.write_bytes(bad)
        with pytest.raises(ModelLoadError, match=r"m\.onnx\.sealed: "):
            list(unseal(file, CREDENTIALS))


def test_a_head_with_any_byte_changed_is_told(tmp_path: Path) -> None:
    file = sealed(tmp_path, b"weights")
    whole = file.read_bytes()
    for at in range(len(MAGIC), len(whole)):
        for bit in (1, 4, 128):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(ModelLoadError, match=r"m\.onnx\.sealed: "):
                list(unseal(file, CREDENTIALS))


def test_a_file_that_is_not_sealed_is_told(tmp_path: Path) -> None:
    file = tmp_path / "m.sealed"
    file.write_bytes(b"plain")
    with pytest.raises(ModelLoadError, match="is not a sealed file"):
        list(unseal(file, CREDENTIALS))


def test_a_model_is_decrypted_in_memory_and_leaves_it(tmp_path: Path) -> None:
    sealed(tmp_path, b"weights")
    sealed(tmp_path, b"labels", "labels.txt")
    path = unsealed(tmp_path, CREDENTIALS, Progress())
    assert {each.name: each.read_bytes() for each in path.iterdir()} == {"m.onnx": b"weights", "labels.txt": b"labels"}
    assert file_system(str(path), Path("/proc/self/mountinfo").read_text()) == "tmpfs"
    forget(path)
    assert not path.exists()


def test_a_file_that_is_not_sealed_does_not_come_into_a_sealed_model(tmp_path: Path) -> None:
    sealed(tmp_path, b"weights")
    (tmp_path / "handler.py").write_bytes(b"evil")
    with pytest.raises(ModelLoadError, match=r"handler\.py is not sealed, and anybody could have put it there"):
        unsealed(tmp_path, CREDENTIALS, Progress())


def test_sealed_files_cannot_take_each_other_s_place(tmp_path: Path) -> None:
    one, other = sealed(tmp_path, b"model", "m.onnx"), sealed(tmp_path, b"other", "other.onnx")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    for path in (tmp_path, one):
        with pytest.raises(
            ModelLoadError, match=r"was sealed as 'other\.onnx', not as 'm\.onnx'|'m\.onnx', not as 'other\.onnx'"
        ):
            unsealed(path, CREDENTIALS, Progress())


def test_of_a_folder_of_models_that_was_sealed_each_is_opened_but_not_with_a_file_of_another(tmp_path: Path) -> None:
    names = ("iris/m.onnx", "iris/1/labels", "fraud/1/labels")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
        seal(tmp_path / name, tmp_path / f"{name}.sealed", "secret", CREDENTIALS, name)
        (tmp_path / name).unlink()
    path = unsealed(tmp_path / "iris", CREDENTIALS, Progress())
    assert (path / "m.onnx").read_bytes() + (path / "1/labels").read_bytes() == b"iris/m.onnxiris/1/labels"
    forget(path)
    (tmp_path / "fraud/1/labels.sealed").replace(tmp_path / "iris/1/labels.sealed")
    with pytest.raises(ModelLoadError, match=r"was sealed as .*, not as "):
        unsealed(tmp_path / "iris", CREDENTIALS, Progress())


def test_what_fails_leaves_nothing_in_memory(tmp_path: Path) -> None:
    file = sealed(tmp_path, b"weights")
    file.write_bytes(file.read_bytes()[:-1])
    before = set(memory_folder().iterdir())
    with pytest.raises(ModelLoadError):
        unsealed(file, CREDENTIALS, Progress())
    assert set(memory_folder().iterdir()) == before


def test_without_memory_as_files_nothing_is_decrypted(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:1 / /dev/shm rw - tmpfs tmpfs rw\n")
    with pytest.raises(ModelLoadError, match="are decrypted only in memory: mount a volume of medium Memory"):
        memory_folder((str(tmp_path),), mounts)
    assert memory_folder(("/dev/shm",), mounts) == Path("/dev/shm")


def test_a_key_of_vault_wraps_the_data_key(web: WebServer, tmp_path: Path) -> None:
    def transit(handler: Handler) -> None:
        assert handler.headers["x-vault-token"] == "t0"
        given = json.loads(handler.content)
        data = (
            {"ciphertext": f"vault:v1:{given['plaintext']}"} if "plaintext" in given else {"plaintext": given["ciphertext"][9:]}
        )
        handler.send(200, json.dumps({"data": data}).encode())

    for verb in ("encrypt", "decrypt"):
        web.answers[f"/v1/transit/{verb}/models"] = transit
    credentials = Credentials({"VAULT_ADDR": web.url, "VAULT_TOKEN": "t0"})
    (tmp_path / "m").write_bytes(b"weights")
    seal(tmp_path / "m", tmp_path / "m.sealed", "vault:models", credentials)
    assert b"".join(unseal(tmp_path / "m.sealed", credentials)) == b"weights"
    with pytest.raises(ModelLoadError, match="needs VAULT_ADDR and VAULT_TOKEN"):
        list(unseal(tmp_path / "m.sealed", CREDENTIALS))


@pytest.mark.parametrize("data", [{}, {"ciphertext": "", "plaintext": ""}, {"ciphertext": 1, "plaintext": "AAAA"}])
def test_a_vault_that_answers_without_a_key_is_told_and_nothing_is_sealed(
    web: WebServer, tmp_path: Path, data: dict[str, object]
) -> None:
    for verb in ("encrypt", "decrypt"):
        web.answers[f"/v1/transit/{verb}/models"] = json.dumps({"data": data}).encode()
    credentials = Credentials({"VAULT_ADDR": web.url, "VAULT_TOKEN": "t0"})
    with pytest.raises(ModelLoadError, match="Vault's answer has no key in it"):
        wrap(bytes(32), "vault:models", credentials)
    with pytest.raises(ModelLoadError, match="Vault's answer has no key in it"):
        unwrap(b"x", "vault:models", credentials)
