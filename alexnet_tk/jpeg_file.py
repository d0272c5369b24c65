"""Damage within the compressed data of a JPEG file, of which libjpeg only warns and Pillow says nothing.

Seen are markers that can't stand where they do, zeros that can't be pixels, and a decoder that needs more or
less data than there is. Markers and segments are those of ITU-T T.81, annex B.
"""

import io
import re
from dataclasses import dataclass, field

from alexnet_tk.errors import PictureError

START = b"\xff\xd8\xff"  # of a file
LEFT_OVER = 64  # bytes that may remain undecoded: some cameras pad the end
READ_AHEAD = 16  # bytes of zeros behind the end that the decoder may read ahead, 8 in libjpeg-turbo
ZEROS = 64  # bytes; that many decode to more than two blocks of 63 coefficients

_MARKER = re.compile(rb"\xff[^\x00]")
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1}, {0xC2}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BETWEEN_SCANS = {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # segments that may follow a scan
_END = 0xD9


@dataclass
class _Header:
    """What the segments so far say."""

    frame: int = 0  # the marker of the frame header: which process
    components: int = 0
    restart_interval: int = 0
    scans: int = 0
    more_pictures: bool = False  # behind this one
    first_symbols: dict[int, int] = field(default_factory=dict)  # of each AC table, whose code is all zeros

    def take(self, marker: int, body: bytes) -> None:
        """Read a segment's body."""
        if marker in _FRAMES:
            self.frame, self.components = marker, body[5]
        elif marker == 0xE2:
            self.more_pictures |= body.startswith(b"MPF\0")
        elif marker == 0xDD:
            self.restart_interval = int.from_bytes(body[:2], "big")
        elif marker == 0xC4:
            while body:
                count = sum(body[1:17])
                if body[0] >> 4:
                    self.first_symbols[body[0] & 15] = body[17] if count else 0
                body = body[17 + count :]

    def is_simple(self, scan: bytes) -> bool:
        """Whether a scan is a whole sequential picture, the only one of its file, without restart markers."""
        whole = self.frame in _SEQUENTIAL and scan[0] == self.components
        return whole and not self.restart_interval and not self.scans and not self.more_pictures

    def zeros_are_pixels(self, scan: bytes) -> bool:
        """Whether long runs of zeros may be meant in a scan with this header.

        Where a code of zeros stands for a coefficient, a block of zeros has 63 times the same one, which no
        picture has several times over. Where it stands for the end of a block, they are an even area.
        """
        count = scan[0]
        first, last = scan[1 + 2 * count], scan[2 + 2 * count]
        approximation = scan[3 + 2 * count] >> 4
        if self.frame not in _SEQUENTIAL | _PROGRESSIVE or not last or approximation:
            return True
        if self.frame in _PROGRESSIVE and not first:
            return True
        tables = (scan[2 + 2 * each] & 15 for each in range(count))
        return all(not self.first_symbols.get(table, 0) & 15 for table in tables)


class WatchedJpeg(io.BytesIO):
    """A JPEG file that tells whether a decoder needs all of the compressed data, and no more.

    The last bytes are given only when they are asked for by themselves, and zeros instead of the end marker.
    A decoder that never asks lost its place in the data, and so did one that asks again.
    """

    def __init__(self, content: bytes, begin: int, end: int) -> None:
        super().__init__(content)
        self.begin = begin
        self.end, self.late, self.finished = end, max(end - LEFT_OVER, begin), False

    def read(self, size: int | None = -1, /) -> bytes:
        """As that of any file up to the end of the data."""
        position = self.tell()
        if position < self.late:
            whole = size is None or size < 0
            return super().read(self.late - position if whole else min(size or 0, self.late - position))
        if position < self.end:
            self.finished = True
            return super().read(self.end - position)
        if position == self.end:
            self.seek(self.end + 1)  # so that the next call is known to be the second
            return bytes(READ_AHEAD)
        raise PictureError("broken picture: the JPEG's data end too early")

    def exactly(self) -> "WatchedJpeg | None":
        """The same file watched to the first end marker; None if that is where this one is watched to.

        Raises
        ------
        PictureError
            a marker before the end can't stand where it does

        """
        content = self.getvalue()
        end = _end_of_scan(content, self.begin, 0)
        return None if end in (None, self.end) else WatchedJpeg(content, self.begin, end or 0)

    def refuse_rest(self) -> None:
        """Raise `PictureError` if the decoder, which is done, left data over."""
        if not self.finished:
            raise PictureError("broken picture: the JPEG has more data than pixels")


def sound_jpeg(file: io.BytesIO) -> io.BytesIO:
    """The JPEG file, watched where that is possible.

    Raises
    ------
    PictureError
        the compressed data can't be those of a picture

    """
    content = file.getvalue()
    try:
        return _scanned(content) or file
    except IndexError:  # a segment ends early: the decoder has words for it
        return file


def _scanned(content: bytes) -> WatchedJpeg | None:
    """Check the scans of a file; None where the decoder can't be watched, or fails by itself."""
    header, position = _Header(), 2
    begin = end = 0  # of the first scan's data
    while True:
        if content[position] != 0xFF:
            if header.scans:
                break
            return None  # rubbish in the header: the decoder's affair
        while content[position] == 0xFF:
            position += 1
        marker = content[position]
        if marker == _END:
            break
        length = int.from_bytes(content[position + 1 : position + 3], "big")
        body, position = content[position + 3 : position + 1 + length], position + 1 + length
        if marker != 0xDA:
            header.take(marker, body)
            continue
        if header.is_simple(body):
            # The last end marker is found at once, and nearly always the right one: else `exactly`.
            stop: int | None = content.rfind(b"\xff\xd9", position)
            if stop is not None and len(content) - stop > LEFT_OVER:
                stop = _end_of_scan(content, position, 0)
        else:
            stop = _end_of_scan(content, position, header.restart_interval)
        if stop is None:
            return None  # truncated, which the decoder notices
        if content.find(bytes(ZEROS), position, stop) >= 0 and not header.zeros_are_pixels(body):
            raise PictureError("broken picture: a hole of zeros in the JPEG's data")
        if not header.scans:
            begin, end, whole = position, stop, body[0] == header.components
        header.scans, position = header.scans + 1, stop
    if header.scans == 1 and whole and header.frame in _SEQUENTIAL:
        return WatchedJpeg(content, begin, end)
    return None


def _end_of_scan(content: bytes, position: int, restart_interval: int) -> int | None:
    """Where the marker behind a scan's data stands; None if there is none."""
    restarts = 0
    for found in _MARKER.finditer(content, position):
        at = found.start()
        marker = content[at + 1]
        if marker == 0xFF:  # fill bytes before a marker
            behind = at + 1
            while content[behind] == 0xFF:
                behind += 1
            marker = content[behind]
            if marker == 0:
                raise PictureError("broken picture: bytes that can't stand in the JPEG's data")
            if 0xD0 <= marker <= 0xD7:
                continue  # found again without the fill bytes
        if 0xD0 <= marker <= 0xD7:
            if not restart_interval or marker != 0xD0 + restarts % 8:
                raise PictureError("broken picture: restart markers out of order in the JPEG's data")
            restarts += 1
        elif marker == _END or marker in _BETWEEN_SCANS:
            return at
        else:
            raise PictureError("broken picture: a marker that can't stand in the JPEG's data")
    return None
