"""Events read from each place where they can be."""

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kfunc.errors import StartupError
from kfunc.event_log.reading import Follower, read_events
from kfunc.logger_sidecar.disk import SegmentWriter
from kfunc.logger_sidecar.event import EventWriter
from kfunc.logger_sidecar.parquet import to_parquet
from kfunc.logger_sidecar.record import encode_record
from tests.event_log.logs import ORIGIN, call, lines, write, write_spool

ALL = [f"run-{number}" for number in range(8)]


def ids(place: str | Path, faults: list[str] | None = None) -> list[str]:
    return [event.id for event in read_events(str(place), (faults if faults is not None else []).append)]


def test_a_file_of_json_lines_is_read_with_what_was_put_aside_of_it(tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl.2", call(0))
    write(tmp_path / "events.jsonl.1", call(1))
    path = write(tmp_path / "events.jsonl", call(2), call(3))
    (tmp_path / "events.jsonl.bak").write_text("no event")
    assert ids(path) == ALL
    assert ids(f"file:{path}") == ALL


def test_a_line_that_is_no_event_is_told_by_its_place_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", call(0))
    with path.open("ab") as file:
        file.write(b'{"torn\n\n')
        file.write(b"".join([line + b"\n" for line in lines(call(1))]))
    faults: list[str] = []
    assert ids(path, faults) == ALL[:4]
    assert [fault.startswith(f"{path}:3: the event is not a JSON object") for fault in faults] == [True]


def test_half_a_line_torn_before_its_id_is_a_fault_whatever_comes_behind_it(tmp_path: Path) -> None:
    (torn, _), (other, _) = lines(call(0)), lines(call(1))
    end = torn.index(b'"id":"run-0"') + len(b'"id":"run-')
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"%b\n%b\n" % (torn[:end], other))
    faults: list[str] = []
    assert other.startswith(torn[:end])
    assert ids(path, faults) == ["run-2"]
    assert [fault.startswith(f"{path}:1: ") for fault in faults] == [True]


@pytest.mark.parametrize("is_whole", [True, False])
def test_half_a_line_is_no_fault_if_its_event_comes_whole_behind_it(tmp_path: Path, is_whole: bool) -> None:
    path = write(tmp_path / "events.jsonl", call(0))
    first, second = lines(call(1))
    length = len(second) - 1 if is_whole else second.index(b'"id":') + len(b'"id":"run-3"')
    with path.open("ab") as file:
        file.write(b"%b\n%b\n" % (first, second[:length]))
    faults: list[str] = []
    assert ids(path, faults) == ALL[:3]
    assert [fault.startswith(f"{path}:4: ") for fault in faults] == [True]
    with path.open("ab") as file:
        file.write(b"%b\n%b\n" % (first, second))
    faults.clear()
    assert ids(path, faults) == [*ALL[:3], ALL[2], ALL[3]]
    assert faults == []


def test_a_spool_is_read_by_its_folder_or_by_one_of_its_lanes(tmp_path: Path) -> None:
    spool = write_spool(tmp_path / "spool", *map(call, range(4)))
    read = list(read_events(str(spool), pytest.fail))
    assert [event.correlation for event in read] == [f"call-{number}" for number in range(4) for _ in range(2)]
    assert ids(spool / "lane") == [event.id for event in read]


def test_parquet_is_read_as_it_was_written(tmp_path: Path) -> None:
    writer = EventWriter(ORIGIN)
    calls = [
        call(0),
        call(1, request=b"\x00\xff", response=b""),
        call(2, traceparent=b"00-%b-%b-01" % (b"1" * 32, b"2" * 16)),
        call(3),
    ]
    (tmp_path / "a.parquet").write_bytes(to_parquet([event for each in calls for event in writer.events(each)]))
    again = list(read_events(str(tmp_path / "a.parquet"), pytest.fail))
    expected = list(read_events(str(write(tmp_path / "a.jsonl", *calls)), pytest.fail))
    assert [(event.attributes, event.data) for event in again] == [(event.attributes, event.data) for event in expected]


def test_what_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no")
    faults: list[str] = []
    assert ids(tmp_path / "a.parquet", faults) == []
    assert len(faults) == 1


