"""Settings that are too long for a variable come from the file that KFUNC_CONFIG names."""

from pathlib import Path

import pytest

from kfunc.config import pod
from kfunc.errors import ConfigError
from kfunc.process.settings import environment


def test_settings_in_the_variable_are_read_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pod.VARIABLE, '{"function":"iris"}')
    assert pod.decode(environment(), needs_model=False).function == "iris"


def test_settings_in_a_file_are_read_from_it_and_variables_still_override_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"function":"iris","workers":2}')
    monkeypatch.setenv(pod.VARIABLE, f"@{tmp_path}/config.json")
    monkeypatch.setenv("KFUNC_WORKERS", "3")
    config = pod.decode(environment(), needs_model=False)
    assert (config.function, config.workers) == ("iris", 3)


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"\xff", "it is not UTF-8")])
def test_a_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "config.json"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(pod.VARIABLE, f"@{file}")
    with pytest.raises(ConfigError) as caught:
        environment()
    assert caught.value.problems[0].message.startswith(f"cannot read {file}: {words}")
