"""The page in front of a process's application: it takes GETs of `/` and `/page/…`, all else passes."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from kfunc.config.pod import PodConfig
from kfunc.errors import NotFound, Unsupported
from kfunc.http.exchange import Application, Exchange
from kfunc.http.tasks import AnswerTasks
from kfunc.http.wire import JSON
from kfunc.pages.access import is_local
from kfunc.pages.figures import FigureHistory
from kfunc.pages.recent import Pod, joined
from kfunc.pages.shared import Shared

if TYPE_CHECKING:
    from kfunc.pages.wsgi import Answer

log = logging.getLogger("kfunc.pages")

PREFIX = b"/page/"
POLLED = FIGURES, RECENT = b"/page/figures.json", b"/page/recent.json"
NO_STORE = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
HOW_TO_INSTALL = "the page needs Flask: pip install 'kfunc[page]'"


class FrontPage:
    """An Application around `inner`, the outermost one of the pod."""

    def __init__(self, inner: Application, config: PodConfig, pod: Pod) -> None:
        self.stream_above = inner.stream_above
        self._inner = inner.handle
        self._observe = inner.observe
        self._config = config
        self._pod = pod
        self._history = FigureHistory()
        self._looks = Shared(self._look)
        self._requests = Shared(self._join)
        self._thread: ThreadPoolExecutor | None = None
        self._application: Callable[[dict[str, Any]], Answer] | None = None
        self._tasks = AnswerTasks(log)

    def handle(self, exchange: Exchange) -> None:
        """The page's own requests; others are the application's."""
        if exchange.method == b"GET" and self._is_own(exchange):
            self._answer(exchange)
        else:
            self._inner(exchange)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended. What a page asks for each second is no request of the function's."""
        if exchange.status != 200 or exchange.method != b"GET" or exchange.target.partition(b"?")[0] not in POLLED:
            self._observe(exchange)

    def _is_own(self, exchange: Exchange) -> bool:
        target = exchange.target.partition(b"?")[0]
        if target == b"/":  # programs that ask how the function is get JSON, as ever
            return b"text/html" in exchange.headers.get(b"accept", b"") and self._allows(exchange)
        return target.startswith(PREFIX)

    def _allows(self, exchange: Exchange) -> bool:
        if self._config.page == "everyone":
            return True
        transport: asyncio.Transport | None = getattr(exchange.transmitter, "transport", None)
        return transport is not None and is_local(transport.get_extra_info("peername"), exchange.headers)

    def _answer(self, exchange: Exchange) -> None:
        if not self._allows(exchange):
            raise NotFound("the page is for callers on this machine (inference.page: local)")
        step = {FIGURES: self._figures, RECENT: self._recent}.get(exchange.target.partition(b"?")[0], self._page)
        self._tasks.spawn(exchange, step(exchange))

    async def _figures(self, exchange: Exchange) -> None:
        since = exchange.target.partition(b"?since=")[2].decode("latin-1")
        await self._looks.get()
        exchange.respond(200, msgspec.json.encode(self._history.shown(since)), JSON, NO_STORE)

    async def _look(self) -> None:
        self._history.take(await self._pod.exposition(), time.monotonic())

    async def _recent(self, exchange: Exchange) -> None:
        exchange.respond(200, await self._requests.get(), JSON, NO_STORE)

    async def _join(self) -> bytes:
        return msgspec.json.encode(joined(await self._pod.requests()))

    async def _page(self, exchange: Exchange) -> None:
        """Flask's answer, from a thread of its own: importing it takes as long as many requests do."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="page")
        from kfunc.pages.wsgi import environ_of

        loop = asyncio.get_running_loop()
        status, headers, body = await loop.run_in_executor(self._thread, self._call, environ_of(exchange))
        exchange.respond(status, body, b"", headers)

    def _call(self, environ: dict[str, Any]) -> "Answer":
        """In the thread."""
        if self._application is None:
            try:
                from kfunc.pages.app import make_app
            except ImportError:
                raise Unsupported(HOW_TO_INSTALL) from None
            from kfunc.pages.wsgi import calling

            self._application = calling(make_app(self._config).wsgi_app)
        return self._application(environ)
