"""The error tree: every failure kfunc reports, each with its HTTP status as a plain int.

Messages are written for the caller: they say what was expected, and never carry a traceback,
an address or a `repr` of internals. Transports render an error in one place each.
"""

MAX_MESSAGE = 1000


class KfuncError(Exception):
    """Base of every error that kfunc raises on purpose.

    `status` is the HTTP status of the answer; `retry_after` (seconds) becomes `Retry-After`;
    `close` says that the connection cannot be used after it. A long message is cut: it may hold the caller's
    own names and shapes, of any length.
    """

    status = 500
    retry_after: int | None = None
    close = False
    details: dict[str, int | str | bool] = {}
    """Further members of the answer's document, for programs that read it."""

    def __init__(self, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]}…"
        super().__init__(message)
        self.message = message


class InvalidRequest(KfuncError):
    """The request is understood and wrong: bad JSON, shapes, datatypes, names."""

    status = 400


class MalformedMessage(InvalidRequest):
    """The bytes are not HTTP that we accept; nothing after them can be trusted."""

    close = True


class NotFound(KfuncError):
    """No such path, model or version."""

    status = 404


class MethodNotAllowed(KfuncError):
    """The path exists, with other methods (`allow`)."""

    status = 405

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(KfuncError):
    """The client took too long to send its request."""

    status = 408
    close = True


class PayloadTooLarge(KfuncError):
    """The body is over `limits.max_body_bytes`."""

    status = 413
    close = True


class UnsupportedMediaType(KfuncError):
    """The content type or encoding of the body is not one we read."""

    status = 415


class ExpectationFailed(KfuncError):
    """An `Expect` other than `100-continue` (RFC 9110, 10.1.1)."""

    status = 417
    close = True


class HeadersTooLarge(KfuncError):
    """The request's head is over `limits.max_header_bytes` or `limits.max_headers`."""

    status = 431
    close = True


class VersionNotSupported(KfuncError):
    """A version of HTTP that this port does not speak."""

    status = 505
    close = True


class ModelFailed(KfuncError):
    """The model raised; details are in the log, not in the answer. `cause` is the type of what it raised, for traces."""

    status = 500

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class Unsupported(KfuncError):
    """The model or the server does not offer this."""

    status = 501


class BadGateway(KfuncError):
    """The upstream broke off or answered something that is not HTTP."""

    status = 502


class Unavailable(KfuncError):
    """Not now: loading, draining, overloaded or the upstream is down."""

    status = 503
    retry_after: int | None = 1


class NoConnection(Unavailable):
    """The upstream cannot be reached. `reason`, for a log, says more than callers are told: where it is, and why."""

    def __init__(self, where: str, cause: Exception) -> None:
        super().__init__("the upstream does not accept connections; try again later")
        self.reason = f"no connection to {where}: {str(cause) or type(cause).__name__}"


class Loading(Unavailable):
    """The model is on its way; `details` say how far it is."""

    def __init__(self, message: str, details: dict[str, int | str | bool]) -> None:
        super().__init__(message)
        self.details = {"ready": False, **details}


class WorkerDied(Unavailable):
    """The process that ran the model has ended. No `Retry-After`: clients send again what has one, and this may have run."""

    retry_after = None


class DeadlineExceeded(KfuncError):
    """The upstream or the model did not answer in time."""

    status = 504


class Relayed(KfuncError):
    """What another server answered with `status`, told on in another protocol."""

    def __init__(self, message: str, status: int, retry_after: int | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class StartupError(KfuncError):
    """A process cannot start, and starting it again will not help: exit status 2."""


class NoCluster(StartupError):
    """There is no cluster to ask: no kubeconfig, or no client for one."""


class ModelLoadError(StartupError):
    """The model's files are missing, broken or need something that is not installed."""


class NotYet(ModelLoadError):
    """The model cannot be loaded now; it may be at another time, with the same files."""


class NotFetched(NotYet):
    """The model's storage does not give it now."""


class ClusterError(KfuncError):
    """The cluster refused something or cannot be reached: `code` is its API's HTTP status, 0 where it gave none.

    `is_locked_out`: it does not know the user, or the user has not the right; asking again does not help.
    """

    def __init__(self, message: str, code: int = 0, *, is_locked_out: bool = False) -> None:
        super().__init__(message)
        self.code, self.is_locked_out = code, is_locked_out

    @property
    def may_pass(self) -> bool:
        """Whether it may be over in a moment: no answer, an error of the API's own, or more requests than it takes now."""
        return not 0 < self.code < 500 or self.code == 429


class Problem:
    """One thing that is wrong in a func.yaml; `line` and `column` count from 1, 0 is unknown."""

    __slots__ = ("column", "line", "message", "path", "suggestion")

    def __init__(self, message: str, path: str = "", line: int = 0, column: int = 0, suggestion: str = "") -> None:
        self.message = message
        self.path = path
        self.line = line
        self.column = column
        self.suggestion = suggestion


class ConfigError(StartupError):
    """A func.yaml or `KFUNC_CONFIG` that cannot be used, with all its problems at once; `text` is what they count lines of."""

    def __init__(self, problems: list[Problem], source: str = "func.yaml", text: str = "") -> None:
        super().__init__(f"{source}: {len(problems)} problem{'s' if len(problems) != 1 else ''}")
        self.problems = problems
        self.source = source
        self.text = text


class BuildError(KfuncError):
    """An image cannot be made or brought to its registry; the message says what to do."""


class RegistryError(BuildError):
    """A registry refuses, or cannot be reached. `code` is the status of its answer, 0 without one."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
