import re

import pytest

from kfunc.bench.html_report import html_report
from kfunc.bench.results import Plan, Recorder, summarize
from kfunc.bench.text_report import bar, columns, duration, edges_of, size, text_report

PLAN = Plan(16, 3.0, 1.0, 30.0)


def recorded() -> Recorder:
    recorder = Recorder(0.0, 3.0)
    for number in range(300):
        recorder.answered(number / 100, number / 100, number / 100 + 0.001 * (1 + number % 5), 100)
    recorder.fail(1.0, "status 503")
    return recorder


def test_the_text_has_rate_percentiles_errors_and_the_clients_share() -> None:
    result, latencies = summarize(PLAN, recorded(), 1.5)
    text = text_report(result, latencies, "iris, V2")
    assert "100.0 requests/s answered, 300 in all" in text
    assert re.search(r"p50 3\.\d+ ms", text)
    assert "errors    1 of 301 (0.33%)" in text
    assert "1 × status 503" in text
    assert "client    50% of a core" in text
    assert "warning" not in text


def test_a_function_that_does_not_keep_up_is_said_in_both() -> None:
    result, latencies = summarize(Plan(16, 3.0, 1.0, 30.0, rate=20000.0), recorded(), 0.1)
    told = "the function answers 100/s of the 20,000/s that arrive"
    assert f"overload  {told}" in text_report(result, latencies, "t")
    assert told in html_report(result, latencies, "t", "now")


def test_the_distribution_holds_every_answer() -> None:
    result, latencies = summarize(PLAN, recorded(), 1.5)
    bands = re.findall(r"– [\d.]+ \w?s  [^\d\n]* ([\d,]+)$", text_report(result, latencies, "t"), re.MULTILINE)
    assert sum(int(each.replace(",", "")) for each in bands) == 300


def test_half_a_second_at_the_end_shows_its_rate() -> None:
    recorder = Recorder(0.0, 2.5)
    for number in range(250):
        recorder.answered(number / 100, number / 100, number / 100 + 0.001, 1)
    result, latencies = summarize(PLAN, recorder, 0.0)
    assert "requests/s  ███  100 – 100" in text_report(result, latencies, "t")


def test_a_run_without_an_answer_is_told_too() -> None:
    recorder = Recorder(0.0, 3.0)
    recorder.fail(1.0, "connection lost")
    result, latencies = summarize(PLAN, recorder, 0.0)
    assert "1 × connection lost" in text_report(result, latencies, "t")
    assert "connection lost" in html_report(result, latencies, "t", "now")


def test_where_nothing_is_answered_no_latency_is_shown_but_what_the_server_says() -> None:
    recorder = Recorder(0.0, 3.0)
    recorder.fail(1.0, "status 400", b'{"error":\n"no <input>\x1b[2J"}' + b"x" * 500)
    recorder.fail(1.1, "status 400", b"other words")
    result, latencies = summarize(PLAN, recorder, 0.0)
    text, page = text_report(result, latencies, "t"), html_report(result, latencies, "t", "now")
    assert "latency   p50 –   p90 –" in text
    assert "0 µs" not in text + page
    assert 'the server says: {"error": "no <input>\ufffd[2J"}xxx' in text
    assert len(result.said["status 400"]) == 200
    assert "no &lt;input&gt;" in page


def test_the_html_loads_nothing_runs_nothing_and_takes_names_as_text() -> None:
    result, latencies = summarize(PLAN, recorded(), 2.9)
    page = html_report(result, latencies, "<script>alert(1)</script>", "2026-11-25")
    assert not re.search(r"<script|https?://|src=|href=|@import|url\(", page)
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 4
    assert "These are not the server’s limits" in page


def test_the_bands_cover_least_and_largest() -> None:
    _, latencies = summarize(PLAN, recorded(), 0.0)
    edges = edges_of(latencies)
    assert edges[0] <= 0.001
    assert edges[-1] > 0.005


@pytest.mark.parametrize(("part", "shown"), [(0.0, ""), (1.0, "█" * 40), (0.5, "█" * 20), (1 / 320, "▏")])
def test_a_bar_is_exact_to_an_eighth(part: float, shown: str) -> None:
    assert bar(part).rstrip() == shown


def test_columns_are_relative_to_the_largest() -> None:
    assert columns([0.0, 50.0, 100.0]) == "▁▄█"


@pytest.mark.parametrize(("ms", "text"), [(0.0421, "42.1 µs"), (1.0, "1 ms"), (12.34, "12.3 ms"), (2340.0, "2.34 s")])
def test_times_have_three_digits_and_a_unit(ms: float, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(("count", "text"), [(999.0, "999 B"), (2_460_000.0, "2.46 MB"), (3.5e12, "3.5e+03 GB")])
def test_sizes_have_units(count: float, text: str) -> None:
    assert size(count) == text
