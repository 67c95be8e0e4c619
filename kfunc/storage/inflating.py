"""What a compressed file holds, as a stream: its checksums are verified, and all failures are tarfile's own."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from typing import IO, Any

MAX_WINDOW = 128 * 1024 * 1024  # bytes that zstd may keep
BLOCK = 1024 * 1024
GZIP, BZIP2, XZ, LZMA, ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\0\0\x80", b"\x28\xb5\x2f\xfd"


class Content:
    """A file's content once inflated; `count` is called with the bytes of each piece, and may raise."""

    def __init__(self, reader: Any, count: Callable[[int], None], *failures: type[Exception]) -> None:
        self._reader = reader
        self._count = count
        self._failures = failures

    def read(self, size: int) -> bytes:
        """The next bytes. Raises EOFError where the compressed data are cut off, tarfile.ReadError where they are wrong."""
        try:
            content: bytes = self._reader.read(size)
        except EOFError:
            raise EOFError("the archive is cut off: copy it again") from None
        except self._failures as error:
            if getattr(error, "errno", None) is not None:  # the disk's, not bz2's
                raise
            raise tarfile.ReadError(str(error)) from None
        self._count(len(content))
        return content

    def finish(self, limit: int) -> None:
        """Read what follows, so that the checksum at the end is verified, at most `limit` bytes. Raises as `read` does."""
        while block := self.read(BLOCK):
            limit -= len(block)
            if limit < 0:
                raise tarfile.ReadError("too much follows its end-of-archive marker")


def inflated(file: IO[bytes], count: Callable[[int], None]) -> Content:
    """The content of a file, however it is compressed (by its first bytes); `count` as of `Content`."""
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(GZIP):
        return Content(gzip.GzipFile(fileobj=file), count, gzip.BadGzipFile, zlib.error)
    if magic.startswith(BZIP2):
        return Content(bz2.BZ2File(file), count, OSError, ValueError)
    if magic.startswith((XZ, LZMA)):
        return Content(lzma.LZMAFile(file), count, lzma.LZMAError)
    if magic.startswith(ZSTD):
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        return Content(decompressor.stream_reader(file, read_across_frames=True), count, zstandard.ZstdError)
    return Content(file, count)
