"""The logger's proxy: everything passes; inference calls leave a record in the spool before their answer is complete."""

from typing import TYPE_CHECKING

from kfunc.config.logger import Logger
from kfunc.errors import Unavailable
from kfunc.http.exchange import Exchange
from kfunc.http.pool import UpstreamPool
from kfunc.http.proxy import STREAM_ABOVE, pass_on
from kfunc.logger_sidecar.calls import CLOGGED, CallLog, Logged, Shadowed, Unlogged
from kfunc.logger_sidecar.filters import Filter, is_sampled, trace_of
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.recording import CallWriter
from kfunc.logger_sidecar.spool import Spool
from kfunc.protocol.own_events import comes_back
from kfunc.telemetry.requests import CLIENT_GONE, RequestRecorder

if TYPE_CHECKING:
    from kfunc.logger_sidecar.shadow import ShadowTraffic


class LoggerApplication:
    """Forwards; a call's two events share its `x-request-id`, which the caller gets back."""

    stream_above = STREAM_ABOVE

    def __init__(
        self,
        settings: Logger,
        pool: UpstreamPool,
        spool: Spool,
        recorder: RequestRecorder,
        notices: Notices,
        default_model: str = "",
        source: str = "",
    ) -> None:
        self.pool = pool
        self.writer = CallWriter(settings)
        self._log = CallLog(self.writer, spool.append, notices)
        self._admission = spool.admission
        self.shadow: ShadowTraffic | None = None
        self._filter = Filter(settings, default_model)
        self._source = source  # of this function's events
        self._recorder = recorder

    def handle(self, exchange: Exchange) -> None:
        """Pass on; POSTs to inference paths, and events for the function but its own, are logged."""
        if (
            exchange.method == b"POST"
            and self._filter.is_logged(exchange.target, exchange.headers)
            and not comes_back(self._source, exchange.headers, exchange.body)
        ):
            share = self._filter.share
            shadow = self.shadow
            is_shadowed = shadow is not None and exchange.complete and shadow.is_wanted(exchange.headers, exchange.request_id)
            if share >= 1 or is_sampled(trace_of(exchange.headers, exchange.request_id), share):
                if self._admission.clogged:
                    exchange.fail(Unavailable(CLOGGED))
                    return
                Logged(exchange, self.pool, self._log).is_shadowed = is_shadowed
            else:
                exchange.note = Shadowed(exchange, self.pool) if is_shadowed else Unlogged(exchange, self.pool)
        else:
            pass_on(exchange, self.pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        call: Unlogged | None = exchange.note
        self._recorder.record(exchange, call is not None)
        if call is not None:
            if type(call) is Logged and not call.recorded:  # refused here, or its client is gone
                call.record_end(exchange.status or CLIENT_GONE)
            if self.shadow is not None and call.is_shadowed and call.head is not None:
                self.shadow.offer(exchange, call.head, call.whole)
            # They refer to the exchange: without them it is freed now, and not when garbage is collected.
            exchange.note = exchange.on_cancel = None
        elif exchange.refused and exchange.method == b"POST":
            self._observe_refused(exchange)

    def _observe_refused(self, exchange: Exchange) -> None:
        """A request that never came here is logged as one that did, if its head names what it is for."""
        headers = exchange.headers
        if self._filter.is_logged(exchange.target, headers) and not comes_back(self._source, headers, b""):
            share = self._filter.share
            is_wanted = share >= 1 or is_sampled(trace_of(headers, exchange.request_id), share)
            if is_wanted and not self._admission.clogged:  # these would wait for room without a bound
                self._log.turned_away(exchange)
