"""The chunks of a PNG file: checksums verified, and what does not change pixels left out.

Pillow ignores the checksums of pixel data, and refuses a sound picture for a large or broken comment or
profile. The chunks are those of the PNG specification, third edition, section 11.
"""

import io
import struct
import zlib
from typing import IO

from alexnet_tk.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 2**20  # bytes read at a time
LARGEST_TEXT = 2**20  # bytes; Pillow refuses compressed texts that are larger

# Texts that may hold the orientation: XMP, and ImageMagick's form of Exif from before eXIf was defined.
_ORIENTATION_TEXTS = {b"XML:com.adobe.xmp", b"Raw profile type exif"}


def sound_png(file: IO[bytes]) -> IO[bytes]:
    """The PNG file without the chunks that do not change its pixels or orientation.

    Raises
    ------
    PictureError
        a chunk of the picture itself fails its checksum, or the file is truncated

    """
    kept, position, kind = [(0, len(SIGNATURE))], len(SIGNATURE), b""
    while kind != b"IEND":
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            raise PictureError("truncated: image file is truncated")
        length, kind = struct.unpack(">I4s", head)
        if not kind.isalpha():
            raise PictureError("broken picture: what follows a PNG chunk is not a chunk")
        end = position + 12 + length
        if kind[:1].isupper() or kind == b"tRNS":
            if not _checksum_holds(file, kind, length):
                raise PictureError(f"broken picture: wrong checksum in PNG chunk {kind.decode()}")
            kept.append((position, end))
        elif _may_hold_orientation(file, kind, length):
            kept.append((position, end))
        position = end
    if sum(stop - start for start, stop in kept) == position:
        file.seek(0)
        return file
    if isinstance(file, io.BytesIO):
        content = file.getvalue()
        return io.BytesIO(b"".join(content[start:stop] for start, stop in kept))
    return io.BufferedReader(_Pieces(file, kept), BLOCK)


def _checksum_holds(file: IO[bytes], kind: bytes, length: int) -> bool:
    """Whether the chunk's checksum is right; `file` stands behind the chunk's name."""
    checksum = zlib.crc32(kind)
    while length:
        block = file.read(min(length, BLOCK))
        if not block:
            raise PictureError("truncated: image file is truncated")
        checksum, length = zlib.crc32(block, checksum), length - len(block)
    stored = file.read(4)
    if len(stored) < 4:
        raise PictureError("truncated: image file is truncated")
    return int.from_bytes(stored, "big") == checksum


def _may_hold_orientation(file: IO[bytes], kind: bytes, length: int) -> bool:
    """Whether an ancillary chunk is sound, of a size that Pillow accepts, and can hold an orientation."""
    if kind not in (b"eXIf", b"tEXt", b"zTXt", b"iTXt") or length > LARGEST_TEXT:
        return False
    content, stored = file.read(length), file.read(4)
    if len(stored) < 4 or int.from_bytes(stored, "big") != zlib.crc32(content, zlib.crc32(kind)):
        return False
    if kind == b"eXIf":
        return True
    key, _, rest = content.partition(b"\0")
    if key not in _ORIENTATION_TEXTS:
        return False
    if kind == b"zTXt":
        return _unpacks(rest[1:])
    if kind == b"iTXt":
        parts = rest[2:].split(b"\0", 2)  # behind two flags: language, translated key, text
        return len(parts) == 3 and (rest[:1] != b"\1" or _unpacks(parts[2]))
    return True


def _unpacks(packed: bytes) -> bool:
    """Whether a compressed text is sound and not too large."""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, LARGEST_TEXT)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail


class _Pieces(io.RawIOBase):
    """Parts of a file, as one file: for files too large to be copied."""

    def __init__(self, file: IO[bytes], pieces: list[tuple[int, int]]) -> None:
        self.file, self.pieces, self.position = file, pieces, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = sum(stop - start for start, stop in self.pieces)
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: size}[whence]
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        begin = 0  # of a piece, in the whole
        for start, stop in self.pieces:
            inside = self.position - begin
            if 0 <= inside < stop - start:
                self.file.seek(start + inside)
                content = self.file.read(min(len(buffer), stop - start - inside))
                buffer[: len(content)] = content
                self.position += len(content)
                return len(content)
            begin += stop - start
        return 0
