"""HTTP/1.1 for the asyncio client: aiohttp's session. It needs the extra `client`.

aiohttp, not httpx: measured beside it, a tenth of the CPU time a request (see README, the client).
"""

import ssl
from io import BytesIO
from typing import TYPE_CHECKING

from kfunc.client.connections import not_connected
from kfunc.client.errors import ClientError, ConnectionLost, InvalidAnswer, InvalidCall, TimedOut
from kfunc.client.wire import CONNECT_S, Answer, Base, Flow, Pause, Request, T

if TYPE_CHECKING:
    import asyncio

    import aiohttp

AT_ONCE = 1024 * 1024  # bytes of a body that are written without letting others have a turn


class AioConnections:
    """The connections to one server, for one event loop."""

    def __init__(self, base: Base, tls: ssl.SSLContext | None = None) -> None:
        try:
            import aiohttp
            import yarl
        except ImportError:
            raise InvalidCall("AsyncClient needs aiohttp, not installed here: pip install 'kfunc[client]'") from None
        self._aiohttp = aiohttp
        self._yarl = yarl
        self._base = base
        self._tls = tls
        self._closed = False
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Request) -> Answer:
        """The answer to one request. Raises ClientError where there is none."""
        http, url = self._aiohttp, self._base.url
        try:
            return await self._exchange(request)
        except http.ConnectionTimeoutError as error:
            raise not_connected(self._base, error) from None
        except TimeoutError:
            raise TimedOut(f"{url} did not answer {request.method} {request.path} in time") from None
        except http.ClientConnectorCertificateError as error:
            cause = error.certificate_error
            raise not_connected(self._base, cause if isinstance(cause, OSError) else OSError(str(cause))) from None
        except http.ClientConnectorError as error:
            raise not_connected(self._base, error.os_error) from None
        except (http.ServerDisconnectedError, http.ClientOSError, http.ClientPayloadError):
            raise ConnectionLost(f"{url} closed the connection before the answer was there; the model may have run") from None
        except http.ClientResponseError as error:
            raise InvalidAnswer(f"the answer of {url} is not HTTP: {error.message}") from None
        except (ValueError, http.ClientError) as error:
            raise InvalidCall(f"the request cannot be sent: {error}") from None

    async def close(self) -> None:
        """Close them all."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, request: Request) -> Answer:
        session = self._opened()
        async with session.request(
            request.method,
            self._yarl.URL(self._base.url + request.path, encoded=True),
            data=BytesIO(request.body) if len(request.body) > AT_ONCE else request.body or None,
            headers=request.headers,
            timeout=self._aiohttp.ClientTimeout(total=request.timeout_s, connect=CONNECT_S),
            allow_redirects=False,
            ssl=self._tls or True,
        ) as response:
            body = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, body, response.reason or "")

    def _opened(self) -> "aiohttp.ClientSession":
        """The session, which belongs to the loop that runs when it is made, and so is made with the first request."""
        import asyncio  # aiohttp has imported it

        loop = asyncio.get_running_loop()
        if self._closed:
            raise InvalidCall("this client is closed; make another one")
        if self._session is not None:
            if self._loop is not loop:
                raise InvalidCall("an AsyncClient belongs to the event loop of its first call; make another one for this loop")
            return self._session
        http, self._loop = self._aiohttp, loop
        self._session = http.ClientSession(
            auto_decompress=False,
            cookie_jar=http.DummyCookieJar(),
            skip_auto_headers=("Content-Type", "User-Agent"),
            connector=http.TCPConnector(limit=0),
        )
        return self._session


async def run(flow: Flow[T], connections: AioConnections) -> T:
    """Do what a flow says, until it returns or raises."""
    answer: Answer | None = None
    failure: ClientError | None = None
    while True:
        try:
            step = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = failure = None
        if isinstance(step, Pause):
            import asyncio  # who only imports this module need not wait for it

            await asyncio.sleep(step.seconds)
            continue
        try:
            answer = await connections.send(step)
        except ClientError as error:
            failure = error