def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "hour=09").mkdir()
    write(tmp_path / "hour=09/b.jsonl", call(2), call(3))
    write(tmp_path / "hour=09/a.jsonl", call(0), call(1))
    assert ids(tmp_path) == ALL


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(lines(*map(call, range(4)))))))
    assert ids("-") == ALL


@pytest.mark.parametrize("place", ["nowhere.jsonl", "s3://", "nats://a/b"])
def test_what_holds_no_events_is_told_with_what_does(place: str, tmp_path: Path) -> None:
    with pytest.raises(StartupError):
        ids(place)
    with pytest.raises(StartupError, match="holds no events: neither a spool's segments"):
        ids(tmp_path)


def take(events: Iterator[object], count: int) -> list[object]:
    return [next(events) for _ in range(count)]


def test_a_file_is_followed_through_its_torn_lines_and_its_rotation(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", call(0))
    follower = Follower(str(path), pytest.fail)
    assert [event.id for event in follower.now()] == ALL[:2]
    written = lines(*map(call, range(1, 4)))

    def go_on() -> None:
        with path.open("ab") as file:
            file.write(written[0] + b"\n" + written[1][:50])
            file.flush()
            threading.Event().wait(0.1)
            file.write(written[1][50:] + b"\n")
        path.rename(tmp_path / "events.jsonl.1")
        path.write_bytes(b"".join([line + b"\n" for line in written[2:]]))

    thread = threading.Thread(target=go_on)
    thread.start()
    later = follower.later()
    assert [event.id for event in take(later, 6)] == ALL[2:]  # type: ignore[attr-defined]
    thread.join()
    follower.close()


def test_a_folder_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="only such can be followed"):
        Follower(str(tmp_path), pytest.fail)


def test_a_store_that_is_not_there_is_told_with_the_systems_words(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"ENDPOINT": "http://127.0.0.1:1", "ALLOW_HTTP": "true", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in named.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(StartupError, match=r"s3://bucket/x cannot be read: .*127\.0\.0\.1:1.*: Connection refused$"):
        list(read_events("s3://bucket/x", pytest.fail))


def two_segments(tmp_path: Path) -> list[Path]:
    """A lane with two calls in each of its segments."""
    records = [encode_record(call(number)) for number in range(4)]
    writer = SegmentWriter(str(tmp_path / "lane"), 1, ORIGIN, sync=False)
    half = b"".join(records[:2])
    writer.write(0, records[0], 1)
    assert writer.current is not None
    writer.current.bytes = 0  # the second call is still for this one
    writer.write(len(records[0]), records[1], 1)
    writer.write(len(half), b"".join(records[2:]), 2)
    writer.finish()
    return sorted((tmp_path / "lane").glob("*.seg"))


def calls_and_faults(tmp_path: Path) -> tuple[list[str], list[str]]:
    faults: list[str] = []
    return [event.correlation for event in read_events(str(tmp_path), faults.append)][::2], faults


def test_damage_in_a_spool_is_told_by_its_place_and_the_next_segment_is_read(tmp_path: Path) -> None:
    first, _ = two_segments(tmp_path)
    damaged = bytearray(first.read_bytes())
    damaged[-10] ^= 1
    first.write_bytes(damaged)
    calls, faults = calls_and_faults(tmp_path)
    assert calls == ["call-0", "call-2", "call-3"]
    assert [fault.startswith(f"{first}, byte ") for fault in faults] == [True]


def test_the_cut_end_of_a_spool_is_told(tmp_path: Path) -> None:
    _, last = two_segments(tmp_path)
    last.write_bytes(last.read_bytes()[:-20])
    calls, faults = calls_and_faults(tmp_path)
    assert (calls, len(faults)) == (["call-0", "call-1"], 1)
    assert "damaged or cut off" in faults[0]


def test_a_torn_end_is_no_fault_where_the_next_segment_has_what_was_in_it(tmp_path: Path) -> None:
    first, _ = two_segments(tmp_path)
    with first.open("ab") as file:
        file.write(b"torn")
    assert calls_and_faults(tmp_path) == ([f"call-{number}" for number in range(4)], [])


def test_a_segment_whose_head_cannot_be_read_is_told(tmp_path: Path) -> None:
    first, _ = two_segments(tmp_path)
    first.write_bytes(b"x" + first.read_bytes()[1:])
    calls, faults = calls_and_faults(tmp_path)
    assert (calls, len(faults)) == (["call-2", "call-3"], 1)
