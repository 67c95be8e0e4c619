"""Ids for requests that came without one: unique among processes, and cheap."""

from itertools import count
from os import urandom


class _RequestIds:
    """A random prefix and a number. The prefix is drawn at the first use: workers are forked before."""

    def __init__(self) -> None:
        self._prefix = b""
        self._numbers = count(1)

    def next(self) -> bytes:
        """The next id, of visible ASCII."""
        if not self._prefix:
            self._prefix = urandom(8).hex().encode()
        return b"%b-%x" % (self._prefix, next(self._numbers))


new_request_id = _RequestIds().next
