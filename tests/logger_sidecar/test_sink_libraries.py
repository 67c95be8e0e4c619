"""What a sink's library costs: nothing, unless the sink is configured; and what is said where it is missing."""

import subprocess
import sys

import pytest

from kfunc.errors import StartupError
from kfunc.logger_sidecar import sink_libraries
from kfunc.logger_sidecar.sink_libraries import read_address
from kfunc.logger_sidecar.sinks import SINKS
from tests.logger_sidecar.real_brokers import context, settings


@pytest.mark.parametrize(
    ("to", "extra"),
    [("nats://a/b", "nats"), ("kafka://a:1/b", "kafka"), ("amqp://a?queue=q", "amqp"), ("gs://a/b", "object-storage")],
)
def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, to: str, extra: str) -> None:
    monkeypatch.setattr(sink_libraries, "is_missing", lambda name: True)
    with pytest.raises(StartupError, match=rf"pip install 'kfunc\[{extra}\]'"):
        read_address(settings(to), context())


def test_parquet_needs_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_libraries, "is_missing", lambda name: name == "pyarrow")
    with pytest.raises(StartupError, match=r"pip install 'kfunc\[parquet\]'"):
        read_address(settings("s3://a", format="parquet"), context())


def test_a_sink_is_imported_without_its_library() -> None:
    modules = sorted({module.partition(":")[0] for module in SINKS.values()})
    libraries = "{'nats', 'aiokafka', 'aio_pika', 'aiormq', 'obstore', 'pyarrow'}"
    code = f"import sys, {', '.join(modules)}; print(sorted({libraries} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
