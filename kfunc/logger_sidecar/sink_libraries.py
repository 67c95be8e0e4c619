"""What sinks have in common: their address, their library, whom they trust, and who speaks."""

import logging
import ssl
from collections.abc import Mapping

from kfunc.config.logger import SinkSettings
from kfunc.config.sink_addresses import SinkAddress, SinkFault, parse_sink
from kfunc.errors import StartupError
from kfunc.logger_sidecar.contract import SinkContext


def read_address(settings: SinkSettings, context: SinkContext) -> SinkAddress:
    """The sink's address, if its library is here. Raises StartupError."""
    try:
        address = parse_sink(settings.to, context.namespace)
    except SinkFault as fault:
        raise StartupError(f"the sink: {fault}") from None
    kind = address.kind
    if kind.library and is_missing(kind.library):
        raise StartupError(f"a sink {address.scheme}: needs a library that is not here: pip install 'kfunc[{kind.extra}]'")
    if settings.format == "parquet" and kind.library == "obstore" and is_missing("pyarrow"):
        raise StartupError("format: parquet needs a library that is not here: pip install 'kfunc[parquet]'")
    return address


def is_missing(library: str) -> bool:
    """Whether a library is not installed."""
    from importlib.util import find_spec  # here: a start that needs no library does not pay for it

    return find_spec(library) is None


def quiet(*names: str) -> None:
    """Silence a library's own log: what went wrong is raised, and said once by whoever delivers."""
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """A TLS context: the system's certificates and those of a SinkBinding (`K_CA_CERTS`). Raises StartupError."""
    context = ssl.create_default_context()
    certificates = environ.get("K_CA_CERTS", "").strip()
    if certificates:
        try:
            context.load_verify_locations(cadata=certificates)
        except ssl.SSLError as error:
            reason = error.reason or "no certificate is in it"
            raise StartupError(f"K_CA_CERTS holds no certificates in PEM ({reason}); the SinkBinding writes it") from None
    return context
