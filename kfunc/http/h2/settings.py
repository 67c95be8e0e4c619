"""The settings of both sides (RFC 9113, 6.5.2). Sans-IO."""

from kfunc.http.h2.faults import FLOW_CONTROL_ERROR, PROTOCOL_ERROR, ConnectionFault
from kfunc.http.h2.frames import MAX_WINDOW

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)

DEFAULT_TABLE = 4096
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384

# What we take. A client may hold memory with no request complete: 100 streams of OUR_WINDOW bytes are 9.4 MiB, and before
# it has our settings 900 more of EARLY_WINDOW are 3.5. Proxies open as many at once as requests wait for a connection.
OUR_STREAMS = 100
OUR_WINDOW = 96 * 1024
EARLY_STREAMS = 1000
EARLY_WINDOW = 4 * 1024
OUR_FRAME = DEFAULT_FRAME
OUR_CONNECTION_WINDOW = 1024 * 1024
MOST_OUR_WINDOW = 1024 * 1024  # of a stream whose body keeps arriving
ALL_OUR_WINDOWS = 4 * 1024 * 1024  # of all streams, as far as they are larger than OUR_WINDOW

# Setting of the client -> least, most, and the error for what is outside.
BOUNDS = {
    ENABLE_PUSH: (0, 1, PROTOCOL_ERROR),
    INITIAL_WINDOW_SIZE: (0, MAX_WINDOW, FLOW_CONTROL_ERROR),
    MAX_FRAME_SIZE: (DEFAULT_FRAME, (1 << 24) - 1, PROTOCOL_ERROR),
}


def our_settings(max_header_bytes: int) -> dict[int, int]:
    """What we tell a client."""
    return {
        MAX_CONCURRENT_STREAMS: OUR_STREAMS,
        INITIAL_WINDOW_SIZE: OUR_WINDOW,
        MAX_FRAME_SIZE: OUR_FRAME,
        MAX_HEADER_LIST_SIZE: max_header_bytes,
    }


def check_settings(values: dict[int, int]) -> None:
    """Refuse values that are out of bounds; settings that are not known are ignored."""
    for setting, (least, most, code) in BOUNDS.items():
        value = values.get(setting, least)
        if not least <= value <= most:
            raise ConnectionFault(code, f"setting {setting} is {value}; it must be from {least} to {most}")
