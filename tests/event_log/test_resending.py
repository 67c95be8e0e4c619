"""Events that are sent to a sink again: as the function's own."""

import asyncio
from pathlib import Path

import pytest

from kfunc.config.logger import SinkSettings
from kfunc.event_log.resending import MOST_SINKS, Patience, Sinks, _writer
from kfunc.logger_sidecar.contract import Outcome


@pytest.mark.parametrize(
    ("source", "writer"),
    [
        ("/namespaces/team/functions/iris", ("team", "iris")),
        ("/namespaces/../functions/iris", ("default", "replay")),
        ("urn:other", ("default", "replay")),
    ],
)
def test_partitions_and_folders_are_those_of_the_function_that_wrote_them(source: str, writer: tuple[str, str]) -> None:
    assert _writer(source) == writer


def test_each_function_has_a_sink_of_its_own_and_few_are_open_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        sinks = Sinks(SinkSettings(to=f"file:{tmp_path / 'events.jsonl'}"), {})
        names = [f"/namespaces/n/functions/f{number}" for number in range(MOST_SINKS + 1)]
        first, second = await sinks.of(names[0]), await sinks.of(names[1])
        assert first is not second
        assert await sinks.of(names[0]) is first
        for name in names[2:]:
            await sinks.of(name)
        assert await sinks.of(names[0]) is first  # the one that was not used for longest has gone
        assert await sinks.of(names[1]) is not second
        await sinks.close()

    asyncio.run(main())


def test_a_sink_that_is_slow_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow() -> list[Outcome]:
        await asyncio.sleep(0.05)
        return [None]

    async def main() -> None:
        for _ in range(2):
            assert await patience.wait(asyncio.create_task(slow())) == [None]

    monkeypatch.setattr("kfunc.event_log.resending.SILENT_S", 0.01)
    said: list[str] = []
    patience = Patience("nats://host/subject", 1.0, said.append)
    asyncio.run(main())
    assert said == ["nats://host/subject has not answered for 0.01 s; waiting"]
