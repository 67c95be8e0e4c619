"""Requests and their answers."""

from kfunc.event_log import pairing
from kfunc.event_log.pairing import pair
from kfunc.logger_sidecar.record import HAS_REQUEST
from tests.event_log.logs import call, stored


def test_a_request_is_paired_with_its_answer_wherever_that_stands() -> None:
    events = stored(call(0), call(1), call(2))
    for order in ((0, 2, 4, 5, 1, 3), (4, 5, 1, 0, 3, 2)):
        shuffled = [events[number] for number in order]
        assert [(each.request.id, each.response and each.response.id) for each in pair(shuffled)] == [
            ("run-4", "run-5"),
            ("run-0", "run-1"),
            ("run-2", "run-3"),
        ]


def test_kserves_events_are_paired_by_the_id_that_they_share() -> None:
    pairs = list(pair(stored(call(0), call(1), compat="kserve")))
    assert [(each.request.kind, each.response and each.response.kind) for each in pairs] == [("request", "response")] * 2


def test_a_request_without_an_answer_comes_at_the_end() -> None:
    pairs = list(pair(stored(call(0, flags=HAS_REQUEST), call(1))))
    assert [(each.request.id, each.response is None) for each in pairs] == [("run-2", False), ("run-0", True)]


def test_what_was_delivered_twice_is_one_request() -> None:
    events = stored(call(0), call(1))
    assert len(list(pair(events + events))) == 2


def test_two_calls_with_one_id_of_their_client_keep_their_own_answers() -> None:
    first, second = pair(stored(call(0, correlation=b"same"), call(1, correlation=b"same")))
    assert first.response is not None
    assert second.response is not None
    assert (first.response.data, second.response.data) == (b'{"predictions":[0]}', b'{"predictions":[1]}')


def test_only_so_many_requests_wait_for_their_answers() -> None:
    count = pairing.MOST_WAITING + 3
    pairs = pair(stored(*[call(number, flags=HAS_REQUEST) for number in range(count)]))
    assert next(pairs).request.id == "run-0"
