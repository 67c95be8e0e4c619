"""The page at `/` in front of the outermost process's application, where the settings ask for it."""

import asyncio

from kfunc.config.pod import PodConfig
from kfunc.http.exchange import Application
from kfunc.process.arguments import Arguments
from kfunc.process.management import fetch_requests, pod_exposition
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.recent import Request
from kfunc.telemetry.requests import RequestRecorder


def with_page(
    application: Application, config: PodConfig, arguments: Arguments, metrics: Metrics, recorder: RequestRecorder
) -> Application:
    """The application, with the page in front of it if it is to be shown and this process is the outermost."""
    if config.page not in ("local", "everyone") or arguments.listen.path:
        return application
    from kfunc.pages.figures import SHOWN  # start-up time: in a pod there is no page, unless it is asked for
    from kfunc.pages.front import FrontPage
    from kfunc.pages.recent import Pod

    async def requests() -> list[list[Request]]:
        own = [] if recorder.recent is None else recorder.recent.latest()
        return [own, *await asyncio.gather(*map(fetch_requests, arguments.scrape))]

    return FrontPage(application, config, Pod(lambda: pod_exposition(metrics, arguments.scrape, names=SHOWN), requests))
