"""gzip for a text of which only parts change: unchanged parts are not compressed again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["GzipCache"]

#: Level 1: a fifth of the time of level 6, for text that any level makes small.
_LEVEL: Final = 1
_RAW: Final = -zlib.MAX_WBITS
#: Smaller chunks are compressed together: to start a block costs as much as a kilobyte does.
_LEAST_BYTES: Final = 16 * 1024

#: RFC 1952: deflate; no time, file name or system; fastest method.
_HEADER: Final = b"\x1f\x8b\x08\x00\0\0\0\0\x04\xff"
#: RFC 1951: an empty last block.
_END: Final = b"\x03\x00"
_TRAILER: Final = struct.Struct("<II")


class _Block(NamedTuple):
    """
    A compressed part of the text.

    Attributes:
        compressed: The part as deflate blocks.
        before: The CRC-32 of the text before it.
        after: The CRC-32 of the text up to its end.
    """

    compressed: bytes
    before: int
    after: int


class GzipCache:
    """
    Compresses the chunks of a text into one gzip member, and keeps each compressed chunk.

    The cache takes about a fifteenth of the size of the text. It holds the chunks of the last two
    texts: two, because scrapers may request two formats in turn.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, _Block] = {}
        self._before: dict[bytes, _Block] = {}

    def compress(self, chunks: Iterable[bytes]) -> bytes:
        """Return the gzip of the concatenated *chunks*."""
        crc = size = 0
        made: dict[bytes, _Block] = {}
        parts = [_HEADER]
        for block in _blocks(chunks):
            known = self._last.get(block) or self._before.get(block)
            if known is None or known.before != crc:
                compressed = known.compressed if known else _compressed(block)
                # The checksum of a megabyte takes longer than everything else in an unchanged text.
                known = _Block(compressed, crc, zlib.crc32(block, crc))
            made[block] = known
            parts.append(known.compressed)
            crc = known.after
            size += len(block)
        self._last, self._before = made, self._last
        return b"".join([*parts, _END, _TRAILER.pack(crc, size & 0xFFFFFFFF)])


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *chunks*, with successive small ones joined."""
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
    # A full flush ends on a byte boundary; later blocks refer to nothing before it.
    return compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
