"""What a call of a function may end with instead of an answer: one tree, whatever the transport.

These are no KfuncErrors on purpose: a handler that calls another function must not answer with
that one's status, as if its own caller had sent something wrong.
"""


class ClientError(Exception):
    """Base of all of them.

    `status` is the HTTP status of the answer, 0 without one; `may_have_run` says whether the model may
    have seen the request, so that sending it again may count twice; `request_id` finds the call in the
    server's logs and events; `retry_after_s` is what the server asked to wait.
    """

    may_have_run = False

    def __init__(self, message: str, *, status: int = 0, request_id: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class InvalidCall(ClientError):
    """The arguments cannot be sent as the protocol wants them; nothing was sent."""


class NotConnected(ClientError):
    """There is no connection to the server: refused, an unknown host, a certificate that is not trusted. Nothing was sent."""


class ConnectionLost(ClientError):
    """The connection broke before the whole answer was there."""

    may_have_run = True


class TimedOut(ClientError):
    """The answer was not there within `timeout_s`."""

    may_have_run = True


class InvalidAnswer(ClientError):
    """What came is not what the protocol says."""

    may_have_run = True


class Refused(ClientError):
    """A status from 300 to 499: the request is wrong for this server, and will be the next time too."""


class NotFound(Refused):
    """404: no such model, version or path."""


class ServerFailed(ClientError):
    """A status of 500 or above."""

    may_have_run = True


class Unavailable(ServerFailed):
    """503: not now. With `retry_after_s` the model has not seen the request."""

    may_have_run = False
