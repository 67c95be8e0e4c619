"""What sinks have in common: their address, their library, whom they trust, and who speaks."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kfunc.config.logger import SinkSettings
from kfunc.config.sink_addresses import SinkAddress, SinkFault, parse_sink
from kfunc.errors import StartupError
from kfunc.logger_sidecar.contract import SinkContext

if TYPE_CHECKING:
    import ssl


def read_address(settings: SinkSettings, context: SinkContext) -> SinkAddress:
    """The sink's address, if its library is here. Raises StartupError."""
    try:
        address = parse_sink(settings.to, context.namespace)
    except SinkFault as fault:
        raise StartupError(f"the sink: {fault}") from None
    kind = address.kind
    if kind.library and find_spec(kind.library) is None:
        raise StartupError(f"a sink {address.scheme}: needs a library that is not here: pip install 'kfunc[{kind.extra}]'")
    if settings.format == "parquet" and kind.library == "obstore" and find_spec("pyarrow") is None:
        raise StartupError("format: parquet needs a library that is not here: pip install 'kfunc[parquet]'")
    return address


def quiet(*names: str) -> None:
    """Silence a library's own log: what went wrong is raised, and said once by whoever delivers."""
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def trust(environ: Mapping[str, str]) -> "ssl.SSLContext":
    """A TLS context: the system's certificates and those of a SinkBinding (`K_CA_CERTS`). Raises StartupError."""
    import ssl  # here: it costs 4 ms and 2 MiB, and most sinks are plain

    context = ssl.create_default_context()
    certificates = environ.get("K_CA_CERTS", "").strip()
    if certificates:
        try:
            context.load_verify_locations(cadata=certificates)
        except ssl.SSLError as error:
            reason = error.reason or "no certificate is in it"
            raise StartupError(f"K_CA_CERTS holds no certificates in PEM ({reason}); the SinkBinding writes it") from None
    return context
