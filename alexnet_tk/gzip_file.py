"""A gzip file that is read from any place, without decompressing all that is before it.

While it is read from its beginning for the first time, a copy of the decompressor is kept now and then (40 KB
each); reading goes on from the copy before the place that is asked for.
"""

import io
import threading
import zlib
from bisect import bisect_right
from typing import IO

SPACING = 2**20  # bytes, decompressed, between two copies at first
POINTS = 512  # copies at most: then every other one is dropped, and the spacing doubles
INPUT, OUTPUT = 2**16, 2**18  # bytes at a time


class _Place:
    """A place in the decompressed bytes, from which they can be read on."""

    def __init__(self) -> None:
        self.at = 0  # in the decompressed bytes
        self.input = 0  # in the file
        self.decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def copy(self) -> "_Place":
        copy = _Place()
        copy.at, copy.input, copy.decompressor = self.at, self.input, self.decompressor.copy()
        return copy

    def read_some(self, file: IO[bytes]) -> bytes:
        """The next bytes; b"" at the end. Raises `EOFError` where the file is cut off, and `zlib.error`."""
        while True:
            file.seek(self.input)
            content = file.read(INPUT)
            if self.decompressor.eof:  # gzip files that are joined are one, and zeros may follow
                rest = content.lstrip(b"\0")
                self.input += len(content) - len(rest)
                if not rest:
                    if content:
                        continue
                    return b""
                self.decompressor, content = zlib.decompressobj(zlib.MAX_WBITS | 16), rest
            found = self.decompressor.decompress(content, OUTPUT)
            ended = self.decompressor.eof
            left = self.decompressor.unused_data if ended else self.decompressor.unconsumed_tail
            self.input += len(content) - len(left)
            self.at += len(found)
            if found:
                return found
            if not content and not self.decompressor.eof:
                raise EOFError("the gzip file is cut off")


class GzipFile:
    """The decompressed bytes of a gzip file; `read_at` may be called by several threads at once.

    `read`, `seek` and `tell` are for one thread. A first reader has to read to the end, as `tarfile` does.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._points = [_Place()]
        self._spacing = SPACING
        self._adding = threading.Lock()
        self._last = threading.local()  # where each thread stopped: the next file is often the next one
        self._position = 0

    def read_at(self, begin: int, size: int) -> bytes:
        """As many bytes from that place, or those up to the end."""
        place, rest = self._before(begin)
        parts, count = [], 0
        with open(self._path, "rb") as file:  # noqa: PTH123  a path may not be UTF-8
            while count < size:
                if not rest:
                    rest = place.read_some(file)
                    self._keep(place)
                    if not rest:
                        break
                start = place.at - len(rest)
                if place.at <= begin:
                    rest = b""
                    continue
                part = rest[max(0, begin + count - start) :][: size - count]
                parts.append(part)
                count += len(part)
                rest = rest[begin + count - start :] if start < begin + count else rest
        self._last.place, self._last.rest = place, rest
        return b"".join(parts)

    def read(self, size: int) -> bytes:
        """The next bytes."""
        content = self.read_at(self._position, size)
        self._position += len(content)
        return content

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, from the beginning."""
        self._position = position
        return position

    def tell(self) -> int:
        """The place of the next byte."""
        return self._position

    def _before(self, begin: int) -> tuple[_Place, bytes]:
        """A place before that one, or there, and the bytes that were read before it but not yet used."""
        with self._adding:
            index = bisect_right(self._points, begin, key=lambda each: each.at) - 1
            point = self._points[index]
        last, rest = getattr(self._last, "place", None), getattr(self._last, "rest", b"")
        if last is not None and point.at <= last.at - len(rest) <= begin:
            return last, rest
        return point.copy(), b""

    def _keep(self, place: _Place) -> None:
        """Keep a copy of a place that is far behind the last one."""
        with self._adding:
            if place.at < self._points[-1].at + self._spacing or place.decompressor.eof:
                return
            self._points.append(place.copy())
            if len(self._points) > POINTS:
                self._points = self._points[::2]
                self._spacing *= 2
