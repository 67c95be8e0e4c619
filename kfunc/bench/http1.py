"""Requests over HTTP/1.1: the head of an answer is searched, not parsed; what is not plain goes the longer way."""

from kfunc.bench.connection import Connection

END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length: "  # not the end of inference-header-content-length
LAST_CHUNK = b"\r\n0\r\n\r\n"  # after the head's last line end, or that of the chunk before
MOST_WORDS = 1000  # bytes


class Http1Connection(Connection):
    """The request is head and body, ready to be written."""

    _left = 0  # bytes of the body that are to come
    _buffer = b""
    _chunked = False
    _closes = False
    _status = b""

    def write(self) -> None:
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.transport.abort()  # an answer that nobody asked for
            return
        self.received += len(data)
        if self._left:
            self._left -= len(data)
            if self._status != b"200":
                self._keep(data)
            if self._left <= 0:
                self._complete()
        elif self._chunked:
            if self._status != b"200":
                self._keep(data)
            self._buffer = (self._buffer + data)[-8:]
            if self._buffer.endswith(LAST_CHUNK):
                self._complete()
        else:
            self._head(self._buffer + data if self._buffer else data)

    def _head(self, data: bytes) -> None:
        while (end := data.find(END)) > 0 and data[9:10] == b"1":
            data = data[end + 4 :]  # 100, 103: the answer comes after it
        if end < 0:
            self._buffer = data
            return
        self._status = data[9:12]
        if self._status != b"200":
            self._keep(data[end + 4 :])
        at = data.find(LENGTH, 0, end)
        if at < 0:
            self._unusual(data, end)
            return
        self._left = int(data[at + len(LENGTH) : data.find(b"\r", at + 2)]) - (len(data) - end - 4)
        self._buffer = b""
        self._closes = data.find(b"connection: close", 0, end) > 0
        if self._left <= 0:
            self._complete()

    def _keep(self, data: bytes) -> None:
        """What the server says of an error."""
        self.words += data[: max(0, MOST_WORDS - len(self.words))]

    def _unusual(self, data: bytes, end: int) -> None:
        """Fields in other letters, or a body in chunks."""
        fields = {}
        for line in data[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        body = len(data) - end - 4
        self._buffer = b""
        self._closes = fields.get(b"connection") == b"close"
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            self._chunked = True
            self.words = self.words.partition(b"\r\n")[2]  # the first chunk's size
            self._buffer = data[end + 2 :][-8:]
            if self._buffer.endswith(LAST_CHUNK):
                self._complete()
        elif fields.get(b"content-length", b"0").isdigit():
            self._left = int(fields.get(b"content-length", b"0")) - body
            if self._left <= 0:
                self._complete()
        else:
            self.give_up("not an answer of HTTP/1.1")

    def _complete(self) -> None:
        extra, self._left, self._chunked, self._buffer = self._left, 0, False, b""
        status = self._status
        if self._closes or extra < 0:
            self.transport.close()
        self.finish("" if status == b"200" else f"status {status.decode('latin-1')}")
