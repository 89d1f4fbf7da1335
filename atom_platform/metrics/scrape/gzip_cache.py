"""gzip of a text of which most is as it was: what did not change is not compressed again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["GzipCache"]

#: Level 1: a fifth of the time of level 6, for text that any level makes small.
_LEVEL: Final = 1
_RAW: Final = -zlib.MAX_WBITS
#: Smaller chunks are compressed together: to begin a block costs as much as a kilobyte does.
_LEAST_BYTES: Final = 16 * 1024

#: RFC 1952: deflate, nothing known of time, file or system; made by the fastest method.
_HEADER: Final = b"\x1f\x8b\x08\x00\0\0\0\0\x04\xff"
#: RFC 1951: a last block, of no bytes.
_END: Final = b"\x03\x00"
_TRAILER: Final = struct.Struct("<II")


class _Block(NamedTuple):
    """
    What was made of a part of a text.

    Attributes:
        before: The checksum of all that came before it.
        after: The same with it.
    """

    compressed: bytes
    before: int
    after: int


class GzipCache:
    """
    Compresses the chunks of a text into one member, and keeps what it made of each.

    Compressed text is about a fifteenth of the text. What neither of the last two texts had is
    forgotten: two, because scrapers may ask for two formats in turn.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, _Block] = {}
        self._before: dict[bytes, _Block] = {}

    def compress(self, chunks: Iterable[bytes]) -> bytes:
        """Return the gzip of *chunks* in a row."""
        crc = size = 0
        made: dict[bytes, _Block] = {}
        parts = [_HEADER]
        for block in _blocks(chunks):
            known = self._last.get(block) or self._before.get(block)
            if known is None or known.before != crc:
                compressed = known.compressed if known else _compressed(block)
                # A checksum of a megabyte takes longer than all else in an unchanged text.
                known = _Block(compressed, crc, zlib.crc32(block, crc))
            made[block] = known
            parts.append(known.compressed)
            crc = known.after
            size += len(block)
        self._last, self._before = made, self._last
        return b"".join([*parts, _END, _TRAILER.pack(crc, size & 0xFFFFFFFF)])


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *chunks*, those together that are small and follow each other."""
    small: list[bytes] = []
    size = 0
    for chunk in chunks:
        if len(chunk) < _LEAST_BYTES:
            small.append(chunk)
            size += len(chunk)
            if size < _LEAST_BYTES:
                continue
        if small:
            yield b"".join(small)
            small, size = [], 0
        if len(chunk) >= _LEAST_BYTES:
            yield chunk
    if small:
        yield b"".join(small)


def _compressed(block: bytes) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    # A full flush ends on a byte and lets what follows refer to nothing before it.
    return compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
