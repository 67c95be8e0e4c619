from kfunc.pages.figures import MOST, FigureHistory, Shown

SCRAPE = """
kfunc_request_duration_seconds_bucket{{component="handler",le="0.1"}} {count}
kfunc_request_duration_seconds_bucket{{component="handler",le="+Inf"}} {count}
kfunc_request_duration_seconds_count{{component="handler"}} {count}
kfunc_model_load_seconds{{component="handler"}} 0.5
kfunc_cold_start_seconds{{component="handler"}} 0.75
kfunc_model_accelerator{{component="handler",model="iris",accelerator="cpu",device="{device}"}} 1
"""


def scrape(count: int, device: str = "") -> str:
    return SCRAPE.format(count=count, device=device)


class Looked:
    """A history, of which each look takes a snapshot."""

    def __init__(self) -> None:
        self.history = FigureHistory()

    def take(self, exposition: str, now: float, since: str) -> Shown:
        self.history.take(exposition, now)
        return self.history.shown(since)


def test_the_first_look_has_no_figures_yet() -> None:
    shown = Looked().take(scrape(3), 10.0, "")
    assert (shown.figures, shown.load_s, shown.cold_start_s) == (None, 0.5, 0.75)


def test_the_next_look_has_those_of_the_time_between() -> None:
    history = Looked()
    first = history.take(scrape(10), 10.0, "")
    shown = history.take(scrape(30), 12.0, first.moment)
    assert shown.seconds == 2.0
    assert shown.figures is not None
    assert shown.figures.inferences_per_s == 10.0


def test_two_viewers_do_not_shorten_each_others_time() -> None:
    history = Looked()
    first = history.take(scrape(0), 10.0, "")
    history.take(scrape(5), 11.0, "")
    assert history.take(scrape(10), 12.0, first.moment).seconds == 2.0


def test_who_comes_back_before_there_is_another_snapshot_sees_no_figures_of_no_time() -> None:
    history = FigureHistory()
    history.take(scrape(1), 1.0)
    assert history.shown(history.shown("").moment).figures is None


def test_viewers_who_come_together_see_the_same_and_it_is_made_once() -> None:
    history = FigureHistory()
    history.take(scrape(1), 1.0)
    first = history.shown("")
    history.take(scrape(2), 2.0)
    assert history.shown(first.moment) is history.shown(first.moment)
    assert history.shown("17") is history.shown("")


def test_a_moment_of_a_process_that_is_gone_is_as_none() -> None:
    assert Looked().take(scrape(1), 1.0, "17").figures is None


def test_old_moments_are_forgotten() -> None:
    history = Looked()
    first = history.take(scrape(0), 0.0, "")
    for second in range(MOST):
        history.take(scrape(0), 1.0 + second, "")
    assert history.take(scrape(0), 99.0, first.moment).figures is None


def test_the_device_is_named_and_else_the_kind_of_it() -> None:
    assert Looked().take(scrape(0, "NVIDIA H100"), 0.0, "").device == "NVIDIA H100"
    assert Looked().take(scrape(0), 0.0, "").device == "cpu"
